//! What is told of a claim on endpoints of the gateway itself, before anything is verified.

use portcullis_core::call::Dialect;
use portcullis_core::memory::ManualClock;
use portcullis_core::message::FieldName;
use portcullis_core::model::{Client, Label, ServiceId};

use super::*;
use crate::StrangerLimits;
use crate::testing::call;

/// `shop` is granted `auth/v1`, `till` is not, and `shut` is granted it and disabled. Each has its name for an access key.
fn claims() -> Claims {
    let directory = Arc::new(Directory::default());
    let mut entries = directory.copy();
    for (name, services, enabled) in [("shop", "auth/v1", true), ("till", "orders/v1", true), ("shut", "auth", false)] {
        let services = vec![services.parse().expect("a grant")];
        let client = Client { services, access_key: Some(name.to_owned()), enabled, ..Client::default() };
        entries.set_client(&name.parse().expect("a label"), Some(client));
    }
    directory.publish(entries);
    let strangers = Strangers::new(Arc::default(), Arc::new(ManualClock::at(0)), StrangerLimits::default());
    Claims::new(directory, Arc::new(strangers))
}

/// What is told of a call that claims this access key, on a route like this.
fn judged(
    claims: &Claims,
    form: Option<Form>,
    access_key: &str,
    path: &str,
    route: &RouteFacts,
) -> Result<(), Refusal> {
    let mut call = call("POST", path, &[]);
    if let Some(form) = form {
        call.dialect = Dialect::Fomalhaut(form);
        let name = FieldName::from_static(form.client_field());
        call.raw.removed.push((name, access_key.parse().expect("a value")));
    }
    call.claimed = claims.read(&call, true);
    claims.judge(&call, Ok(route))
}

fn endpoint_of(grant: Option<&str>, client: Option<&str>, is_disabled: bool) -> RouteFacts {
    let id =
        |version: &str| ServiceId { name: "auth".parse().expect("a name"), version: version.parse().expect("a name") };
    let client: Option<Label> = client.map(|client| client.parse().expect("a label"));
    RouteFacts { grant: grant.map(id), client, is_disabled, ..RouteFacts::default() }
}

#[test]
fn what_clients_must_be_granted_is_told_in_fomalhauts_order() {
    let claims = claims();
    let no_endpoint = || Err(Refusal::NoEndpoint { endpoint: "auth/v1".into() });
    let (open, own) = (endpoint_of(Some("v1"), None, false), endpoint_of(Some("v1"), Some("till"), false));
    let (off, own_off) = (endpoint_of(Some("v1"), None, true), endpoint_of(Some("v1"), Some("till"), true));
    for form in [Form::Fo, Form::Api] {
        for (access_key, route, want) in [
            ("nobody", &open, Err(Refusal::UnknownClient)),
            ("nobody", &off, Err(Refusal::UnknownClient)),
            ("shut", &open, Err(Refusal::DisabledClient)),
            ("shut", &off, Err(Refusal::DisabledClient)),
            ("till", &open, no_endpoint()),
            ("till", &off, no_endpoint()),
            ("shop", &open, Ok(())),
            ("shop", &off, Err(Refusal::RouteDisabled)),
            // A route of its own is a grant.
            ("till", &own, Ok(())),
            ("till", &own_off, Err(Refusal::RouteDisabled)),
        ] {
            let told = judged(&claims, Some(form), access_key, "/auth/v1/login", route);
            assert_eq!(told, want, "{form:?} {access_key} {route:?}");
        }
        let told = judged(&claims, Some(form), "shop", "/auth/v1", &open).map_err(|refusal| refusal.code());
        assert_eq!(told, Err("short_path"));
        // What everybody may call tells nothing about anybody.
        for access_key in ["nobody", "shut", "till"] {
            assert_eq!(judged(&claims, Some(form), access_key, "/-/token", &endpoint_of(None, None, false)), Ok(()));
        }
    }
    // Who asks whether a page may call says nothing of who calls.
    let mut preflight = call(
        "OPTIONS",
        "/auth/v1/login",
        &[("origin", "https://app.example"), ("access-control-request-method", "POST")],
    );
    preflight.dialect = Dialect::Fomalhaut(Form::Fo);
    assert_eq!(claims.judge(&preflight, Ok(&open)), Ok(()));
    // In other dialects, credentials say the rest.
    assert_eq!(judged(&claims, None, "", "/auth/v1/login", &open), Ok(()));
}

#[test]
fn whoever_is_told_something_is_counted() {
    let directory = Arc::new(Directory::default());
    let limits = StrangerLimits { at_once: 2, per_minute: 1 };
    let strangers = Strangers::new(Arc::default(), Arc::new(ManualClock::at(0)), limits);
    let claims = Claims::new(directory, Arc::new(strangers));
    let route = endpoint_of(Some("v1"), None, false);
    let told = || judged(&claims, Some(Form::Fo), "nobody", "/auth/v1/login", &route).expect_err("nobody").code();
    let told = [told(), told(), told()];
    assert_eq!((told[0], told[2]), (Refusal::UnknownClient.code(), "too_many_requests"), "{told:?}");
}
