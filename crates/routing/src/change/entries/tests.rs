//! What is opened and what is not, and that a change touches what it is about.

use portcullis_core::model::{Client, Owner, SecretUse, SecretUses};
use portcullis_core::secret::Secret;

use super::*;

/// Opens what has a mark before it.
struct Marked;

impl Unseal for Marked {
    fn unseal(&self, purpose: &str, sealed: &str) -> Option<Secret> {
        assert_eq!(purpose, "client-secret");
        sealed.strip_prefix("sealed ").map(Secret::from)
    }
}

fn label(text: &str) -> Label {
    text.parse().expect("a label")
}

fn secret(client: &str, id: &str, sealed: Option<&str>) -> Edit {
    let uses: SecretUses = std::iter::once(SecretUse::Sign).collect();
    let kept = |sealed: &str| ClientSecret { sealed: sealed.to_owned(), uses, created_at: 1, not_after: Some(9) };
    Edit::ClientSecret(label(client), id.to_owned(), sealed.map(kept))
}

fn client(name: &str, access_key: Option<&str>) -> Edit {
    let client = |key: &str| Client { access_key: Some(key.to_owned()), ..Client::default() };
    Edit::Client(label(name), access_key.map(client))
}

/// The texts of the secrets that are found with an access key; none if nobody has it.
fn texts(entries: &Entries, access_key: &str) -> Option<Vec<String>> {
    let entry = entries.by_access_key(access_key)?;
    Some(entry.secrets.iter().map(|secret| secret.text.expose().to_owned()).collect())
}

#[test]
fn at_the_start_everything_that_can_be_opened_is_live() {
    let mut view = View::default();
    for edit in [
        client("shop", Some("s")),
        client("till", Some("t")),
        secret("shop", "1", Some("sealed one")),
        secret("till", "1", Some("foreign")),
        secret("till", "2", Some("sealed two")),
    ] {
        view.apply(&edit, Owner::Api).expect("applied");
    }
    let entries = of(&Marked, &Directory::default(), &view);
    assert_eq!(texts(&entries, "s"), Some(vec!["one".to_owned()]));
    assert_eq!(texts(&entries, "t"), Some(vec!["two".to_owned()]), "what cannot be opened is left out");
    let held = &entries.secrets(&label("till"))[0];
    assert_eq!((&*held.id, held.created_at, held.not_after), ("2", 1, Some(9)));
    assert!(held.uses.contains(SecretUse::Sign) && !held.uses.contains(SecretUse::Oauth));
    let handles = |name| view.secrets(&name).map(|(id, _)| id.to_owned()).collect::<Vec<_>>();
    assert_eq!((handles(label("till")), handles(label("none"))), (vec!["1".to_owned(), "2".to_owned()], Vec::new()));
}

#[test]
fn a_change_is_taken_up_with_the_secrets_it_is_about() {
    let directory = Directory::default();
    let make = |edits: &[Edit]| {
        let entries = after(&Marked, &directory, edits).expect("something has changed");
        directory.publish(entries);
    };
    let texts = |access_key| directory.read(|entries| texts(entries, access_key));
    make(&[client("shop", Some("s")), secret("shop", "1", Some("sealed one"))]);
    make(&[client("till", Some("t"))]);
    let till = directory.read(|entries| Arc::clone(entries.by_access_key("t").expect("it is there")));
    make(&[secret("shop", "2", Some("sealed two"))]);
    assert_eq!(texts("s"), Some(vec!["one".to_owned(), "two".to_owned()]));
    make(&[secret("shop", "2", Some("foreign"))]);
    assert_eq!(texts("s"), Some(vec!["one".to_owned()]), "what cannot be opened any more is gone");
    make(&[secret("shop", "1", None)]);
    assert_eq!(texts("s"), Some(Vec::new()));
    assert!(directory.read(|entries| Arc::ptr_eq(&till, entries.by_access_key("t").expect("it is there"))));
    make(&[client("shop", None)]);
    assert_eq!(texts("s"), None);
    let other = Edit::Enrolment(label("e"), None);
    assert!(after(&Marked, &directory, &[other]).is_none());
}
