//! Which host a signature is for: `@authority` and `@target-uri` are those that callers know, also behind a proxy that sends
//! another `Host`.

use serde_json::json;

use super::{Draft, House, SETTINGS, Signed};

const INVALID: &str = "invalid_credential";
/// What covers the host, each in another way.
const COVERED: [&[&str]; 2] = [&["@method", "@target-uri"], &["@method", "@authority", "@scheme", "@request-target"]];

impl House {
    /// A call that is signed for an origin.
    fn signed_for(&self, scheme: &str, host: &str, covered: &[&str]) -> Draft {
        let draft = self.draft("GET", "/orders/v1/x?a=1").covering(covered);
        draft.changed(|draft| (draft.scheme, draft.host) = (scheme.to_owned(), host.to_owned()))
    }

    fn declare_host(&self, host: &str, public_url: &str) {
        self.gateway.admin_ok("PUT", &format!("/hosts/{host}"), Some(&json!({"public_url": public_url})), 201);
    }
}

/// As a proxy sends it on: with this `Host`, and with these fields.
fn through(request: Signed, host: &str, fields: &[(&str, &str)]) -> Signed {
    request.changed(|request| {
        host.clone_into(&mut request.host);
        request.fields.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    })
}

#[test]
fn a_declared_host_is_known_by_its_public_url() {
    let house = House::new(&json!({}));
    house.declare_host("gate.internal", "https://api.example.com");
    house.declare_host("a.example", "https://a.example:8443");
    house.declare_host("b.example", "https://b.example");
    for covered in COVERED {
        let call = |scheme: &str, signed: &str, sent: &str| {
            through(house.signed_for(scheme, signed, covered).signed(), sent, &[])
        };
        for (scheme, signed, sent) in [
            ("https", "api.example.com", "gate.internal"),
            ("https", "api.example.com", "gate.internal:6500"),
            ("https", "api.example.com", "GATE.internal"),
            ("https", "a.example:8443", "a.example"),
            ("https", "b.example", "b.example"),
            ("http", "undeclared.example", "undeclared.example"),
            ("http", "undeclared.example:81", "undeclared.example:81"),
        ] {
            house.accepted(&format!("{scheme}://{signed} at {sent} by {covered:?}"), &call(scheme, signed, sent));
        }
        for (scheme, signed, sent) in [
            ("https", "gate.internal", "gate.internal"),
            ("http", "api.example.com", "gate.internal"),
            ("https", "a.example", "a.example"),
            ("https", "a.example:8443", "b.example"),
            ("https", "b.example", "a.example"),
            ("https", "b.example", "gate.internal"),
            ("https", "api.example.com", "a.example"),
            ("https", "api.example.com", "undeclared.example"),
            ("https", "undeclared.example", "undeclared.example"),
            ("http", "undeclared.example", "b.example"),
            ("http", "undeclared.example:81", "undeclared.example"),
        ] {
            let what = format!("{scheme}://{signed} at {sent} by {covered:?}");
            house.refused(&what, &call(scheme, signed, sent), 401, INVALID);
        }
    }
}

#[test]
fn the_setting_is_for_its_own_host_alone() {
    let settings = format!("{SETTINGS}public_url = \"https://api.example.com\"\n");
    let house = House::before(super::Backend::echo(), &settings, &json!({}));
    for covered in COVERED {
        let call = |scheme: &str, signed: &str, sent: &str| {
            through(house.signed_for(scheme, signed, covered).signed(), sent, &[])
        };
        house.accepted("its host", &call("https", "api.example.com", "api.example.com"));
        house.accepted(
            "its host with the port of the gateway",
            &call("https", "api.example.com", "api.example.com:6500"),
        );
        house.accepted("another host", &call("http", "b.example", "b.example"));
        house.refused("sent to another host", &call("https", "api.example.com", "b.example"), 401, INVALID);
        house.refused("of another host", &call("http", "b.example", "api.example.com"), 401, INVALID);
        house.refused("in clear", &call("http", "api.example.com", "api.example.com"), 401, INVALID);
    }
}

#[test]
fn a_proxy_that_is_trusted_says_which_host_was_meant() {
    let settings = |trusted: &str| {
        format!(
            "{SETTINGS}trusted_proxies = [{trusted}]\nbuiltin_hosts = [\"127.0.0.1\", \"a.example\", \"b.example\"]\n"
        )
    };
    for (trusted, is_trusted) in [("\"127.0.0.1\"", true), ("", false)] {
        let house = House::before(super::Backend::echo(), &settings(trusted), &json!({}));
        house.declare_host("a.example", "https://a.example");
        for covered in COVERED {
            let call = |scheme: &str, signed: &str, said: &str| {
                let said =
                    [("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Host", said), ("X-Forwarded-Proto", "https")];
                through(house.signed_for(scheme, signed, covered).signed(), "gate.internal", &said)
            };
            let a = call("https", "a.example", "a.example");
            let b = call("https", "b.example", "b.example");
            let own = call("http", "gate.internal", "a.example");
            if is_trusted {
                house.accepted("a declared host", &a);
                house.accepted("a host without a URL", &b);
                house.refused("the proxy's own name", &own, 401, INVALID);
                let stranger = call("https", "stranger.example", "stranger.example");
                house.refused("a host that the gateway does not go by", &stranger, 401, INVALID);
            } else {
                house.refused("a declared host, said by anybody", &a, 401, INVALID);
                house.refused("a host, said by anybody", &b, 401, INVALID);
                house.accepted("the host as it came", &own);
            }
            let crossed = call("https", "a.example", "b.example");
            house.refused("signed for a, sent to b", &crossed, 401, INVALID);
            let crossed = call("https", "b.example", "a.example");
            house.refused("signed for b, sent to a", &crossed, 401, INVALID);
            let later = call("https", "a.example", "a.example, b.example");
            house.refused("signed for a, sent to a and then to b", &later, 401, INVALID);
        }
    }
}

#[test]
fn a_target_that_names_a_host_of_its_own_names_the_same() {
    let house = House::new(&json!({}));
    for covered in COVERED {
        let named = |host: &str, sent: &str| {
            let draft = house.signed_for("http", "a.example", covered);
            draft.signed().changed(|request| {
                request.target = format!("http://{host}{}", request.target);
                sent.clone_into(&mut request.host);
            })
        };
        // What the target says counts, and `Host` does not (RFC 9112 section 3.2.2).
        house.accepted("both the same", &named("a.example", "a.example"));
        house.accepted("another 'Host'", &named("a.example", "b.example"));
        house.refused("another host", &named("b.example", "a.example"), 401, INVALID);
        house.refused("another host, twice", &named("b.example", "b.example"), 401, INVALID);
    }
}

#[test]
fn a_path_in_front_of_the_gateway_is_part_of_what_is_signed() {
    let house = House::new(&json!({}));
    house.declare_host("gate.internal", "https://a.example/base/");
    for covered in [COVERED[0], COVERED[1], &["@method", "@authority", "@path", "@query"]] {
        let call = |target: &str| {
            let draft =
                house.signed_for("https", "a.example", covered).changed(|draft| target.clone_into(&mut draft.target));
            // The proxy in front takes it away.
            through(draft.signed(), "gate.internal", &[]).changed(|request| {
                "/orders/v1/x?a=1".clone_into(&mut request.target);
            })
        };
        house.accepted("with the path", &call("/base/orders/v1/x?a=1"));
        for target in
            ["/orders/v1/x?a=1", "/base//orders/v1/x?a=1", "/Base/orders/v1/x?a=1", "/base/base/orders/v1/x?a=1"]
        {
            house.refused(target, &call(target), 401, INVALID);
        }
    }
}
