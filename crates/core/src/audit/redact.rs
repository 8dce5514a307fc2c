//! What of an object may be remembered for ever: everything but secrets and their hashes; and of a change what is
//! different, so that what is remembered grows by what was done and not by what there is.

use serde_json::Value;

/// What stands where a secret was.
const REDACTED: &str = "[redacted]";
/// What stands under a secret's name where all there is to say is that there is a new one.
pub const NEW_SECRET: &str = "[new]";
/// Parts of names under which secrets are kept.
const SECRET_PARTS: [&str; 10] = [
    "secret",
    "password",
    "passwd",
    "passphrase",
    "credential",
    "authorization",
    "cookie",
    "sealed",
    "private",
    "hash",
];
/// Ends of names under which secrets are kept.
const SECRET_ENDS: [&str; 3] = ["key", "token", "apikeys"];
/// Names that look like a secret's and are public: a client's access key is its id, and where passwords are changed is none.
const PUBLIC: [&str; 4] = ["accesskey", "publickey", "changepasswordurl", "smschangepasswordurl"];
/// The secret members of a JSON Web Key (RFC 7518 section 6).
const JWK: [&str; 8] = ["k", "d", "p", "q", "dp", "dq", "qi", "oth"];

/// Both sides of a change as the trail keeps them: JSON without what is kept under a name secrets have ([`NEW_SECRET`] stays),
/// and of an object that is there before and after what is different.
pub fn sides(before: Option<Value>, after: Option<Value>) -> (Option<String>, Option<String>) {
    narrowed(before.map(redacted), after.map(redacted))
}

/// The same JSON with everything taken out that is kept under a name secrets have.
fn redacted(mut value: Value) -> Value {
    redact(&mut value);
    value
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let is_jwk = members.contains_key("kty");
            for (name, member) in members.iter_mut() {
                if is_secret(name) || (is_jwk && JWK.contains(&name.as_str())) {
                    blacken(member);
                } else {
                    redact(member);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::String(text) => {
            if text.contains("PRIVATE KEY-----") {
                *value = REDACTED.into();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Takes out every text and number in what is kept under a secret's name. The settings of a policy that is called
/// like a secret (`api_key`) lose their texts too; better that than the other way round.
fn blacken(value: &mut Value) {
    match value {
        Value::Object(members) => members.values_mut().for_each(blacken),
        Value::Array(items) => items.iter_mut().for_each(blacken),
        Value::Null | Value::Bool(_) => {}
        Value::String(text) if text == NEW_SECRET => {}
        Value::Number(_) | Value::String(_) => *value = REDACTED.into(),
    }
}

/// Whether secrets are kept under this name; its case and punctuation do not matter.
pub(crate) fn is_secret(name: &str) -> bool {
    let bare: String =
        name.chars().filter(|letter| letter.is_alphanumeric()).map(|letter| letter.to_ascii_lowercase()).collect();
    !PUBLIC.contains(&bare.as_str())
        && (SECRET_PARTS.iter().any(|part| bare.contains(part)) || SECRET_ENDS.iter().any(|end| bare.ends_with(end)))
}

/// Both sides of a change as JSON texts. What is the same on both is left out: members of objects, and the common
/// beginning and end of lists, so that one target more in a list of a thousand costs one target. What was made or is gone
/// is there as a whole. Takes time in proportion to both.
fn narrowed(before: Option<Value>, after: Option<Value>) -> (Option<String>, Option<String>) {
    match (before, after) {
        (Some(mut before), Some(mut after)) => {
            leave_out(&mut before, &mut after);
            (Some(before.to_string()), Some(after.to_string()))
        }
        (before, after) => (before.map(|value| value.to_string()), after.map(|value| value.to_string())),
    }
}

fn leave_out(before: &mut Value, after: &mut Value) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let is_same = |name: &String, former: &Value| after.get(name) == Some(former);
            let same: Vec<String> =
                before.iter().filter(|(name, former)| is_same(name, former)).map(|(name, _)| name.clone()).collect();
            for name in &same {
                before.remove(name);
                after.remove(name);
            }
            for (name, former) in before.iter_mut() {
                if let Some(latter) = after.get_mut(name) {
                    leave_out(former, latter);
                }
            }
        }
        (Value::Array(former), Value::Array(latter)) => {
            let end = former.iter().rev().zip(latter.iter().rev()).take_while(|(one, other)| one == other).count();
            former.truncate(former.len() - end);
            latter.truncate(latter.len() - end);
            let start = former.iter().zip(latter.iter()).take_while(|(one, other)| one == other).count();
            former.drain(..start);
            latter.drain(..start);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_go_whatever_they_are_called() {
        for name in [
            "password",
            "password_hash",
            "key_hash",
            "token_hash",
            "sealed",
            "client_secret",
            "X-Api-Key",
            "apiKey",
            "Authorization",
            "Set-Cookie",
            "access_token",
            "private_pem",
        ] {
            let found =
                redacted(json!({"a": [{ name: "s3cret" }], "b": { name: ["s3cret", {"x": "s3cret", "n": 7}] }}));
            assert!(!found.to_string().contains("s3cret"), "{name}: {found}");
        }
        let jwk = json!({"kty": "RSA", "n": "public", "d": "s3cret", "k": "s3cret"});
        assert_eq!(redacted(jwk), json!({"kty": "RSA", "n": "public", "d": REDACTED, "k": REDACTED}));
        let pem = "-----BEGIN EC PRIVATE KEY-----\ns3cret";
        assert_eq!(redacted(json!([pem])), json!([REDACTED]));
    }

    #[test]
    fn what_is_no_secret_stays() {
        let object = json!({
            "access_key": "app", "services": ["orders/v1"], "enabled": true, "require": [["bearer", "api_key"]],
            "targets": [{"url": "http://127.0.0.1:9001", "weight": 1}], "keyboard": "qwerty", "d": 1,
            "change_password_url": "https://users/password", "sms_change_password_url": "https://users/sms",
            "access_token_ttl": "7d",
        });
        assert_eq!(redacted(object.clone()), object);
        // All that is said of it is that there is one.
        let told = json!({"password": NEW_SECRET});
        assert_eq!(redacted(told.clone()), told);
    }

    #[test]
    fn of_a_change_what_is_different_is_kept() {
        let targets =
            |count: usize| (0..count).map(|number| json!({"url": format!("http://host-{number:08}:9000/base")}));
        let former: Vec<Value> = targets(1_000).collect();
        let mut latter = former.clone();
        latter.insert(500, json!({"url": "http://new"}));
        let object = |targets: &[Value]| Some(json!({"targets": targets, "require": []}));
        let (before, after) = narrowed(object(&former), object(&latter));
        assert_eq!(before.as_deref(), Some("{\"targets\":[]}"));
        assert_eq!(after.as_deref(), Some("{\"targets\":[{\"url\":\"http://new\"}]}"));
        let change = |before: Value, after: Value| narrowed(Some(before), Some(after));
        let sides = |before: &str, after: &str| (Some(before.to_owned()), Some(after.to_owned()));
        let small = |rate: u32| json!({"require": [["bearer"]], "policies": {"cors": {}, "throttle": {"rate": rate, "per": 1}}});
        let of = |rate: u32| format!("{{\"policies\":{{\"throttle\":{{\"rate\":{rate}}}}}}}");
        assert_eq!(change(small(1), small(2)), sides(&of(1), &of(2)), "of a small one too");
        assert_eq!(change(json!({"a": 1}), json!({"a": 1, "b": null})), sides("{}", "{\"b\":null}"));
        assert_eq!(
            change(json!({"a": [1], "b": 2}), json!({"a": {}, "c": 2})),
            sides("{\"a\":[1],\"b\":2}", "{\"a\":{},\"c\":2}")
        );
        assert_eq!(
            change(json!({"a": 1}), json!({"a": 1})),
            sides("{}", "{}"),
            "nothing, where only the owner is another"
        );
        assert_eq!(
            narrowed(None, object(&former)).1.map(|text| text.len()),
            object(&former).map(|it| it.to_string().len())
        );
    }
}
