//! Whose a pair is: a user of this gateway, or somebody whom the Auth API of a client let in, and who is known only by what
//! it says of them.

use std::borrow::Cow;
use std::sync::Arc;

use portcullis_core::call::hex;
use portcullis_core::model::Label;
use serde_json::Value;

use super::MAX_FOREIGN_USER_JSON_BYTES;
use crate::keys::sha256;
use crate::sessions::user_json_bytes;

/// The members that say who somebody is, the first one before the next. What people call themselves comes last: several may
/// be called the same.
const NAMES: [&str; 7] = ["id", "user_id", "uid", "sub", "username", "email", "name"];
/// All whom one client's Auth API does not tell apart: together they are one user here, whatever else it says of them, and no
/// name of anybody else reads like this.
const UNNAMED: &str = "#unnamed";
/// Sessions they have, at least.
const UNNAMED_SESSIONS: u32 = 10_000;
/// Bytes that stand in a label as they are, of the client and of a name. Both fit into one label with what goes between.
const WHOLE_CLIENT: usize = 48;
const WHOLE_NAME: usize = 68;

/// The user of a pair.
#[derive(Debug, Clone)]
pub(super) struct Whose {
    pub(super) user: Label,
    /// Compact JSON.
    pub(super) user_info: Arc<str>,
    /// Sessions the user has at most.
    pub(super) sessions: u32,
    /// Whether it is one user; else it is all whom nothing tells apart, and no one's login says anything about another's.
    pub(super) is_one: bool,
}

/// Why what is said of a user cannot be told to backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untold {
    /// It is too much.
    TooLarge,
    /// It has a number that cannot be kept as it is: two users whose numbers become the same would be one.
    Inexact,
}

impl Whose {
    /// Somebody whom an Auth API let in, with what it says of them.
    pub(super) fn foreign(client: &Label, user_info: &Value, sessions: u32) -> Result<Self, Untold> {
        if !is_exact(user_info) {
            return Err(Untold::Inexact);
        }
        let compact = user_info.to_string();
        if user_json_bytes(&compact) > MAX_FOREIGN_USER_JSON_BYTES {
            return Err(Untold::TooLarge);
        }
        let named = NAMES.iter().find_map(|member| Some((*member, name(user_info.get(member)?)?)));
        let (who, sessions) = match &named {
            // The member stands there too: who is called 7 is not who has the number 7.
            Some((member, name)) => (format!("{member}={}", whole_or_hash(name, WHOLE_NAME, 64)), sessions),
            None => (UNNAMED.to_owned(), sessions.max(UNNAMED_SESSIONS)),
        };
        let client = whole_or_hash(client.as_str(), WHOLE_CLIENT, 32);
        // Both are texts that labels hold, or digits.
        let label = |text: &str| text.parse::<Label>().map_err(|_| Untold::TooLarge);
        let user = Label::of_another(&label(&client)?, &label(&who)?);
        Ok(Self { user, user_info: compact.into(), sessions, is_one: named.is_some() })
    }
}

/// Up to here, every whole number is kept as it is where numbers have fractions.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Whether all numbers are those that were sent: a whole number that does not fit into 64 bits has become another one.
pub fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.abs() < EXACT)
        }
        Value::Array(items) => items.iter().all(is_exact),
        Value::Object(members) => members.values().all(is_exact),
        _ => true,
    }
}

/// A name: a text, or a whole number. No two numbers are the same text, as two with a fraction or an exponent might be.
fn name(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.into()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string().into()),
        _ => None,
    }
}

/// A text, where a label can hold it and it does not look like a hash; else its hash in so many digits.
fn whole_or_hash(text: &str, most: usize, digits: usize) -> Cow<'_, str> {
    let is_whole = text.len() <= most && !text.starts_with('#') && text.parse::<Label>().is_ok();
    if is_whole { text.into() } else { hash(text, digits).into() }
}

fn hash(text: &str, digits: usize) -> String {
    format!("#{}", &hex(&sha256(text.as_bytes()))[..digits])
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::json;

    use super::*;

    fn label(text: &str) -> Label {
        text.parse().expect("a label")
    }

    fn of(client: &str, user_info: &Value) -> String {
        Whose::foreign(&label(client), user_info, 100).expect("short enough").user.to_string()
    }

    #[test]
    fn somebody_is_who_the_first_member_says() {
        for (user_info, expected) in [
            (json!({"id": 7, "name": "Ada"}), "shop/id=7"),
            (json!({"id": "7"}), "shop/id=7"),
            (json!({"name": "7"}), "shop/name=7"),
            (json!({"name": "Ada", "user_id": "u-7"}), "shop/user_id=u-7"),
            (json!({"uid": -7}), "shop/uid=-7"),
            (json!({"id": u64::MAX}), "shop/id=18446744073709551615"),
            (json!({"id": null, "sub": "x"}), "shop/sub=x"),
            (json!({"id": "", "username": "ada"}), "shop/username=ada"),
            (json!({"id": {"a": 1}, "id2": 7, "email": "a@b"}), "shop/email=a@b"),
            (json!({"id": true, "name": [], "email": "a@b"}), "shop/email=a@b"),
            (json!({"id": 7.5, "name": "Ada"}), "shop/name=Ada"),
            (json!({"name": "Ada", "email": "a@b"}), "shop/email=a@b"),
            (json!({"name": "Ada", "email": "a@b", "username": "ada"}), "shop/username=ada"),
            (json!({"id": "7 \u{e9}"}), "shop/id=7 \u{e9}"),
        ] {
            assert_eq!(of("shop", &user_info), expected, "{user_info}");
        }
    }

    #[test]
    fn two_who_differ_never_have_one_label_and_nobody_here_has_it() {
        let odd = ["a", "A", "", "a/b", "a\n", "#", "#a", "=", "id=7", "7", "\u{202e}", "/"];
        let long = ["x".repeat(68), "x".repeat(69), "x".repeat(5_000), format!("{}y", "x".repeat(4_999))];
        let digest = hash("a/b", 64);
        let texts = odd.iter().map(ToString::to_string).chain(long).chain([digest]);
        let clients = ["shop", "shop2", "id=7", "#shop", &"c".repeat(48), &"c".repeat(49), &"c".repeat(128)];
        let mut seen = HashMap::new();
        let infos = texts.flat_map(|text| [json!({"id": &text}), json!({"name": &text})]);
        for user_info in infos.chain([json!({"id": 12}), json!({"uid": 12})]) {
            for client in clients {
                let user = of(client, &user_info);
                assert!(user.parse::<Label>().is_err() && user.len() <= 128, "{user}");
                assert_eq!(Label::kept(&user).expect("kept").as_str(), user);
                // Nobody has an empty name: those are not told apart.
                if user_info == json!({"id": ""}) || user_info == json!({"name": ""}) {
                    continue;
                }
                let whose = (client.to_owned(), user_info.to_string());
                if let Some(other) = seen.insert(user.clone(), whose.clone()) {
                    panic!("{user} is both {other:?} and {whose:?}");
                }
            }
        }
    }

    #[test]
    fn those_who_are_not_told_apart_are_many() {
        let sessions = |user_info: Value, limit: u32| {
            Whose::foreign(&label("shop"), &user_info, limit).expect("short enough").sessions
        };
        assert_eq!(sessions(json!({"id": 7}), 100), 100);
        assert_eq!(sessions(json!({}), 100), 10_000);
        assert_eq!(sessions(json!({"role": "member"}), 20_000), 20_000);
        let is_one = |user_info: Value| Whose::foreign(&label("shop"), &user_info, 1).expect("short enough").is_one;
        assert!(is_one(json!({"name": "Ada"})) && !is_one(json!({})) && !is_one(json!({"role": "member"})));
        // They are one user, whatever differs from login to login.
        for user_info in [json!({}), json!({"last_login": 1}), json!({"last_login": 2}), json!([1]), json!({"id": 0.5})]
        {
            assert_eq!(of("shop", &user_info), "shop/#unnamed", "{user_info}");
        }
        assert_ne!(of("shop", &json!({"id": "#unnamed"})), "shop/#unnamed");
        assert_ne!(of("till", &json!({})), of("shop", &json!({})));
    }

    #[test]
    fn what_is_too_much_is_not_taken() {
        let info = |character: &str, count: usize| json!({"a": character.repeat(count)});
        let taken = |user_info: &Value| Whose::foreign(&label("shop"), user_info, 1);
        // As they are sent, in bytes of base64: 3 for 4 of ASCII, and 6 or 12 for another character.
        for (character, most) in [("x", 5_992), ("\u{e9}", 998), ("\u{4e2d}", 998), ("\u{1f600}", 499)] {
            let whose = taken(&info(character, most)).expect("short enough");
            let sent = crate::sessions::user_json_header(&whose.user_info);
            assert!((7_900..=MAX_FOREIGN_USER_JSON_BYTES).contains(&sent.as_bytes().len()), "{character}");
            assert_eq!(taken(&info(character, most + 1)).map(drop), Err(Untold::TooLarge), "{character}");
        }
        let refused = taken(&info("\u{e9}", 8_000));
        assert_eq!(refused.map(drop), Err(Untold::TooLarge));
    }

    #[test]
    fn a_number_that_becomes_another_one_is_not_taken() {
        let taken = |text: &str| {
            let user_info = serde_json::from_str(text).expect("JSON");
            Whose::foreign(&label("shop"), &user_info, 1).map(|whose| whose.user_info)
        };
        for fine in
            ["18446744073709551615", "-9223372036854775808", "9007199254740993", "1.5", r#"{"id":[7,{"a":0.25}]}"#]
        {
            assert_eq!(taken(fine).as_deref(), Ok(fine));
        }
        for bad in [
            "18446744073709551616",
            r#"{"id":12345678901234567890123}"#,
            r#"{"id":"7","ids":[-9223372036854775809]}"#,
            r#"{"id":7,"more":{"deep":[1e16]}}"#,
        ] {
            assert_eq!(taken(bad), Err(Untold::Inexact), "{bad}");
        }
    }
}
