//! `portcullis import`: what another gateway has is read, converted, planned, told and taken over.

mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use bytes::Bytes;
use http::Method;
use portcullis_admin::declaration::LARGEST;
use portcullis_core::model::Problem;
use portcullis_core::secret::Secret;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::admin::{Admin, Reply};
use super::args::ImportFomalhaut;
use super::client_secret;
use super::declarations;
use super::failure::Failure;
use super::json::text;
use super::output::{Colour, Output, printable};
use super::redis::{Place, Redis};
use crate::config::ENV_REDIS_PASSWORD;
use crate::import::{Conversion, Existing, Finding, Source, convert, word};

/// Bytes of a panel's export.
const LARGEST_FILE: usize = 64 << 20;
/// Configurations of clients in Redis.
const MOST_CONFIGURATIONS: usize = 20_000;
/// Values that Redis is asked for at a time.
const AT_ONCE: usize = 64;
/// Times that something is left out because the gateway does not take it.
const ROUNDS: usize = 100;

/// `portcullis import fomalhaut`.
pub(super) async fn run(command: &ImportFomalhaut, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    let mut redis = match place(command)? {
        Some(place) => Some(place.connect().await?),
        None if command.tokens => return Err(Failure::Usage("--tokens is for redis:// alone".to_owned())),
        None => None,
    };
    let source = match &mut redis {
        Some(redis) => configurations(redis).await?,
        None => export(Path::new(&command.source))?,
    };
    let mut conversion = convert(&source, &existing(admin).await?, &command.hosts);
    let is_empty = source.clients.is_empty();
    drop(source);
    misled(&mut conversion, admin).await?;
    let planned = settle(&mut conversion, command, admin).await?;
    for client in names(&planned.body["secrets"]["full"]) {
        conversion.keeps_old_secret(client);
    }
    let stops = !conversion.losses.is_empty() && !command.accept_losses;
    if command.dry_run || stops {
        tell(&conversion, &planned.body, false, None, output)?;
        if let (true, Some(redis)) = (command.tokens, &mut redis) {
            output.note(&format!("{} pairs of tokens are there", tokens::count(redis).await?))?;
        }
        return if stops { Err(Failure::Found) } else { Ok(()) };
    }
    let goes = removed(&planned.body["plan"], admin).await?;
    if !command.yes && (is_empty || goes.is_some()) {
        agree(is_empty, goes.as_deref().unwrap_or_default(), command, output)?;
    }
    // What was planned is what is done: if somebody has changed the declarations since, nothing is.
    let path = format!("/import?adopt={}", command.adopt);
    let done = admin.send(Method::POST, &path, body(&conversion)?, planned.etag).await?;
    let taken =
        match &mut redis {
            Some(redis) if command.tokens => {
                let taking = tokens::take(redis, &conversion.clients, admin).await;
                Some(taking.map_err(|failure| {
                    Failure::failed(format!("declarations and secrets are taken over; {failure}"))
                })?)
            }
            _ => None,
        };
    tell(&conversion, &done.body, true, taken.as_ref(), output)
}

/// Where Redis is, if that is where to read from.
fn place(command: &ImportFomalhaut) -> Result<Option<Place>, Failure> {
    if !command.source.contains("://") {
        return match command.redis_password_file {
            Some(_) => Err(Failure::Usage("--redis-password-file is for redis:// alone".to_owned())),
            None => Ok(None),
        };
    }
    let password = match &command.redis_password_file {
        Some(file) => Some(client_secret::of_file("--redis-password-file", file)?),
        None => std::env::var(ENV_REDIS_PASSWORD).ok().filter(|password| !password.is_empty()).map(Secret::from),
    };
    Place::read(&command.source).map(|place| Some(place.or_password(password)))
}

/// Reads the panel's export.
fn export(file: &Path) -> Result<Source, Failure> {
    let name = printable(&file.display().to_string());
    let unreadable = |error: std::io::Error| Failure::Usage(format!("cannot read {name}: {error}"));
    let mut bytes = Zeroizing::new(Vec::new());
    let most = u64::try_from(LARGEST_FILE).unwrap_or(u64::MAX).saturating_add(1);
    if file == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        std::fs::File::open(file).map_err(unreadable)?.take(most).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if bytes.len() > LARGEST_FILE {
        return Err(Failure::Usage(format!("{name} has more than {LARGEST_FILE} bytes")));
    }
    let wrong =
        |error: &dyn std::fmt::Display| Failure::Usage(format!("{name} is no export of fomalhaut's panel: {error}"));
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
        // What it says of a value could repeat it.
        wrong(&format!("it is not JSON (line {}, column {})", error.line(), error.column()))
    })?;
    Source::of_export(&value).map_err(|error| wrong(&error))
}

/// Reads the configurations of clients from Redis.
async fn configurations(redis: &mut Redis) -> Result<Source, Failure> {
    let keys: Vec<String> = redis.keys("config:*", MOST_CONFIGURATIONS).await?.into_iter().collect();
    if keys.is_empty() {
        return Err(Failure::failed("there is no key 'config:*' in this database of Redis"));
    }
    let mut values = BTreeMap::new();
    redis.begin();
    for keys in keys.chunks(AT_ONCE) {
        let commands: Vec<_> = keys.iter().map(|key| vec!["GET".to_owned(), key.clone()]).collect();
        for (key, reply) in keys.iter().zip(redis.ask_all(&commands).await?) {
            let value = reply.bytes().map(Zeroizing::new).and_then(|bytes| serde_json::from_slice(&bytes).ok());
            // The prefix once: what follows may begin with the same letters.
            let app_id = key.strip_prefix("config:").unwrap_or(key);
            values.insert(app_id.to_owned(), value.unwrap_or_default());
        }
    }
    Source::of_values(&values).map_err(Failure::failed)
}

/// The clients that the gateway has.
async fn existing(admin: &Admin) -> Result<Existing, Failure> {
    let mut existing = Existing::default();
    for client in admin.all("/clients").await? {
        let (name, access_key) = (text(&client, "name"), text(&client, "access_key"));
        if !access_key.is_empty() {
            existing.by_access_key.insert(access_key, name.clone());
        }
        existing.clients.insert(name);
    }
    Ok(existing)
}

/// Takes logins from clients whose Auth API the gateway would not connect to. Its guard looks at addresses of targets alone, so it
/// is asked about them as such.
async fn misled(conversion: &mut Conversion, admin: &Admin) -> Result<(), Failure> {
    let places = conversion.auth_places();
    if places.is_empty() {
        return Ok(());
    }
    let name = |number: usize| format!("auth-api-{number}/v1");
    let probes = places.keys().enumerate();
    let services: Map<_, _> =
        probes.map(|(number, url)| (name(number), json!({"targets": [{"url": url}], "require": []}))).collect();
    let asked = json!({"declarations": {"version": 1, "services": services}}).to_string();
    let problems = match admin.send(Method::POST, "/import?dry_run=true", (JSON, Bytes::from(asked)), None).await {
        Ok(_) => return Ok(()),
        Err(Failure::Refused { problems, .. }) => problems,
        Err(other) => return Err(other),
    };
    for (number, fields) in places.values().enumerate() {
        let of_it = format!("services.{}.targets[", name(number));
        for problem in problems.iter().filter(|problem| problem.path.starts_with(&of_it)) {
            for field in fields {
                conversion.give_up(&Problem::new(field.clone(), problem.message.clone()));
            }
        }
    }
    Ok(())
}

/// Plans. What the gateway does not take is left out, and is a loss.
async fn settle(conversion: &mut Conversion, command: &ImportFomalhaut, admin: &Admin) -> Result<Reply, Failure> {
    let path = format!("/import?dry_run=true&adopt={}", command.adopt);
    for _ in 0..ROUNDS {
        match admin.send(Method::POST, &path, body(conversion)?, None).await {
            Err(Failure::Refused { detail, problems }) => {
                let mut left_out = false;
                for problem in &problems {
                    left_out |= conversion.give_up(problem);
                }
                if !left_out {
                    return Err(Failure::Refused { detail, problems });
                }
            }
            other => return other,
        }
    }
    Err(Failure::failed("the gateway finds problems again and again; nothing was changed"))
}

/// What a plan removes, in words, where it is more than what happens from day to day: clients, whose secrets and sessions go with
/// them, or more than half of what an import has made.
async fn removed(plan: &Value, admin: &Admin) -> Result<Option<String>, Failure> {
    let steps = declarations::steps(plan).iter().filter(|step| step["action"] == "remove");
    let (clients, others): (Vec<_>, Vec<_>) = steps.partition(|step| step["kind"] == "client");
    let all = clients.len() + others.len();
    if clients.is_empty() {
        let owned = admin.get("/declarations?owner=import").await?.body;
        let owned = ["services", "routes", "clients", "hosts"].map(|of| owned[of].as_object().map_or(0, Map::len));
        if all * 2 <= owned.iter().sum() {
            return Ok(None);
        }
    }
    Ok(Some(format!("{} clients with their secrets and sessions, and {} other objects", clients.len(), others.len())))
}

/// Has somebody agree that this goes. What was cut short, or is of another place, is not known from what was emptied on purpose.
fn agree(is_empty: bool, goes: &str, command: &ImportFomalhaut, output: &mut Output) -> Result<(), Failure> {
    if is_empty {
        let why = "there are no clients in what was read; nothing was changed. --yes says that all which an import has made is to go";
        return Err(Failure::failed(why));
    }
    let can_ask = command.source != "-" && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if !can_ask {
        let why = format!("{goes} would be removed; nothing was changed. See them with --dry-run; --yes removes them");
        return Err(Failure::failed(why));
    }
    output.note(&format!("{goes} would be removed."))?;
    if declarations::agrees(output)? { Ok(()) } else { Err(Failure::failed("nothing was changed")) }
}

const JSON: &str = "application/json";

fn body(conversion: &Conversion) -> Result<(&'static str, Bytes), Failure> {
    let secrets: Map<String, Value> =
        conversion.secrets.iter().map(|(client, secret)| (client.clone(), secret.expose().into())).collect();
    let text = json!({"declarations": conversion.declared, "secrets": secrets}).to_string();
    if text.len() > LARGEST {
        return Err(Failure::failed(format!(
            "declarations have at most {LARGEST} bytes, and these have {}",
            text.len()
        )));
    }
    Ok((JSON, Bytes::from(text)))
}

fn names(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Tells what was taken over, or would be.
fn tell(
    conversion: &Conversion,
    done: &Value,
    is_done: bool,
    taken: Option<&tokens::Told>,
    output: &mut Output,
) -> Result<(), Failure> {
    let (plan, secrets) = (&done["plan"], &done["secrets"]);
    let mut findings: BTreeSet<_> = conversion.findings.clone();
    for changed in secrets["changed"].as_array().into_iter().flatten() {
        let (client, former) = (text(changed, "client"), text(changed, "former"));
        let what = format!(
            "its secret has changed there, and the new one is good here too. The former one stays good until you retire it: \
             portcullis client secret retire {} {former}",
            word(&client)
        );
        findings.insert(Finding::new(&format!("client '{client}'"), &what));
    }
    for client in names(&secrets["other"]) {
        let what = "it has another secret here, or none, and keeps that; 'portcullis client secret import' takes the one it has \
                    there";
        findings.insert(Finding::new(&format!("client '{client}'"), what));
    }
    if output.is_json() {
        return output.json(&json!({
            "applied": is_done, "plan": plan, "secrets": secrets, "declarations": conversion.declared, "findings": findings,
            "losses": conversion.losses, "tokens": taken.map(tokens::Told::json),
        }));
    }
    for finding in &findings {
        output.line(&printable(&format!("note: {}: {}", finding.of, finding.what)))?;
    }
    for loss in &conversion.losses {
        let line = printable(&format!("loss: {}: {}; {}", loss.of, loss.why, loss.instead));
        output.line(&output.paint(Colour::Yellow, &line))?;
    }
    declarations::show(plan, output)?;
    let count = |list: &str| secrets[list].as_array().map_or(0, Vec::len);
    let added = count("added") + count("changed");
    output.line(&format!("{added} secrets to add, {} known", count("known")))?;
    if let Some(taken) = taken {
        output.line(&taken.line())?;
    }
    let steps = declarations::steps(plan).len();
    match (is_done, conversion.losses.len()) {
        (true, _) if steps + added == 0 => output.note("nothing to do"),
        (true, _) => output.note("taken over"),
        (false, 0) => output.note("nothing was changed"),
        (false, _) => output.note("nothing was changed; --accept-losses goes on without what is lost"),
    }
}
