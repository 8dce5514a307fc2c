//! A client that has a route of its own takes no other by what it claims: whatever a call says of itself, and whatever proves
//! in the end who calls.

use serde_json::{Value, json};

use super::super::support::authority::{Authority, Issued};
use super::super::support::scene::{log_in, text, until};
use super::super::support::{Answer, Backend};
use super::super::tls::{answered, curl};
use super::{HOST, House, SETTINGS};

/// The kinds that prove who calls. At `/KIND` a service asks for it, and `till` has a route of its own that is switched off; at
/// `/free/KIND` it has none.
const KINDS: [&str; 4] = ["signature", "api_key", "client_certificate", "bearer"];
/// The tag of the signatures that count.
const TAG: &str = "pay";

/// What a call says of who calls, before anything is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    Nothing,
    Key,
    SignatureKey,
    AppId,
}

/// `till`, with everything that proves it, and `other`, with what it takes to claim it.
struct Cast {
    house: House,
    server: Authority,
    _clients: Authority,
    certificate: Issued,
    till_key: String,
    token: String,
    other_key: String,
}

impl Cast {
    fn new() -> Self {
        let (server, clients) = (Authority::new(), Authority::new());
        let of_server = server.issue("api", &format!("DNS:{HOST}"));
        let certificate = clients.issue("till", "DNS:till.example");
        let settings = format!(
            "{SETTINGS}tls_listen = \"127.0.0.1:0\"\n[tls]\ncertificates = [{}]\nclient_certificates = \"optional\"\n\
             client_ca = {:?}\n",
            of_server.setting(),
            clients.root()
        );
        let house = House::before(Backend::echo(), &settings, &json!({}));
        house.client("other", "other-1");
        let key = |name: &str| {
            let made = house.gateway.admin_ok("POST", &format!("/clients/{name}/api-keys"), None, 201);
            text(&made, "api_key")
        };
        let (till_key, other_key) = (key("till"), key("other"));
        let token = text(&log_in(&house.gateway, "ada", &[("X-API-Key", &till_key)]), "access_token");
        let policies = json!({
            "signature": {"http_tag": TAG},
            "client_certificate": {"clients": [{"san_dns": "till.example", "client": "till"}]},
        });
        for kind in KINDS {
            for path in [format!("/{kind}"), format!("/free/{kind}")] {
                let route = json!({
                    "match": {"path": {"prefix": &path}}, "service": "orders/v1", "require": [[kind]],
                    "policies": &policies,
                });
                let name = path.trim_matches('/').replace('/', "-");
                house.gateway.admin_ok("PUT", &format!("/routes/{name}"), Some(&route), 201);
            }
        }
        Self { house, server, _clients: clients, certificate, till_key, token, other_key }
    }

    /// Declares a route of `till` at each path, with these members.
    fn own_routes(&self, more: &Value) {
        for kind in KINDS {
            let mut route = json!({
                "match": {"path": {"prefix": format!("/{kind}")}, "client": "till"}, "service": "orders/v1",
                "require": [[kind]],
                "policies": {"client_certificate": {"clients": [{"san_dns": "till.example", "client": "till"}]}},
            });
            for (member, value) in more.as_object().expect("members") {
                route[member] = value.clone();
            }
            let answer = self.house.gateway.admin("PUT", &format!("/routes/till-{kind}"), Some(&route));
            assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
        }
    }

    /// A call of `till`, proved by this kind, that claims to be of `other` in this way.
    fn call(&self, method: &str, path: &str, kind: &str, claim: Claim, more: &[(&str, &str)]) -> Answer {
        let tls = self.house.gateway.tls.expect("it listens with TLS");
        let mut fields: Vec<(String, String)> =
            more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut say = |name: &str, value: &str| fields.push((name.to_owned(), value.to_owned()));
        let mut options = vec!["--http1.1".to_owned(), "--request".to_owned(), method.to_owned()];
        match kind {
            "signature" => {
                let mut draft = self.house.draft(method, path);
                "https".clone_into(&mut draft.scheme);
                draft.tag = Some(TAG.to_owned());
                let signed = draft.signed();
                // A signature that does not count stands beside the one that does.
                let (mut inputs, mut signatures) =
                    (vec![signed.field("signature-input")], vec![signed.field("signature")]);
                if claim == Claim::SignatureKey {
                    inputs.push("sig2=(\"@method\");keyid=\"other-1\"");
                    signatures.push("sig2=:AAAA:");
                }
                say("Signature-Input", &inputs.join(", "));
                say("Signature", &signatures.join(", "));
            }
            "api_key" => say("X-API-Key", &self.till_key),
            "bearer" => say("Authorization", &format!("Bearer {}", self.token)),
            _ => {
                let path = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
                options.extend(["--cert".to_owned(), path(&self.certificate.certificate)]);
                options.extend(["--key".to_owned(), path(&self.certificate.key)]);
            }
        }
        match claim {
            Claim::Key => say("X-API-Key", &self.other_key),
            Claim::AppId => say("X-Fo-App-Id", "other-1"),
            Claim::SignatureKey if kind != "signature" => {
                say("Signature-Input", "sig2=(\"@method\");keyid=\"other-1\"");
                say("Signature", "sig2=:AAAA:");
            }
            Claim::SignatureKey | Claim::Nothing => {}
        }
        fields.push(("Host".to_owned(), HOST.to_owned()));
        for (name, value) in &fields {
            options.extend(["--header".to_owned(), format!("{name}: {value}")]);
        }
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        answered(&curl(tls, &self.server.root(), HOST, path, &options))
    }

    /// The status of such a call, and whether it has reached the service.
    fn status(&self, path: &str, kind: &str, claim: Claim) -> (u16, bool) {
        let before = self.house.calls();
        let status = self.call("GET", path, kind, claim, &[]).status;
        (status, self.house.calls() > before)
    }
}

/// What becomes of a call at a path where the client has a route of its own that is switched off, and where it has none.
const TABLE: [(&str, Claim, u16, u16); 16] = [
    // A signature names its client: only where another one stands beside it, it claims nothing.
    ("signature", Claim::Nothing, 404, 200),
    ("signature", Claim::Key, 403, 200),
    ("signature", Claim::SignatureKey, 403, 200),
    // In fomalhaut's dialects only the signature of the client that is claimed counts.
    ("signature", Claim::AppId, 949, 949),
    ("api_key", Claim::Nothing, 404, 200),
    // Two keys are none.
    ("api_key", Claim::Key, 401, 401),
    // A key goes before a signature.
    ("api_key", Claim::SignatureKey, 404, 200),
    ("api_key", Claim::AppId, 949, 200),
    // A certificate claims nothing.
    ("client_certificate", Claim::Nothing, 403, 200),
    ("client_certificate", Claim::Key, 403, 200),
    ("client_certificate", Claim::SignatureKey, 403, 200),
    ("client_certificate", Claim::AppId, 949, 200),
    // A token claims nothing, and whoever has nothing else takes the routes of everybody.
    ("bearer", Claim::Nothing, 200, 200),
    ("bearer", Claim::Key, 200, 200),
    ("bearer", Claim::SignatureKey, 200, 200),
    // There the token is that of another client than the one that is claimed.
    ("bearer", Claim::AppId, 949, 949),
];

#[test]
fn no_claim_leads_a_client_past_its_own_route() {
    let cast = Cast::new();
    // As long as nobody has a route of its own, claims decide nothing.
    for (kind, claim, _, free) in TABLE {
        assert_eq!(cast.status(&format!("/{kind}"), kind, claim), (free, free == 200), "{kind} {claim:?}");
    }
    cast.own_routes(&json!({"enabled": false}));
    for (kind, claim, own, free) in TABLE {
        assert_eq!(cast.status(&format!("/{kind}"), kind, claim), (own, own == 200), "{kind} {claim:?}");
        assert_eq!(cast.status(&format!("/free/{kind}"), kind, claim), (free, free == 200), "free {kind} {claim:?}");
    }
    let refusal = cast.call("GET", "/signature", "signature", Claim::Key, &[]);
    assert_eq!(refusal.code(), "forbidden");
    assert!(refusal.text().contains("a route of its own"), "{}", refusal.text());
    // Rules of its own are rules for all that it calls there.
    cast.own_routes(&json!({"policies": {
        "signature": {"http_tag": TAG},
        "client_certificate": {"clients": [{"san_dns": "till.example", "client": "till"}]},
        "acl": {"rules": [{"path": "/admin", "effect": "deny"}]},
    }}));
    for (kind, claim, own, _) in TABLE.into_iter().filter(|(kind, ..)| *kind != "bearer") {
        let expected = if own == 404 { (403, false) } else { (own, false) };
        assert_eq!(cast.status(&format!("/{kind}/admin"), kind, claim), expected, "{kind} {claim:?}");
    }
    assert_eq!(cast.status("/signature/x", "signature", Claim::Nothing), (200, true));
}

#[test]
fn nor_does_a_call_that_claims_nothing_because_it_looks_like_a_preflight() {
    let cast = Cast::new();
    let asks = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "GET")];
    for (enabled, status) in [(None, 200), (Some(false), 403)] {
        if let Some(enabled) = enabled {
            cast.own_routes(&json!({"enabled": enabled}));
        }
        for kind in ["signature", "api_key", "client_certificate"] {
            let before = cast.house.calls();
            let answer = cast.call("OPTIONS", &format!("/{kind}"), kind, Claim::Nothing, &asks);
            assert_eq!((answer.status, cast.house.calls() > before), (status, status == 200), "{kind}");
        }
    }
}

#[test]
fn another_credential_proves_the_client_that_is_claimed() {
    let cast = Cast::new();
    cast.own_routes(&json!({"enabled": false}));
    let either = json!({
        "match": {"path": {"prefix": "/client_certificate"}}, "service": "orders/v1",
        "require": [["client_certificate"], ["api_key"]],
        "policies": {"client_certificate": {"clients": [{"san_dns": "till.example", "client": "till"}]}},
    });
    cast.house.gateway.admin_ok("PUT", "/routes/client_certificate", Some(&either), 200);
    // The certificate is of the connection, and the key says who calls.
    assert_eq!(cast.status("/client_certificate", "client_certificate", Claim::Key), (200, true));
    until("it is recorded", || !cast.house.gateway.logs("path=/client_certificate").is_empty());
    let record = cast.house.gateway.record("path=/client_certificate", |record| record["status"] == 200);
    assert_eq!(record["client"], "other");
    assert_eq!(cast.status("/client_certificate", "client_certificate", Claim::Nothing), (403, false));
}
