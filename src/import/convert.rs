//! What fomalhaut has as declarations: a service for each endpoint, a route of its own for each client that has it, and the
//! clients. A pure function: it reads and writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_core::model::{AuthUrl, Client, HostMode, Problem, TargetUrl};
use portcullis_core::secret::Secret;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::lifetimes;
use super::naming::{self, Existing, RouteNames, ServiceNames};
use super::pattern::translate;
use super::report::{Finding, Loss, word};
use super::source::{Endpoint, Form, Source, SourceClient, SourceEndpoint, Timeouts, USUAL_TIMEOUT};

/// The built-in endpoints there, and whether they ask for a login.
const BUILTIN: [(&str, &str, bool); 2] = [("auth", "v1", false), ("account", "v1", true)];
/// The id of calls that name none.
const PUBLIC: &str = "public";
/// A secret that is shorter can be found by trying.
const SHORT_SECRET: usize = 16;
/// Bytes of a secret.
const LONGEST_SECRET: usize = 1_024;

/// The declarations, by name, as the admin API takes them.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Declared {
    version: u64,
    pub(crate) services: BTreeMap<String, Value>,
    pub(crate) routes: BTreeMap<String, Value>,
    pub(crate) clients: BTreeMap<String, Value>,
    pub(crate) hosts: BTreeMap<String, Value>,
}

/// What an import would declare, and what there is to say about it.
#[derive(Debug, Default)]
pub(crate) struct Conversion {
    pub(crate) declared: Declared,
    /// By the names of clients.
    pub(crate) secrets: BTreeMap<String, Secret>,
    /// Names of clients by their ids there.
    pub(crate) clients: BTreeMap<String, String>,
    pub(crate) findings: BTreeSet<Finding>,
    pub(crate) losses: BTreeSet<Loss>,
}

/// Converts everything of a source. `hosts` are those that speak the clients' dialect.
pub(crate) fn convert(source: &Source, existing: &Existing, hosts: &[String]) -> Conversion {
    let mut conversion = Conversion {
        findings: source.findings.iter().cloned().collect(),
        losses: source.losses.iter().cloned().collect(),
        ..Conversion::default()
    };
    conversion.declared.version = 1;
    let wanted = source.clients.iter().map(|(app_id, client)| (app_id.as_str(), client.name.as_deref()));
    let names = naming::clients(wanted, existing);
    let services = conversion.services(source);
    let mut route_names = RouteNames::default();
    for (app_id, client) in &source.clients {
        if let Err(expected) = Client::check_access_key(app_id) {
            conversion.lose(
                &format!("client '{}'", app_id.escape_debug()),
                &format!("its id: {expected}"),
                "it is left out",
            );
            continue;
        }
        let Some(name) = names.get(app_id) else { continue };
        conversion.client(app_id, name, client, &services, &mut route_names);
        conversion.clients.insert(app_id.clone(), name.clone());
    }
    conversion.hosts(source, hosts);
    conversion.tell(source);
    conversion
}

/// The service of an endpoint, by name, version and what it is; none where it cannot be one.
type Services = BTreeMap<(String, String, Endpoint), Option<String>>;

impl Conversion {
    /// Declares a service for each different endpoint that is none of the gateway's own.
    fn services(&mut self, source: &Source) -> Services {
        let mut wanted = BTreeMap::<(&str, &str), BTreeMap<&Endpoint, u64>>::new();
        for ((name, version), endpoint) in source.clients.values().flat_map(|client| &client.endpoints) {
            if endpoint.what.is_builtin {
                continue;
            }
            let id = wanted.entry((name, version)).or_default().entry(&endpoint.what).or_insert(u64::MAX);
            *id = endpoint.id.min(*id);
        }
        let (mut names, mut found) = (ServiceNames::default(), Services::new());
        for ((name, version), different) in wanted {
            let mut different: Vec<_> = different.into_iter().collect();
            different.sort_by_key(|(what, id)| (*id, *what));
            for (what, _) in different {
                let service = match self.service(&format!("endpoint '{name}/{version}'"), what) {
                    Ok(service) => {
                        let own = names.find(name, version, &mark(what));
                        self.declared.services.insert(own.clone(), service);
                        Some(own)
                    }
                    Err(why) => {
                        self.lose(&format!("endpoint '{name}/{version}'"), &why, "its calls are refused (432)");
                        None
                    }
                };
                found.insert((name.to_owned(), version.to_owned(), what.clone()), service);
            }
        }
        found
    }

    fn service(&mut self, place: &str, what: &Endpoint) -> Result<Value, String> {
        let url = what.url.as_deref().filter(|url| !url.is_empty()).ok_or("it has no URL")?;
        // The URL may have secrets in it, so nothing is said of it but what was expected.
        let target: TargetUrl = url.parse().map_err(|error| format!("its URL: {error}"))?;
        if let Err(expected) = host_of(what, &target) {
            return Err(format!("its backend is sent another 'Host' than that of its URL: {expected}"));
        }
        let mut service = json!({
            "targets": [{"url": url}], "require": require(what), "default_route": false, "path_parameters": "keep",
            "encoded_slash": "keep", "traffic": {"timeouts": timeouts(what.timeouts, Some(USUAL_TIMEOUT))},
        });
        if let Some(acl) = self.acl(place, what) {
            service["policies"] = json!({"acl": acl});
        }
        Ok(service)
    }

    /// The settings of `acl`. Where a rule cannot be said, nobody may call.
    fn acl(&mut self, place: &str, what: &Endpoint) -> Option<Value> {
        let rules = what.rules.as_ref().filter(|rules| !rules.is_empty())?;
        let mut written = Vec::new();
        let mut wrong = Vec::new();
        for (number, rule) in rules.iter().enumerate() {
            let expression = rule.expression.as_deref().ok_or("it has no 're_uri' or no 'is_permit'".to_owned());
            match expression.and_then(|expression| translate(expression, what.anchor)) {
                Ok(path) => {
                    written.push(json!({"path": path, "effect": if rule.is_permit { "allow" } else { "deny" }}));
                }
                Err(why) => {
                    let expression = rule.expression.as_deref().unwrap_or_default().escape_debug();
                    wrong.push(format!("rule {} ('{expression}'): {why}", number + 1));
                }
            }
        }
        let settings = json!({"rules": written});
        if wrong.is_empty() {
            let problems = portcullis_policies::acl::problems(&settings);
            wrong.extend(problems.into_iter().map(|problem| format!("{}: {}", problem.path, problem.message)));
        }
        if wrong.is_empty() {
            return Some(settings);
        }
        for why in wrong {
            self.lose(place, &why, "every call to it is refused (432) until its rules are written anew");
        }
        Some(json!({"default": "deny"}))
    }

    fn client(
        &mut self,
        app_id: &str,
        name: &str,
        client: &SourceClient,
        services: &Services,
        route_names: &mut RouteNames,
    ) {
        let mut grants = Vec::new();
        for ((endpoint, version), held) in &client.endpoints {
            let place = format!("endpoint '{endpoint}/{version}' of client '{name}'");
            let builtin = BUILTIN.iter().find(|(own, of, _)| own == endpoint && of == version);
            let mut route = match (held.what.is_builtin, builtin) {
                (true, Some((.., login))) if is_usual(held, *login) => {
                    grants.push(format!("{endpoint}/{version}"));
                    continue;
                }
                (true, Some(_)) => self.builtin_route(&place, held),
                (true, None) => {
                    self.find(&place, "it is built in, and no such endpoint is there: its calls were 404, and are 432");
                    continue;
                }
                (false, _) => {
                    let key = (endpoint.clone(), version.clone(), held.what.clone());
                    let Some(Some(service)) = services.get(&key) else { continue };
                    route_to(service, client, held)
                }
            };
            let is_fine = |part: &str| {
                !part.is_empty()
                    && part != "."
                    && part != ".."
                    && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
            };
            if !is_fine(endpoint) || !is_fine(version) {
                let why = "its name or version is no segment of a path as it is sent";
                self.lose(&place, why, "its calls are refused (432)");
                continue;
            }
            route["match"]["client"] = name.into();
            route["match"]["path"] = json!({"prefix": format!("/{endpoint}/{version}")});
            if !held.enabled {
                route["enabled"] = false.into();
            }
            self.declared.routes.insert(route_names.find(name, endpoint, version), route);
        }
        let mut declared = json!({"services": grants, "access_key": app_id});
        if !client.enabled {
            declared["enabled"] = false.into();
        }
        self.login(name, client, &mut declared);
        self.declared.clients.insert(name.to_owned(), declared);
        self.secret(name, client);
    }

    /// The route to a built-in endpoint that differs from how it is for everybody.
    fn builtin_route(&mut self, place: &str, held: &SourceEndpoint) -> Value {
        let mut route = json!({"match": {}, "builtin": true, "require": require(&held.what)});
        if let Some(acl) = self.acl(place, &held.what) {
            route["policies"] = json!({"acl": acl});
        }
        route
    }

    /// What the built-in endpoints need of a client that has them. One whose Auth API cannot be asked is not given to it: the
    /// gateway's own users would log in there.
    fn login(&mut self, name: &str, client: &SourceClient, declared: &mut Value) {
        let has = |endpoint: &str| client.endpoints.iter().any(|(key, held)| key.0 == endpoint && held.what.is_builtin);
        if !has("auth") && !has("account") {
            return;
        }
        for (field, url) in &client.auth {
            match url.parse::<AuthUrl>() {
                Ok(_) => declared[*field] = url.as_str().into(),
                Err(why) => self.take_login(name, declared, field, &why),
            }
        }
        if has("auth") && !client.auth.contains_key("login_auth_url") {
            let what =
                "it has no 'login_auth_url': the users of this gateway can log in through it; there nobody could (510)";
            self.find(&format!("client '{name}'"), what);
        }
        if let Some(([access, refresh], told)) = lifetimes::kept(client.lifetimes) {
            if let Some(what) = told {
                self.find(&format!("client '{name}'"), &what);
            }
            declared["access_token_ttl"] = format!("{access}s").into();
            declared["refresh_token_ttl"] = format!("{refresh}s").into();
        }
    }

    /// Takes from a client the endpoint that would ask an Auth API under this URL.
    fn take_login(&mut self, name: &str, declared: &mut Value, field: &str, why: &str) {
        let endpoint = if field.contains("login") { "auth" } else { "account" };
        if let Some(fields) = declared.as_object_mut() {
            fields.remove(field);
        }
        if let Some(grants) = declared["services"].as_array_mut() {
            grants.retain(|grant| *grant != format!("{endpoint}/v1"));
        }
        let path = json!({"prefix": format!("/{endpoint}/v1")});
        self.declared.routes.retain(|_, route| {
            route["builtin"] != true || route["match"]["client"] != *name || route["match"]["path"] != path
        });
        let instead = format!("its calls to /{endpoint}/v1 are refused (432)");
        self.lose(&format!("client '{name}'"), &format!("{field}: {why}"), &instead);
    }

    fn secret(&mut self, name: &str, client: &SourceClient) {
        let place = format!("client '{name}'");
        let signs = client.endpoints.values().any(|held| held.what.hmac);
        let secret = client.secret.as_ref().filter(|secret| !secret.expose().is_empty());
        match secret {
            None if !signs => {}
            None => self.lose(&place, "it has no secret", "its signed calls are refused (431)"),
            Some(secret) if !is_secret(secret.expose()) => {
                let why = format!(
                    "its secret has more than {LONGEST_SECRET} bytes, control characters, or a space at one of its ends"
                );
                self.lose(&place, &why, "it has no secret, and its signed calls are refused (431)");
            }
            Some(secret) => {
                if secret.expose().len() < SHORT_SECRET {
                    self.find(&place, "its secret has less than 16 bytes and can be guessed; replace it");
                }
                self.secrets.insert(name.to_owned(), secret.clone());
            }
        }
    }

    fn hosts(&mut self, source: &Source, hosts: &[String]) {
        let is_api = !source.clients.is_empty() && source.clients.values().all(|client| client.form == Form::Api);
        // Calls that name no client are those of `public` in `fo` alone; those that name one say their dialect themselves.
        let is_api = is_api && !source.clients.contains_key(PUBLIC);
        let dialect = if is_api { "api" } else { "fo" };
        for host in hosts {
            self.declared.hosts.insert(host.clone(), json!({"dialect": dialect}));
        }
        if hosts.is_empty() && source.clients.contains_key(PUBLIC) {
            let what = "calls that name no client are its calls only on hosts that are declared for the dialect; name them \
                        with --host";
            self.find("client 'public'", what);
        }
    }

    /// What is worth knowing about all of it.
    fn tell(&mut self, source: &Source) {
        let held = || source.clients.values().flat_map(|client| &client.endpoints);
        let of = |meant: &dyn Fn(&Endpoint) -> bool| {
            let found =
                held().filter(|(_, held)| meant(&held.what)).map(|((name, version), _)| format!("{name}/{version}"));
            found.collect::<BTreeSet<_>>().into_iter().take(20).collect::<Vec<_>>().join(", ")
        };
        let unsigned = of(&|what| !what.hmac && !what.is_builtin);
        if !unsigned.is_empty() {
            let what =
                format!("anybody can call as the client: {unsigned}. Backends are not told X-App-Id of such calls");
            self.find("calls without signatures", &what);
        }
        if !self.declared.services.is_empty() {
            let what = "paths with ';' or '%2F' are passed on as they come ('path_parameters' and 'encoded_slash' are 'keep'); \
                        rules see paths decoded and without dot segments";
            self.find("paths", what);
            let what = "as there: those of 'fo' may use GET, HEAD, POST, PUT, DELETE and OPTIONS, those of 'api' GET, HEAD and \
                        POST ('match.methods')";
            self.find("methods", what);
        }
        if source.clients.values().any(|client| client.form == Form::Fo) {
            let what = "clients of 'fo' may sign with HMAC-SHA1; once a client has moved to SHA-256, declare \
                        'least_algorithm: sha256' for it";
            self.find("signatures", what);
        }
        if source.memos > 0 {
            self.find("notes", &format!("{} objects have a 'memo', which is not taken over", source.memos));
        }
    }

    /// Where Auth APIs are, without the queries of their URLs, and the fields of clients that say so.
    pub(crate) fn auth_places(&self) -> BTreeMap<String, Vec<String>> {
        let mut places = BTreeMap::<_, Vec<_>>::new();
        for (name, client) in &self.declared.clients {
            for (field, url) in client.as_object().into_iter().flatten().filter(|(field, _)| field.ends_with("_url")) {
                let url = url.as_str().unwrap_or_default();
                let place = url.split_once('?').map_or(url, |(place, _)| place);
                places.entry(place.to_owned()).or_default().push(format!("clients.{name}.{field}"));
            }
        }
        places
    }

    /// Says that a secret which has changed there has no room here.
    pub(crate) fn keeps_old_secret(&mut self, client: &str) {
        let instead = format!(
            "calls signed with the new one are refused (431), and the former one stays good; retire one of the two: portcullis \
             client secret list {}",
            word(client)
        );
        let why = "its secret has changed there, and it has two secrets here already";
        self.lose(&format!("client '{client}'"), why, &instead);
    }

    /// Leaves out what the gateway does not take. False if the problem names nothing that could be left out.
    pub(crate) fn give_up(&mut self, problem: &Problem) -> bool {
        let declared = &self.declared;
        let found = [
            ("services", &declared.services),
            ("routes", &declared.routes),
            ("clients", &declared.clients),
            ("hosts", &declared.hosts),
        ]
        .iter()
        .filter_map(|(section, objects)| {
            let rest = problem.path.strip_prefix(section)?.strip_prefix('.')?;
            let is_it = |name: &&String| {
                rest.strip_prefix(name.as_str()).is_some_and(|end| end.is_empty() || end.starts_with(['.', '[']))
            };
            Some((*section, objects.keys().filter(is_it).max_by_key(|name| name.len())?.clone()))
        })
        .next();
        let Some((section, name)) = found else { return false };
        // What stands behind the name: a client may be called like a field.
        let of_login = problem.path.strip_prefix(&format!("clients.{name}.")).filter(|field| field.ends_with("_url"));
        if let (Some(field), Some(mut client)) = (of_login, self.declared.clients.remove(&name)) {
            self.take_login(&name, &mut client, field, &problem.message);
            self.declared.clients.insert(name, client);
            return true;
        }
        let declared = &mut self.declared;
        match section {
            "services" => {
                declared.services.remove(&name);
                declared.routes.retain(|_, route| route["service"] != *name);
            }
            "clients" => {
                declared.clients.remove(&name);
                declared.routes.retain(|_, route| route["match"]["client"] != *name);
                self.secrets.remove(&name);
                self.clients.retain(|_, held| *held != name);
            }
            "hosts" => _ = declared.hosts.remove(&name),
            _ => _ = declared.routes.remove(&name),
        }
        let kind = section.trim_end_matches('s');
        self.lose(&format!("{kind} '{name}'"), &problem.message, "it is left out, and calls that need it are refused");
        true
    }

    fn lose(&mut self, of: &str, why: &str, instead: &str) {
        self.losses.insert(Loss::new(of, why, instead));
    }

    fn find(&mut self, of: &str, what: &str) {
        self.findings.insert(Finding::new(of, what));
    }
}

/// What tells an endpoint from others that calls know by the same name: the same text in every release.
fn mark(what: &Endpoint) -> String {
    let rules = what.rules.iter().flatten().map(|rule| format!("{:?} {}", rule.expression, rule.is_permit));
    let rules = rules.collect::<Vec<_>>().join("\n");
    let Timeouts { connect, request } = what.timeouts;
    format!(
        "{:?} {:?} {} {} {} {:?} {connect:?} {request:?}\n{rules}",
        what.url, what.netloc, what.hmac, what.login, what.skip_uri, what.anchor
    )
}

/// Whether a built-in endpoint is for this client as it is for everybody.
fn is_usual(held: &SourceEndpoint, login: bool) -> bool {
    let has_rules = held.what.rules.as_ref().is_some_and(|rules| !rules.is_empty());
    held.enabled && held.what.hmac && held.what.login == login && !has_rules
}

fn route_to(service: &str, client: &SourceClient, held: &SourceEndpoint) -> Value {
    let methods: &[&str] = match client.form {
        Form::Fo => &["GET", "POST", "PUT", "DELETE", "OPTIONS"],
        Form::Api => &["GET", "POST"],
    };
    let mut route = json!({"match": {"methods": methods}, "service": service});
    if held.what.skip_uri {
        let has_slash = held.what.url.as_deref().is_some_and(|url| url.ends_with('/'));
        route["rewrite"] = if has_slash { "/" } else { "" }.into();
        route["query"] = "drop".into();
    } else {
        route["strip"] = true.into();
    }
    let target = held.what.url.as_deref().and_then(|url| url.parse().ok());
    if let Some(Ok(Some(host))) = target.map(|target| host_of(&held.what, &target)) {
        route["host"] = String::from(host).into();
    }
    let own = timeouts(client.timeouts, None);
    if !own.is_empty() {
        route["traffic"] = json!({"timeouts": own});
    }
    route
}

/// The `Host` that a backend is sent, where it is not that of its URL.
fn host_of(what: &Endpoint, target: &TargetUrl) -> Result<Option<HostMode>, String> {
    let netloc = what.netloc.as_deref().filter(|netloc| **netloc != **target.authority());
    match netloc.map(str::parse) {
        None => Ok(None),
        Some(Ok(HostMode::Named(host))) => Ok(Some(HostMode::Named(host))),
        Some(Ok(_)) => Err("expected a host".to_owned()),
        Some(Err(expected)) => Err(expected),
    }
}

fn require(what: &Endpoint) -> Value {
    match (what.hmac, what.login) {
        (true, true) => json!([["signature", "bearer"]]),
        (true, false) => json!([["signature"]]),
        (false, true) => json!([["bearer"]]),
        (false, false) => json!([]),
    }
}

/// Time limits. There one limit was for the whole exchange with the backend; here it is for its head and for each pause, so that
/// no body is cut for taking long.
fn timeouts(limits: Timeouts, usual: Option<u64>) -> Map<String, Value> {
    let text =
        |millis: u64| if millis.is_multiple_of(1_000) { format!("{}s", millis / 1_000) } else { format!("{millis}ms") };
    let mut written = Map::new();
    if let Some(connect) = limits.connect.or(usual) {
        written.insert("connect".to_owned(), text(connect).into());
    }
    if let Some(request) = limits.request.or(usual) {
        written.insert("first_byte".to_owned(), text(request).into());
        written.insert("idle".to_owned(), text(request).into());
    }
    written
}

fn is_secret(text: &str) -> bool {
    text.len() <= LONGEST_SECRET && !text.chars().any(char::is_control) && text.trim() == text
}
