//! What holds for every message: signing and verifying, sealing and opening.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::fomalhaut::{Algorithm, Canonical, Dialect, Head, Part, Signature, SigningKey};

fn key() -> SigningKey {
    SigningKey::new(b"1234").expect("a secret")
}

fn algorithms() -> impl Strategy<Value = Algorithm> {
    select(&Algorithm::ALL[..])
}

fn dialects() -> impl Strategy<Value = Dialect> {
    select(&Dialect::ALL[..])
}

/// Names that are signed, and some that are not; many are the beginning of another.
fn names() -> impl Strategy<Value = String> {
    "(?i)(x-fo|x-fo-|x-api-|x-forwarded-|accept)[a-c0-9!|-]{0,3}"
}

fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    vec((names(), "[ -~\t]{0,12}"), 0..12)
}

fn of(fields: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

const HEAD: Head<'_> = Head { method: b"POST", target: b"/e/v1/?q=1", host: b"example.com" };

fn request(dialect: Dialect, fields: &[(String, String)]) -> Canonical {
    Canonical::request(dialect, HEAD, of(fields)).expect("canonical")
}

/// The string to sign, built as the protocol's page describes it and without regard to cost.
fn simple(dialect: Dialect, fields: &[(String, String)]) -> String {
    let mut values: BTreeMap<String, Vec<&str>> = BTreeMap::from([("host".to_owned(), vec!["example.com"])]);
    for (name, value) in fields {
        let name = name.to_lowercase();
        if name.starts_with(dialect.prefix()) && name != dialect.signature() {
            values.entry(name).or_default().push(value.trim_matches([' ', '\t']));
        }
    }
    let mut lines: Vec<_> = values.iter().map(|(name, values)| format!("{name}: {}", values.join(","))).collect();
    lines.sort();
    format!("POST\n/e/v1/?q=1\n{}\n", lines.join("\n"))
}

proptest! {
    #[test]
    fn the_string_is_what_the_protocol_says(dialect in dialects(), fields in fields()) {
        let canonical = request(dialect, &fields);
        prop_assert_eq!(canonical.as_str(), simple(dialect, &fields));
        let dashed: Vec<_> = fields
            .into_iter()
            .filter(|(name, _)| !name.to_lowercase().starts_with("x-forwarded-"))
            .collect();
        prop_assert_eq!(canonical.without_forwarded().unwrap_or(canonical), request(dialect, &dashed));
    }

    #[test]
    fn case_and_order_of_names_do_not_matter(dialect in dialects(), fields in fields()) {
        let canonical = request(dialect, &fields);
        // A stable sort by name keeps the order of values that have the same one.
        let mut others: Vec<_> = fields.iter().map(|(name, value)| (name.to_uppercase(), format!(" {value}\t"))).collect();
        others.sort_by(|(one, _), (other, _)| other.cmp(one));
        prop_assert_eq!(request(dialect, &others), canonical);
    }

    #[test]
    fn what_is_signed_verifies(algorithm in algorithms(), fields in fields(), body: Vec<u8>, cut: Index) {
        let (key, canonical) = (key(), request(algorithm.dialect(), &fields));
        let signature = key.sign(algorithm, &canonical, &body);
        prop_assert_eq!(key.verify(&canonical, &body, &signature), Ok(()));
        let text = signature.to_text();
        prop_assert_eq!(text.len(), algorithm.text_len());
        prop_assert_eq!(signature.mac().len(), algorithm.mac_len());
        prop_assert_eq!(Signature::read(algorithm.dialect(), text.as_bytes()), Ok(signature));
        let (one, other) = body.split_at(cut.index(body.len() + 1));
        let mut pieces = key.start(algorithm, &canonical);
        pieces.update(one);
        pieces.update(other);
        prop_assert_eq!(pieces.verify(&signature), Ok(()));
    }

    #[test]
    fn nothing_else_verifies(algorithm in algorithms(), body in vec(any::<u8>(), 1..64), bit: Index) {
        let (key, fields) = (key(), vec![(algorithm.dialect().nonce().to_owned(), "0.5".to_owned())]);
        let canonical = request(algorithm.dialect(), &fields);
        let signature = key.sign(algorithm, &canonical, &body);
        prop_assert!(key.verify(&canonical, &flipped(&body, bit), &signature).is_err());
        prop_assert!(key.verify(&canonical, &body[1..], &signature).is_err());
        let other = SigningKey::new(b"1235").expect("a secret");
        prop_assert!(other.verify(&canonical, &body, &signature).is_err());
        let changed = flipped(signature.to_text().as_bytes(), bit);
        if let Ok(changed) = Signature::read(algorithm.dialect(), &changed) {
            prop_assert!(key.verify(&canonical, &body, &changed).is_err());
        }
        let target = flipped(HEAD.target, bit);
        if let Ok(changed) = Canonical::request(algorithm.dialect(), Head { target: &target, ..HEAD }, of(&fields)) {
            prop_assert!(key.verify(&changed, &body, &signature).is_err());
        }
        for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            let others = Signature::new(other, signature.mac());
            prop_assert!(key.verify(&canonical, &body, &others).is_err());
        }
    }

    #[test]
    fn sealed_payloads_open(dialect in dialects(), plain: Vec<u8>) {
        let (key, sealed) = (key(), key().seal(dialect, &plain));
        prop_assert_eq!(key.open(sealed.as_bytes()), Ok(plain.clone()));
        prop_assert_ne!(&key.seal(dialect, &plain), &sealed, "the IV is fresh");
        let block = dialect.padding_block();
        prop_assert_eq!(sealed.len(), (16 + (plain.len() / block + 1) * block).div_ceil(3) * 4);
    }

    #[test]
    fn changed_payloads_never_open_to_the_same(dialect in dialects(), plain: Vec<u8>, bit: Index, cut: Index) {
        let (key, sealed) = (key(), key().seal(dialect, &plain));
        let cut = &sealed.as_bytes()[..cut.index(sealed.len())];
        for text in [flipped(sealed.as_bytes(), bit), cut.to_vec()] {
            prop_assert_ne!(key.open(&text), Ok(plain.clone()));
        }
    }

    #[test]
    fn a_different_string_has_a_first_difference(dialect in dialects(), fields in fields(), others in fields()) {
        let (canonical, other) = (request(dialect, &fields), request(dialect, &others));
        let theirs = [other.as_str(), "body"].concat();
        let found = canonical.compare(b"body", theirs.as_bytes());
        prop_assert_eq!(found.is_none(), canonical == other);
        if let Some(found) = found {
            prop_assert_eq!(found.part, Part::Field);
            prop_assert!(found.ours.is_some() || found.theirs.is_some());
        }
    }
}

fn flipped(bytes: &[u8], bit: Index) -> Vec<u8> {
    let (mut bytes, bit) = (bytes.to_vec(), bit.index(bytes.len() * 8));
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}
