//! `portcullis logs`: the newest calls, and with `-f` every further one as it ends.

use std::time::Duration;

use portcullis_core::ports::{Clock, SystemClock};
use serde_json::Value;

use super::admin::{Admin, PAGE, conditions_of, encode, items_of};
use super::args::LogsCommand;
use super::failure::Failure;
use super::json::text;
use super::output::{Colour, Output, printable};
use crate::config::duration;

/// How many calls are shown where nothing else is said, and before following.
const USUAL: u64 = 100;
const USUAL_BEFORE_FOLLOWING: u64 = 10;
/// How often a follower asks for more.
const PAUSE: Duration = Duration::from_millis(300);
/// A place in the log nothing has reached: what came after it is nothing, and the answer says where the log ends.
const NOWHERE: u64 = u64::MAX;

/// Does what was asked for.
pub(super) async fn run(command: &LogsCommand, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    let filter = filter(command, SystemClock.unix_millis());
    if !command.follow {
        let found = newest(admin, &filter, command.limit.unwrap_or(USUAL)).await?;
        return print(&found, output);
    }
    // The end comes first: what ends between the two questions is in both answers, and is told once below.
    let (_, mut end) = after(admin, &filter, &NOWHERE.to_string()).await?;
    let mut shown = newest(admin, &filter, command.limit.unwrap_or(USUAL_BEFORE_FOLLOWING)).await?;
    print(&shown, output)?;
    loop {
        let (mut items, next) = after(admin, &filter, &end).await?;
        let full = items.len() as u64 >= PAGE;
        items.retain(|item| match shown.iter().position(|known| known == item) {
            Some(known) => {
                shown.swap_remove(known);
                false
            }
            None => true,
        });
        print(&items, output)?;
        end = next;
        if !full {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The newest records, oldest first.
async fn newest(admin: &Admin, filter: &str, limit: u64) -> Result<Vec<Value>, Failure> {
    let mut found = admin.newest("/logs", filter, limit).await?;
    found.reverse();
    Ok(found)
}

/// The records after a place in the log, in their order, and the place after them.
async fn after(admin: &Admin, filter: &str, place: &str) -> Result<(Vec<Value>, String), Failure> {
    let path = format!("/logs?limit={PAGE}&after={}{filter}", encode(place));
    let (items, next) = items_of(admin.get(&path).await?.body)?;
    Ok((items, next.ok_or_else(|| Failure::failed("the gateway did not say where its log ends"))?))
}

/// The conditions as the end of a query.
fn filter(command: &LogsCommand, now: u64) -> String {
    let since = command.since.as_ref().map(|since| match duration(since) {
        Some(ago) => {
            let millis = now.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX));
            format!("{}.{:03}", millis / 1_000, millis % 1_000)
        }
        None => since.clone(),
    });
    let conditions = [
        ("service", &command.service),
        ("status", &command.status),
        ("client", &command.client),
        ("user", &command.user),
        ("path", &command.path),
        ("since", &since),
    ];
    conditions_of(conditions)
}

fn print(items: &[Value], output: &mut Output) -> Result<(), Failure> {
    for item in items {
        let line = if output.is_json() { item.to_string() } else { line(item, output) };
        output.line(&line)?;
    }
    Ok(())
}

/// A record in one line: time, status, method, path, service, client, user, duration, status of gRPC, refusal, time limit.
fn line(record: &Value, output: &Output) -> String {
    let cut =
        |field: &str| record.get("cut").and_then(Value::as_array).is_some_and(|cut| cut.iter().any(|it| it == field));
    let shown = |field: &str| match text(record, field) {
        text if text.is_empty() => "-".to_owned(),
        text if cut(field) => format!("{}…(cut)", printable(&text)),
        text => printable(&text),
    };
    let status = record.get("status").and_then(Value::as_u64).unwrap_or_default();
    let colour = match status {
        0..400 => Colour::Green,
        400..500 => Colour::Yellow,
        _ => Colour::Red,
    };
    // A call of gRPC may have failed with a status that says nothing.
    let ended = match record.get("grpc_status").and_then(Value::as_u64) {
        None => String::new(),
        Some(code) => {
            format!("  {}", output.paint(if code == 0 { colour } else { Colour::Red }, &format!("grpc {code}")))
        }
    };
    let service = match shown("service") {
        name if name == "-" => name,
        name => format!("{name}/{}", shown("version")),
    };
    let millis = record.get("duration_us").and_then(Value::as_f64).unwrap_or_default() / 1_000.0;
    let refusal = match shown("refusal") {
        code if code == "-" => String::new(),
        code => match shown("limit") {
            limit if limit == "-" => format!("  {}", output.paint(colour, &code)),
            limit => format!("  {} ({limit})", output.paint(colour, &code)),
        },
    };
    format!(
        "{}  {}  {:<6} {}  {service}  {}  {}  {millis:.1}ms{ended}{refusal}",
        output.paint(Colour::Grey, &to_millis(&shown("time"))),
        output.paint(colour, &status.to_string()),
        shown("method"),
        shown("path"),
        shown("client"),
        shown("user"),
    )
}

/// `…:05.123456Z` as `…:05.123Z`.
fn to_millis(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, fraction)) if fraction.len() > 3 && fraction.is_ascii() => {
            format!("{seconds}.{}Z", &fraction[..3])
        }
        _ => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::admin::tests::server;
    use crate::cli::output::tests::output;

    fn command() -> LogsCommand {
        LogsCommand {
            follow: false,
            service: None,
            status: None,
            client: None,
            user: None,
            path: None,
            since: None,
            limit: None,
        }
    }

    #[test]
    fn a_record_is_one_line() {
        let (output, _, _) = output(false);
        let record = json!({
            "time": "2026-01-31T12:00:00.123456Z", "request_id": "r", "client_ip": "127.0.0.1", "method": "GET",
            "path": "/orders/v1/a", "status": 200, "service": "orders", "version": "v1", "client": "shop",
            "user": "ada", "duration_us": 1234, "upstream_duration_us": 900, "bytes_in": 0, "bytes_out": 5,
            "refusal": null, "target": "127.0.0.1:1"
        });
        assert_eq!(
            line(&record, &output),
            "2026-01-31T12:00:00.123Z  200  GET    /orders/v1/a  orders/v1  shop  ada  1.2ms"
        );
        let mut cut = record.clone();
        cut["cut"] = json!(["path"]);
        assert_eq!(line(&cut, &output), line(&record, &output).replace("/a ", "/a…(cut) "));
        let mut grpc = record.clone();
        grpc["grpc_status"] = json!(14);
        assert_eq!(line(&grpc, &output), format!("{}  grpc 14", line(&record, &output)));
        let refused = json!({
            "time": "2026-01-31T12:00:00Z", "method": "DELETE", "path": "/a\u{1b}[2J\nb", "status": 404,
            "service": null, "version": null, "client": null, "user": null, "duration_us": 50, "refusal": "no_route"
        });
        assert_eq!(
            line(&refused, &output),
            "2026-01-31T12:00:00Z  404  DELETE /a\\u{1b}[2J\\nb  -  -  -  0.1ms  no_route"
        );
    }

    #[test]
    fn conditions_become_a_query() {
        let given = LogsCommand {
            service: Some("orders/v1".into()),
            status: Some("4xx".into()),
            user: Some("a&b=c".into()),
            since: Some("10m".into()),
            ..command()
        };
        assert_eq!(
            filter(&given, 1_700_000_600_042),
            "&service=orders%2Fv1&status=4xx&user=a%26b%3Dc&since=1700000000.042"
        );
        let given = LogsCommand { since: Some("2026-01-31T12:00:00+01:00".into()), ..command() };
        assert_eq!(filter(&given, 0), "&since=2026-01-31T12%3A00%3A00%2B01%3A00");
        assert_eq!(filter(&command(), 0), "");
    }

    #[tokio::test]
    async fn a_follower_is_told_every_call_once_and_in_order() {
        let page = |items: &[u64], next: Option<&str>| {
            let items: Vec<_> = items.iter().map(|id| json!({"id": id})).collect();
            (200, json!({"items": items, "next": next}).to_string())
        };
        // Call 3 ends between the question for the end and that for the newest calls.
        let (admin, _) = server(move |asked| match asked.split_once("/logs?").map(|(_, query)| query) {
            Some("limit=1000&after=18446744073709551615&user=ada") => page(&[], Some("2")),
            Some("limit=2&user=ada") => page(&[3, 2], Some("2")),
            Some("limit=1000&after=2&user=ada") => page(&[3, 4], Some("4")),
            Some("limit=1000&after=4&user=ada") => page(&[], Some("5")),
            Some("limit=1000&after=5&user=ada") => page(&[6, 7], Some("7")),
            // What nobody should ask, and at last what a gateway says that has gone.
            _ => (500, String::new()),
        })
        .await;
        let (mut output, shown, _) = output(true);
        let follow = LogsCommand { follow: true, limit: Some(2), user: Some("ada".into()), ..command() };
        let end = run(&follow, &admin, &mut output).await;
        assert_eq!(shown.text(), "{\"id\":2}\n{\"id\":3}\n{\"id\":4}\n{\"id\":6}\n{\"id\":7}\n");
        assert!(matches!(end, Err(Failure::Refused { .. })), "{end:?}");
    }

    #[tokio::test]
    async fn many_calls_are_fetched_in_pieces_and_told_oldest_first() {
        let (admin, seen) = server(|asked| {
            let (ids, next): (Vec<u64>, _) = match asked.split_once("/logs?").map(|(_, query)| query) {
                Some("limit=1000") => ((1_001..=2_000).rev().collect(), json!("1001")),
                Some("limit=500&cursor=1001") => ((501..=1_000).rev().collect(), json!("501")),
                _ => (vec![], json!(null)),
            };
            (200, json!({"items": ids, "next": next}).to_string())
        })
        .await;
        let (mut output, shown, _) = output(true);
        run(&LogsCommand { limit: Some(1_500), ..command() }, &admin, &mut output).await.expect("told");
        let ids: Vec<u64> = shown.text().lines().map(|line| line.parse().expect("a number")).collect();
        assert_eq!(ids, (501..=2_000).collect::<Vec<_>>());
        assert_eq!(seen.lock().expect("not poisoned").len(), 2);
    }
}
