//! `portcullis apply`, `diff`, `export` and `check`: declarations in a file.

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use portcullis_admin::declaration::{LARGEST, Syntax, read, with_lines};
use portcullis_admin::operations::declarations::{Terms, planned};
use portcullis_core::model::{Client, Declarations, Label, Problem, Service, TargetUrl};
use portcullis_identity::DEFAULT_CLIENT;
use portcullis_routing::change::View;
use serde_json::{Value, json};

use super::admin::{Admin, Reply};
use super::args::{Apply, Export};
use super::failure::Failure;
use super::json::text;
use super::output::{Colour, Output, printable};
use crate::app;
use crate::config::Config;

/// Under which address a service stands that is referred to and not declared.
const ELSEWHERE: &str = "http://registered.invalid";

/// `portcullis apply`: says what it will do, asks where there is somebody to ask, and does it.
pub(super) async fn apply(apply: &Apply, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    let (file, bytes) = (&apply.file.file, body(&apply.file.file)?);
    let plan = plan(file, bytes.clone(), apply.adopt, admin).await?;
    if steps(&plan.body).is_empty() || !output.is_json() {
        show(&plan.body, output).map_err(|failure| match failure {
            // Whoever has seen enough of the plan has not said that it is to be done.
            Failure::Closed if !steps(&plan.body).is_empty() => {
                Failure::failed("the plan could not be shown; nothing was changed")
            }
            other => other,
        })?;
    }
    if steps(&plan.body).is_empty() {
        return Ok(());
    }
    let is_asked = !apply.yes && file != Path::new("-") && io::stdin().is_terminal() && io::stdout().is_terminal();
    if is_asked && !agrees(output)? {
        return Err(Failure::failed("nothing was changed"));
    }
    // What was shown is what is done: if somebody has changed the declarations since, nothing is.
    let path = format!("/declarations{}", query(apply.adopt));
    let done = admin.send(Method::PUT, &path, bytes, plan.etag).await?;
    if output.is_json() {
        return output.json(&done.body);
    }
    output.note("applied")
}

/// `portcullis diff`: says what a file would change.
pub(super) async fn diff(file: &Path, adopt: bool, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    let trouble = |failure: Failure| Failure::Trouble(Box::new(failure));
    let plan = match body(file) {
        Ok(bytes) => plan(file, bytes, adopt, admin).await.map_err(trouble)?,
        Err(failure) => return Err(trouble(failure)),
    };
    show(&plan.body, output)?;
    if steps(&plan.body).is_empty() { Ok(()) } else { Err(Failure::Differs) }
}

/// `portcullis export`: the declarations as a file.
pub(super) async fn export(export: &Export, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    let usual = if output.is_json() { "json" } else { "yaml" };
    let form = export.output.as_deref().unwrap_or(usual);
    let owner = export.owner.as_ref().map(|owner| format!("&owner={owner}")).unwrap_or_default();
    let path = format!("/declarations?format={form}{owner}");
    match form {
        "json" => output.json(&admin.get(&path).await?.body),
        _ => output.line(admin.text(&path).await?.trim_end()),
    }
}

/// `portcullis check`: everything that is wrong with a file, as far as that can be known without a gateway.
pub(super) async fn check(file: &Path, config: &Config, output: &mut Output) -> Result<(), Failure> {
    examine(file, config, output).await?;
    match output.is_json() {
        true => output.json(&json!({"problems": []})),
        false => output.note(&format!("{} is good", file.display())),
    }
}

/// What a good file declares, and its text. Every problem of another one is told.
pub(super) async fn examine(
    file: &Path,
    config: &Config,
    output: &mut Output,
) -> Result<(Declarations, Bytes), Failure> {
    let (kind, bytes) = body(file).map_err(|failure| Failure::Trouble(Box::new(failure)))?;
    let syntax = if kind == JSON { Syntax::Json } else { Syntax::Yaml };
    let mut reading = match read(&bytes, syntax) {
        Ok(reading) => reading,
        Err(problem) => return Err(bad(file, vec![problem], output)?),
    };
    let found = reading.declarations.clone();
    let elsewhere: TargetUrl = ELSEWHERE.parse().map_err(Failure::failed)?;
    let declared = &mut reading.declarations;
    let mut absent = Vec::new();
    for id in declared.routes.values().filter_map(|route| route.service.as_ref()) {
        if !declared.services.contains_key(id) && !absent.contains(id) {
            absent.push(id.clone());
        }
    }
    for id in &absent {
        declared.services.insert(id.clone(), Service::with_target(elsewhere.clone(), None));
    }
    let of_clients = declared.routes.values().filter_map(|route| route.matches.client.clone());
    let absent_clients: BTreeSet<Label> = of_clients.filter(|name| !declared.clients.contains_key(name)).collect();
    for name in &absent_clients {
        let client: Client = serde_json::from_value(json!({})).map_err(Failure::failed)?;
        declared.clients.insert(name.clone(), client);
    }
    let dry_run = app::dry_run(config).await?;
    let problems =
        planned(&View::with(Arc::new(app::default_routes(config))), &reading, Terms::file(false), &dry_run).problems;
    if !problems.is_empty() {
        return Err(bad(file, with_lines(problems, &bytes), output)?);
    }
    for id in absent {
        output.note(&format!("note: service {id} is not declared here; the gateway must have it already"))?;
    }
    // The built-in one is in every gateway.
    for name in absent_clients.iter().filter(|name| name.as_str() != DEFAULT_CLIENT) {
        output.note(&format!("note: client {name} is not declared here; the gateway must have it already"))?;
    }
    Ok((found, bytes))
}

fn bad(file: &Path, mut problems: Vec<Problem>, output: &mut Output) -> Result<Failure, Failure> {
    problems.sort_by_key(|problem| problem.line);
    let count = problems.len();
    let detail = format!("{} has {count} {}", file.display(), if count == 1 { "problem" } else { "problems" });
    if output.is_json() {
        output.json(&json!({"problems": problems}))?;
        problems.clear();
    }
    Ok(Failure::Refused { detail, problems })
}

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

/// The bytes of a file, with what they are called.
fn body(file: &Path) -> Result<(&'static str, Bytes), Failure> {
    let bytes = read_file(file)?;
    let name = file.extension().and_then(|extension| extension.to_str());
    let looks_like_json = || bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let kind = match name {
        Some("json") => JSON,
        Some("yaml" | "yml") => YAML,
        _ if looks_like_json() => JSON,
        _ => YAML,
    };
    Ok((kind, Bytes::from(bytes)))
}

/// The bytes of a file; '-' is stdin.
pub(super) fn read_file(file: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: io::Error| Failure::Usage(format!("cannot read {}: {error}", file.display()));
    let mut bytes = Vec::new();
    let most = u64::try_from(LARGEST).unwrap_or(u64::MAX).saturating_add(1);
    if file == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        std::fs::File::open(file).map_err(unreadable)?.take(most).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if bytes.len() > LARGEST {
        return Err(Failure::Usage(format!("{} has more than {LARGEST} bytes", file.display())));
    }
    Ok(bytes)
}

async fn plan(file: &Path, bytes: (&'static str, Bytes), adopt: bool, admin: &Admin) -> Result<Reply, Failure> {
    let path = format!("/declarations/plan{}", query(adopt));
    admin.send(Method::POST, &path, bytes, None).await.map_err(|failure| match failure {
        Failure::Refused { detail, mut problems } => {
            problems.sort_by_key(|problem| problem.line);
            Failure::Refused { detail: format!("{}: {detail}", file.display()), problems }
        }
        other => other,
    })
}

fn query(adopt: bool) -> &'static str {
    if adopt { "?adopt=true" } else { "" }
}

pub(super) fn steps(plan: &Value) -> &[Value] {
    plan.get("steps").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A plan for people, or as it is.
pub(super) fn show(plan: &Value, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(plan);
    }
    let mut counts = [0_usize; 3];
    for step in steps(plan) {
        let (place, sign, colour) = sign(&text(step, "action"));
        counts[place] += 1;
        let fields = text(step, "fields");
        let fields = if fields.is_empty() { fields } else { format!(" ({fields})") };
        let line = format!("{sign} {} {}{fields}", text(step, "kind"), text(step, "name"));
        let line = output.paint(colour, &printable(&line));
        output.line(&line)?;
    }
    for policies in plan.get("policies").and_then(Value::as_array).into_iter().flatten() {
        let kinds = policies.get("kinds").and_then(Value::as_object).into_iter().flatten();
        let kinds: Vec<_> =
            kinds.map(|(kind, action)| format!("{}{kind}", sign(action.as_str().unwrap_or("")).1)).collect();
        let line = format!("  policies of {}: {}", text(policies, "route"), kinds.join(" "));
        output.line(&printable(&line))?;
    }
    for shadow in plan.get("shadowed").and_then(Value::as_array).into_iter().flatten() {
        let partly = if shadow.get("partly") == Some(&Value::Bool(true)) { "partly " } else { "" };
        let hosts = Some(text(shadow, "hosts")).filter(|hosts| !hosts.is_empty());
        let hosts = hosts.map(|hosts| format!(" on {hosts}")).unwrap_or_default();
        let (service, route) = (text(shadow, "service"), text(shadow, "route"));
        let line = format!("! registered service {service} is {partly}shadowed by route {route}{hosts}");
        let line = output.paint(Colour::Yellow, &printable(&line));
        output.line(&line)?;
    }
    if let Some(more) = plan.get("shadowed_left_out").and_then(Value::as_u64) {
        output.line(&format!("! {more} more registered services are shadowed"))?;
    }
    for shared in plan.get("shared_targets").and_then(Value::as_array).into_iter().flatten() {
        let (service, others) = (text(shared, "service"), text(shared, "others"));
        let line = format!("! registered service {service} is at a target of {others}, past the rules there");
        let line = output.paint(Colour::Yellow, &printable(&line));
        output.line(&line)?;
    }
    if let Some(more) = plan.get("shared_targets_left_out").and_then(Value::as_u64) {
        output.line(&format!("! {more} more registered services are at targets of services with rules"))?;
    }
    let [added, changed, removed] = counts;
    let unchanged = text(plan, "unchanged");
    output.line(&format!("{added} to add, {changed} to change, {removed} to remove, {unchanged} unchanged"))
}

fn sign(action: &str) -> (usize, char, Colour) {
    match action {
        "add" => (0, '+', Colour::Green),
        "remove" => (2, '-', Colour::Red),
        _ => (1, '~', Colour::Yellow),
    }
}

/// Asks whether to do it.
pub(super) fn agrees(output: &mut Output) -> Result<bool, Failure> {
    output.note("Apply this? [y/N]")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::output;

    #[test]
    fn a_plan_is_shown_in_lines() {
        let (mut out, shown, _) = output(false);
        let plan = json!({
            "steps": [
                {"action": "add", "kind": "service", "name": "a/v1"},
                {"action": "change", "kind": "route", "name": "r", "fields": ["match", "policies"]},
                {"action": "remove", "kind": "client", "name": "c\n"},
            ],
            "policies": [{"route": "r", "kinds": {"acl": "add", "require": "change"}}],
            "unchanged": 4,
            "shadowed": [
                {"service": "shop/v1", "route": "r"},
                {"service": "shop/v2", "route": "s", "hosts": ["a", "b"], "partly": true},
            ],
            "shadowed_left_out": 3,
            "shared_targets": [{"service": "evil/v1", "others": ["pay/v1", "pay/v2"]}],
            "shared_targets_left_out": 2,
        });
        show(&plan, &mut out).expect("written");
        assert_eq!(
            shown.text(),
            "+ service a/v1\n~ route r (match, policies)\n- client c\\n\n  policies of r: +acl ~require\n\
             ! registered service shop/v1 is shadowed by route r\n\
             ! registered service shop/v2 is partly shadowed by route s on a, b\n\
             ! 3 more registered services are shadowed\n\
             ! registered service evil/v1 is at a target of pay/v1, pay/v2, past the rules there\n\
             ! 2 more registered services are at targets of services with rules\n\
             1 to add, 1 to change, 1 to remove, 4 unchanged\n"
        );
    }
}
