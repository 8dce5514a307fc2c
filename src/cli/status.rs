//! `portcullis status`.

use serde_json::Value;

use super::admin::Admin;
use super::failure::Failure;
use super::json::text;
use super::output::Output;
use super::table::Table;

/// Shows how the gateway does, and how it goes with the targets of its services.
pub(super) async fn run(admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    let status = admin.get("/status").await?.body;
    if output.is_json() {
        return output.json(&status);
    }
    output.line(&summary(&status))?;
    let targets = status["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
    if targets.is_empty() {
        return Ok(());
    }
    output.line("")?;
    for line in table(targets).lines() {
        output.line(&line)?;
    }
    Ok(())
}

fn summary(status: &Value) -> String {
    let [version, uptime, services, clients] =
        ["version", "uptime_seconds", "services", "clients"].map(|field| text(status, field));
    let open = text(&status["counters"], "connections_open");
    super::output::printable(&format!(
        "version {version}, up {uptime} s, {services} services, {clients} clients, {open} connections of callers"
    ))
}

fn table(targets: &[Value]) -> Table {
    let mut table = Table::new(["target", "state", "connections", "idle", "waiting", "last failure"]);
    for target in targets {
        let state = if target["failing"] == true { "failing" } else { "ok" };
        let [name, connections, idle, waiting] =
            ["name", "connections", "idle", "waiting"].map(|field| text(target, field));
        let failure = &target["last_failure"];
        let failure = ["time", "reason", "detail"].map(|field| text(failure, field));
        let failure = failure.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join(" ");
        table.row([name, state.to_owned(), connections, idle, waiting, failure]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn targets_show_how_they_do() {
        let failure = json!({"time": "2030-01-01T00:00:00.000Z", "reason": "unreachable", "detail": "refused"});
        let lines = table(&[
            json!({"name": "127.0.0.1:9001", "connections": 3, "idle": 2, "waiting": 0, "failing": false, "last_failure": null}),
            json!({"name": "b:1", "connections": 0, "idle": 0, "waiting": 1, "failing": true, "last_failure": failure}),
        ])
        .lines();
        assert_eq!(lines[0], "TARGET          STATE    CONNECTIONS  IDLE  WAITING  LAST FAILURE");
        assert_eq!(lines[1], "127.0.0.1:9001  ok       3            2     0        -");
        assert_eq!(
            lines[2],
            "b:1             failing  0            0     1        2030-01-01T00:00:00.000Z unreachable refused"
        );
        let status = json!({"version": "1", "uptime_seconds": 5, "services": 2, "clients": 1, "counters": {}});
        assert_eq!(summary(&status), "version 1, up 5 s, 2 services, 1 clients,  connections of callers");
    }
}
