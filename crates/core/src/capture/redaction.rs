//! What is taken out of captured exchanges: credentials, and what stands under names that secrets have or that the
//! operator has named.

use std::borrow::Cow;

use crate::audit::is_secret;
use crate::escapes::form_decoded;
use crate::message::names::WWW_AUTHENTICATE;
use crate::message::{FieldName, Value};
use crate::spellings::is_same;

/// What stands where something was taken out.
pub(super) const REDACTED: &str = "[redacted]";
/// Names of secrets beside those the audit trail knows, without their punctuation.
const NAMES: [&str; 14] = [
    "auth",
    "codeverifier",
    "cvc",
    "cvv",
    "otp",
    "pass",
    "pin",
    "pwd",
    "session",
    "sessionid",
    "sid",
    "totp",
    "vcode",
    "xauth",
];
/// Parts of such names.
const PARTS: [&str; 5] = ["apikey", "assertion", "bearer", "jwt", "signature"];
/// Of what kind a code is that somebody was sent, or reads somewhere, and shows once: how names begin that end in `code`.
const CODES: [&str; 22] = [
    "2fa",
    "access",
    "activation",
    "auth",
    "backup",
    "confirm",
    "device",
    "email",
    "invit",
    "login",
    "mail",
    "mfa",
    "mobile",
    "onetime",
    "otp",
    "phone",
    "recovery",
    "reset",
    "security",
    "sms",
    "tfa",
    "totp",
];
/// The same for any part of such a name.
const CODE_PARTS: [&str; 3] = ["valid", "verif", "captcha"];
/// How values begin that are credentials, whatever their field is called.
const SCHEMES: [&str; 4] = ["bearer ", "basic ", "digest ", "negotiate "];
/// How many quotes and spaces may stand between a name and what separates it from its value.
const GAP: usize = 8;

/// Which names are redacted beside the usual ones.
#[derive(Debug, Default)]
pub struct Redaction {
    headers: Vec<FieldName>,
    fields: Vec<String>,
    /// In place of it for requests, where more is taken out of these than of answers.
    of_requests: Option<Box<Redaction>>,
}

impl Redaction {
    /// With further header fields, in every spelling, and further members, form fields and query parameters. Case and punctuation of
    /// the latter do not matter.
    pub fn new(headers: Vec<FieldName>, fields: &[String]) -> Self {
        Self { headers, fields: fields.iter().map(|name| bare(name)).collect(), of_requests: None }
    }

    /// The same with further members, form fields and query parameters of requests, which mean something else in answers.
    #[must_use]
    pub fn with_request_fields(self, fields: &[&str]) -> Self {
        let further = fields.iter().map(|name| bare(name));
        let of_requests = Self {
            headers: self.headers.clone(),
            fields: self.fields.iter().cloned().chain(further).collect(),
            of_requests: None,
        };
        Self { of_requests: Some(Box::new(of_requests)), ..self }
    }

    /// What is taken out of requests.
    pub(super) fn of_requests(&self) -> &Self {
        self.of_requests.as_deref().unwrap_or(self)
    }

    /// Whether what stands under this name is taken out.
    pub(super) fn hides(&self, name: &str) -> bool {
        let bare = bare(name);
        is_secret(name)
            || NAMES.contains(&bare.as_str())
            || PARTS.iter().any(|part| bare.contains(part))
            || is_code(&bare)
            || self.fields.contains(&bare)
    }

    /// The value of a header field as it may be shown.
    pub(super) fn header(&self, name: &FieldName, value: Value<'_>) -> String {
        let text = String::from_utf8_lossy(value.as_bytes());
        let lower = text.trim_start().to_ascii_lowercase();
        // A challenge begins with a scheme too, and asks for credentials only.
        let is_credential = *name != WWW_AUTHENTICATE && SCHEMES.iter().any(|scheme| lower.starts_with(scheme));
        let is_named = self.headers.iter().any(|named| is_same(named.as_str(), name.as_str()));
        if is_named || self.hides(name.as_str()) || is_credential || has_user_info(&text) {
            return REDACTED.to_owned();
        }
        let scrubbed = self.scrub(&text);
        if scrubbed == text && self.is_telling(&decoded(text.as_bytes())) { REDACTED.to_owned() } else { scrubbed }
    }

    /// A query or a form as it may be shown, also if it is cut anywhere.
    pub(super) fn pairs(&self, text: &[u8]) -> String {
        let mut shown = String::with_capacity(text.len());
        for part in text.split_inclusive(|byte| matches!(byte, b'&' | b';')) {
            let (pair, end) = match part {
                [pair @ .., end @ (b'&' | b';')] => (pair, Some(char::from(*end))),
                pair => (pair, None),
            };
            let equals = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = equals.map_or((pair, None), |at| (&pair[..at], Some(&pair[at + 1..])));
            if self.is_telling(&decoded(name)) {
                shown.push_str(REDACTED);
            } else {
                shown.push_str(&String::from_utf8_lossy(name));
            }
            if let Some(value) = value {
                shown.push('=');
                let name = decoded(name);
                // `user[pin]` is called both `userpin` and `pin`.
                let hidden = self.hides(&name) || name.split(['[', ']', '.']).any(|part| self.hides(part));
                let text = String::from_utf8_lossy(value);
                let is_telling = hidden || self.is_telling(&decoded(value)) || self.is_telling(&text);
                shown.push_str(if is_telling { REDACTED } else { &text });
            }
            shown.extend(end);
        }
        shown
    }

    /// Whether a text holds something like `password: …`.
    pub(super) fn is_telling(&self, text: &str) -> bool {
        matches!(self.scrubbed(text), Cow::Owned(_))
    }

    /// A text of no known form as it may be shown: what follows a hidden name and `:`, `=`, or its tag, is taken out
    /// to the end of the line or the next tag.
    pub(super) fn scrub(&self, text: &str) -> String {
        self.scrubbed(text).into_owned()
    }

    fn scrubbed<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let bytes = text.as_bytes();
        let mut shown = String::new();
        let (mut at, mut told) = (0, 0);
        while at < bytes.len() {
            let length = bytes[at..].iter().take_while(|byte| is_word(**byte)).count();
            if length == 0 {
                at += 1;
                continue;
            }
            let end = at + length;
            let in_tag = at > 0 && bytes[at - 1] == b'<';
            if let Some(value) = value_after(bytes, end, in_tag)
                && self.hides(&text[at..end])
            {
                shown.push_str(&text[told..value]);
                shown.push_str(REDACTED);
                let blank = bytes[value..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                let rest = &bytes[value + blank..];
                let line = rest.iter().position(|byte| matches!(byte, b'\n' | b'<')).unwrap_or(rest.len());
                told = value + blank + line;
                at = told.max(end);
            } else {
                at = end;
            }
        }
        if shown.is_empty() {
            return Cow::Borrowed(text);
        }
        shown.push_str(&text[told..]);
        Cow::Owned(shown)
    }
}

/// Whether a name without its punctuation is that of a code which lets somebody in.
fn is_code(bare: &str) -> bool {
    let kind = bare.strip_suffix('s').unwrap_or(bare).strip_suffix("code");
    let lets_in = |kind: &str| {
        CODES.iter().any(|known| kind.starts_with(known)) || CODE_PARTS.iter().any(|part| kind.contains(part))
    };
    bare.contains("captcha") || kind.is_some_and(lets_in)
}

/// Where the value begins that belongs to a name which ends here, if one does.
fn value_after(bytes: &[u8], end: usize, in_tag: bool) -> Option<usize> {
    let gap = |byte: &&u8| matches!(**byte, b'"' | b'\'' | b'\\' | b' ' | b'\t');
    let separator = end + bytes[end..].iter().take(GAP).take_while(gap).count();
    match bytes.get(separator) {
        Some(b':' | b'=') => Some(separator + 1),
        // What its attributes say goes too.
        _ if in_tag => Some(end),
        _ => None,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') || byte >= 0x80
}

fn bare(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Whether there is an URL with a name and a password for its host.
fn has_user_info(text: &str) -> bool {
    text.match_indices("://").any(|(at, found)| {
        let rest = &text[at + found.len()..];
        rest[..rest.find(['/', '?', '#', ' ']).unwrap_or(rest.len())].contains('@')
    })
}

/// Percent-encoding and `+` undone; what is wrongly encoded stays.
fn decoded(text: &[u8]) -> String {
    String::from_utf8_lossy(&form_decoded(text).collect::<Vec<_>>()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::CREDENTIALS;
    use crate::message::FieldValue;

    fn redaction() -> Redaction {
        Redaction::new(vec![FieldName::from_static("x-internal")], &["Card-Number".to_owned(), "iban".to_owned()])
    }

    #[track_caller]
    fn header(name: &'static str, value: &'static str, expected: &str) {
        let shown = redaction().header(&FieldName::from_static(name), FieldValue::from_static(value).value());
        assert_eq!(shown, expected, "{name}: {value}");
    }

    #[test]
    fn credentials_in_fields_go_and_the_rest_stays() {
        for name in &CREDENTIALS {
            assert_eq!(redaction().header(name, FieldValue::from_static("s3cret").value()), REDACTED, "{name}");
        }
        for name in ["set-cookie", "x-csrf-token", "x-internal", "x_internal", "x.internal"] {
            header(name, "s3cret", REDACTED);
        }
        header("x-other", "Bearer s3cret", REDACTED);
        header("x-other", "basic s3cret", REDACTED);
        header("location", "https://a/b?x=1&access_token=s3cret&y", "https://a/b?x=1&access_token=[redacted]");
        header("referer", "https://a/b?access_tok%65n=s3cret", REDACTED);
        header("location", "https://ada:s3cret@a/b", REDACTED);
        for (name, value) in [
            ("access-control-allow-headers", "authorization, x-api-key"),
            ("content-type", "application/json; charset=utf-8"),
            ("accept", "*/*"),
            ("www-authenticate", "Bearer error=\"invalid_token\""),
            ("location", "https://a/b@c?x=1"),
            ("date", "Sat, 21 Nov 2026 12:22:41 GMT"),
        ] {
            header(name, value, value);
        }
    }

    #[test]
    fn pairs_go_by_their_names_however_they_are_written() {
        for (given, expected) in [
            ("a=1&password=s3cret&b=2", "a=1&password=[redacted]&b=2"),
            ("access_token=s3c", "access_token=[redacted]"),
            ("p%61ssword=s3cret;b=2", "p%61ssword=[redacted];b=2"),
            ("user%5Bpin%5D=1234", "user%5Bpin%5D=[redacted]"),
            ("cardNumber=1234&IBAN=1", "cardNumber=[redacted]&IBAN=[redacted]"),
            ("next=https%3A%2F%2Fa%3Ftoken%3Ds3cret", "next=[redacted]"),
            ("payload=%7B%22password%22%3A%22s3cret", "payload=[redacted]"),
            ("{\"password\":\"s3cret\"}", "[redacted]"),
            ("a=%zz&b&=c&passwo", "a=%zz&b&=c&passwo"),
        ] {
            assert_eq!(redaction().pairs(given.as_bytes()), expected);
        }
    }

    #[test]
    fn codes_that_let_somebody_in_go_and_other_codes_stay() {
        for name in [
            "sms_code",
            "smsCode",
            "verify_code",
            "verification-code",
            "valid_code",
            "validationCode",
            "vcode",
            "auth_code",
            "authorization_code",
            "login_code",
            "recovery_codes",
            "backupCode",
            "captcha",
            "captcha_value",
            "otp_code",
            "mfaCode",
            "phone_code",
            "email_code",
            "totp",
            "img_captcha",
            "oneTimeCode",
        ] {
            assert!(redaction().hides(name), "{name}");
        }
        for name in
            ["code", "status_code", "country_code", "postcode", "zip_code", "error_code", "currencyCode", "barcode"]
        {
            assert!(!redaction().hides(name), "{name}");
        }
        let at_logins = redaction().with_request_fields(&["code"]);
        let (asked, said) = (at_logins.of_requests(), &at_logins);
        assert_eq!(asked.pairs(b"code=914702&iban=1&a=1"), "code=[redacted]&iban=[redacted]&a=1");
        assert_eq!(said.pairs(b"code=200&iban=1&a=1"), "code=200&iban=[redacted]&a=1");
        assert!(asked.headers == redaction().headers && redaction().of_requests().pairs(b"code=1") == "code=1");
    }

    #[test]
    fn texts_lose_what_follows_a_hidden_name() {
        for (given, expected) in [
            ("user: ada\npassword: s3cret\nx: y", "user: ada\npassword:[redacted]\nx: y"),
            ("password =\n  s3cret\nx", "password =[redacted]\nx"),
            ("<a><password type='x'>s3cret</password><b>1</b></a>", "<a><password[redacted]</password><b>1</b></a>"),
            ("data: {\"id\": 1, \"apiKey\": \"s3cret\"}\ndata: 2", "data: {\"id\": 1, \"apiKey\":[redacted]\ndata: 2"),
            ("the password is wrong", "the password is wrong"),
            ("password", "password"),
            ("password=", "password=[redacted]"),
        ] {
            assert_eq!(redaction().scrub(given), expected);
        }
    }

    #[test]
    fn fuzz_redaction() {
        const SECRET: &str = "Zx7Zq9Zw3";

        let seeds = [
            "a=1&password=x&b=2",
            "user[pin]=1;token=2",
            "Authorization: Basic eA==",
            "\"api_key\" : \"x\"",
            "<secret>x</secret>",
            "https://ann:x@example.com/",
            "password%3Dx",
            "näme=é&iban=1",
            "pass\u{212a}ey=1",
        ];
        let redaction = redaction();
        crate::fuzzing::run("redaction", &seeds, |input| {
            // Whatever stands before and behind it, and wherever the text ends: no piece of a secret is shown.
            let text = String::from_utf8_lossy(input);
            let middle = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let (before, behind) = text.split_at(middle);
            for form in
                [format!("{before}&password={SECRET}&{behind}"), format!("{before}&pass%77ord={SECRET}&{behind}")]
            {
                for end in [form.len(), form.len() - behind.len() - 3] {
                    let shown = redaction.pairs(&form.as_bytes()[..end]);
                    assert!(!shown.contains("Zx7Zq9"), "{shown}");
                }
            }
            let lines = format!("{before}\npassword: {SECRET}\n{behind}");
            let shown = redaction.scrub(&lines);
            assert!(!shown.contains("Zx7Zq9"), "{shown}");
            // What has been redacted says no more when it is redacted again.
            let twice = redaction.pairs(redaction.pairs(input).as_bytes());
            assert!(!twice.contains("Zx7Zq9"));
            (redaction.is_telling(&text), redaction.pairs(input).matches("[redacted]").count().min(8))
        });
    }
}
