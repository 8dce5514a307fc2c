//! What fomalhaut has: its clients and their endpoints, read from the panel's export or from the values of Redis. Absent members
//! count as they do there, and values are true where Python takes them for true.

use std::collections::BTreeMap;

use portcullis_core::secret::Secret;
use serde_json::{Map, Value};

use super::pattern::{Anchor, translate};
use super::report::{Finding, Loss};

/// Clients of one source.
const MOST_CLIENTS: usize = 20_000;
/// Endpoints of all clients together.
const MOST_ENDPOINTS: usize = 100_000;
/// What the gateway gave a backend that nobody set another limit for, in milliseconds.
pub(crate) const USUAL_TIMEOUT: u64 = 20_000;

/// What becomes of an endpoint that is not taken over.
const LEFT_OUT: &str = "it is left out, and its calls are refused (432)";

/// Everything of a source.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// By the id that calls name.
    pub(crate) clients: BTreeMap<String, SourceClient>,
    /// What could not be read.
    pub(crate) losses: Vec<Loss>,
    /// What is odd.
    pub(crate) findings: Vec<Finding>,
    /// Objects with a note.
    pub(crate) memos: usize,
}

/// The dialect in which a client's configuration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// With `app_id`.
    Fo,
    /// With `access_key`, until 2017.
    Api,
}

/// A client.
#[derive(Debug)]
pub(crate) struct SourceClient {
    pub(crate) form: Form,
    /// What people call it.
    pub(crate) name: Option<String>,
    pub(crate) enabled: bool,
    /// With which it signs; none where it is no text.
    pub(crate) secret: Option<Secret>,
    /// The four URLs of its Auth API, as they are called in declarations.
    pub(crate) auth: BTreeMap<&'static str, String>,
    /// Seconds of an access token and of a refresh token.
    pub(crate) lifetimes: [Option<u64>; 2],
    /// Time limits that go over those of its endpoints.
    pub(crate) timeouts: Timeouts,
    /// By name and version in its calls.
    pub(crate) endpoints: BTreeMap<(String, String), SourceEndpoint>,
}

/// An endpoint as one client has it.
#[derive(Debug)]
pub(crate) struct SourceEndpoint {
    pub(crate) enabled: bool,
    /// Its number in the panel: the smallest goes first where two want one name.
    pub(crate) id: u64,
    pub(crate) what: Endpoint,
}

/// What an endpoint is, whoever's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    pub(crate) is_builtin: bool,
    pub(crate) url: Option<String>,
    pub(crate) netloc: Option<String>,
    pub(crate) hmac: bool,
    pub(crate) login: bool,
    /// Absent where they are switched off.
    pub(crate) rules: Option<Vec<Rule>>,
    pub(crate) anchor: Anchor,
    pub(crate) skip_uri: bool,
    pub(crate) timeouts: Timeouts,
}

/// A rule; without an expression every call to its endpoint failed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rule {
    pub(crate) expression: Option<String>,
    pub(crate) is_permit: bool,
}

/// Limits in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timeouts {
    pub(crate) connect: Option<u64>,
    pub(crate) request: Option<u64>,
}

/// The URLs of an Auth API: there, and here. They are called the same.
const AUTH: [&str; 4] = ["login_auth_url", "sms_login_auth_url", "change_password_url", "sms_change_password_url"];

type Object = Map<String, Value>;

impl Source {
    /// Reads the panel's export: `clients`, `endpoints` and `client_endpoints`.
    pub(crate) fn of_export(export: &Value) -> Result<Self, String> {
        let lists = ["clients", "endpoints", "client_endpoints"].map(|name| export.get(name).and_then(Value::as_array));
        let [Some(clients), Some(endpoints), Some(links)] = lists else {
            return Err("expected an object with the lists 'clients', 'endpoints' and 'client_endpoints'".to_owned());
        };
        let mut source = Self::default();
        let (known, endpoints) = (by_id(clients), by_id(endpoints));
        let mut of_client = BTreeMap::<Option<u64>, Vec<&Object>>::new();
        for link in links.iter().filter_map(Value::as_object) {
            of_client.entry(number(link.get("client_id"))).or_default().push(link);
        }
        let mut callers = BTreeMap::<String, usize>::new();
        for app_id in clients.iter().filter_map(Value::as_object).filter_map(app_id_of) {
            *callers.entry(app_id).or_default() += 1;
        }
        for fields in clients.iter().filter_map(Value::as_object) {
            let Some(app_id) = app_id_of(fields) else {
                source.lose(
                    "a client without a text in 'app_id' or 'access_key'",
                    "nothing can call as it",
                    "it is left out",
                );
                continue;
            };
            let id = number(fields.get("id"));
            // Which of them is meant is not to be known, and one of them may be open where the other is not.
            let is_doubled = id.is_some_and(|id| matches!(known.get(&id), Some(None)));
            if is_doubled || callers.get(&app_id).is_some_and(|count| *count > 1) {
                let of = if is_doubled { "the same 'id'" } else { "the same 'app_id' or 'access_key'" };
                let why = format!("another client of the export has {of}");
                source.lose(&format!("client '{app_id}'"), &why, "both are left out, and their calls are refused");
                continue;
            }
            let links = id.and_then(|id| of_client.get(&Some(id))).map_or(&[][..], Vec::as_slice);
            let held = source.held(&app_id, links, &endpoints);
            source.client(app_id, fields, &held)?;
        }
        let strays = of_client.keys().filter(|id| id.is_none_or(|id| !known.contains_key(&id))).count();
        if strays > 0 {
            source.find(
                "client_endpoints",
                &format!("{strays} clients that the export does not have are given endpoints"),
            );
        }
        Ok(source)
    }

    /// The endpoints that a client of the export is given. Where it is not to be known which one is meant, it is given none.
    fn held(&mut self, app_id: &str, links: &[&Object], endpoints: &BTreeMap<u64, Option<&Object>>) -> Object {
        let mut held = BTreeMap::<String, Option<Value>>::new();
        for link in links {
            let id = number(link.get("endpoint_id"));
            let mut endpoint = match id.and_then(|id| endpoints.get(&id)) {
                Some(Some(endpoint)) => (*endpoint).clone(),
                Some(None) => {
                    let of = format!("endpoint {} of client '{app_id}'", id.unwrap_or_default());
                    self.lose(&of, "several endpoints of the export have this 'id'", LEFT_OUT);
                    continue;
                }
                None => {
                    self.find(app_id, "it is given an endpoint that the export does not have");
                    continue;
                }
            };
            let [Some(name), Some(version)] = ["name", "version"].map(|field| text(endpoint.get(field))) else {
                let why = "it has no name or no version";
                self.lose(&format!("an endpoint of client '{app_id}'"), why, "it is left out");
                continue;
            };
            let enabled = is_true(link.get("enable"), true) && is_true(endpoint.get("enable"), true);
            endpoint.insert("enable".to_owned(), enabled.into());
            let key = format!("{name}:{version}");
            let endpoint = Some(Value::Object(endpoint));
            match held.get(&key) {
                None => _ = held.insert(key, endpoint),
                Some(same) if *same == endpoint => {}
                Some(_) => {
                    let why = format!("client '{app_id}' has several endpoints '{key}'");
                    self.lose(&format!("an endpoint of client '{app_id}'"), &why, LEFT_OUT);
                    held.insert(key, None);
                }
            }
        }
        held.into_iter().filter_map(|(key, endpoint)| Some((key, endpoint?))).collect()
    }

    /// Reads the values of Redis, by what follows `config:` in their keys: that is whom they configure.
    pub(crate) fn of_values(values: &BTreeMap<String, Value>) -> Result<Self, String> {
        let mut source = Self::default();
        for (app_id, value) in values {
            let Some(fields) = value.as_object() else {
                source.lose(&format!("client '{app_id}'"), "its configuration is no JSON object", "it is left out");
                continue;
            };
            if app_id_of(fields).is_some_and(|inside| inside != *app_id) {
                source.find(app_id, "its configuration names another id; calls name the one of its key");
            }
            let none = Object::new();
            let endpoints = match fields.get("endpoints") {
                None => &none,
                Some(Value::Object(endpoints)) => endpoints,
                Some(_) => {
                    source.lose(&format!("client '{app_id}'"), "its 'endpoints' are no object", "it may call nothing");
                    &none
                }
            };
            source.client(app_id.clone(), fields, endpoints)?;
        }
        Ok(source)
    }

    fn client(&mut self, app_id: String, fields: &Object, endpoints: &Object) -> Result<(), String> {
        let form =
            if fields.contains_key("access_key") && !fields.contains_key("app_id") { Form::Api } else { Form::Fo };
        let auth = AUTH.iter().filter_map(|name| Some((*name, text(fields.get(*name)).filter(|url| !url.is_empty())?)));
        let mut client = SourceClient {
            form,
            name: text(fields.get("name")).filter(|name| !name.is_empty()),
            enabled: is_true(fields.get("enable"), true),
            secret: fields.get("secret_key").and_then(Value::as_str).map(Secret::from),
            auth: auth.collect(),
            lifetimes: ["access_token_ex", "refresh_token_ex"].map(|name| number(fields.get(name))),
            timeouts: timeouts(fields),
            endpoints: BTreeMap::new(),
        };
        self.memos += usize::from(has_memo(fields));
        for (key, endpoint) in endpoints {
            let place = format!("endpoint '{key}' of client '{app_id}'");
            match (key.split_once(':'), endpoint.as_object()) {
                (Some((name, version)), Some(fields)) => {
                    self.memos += usize::from(has_memo(fields));
                    let endpoint = self.endpoint(&place, form, fields);
                    client.endpoints.insert((name.to_owned(), version.to_owned()), endpoint);
                }
                _ => self.lose(&place, "it is no object under 'name:version'", "it is left out"),
            }
        }
        self.clients.insert(app_id, client);
        let endpoints: usize = self.clients.values().map(|client| client.endpoints.len()).sum();
        if self.clients.len() > MOST_CLIENTS || endpoints > MOST_ENDPOINTS {
            return Err(format!("a source has at most {MOST_CLIENTS} clients, and {MOST_ENDPOINTS} endpoints of them"));
        }
        Ok(())
    }

    fn endpoint(&mut self, place: &str, form: Form, fields: &Object) -> SourceEndpoint {
        let rules = is_true(fields.get("enable_acl"), false).then(|| match fields.get("acl_rules") {
            None => Vec::new(),
            Some(Value::Array(rules)) => rules.iter().map(rule).collect(),
            Some(_) => vec![Rule { expression: None, is_permit: false }],
        });
        let url = fields.get("url");
        if url.is_some_and(|url| !url.is_string() && !url.is_null()) {
            self.find(place, "its URL is no text");
        }
        let what = Endpoint {
            is_builtin: is_true(fields.get("is_builtin"), false),
            url: text(url),
            netloc: text(fields.get("netloc")).filter(|netloc| !netloc.is_empty()),
            hmac: is_true(fields.get("enable_hmac"), true),
            login: is_true(fields.get("require_login"), false),
            anchor: anchor(form, rules.as_deref()),
            rules,
            skip_uri: is_true(fields.get("skip_uri"), false),
            timeouts: timeouts(fields),
        };
        let id = number(fields.get("id")).unwrap_or(u64::MAX);
        SourceEndpoint { enabled: is_true(fields.get("enable"), true), id, what }
    }

    fn lose(&mut self, of: &str, why: &str, instead: &str) {
        self.losses.push(Loss::new(of, why, instead));
    }

    fn find(&mut self, of: &str, what: &str) {
        self.findings.push(Finding::new(of, what));
    }
}

/// Where rules may begin to match: with `access_key` anywhere, where that makes a difference.
fn anchor(form: Form, rules: Option<&[Rule]>) -> Anchor {
    let expressions = || rules.into_iter().flatten().filter_map(|rule| rule.expression.as_deref());
    let differs = |expression| translate(expression, Anchor::Start) != translate(expression, Anchor::Anywhere);
    if form == Form::Api && expressions().any(differs) { Anchor::Anywhere } else { Anchor::Start }
}

fn rule(value: &Value) -> Rule {
    let expression = text(value.get("re_uri")).filter(|_| value.get("is_permit").is_some());
    Rule { expression, is_permit: is_true(value.get("is_permit"), false) }
}

fn app_id_of(fields: &Object) -> Option<String> {
    let found = fields.get("app_id").or_else(|| fields.get("access_key"));
    text(found).filter(|app_id| !app_id.is_empty())
}

/// Objects by their `id`; none where several have it.
fn by_id(list: &[Value]) -> BTreeMap<u64, Option<&Object>> {
    let mut found = BTreeMap::new();
    for fields in list.iter().filter_map(Value::as_object) {
        if let Some(id) = number(fields.get("id")) {
            found.entry(id).and_modify(|held| *held = None).or_insert(Some(fields));
        }
    }
    found
}

fn has_memo(fields: &Object) -> bool {
    text(fields.get("memo")).is_some_and(|memo| !memo.trim().is_empty())
}

/// Time limits; 0 and what is no number are none.
fn timeouts(fields: &Object) -> Timeouts {
    let [connect, request] = ["async_http_connect_timeout", "async_http_request_timeout"].map(|name| {
        let seconds = fields.get(name).and_then(Value::as_f64).filter(|seconds| *seconds > 0.0)?;
        // A day is the most there is here; what is beyond is as good as that.
        Some(((seconds * 1_000.0) as u64).clamp(1, 86_400_000))
    });
    Timeouts { connect, request }
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(str::to_owned)
}

fn number(value: Option<&Value>) -> Option<u64> {
    value.and_then(Value::as_u64)
}

/// Whether Python takes a value for true; what is absent is as it says.
fn is_true(value: Option<&Value>, absent: bool) -> bool {
    match value {
        None => absent,
        Some(Value::Null) => false,
        Some(Value::Bool(value)) => *value,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(members)) => !members.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_absent_counts_as_it_does_there() {
        let values = [("a".to_owned(), json!({"secret_key": "s", "endpoints": {"e:v1": {"url": "http://h"}}}))];
        let source = Source::of_values(&values.into()).expect("read");
        let client = &source.clients["a"];
        let endpoint = &client.endpoints[&("e".to_owned(), "v1".to_owned())];
        let what = &endpoint.what;
        assert!(client.enabled && endpoint.enabled && what.hmac);
        assert!(!what.login && !what.is_builtin && !what.skip_uri && what.rules.is_none());
        assert_eq!((client.form, what.anchor, what.timeouts.connect), (Form::Fo, Anchor::Start, None));
        assert!(source.losses.is_empty() && source.findings.is_empty());
    }

    #[test]
    fn a_value_is_true_where_python_takes_it_for_true() {
        for (value, want) in [
            (json!(null), false),
            (json!(0), false),
            (json!(0.0), false),
            (json!(""), false),
            (json!([]), false),
            (json!({}), false),
            (json!(false), false),
            (json!(1), true),
            (json!("no"), true),
            (json!([0]), true),
            (json!(true), true),
        ] {
            assert_eq!(is_true(Some(&value), !want), want, "{value}");
        }
    }

    #[test]
    fn a_link_that_is_switched_off_switches_the_endpoint_off_for_its_client_alone() {
        let export = json!({
            "clients": [{"id": 1, "access_key": "a", "secret_key": "x"}, {"id": 2, "access_key": "b", "secret_key": "y"}],
            "endpoints": [{"id": 7, "name": "e", "version": "v1", "url": "http://h", "memo": "a note"}],
            "client_endpoints": [
                {"client_id": 1, "endpoint_id": 7, "enable": false}, {"client_id": 2, "endpoint_id": 7, "enable": true},
                {"client_id": 2, "endpoint_id": 8, "enable": true}, {"client_id": 3, "endpoint_id": 7, "enable": true},
            ],
        });
        let source = Source::of_export(&export).expect("read");
        let key = ("e".to_owned(), "v1".to_owned());
        assert_eq!(
            (source.clients["a"].endpoints[&key].enabled, source.clients["b"].endpoints[&key].enabled),
            (false, true)
        );
        assert_eq!((source.clients["a"].form, source.memos, source.findings.len()), (Form::Api, 2, 2));
        assert!(Source::of_export(&json!({"clients": []})).is_err());
    }

    #[test]
    fn where_two_have_one_id_neither_is_taken() {
        let export = |more: &Value| {
            let mut export = json!({
                "clients": [{"id": 1, "app_id": "a", "secret_key": "x"}, {"id": 2, "app_id": "b", "secret_key": "y"}],
                "endpoints": [
                    {"id": 7, "name": "e", "version": "v1", "url": "http://h"},
                    {"id": 8, "name": "f", "version": "v1", "url": "http://h"},
                ],
                "client_endpoints": [{"client_id": 1, "endpoint_id": 7}, {"client_id": 1, "endpoint_id": 8}],
            });
            for (list, object) in more.as_object().expect("an object") {
                export[list].as_array_mut().expect("a list").push(object.clone());
            }
            Source::of_export(&export).expect("read")
        };
        // Another endpoint, client or link, and what the client 'a' has then.
        for (more, held) in [
            (json!({"endpoints": {"id": 7, "name": "e", "version": "v1", "enable_hmac": false}}), Some("f")),
            (json!({"client_endpoints": {"client_id": 1, "endpoint_id": 7, "enable": false}}), Some("f")),
            (json!({"clients": {"id": 1, "app_id": "c", "secret_key": "z"}}), None),
            (json!({"clients": {"id": 3, "app_id": "a", "secret_key": "z"}}), None),
            (json!({"clients": {"id": 3, "access_key": "a", "secret_key": "z"}}), None),
        ] {
            let source = export(&more);
            assert!(!source.losses.is_empty(), "{more}");
            let names = source.clients.get("a").map(|client| {
                let names = client.endpoints.keys().map(|key| key.0.as_str());
                names.collect::<Vec<_>>()
            });
            assert_eq!(names, held.map(|name| vec![name]), "{more}");
            assert!(!source.clients.contains_key("c") && source.clients.contains_key("b"), "{more}");
        }
        // The same link once more says nothing else, and a link of nobody is nobody's.
        let again = export(&json!({"client_endpoints": {"client_id": 1, "endpoint_id": 7, "enable": true}}));
        assert!(again.losses.is_empty() && again.clients["a"].endpoints.len() == 2);
        let stray = export(&json!({"client_endpoints": {"endpoint_id": 7}, "clients": {"id": 0, "app_id": "z"}}));
        assert!(stray.clients["z"].endpoints.is_empty() && stray.findings.len() == 1);
    }

    #[test]
    fn what_cannot_be_read_is_a_loss() {
        let values = [
            ("a", json!("no object")),
            ("b", json!({"endpoints": []})),
            ("c", json!({"app_id": "d", "secret_key": 7, "endpoints": {"e": {}, "f:v1": 1}})),
        ];
        let values = values.map(|(key, value)| (key.to_owned(), value));
        let source = Source::of_values(&values.into()).expect("read");
        assert_eq!((source.losses.len(), source.findings.len()), (4, 1));
        assert_eq!(source.clients.keys().collect::<Vec<_>>(), ["b", "c"]);
        assert!(source.clients["c"].secret.is_none());
    }
}
