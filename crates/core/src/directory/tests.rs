//! Clients by name and access key, their secrets, and what counts on which thread.

use super::*;
use crate::model::{ClientKey, ClientSecret, SecretUses};
use crate::secret::Secret;

fn entries(enabled: bool) -> Entries {
    let mut entries = Entries::default();
    let client = Client { enabled, ..Client::default() };
    entries.set_client(&"shop".parse().expect("a label"), Some(client));
    entries
}

#[test]
fn what_was_prepared_counts_from_the_step_on_and_what_was_published_at_once() {
    let directory = Directory::default();
    let name: Label = "shop".parse().expect("a label");
    let knows = || directory.read(|entries| entries.client(&name).is_some());
    let (first, ()) = (directory.prepare(entries(true)), assert!(knows(), "whoever takes no steps reads the newest"));
    Directory::take(first - 1);
    assert!(!knows(), "not yet");
    Directory::take(first);
    assert!(knows());
    directory.publish(entries(true));
    let second = directory.prepare(entries(false));
    assert!((second > first, directory.step()) == (true, second) && knows());
    Directory::take(second);
    assert!(!knows());
    // What is taken back alone waits for nobody.
    directory.publish(entries(true));
    Directory::take(0);
    assert!(knows());
    directory.publish(entries(false));
    assert!(!knows());
}

fn label(text: &str) -> Label {
    text.parse().expect("a label")
}

fn client(access_key: &str) -> Client {
    Client { access_key: Some(access_key.to_owned()), ..Client::default() }
}

fn secret(id: &str, created_at: u64, text: &str) -> LiveSecret {
    let kept = ClientSecret { sealed: String::new(), uses: SecretUses::all(), created_at, not_after: None };
    LiveSecret::new(id, &kept, Secret::from(text))
}

/// The handles of the secrets that are found with an access key; none if nobody has it.
fn found(entries: &Entries, access_key: &str) -> Option<Vec<String>> {
    let entry = entries.by_access_key(access_key)?;
    Some(entry.secrets.iter().map(|secret| secret.id.to_string()).collect())
}

#[test]
fn an_access_key_finds_its_client_also_a_disabled_one() {
    let mut entries = Entries::default();
    entries.set_client(&label("shop"), Some(client("app")));
    entries.set_client(&label("machine"), None);
    assert!(entries.by_access_key("app").is_some_and(|entry| entry.name == label("shop") && entry.client.enabled));
    assert!(entries.by_access_key("shop").is_none());
    entries.set_client(&label("shop"), Some(Client { enabled: false, ..client("app") }));
    assert!(entries.by_access_key("app").is_some_and(|entry| !entry.client.enabled));
    entries.set_client(&label("shop"), Some(client("other")));
    assert!(entries.by_access_key("app").is_none() && entries.by_access_key("other").is_some());
    entries.set_client(&label("shop"), Some(Client::default()));
    assert!(entries.by_access_key("other").is_none());
    entries.set_client(&label("shop"), Some(client("app")));
    entries.set_client(&label("shop"), None);
    assert!(entries.by_access_key("app").is_none());
}

#[test]
fn clients_may_exchange_their_access_keys() {
    let (one, other) = (label("one"), label("other"));
    let mut entries = Entries::default();
    entries.set_client(&one, Some(client("a")));
    entries.set_client(&other, Some(client("b")));
    entries.set_client(&one, Some(client("b")));
    entries.set_client(&other, Some(client("a")));
    let name = |key| entries.by_access_key(key).map(|entry| entry.name.clone());
    assert_eq!((name("a"), name("b")), (Some(other.clone()), Some(one.clone())));
    // One takes the key of another, which is gone in the same change.
    entries.set_client(&one, Some(client("a")));
    entries.set_client(&other, None);
    assert_eq!(entries.by_access_key("a").map(|entry| entry.name.clone()), Some(one));
    assert!(entries.by_access_key("b").is_none());
}

#[test]
fn secrets_are_found_with_their_client_the_oldest_first() {
    let shop = label("shop");
    let mut entries = Entries::default();
    // In whatever order they come.
    entries.set_secret(&shop, "new", Some(secret("new", 2, "x")));
    entries.set_client(&shop, Some(client("app")));
    entries.set_secret(&shop, "old", Some(secret("old", 1, "y")));
    assert_eq!(found(&entries, "app"), Some(vec!["old".to_owned(), "new".to_owned()]));
    let by_name = entries.client(&shop).expect("it is there");
    assert!(Arc::ptr_eq(by_name, entries.by_access_key("app").expect("it is there")));
    entries.set_secret(&shop, "old", None);
    entries.set_secret(&shop, "unknown", None);
    assert_eq!(found(&entries, "app"), Some(vec!["new".to_owned()]));
    entries.set_client(&shop, Some(Client { enabled: false, ..client("app") }));
    assert_eq!(found(&entries, "app"), Some(Vec::new()), "those of a disabled client are not live");
    assert_eq!(entries.secrets(&shop).len(), 1, "and are not forgotten");
    entries.set_client(&shop, Some(client("app")));
    assert_eq!(found(&entries, "app"), Some(vec!["new".to_owned()]));
    entries.set_client(&shop, None);
    assert_eq!(found(&entries, "app"), None);
}

#[test]
fn a_change_of_secrets_leaves_other_entries_and_other_secrets_alone() {
    let (shop, till) = (label("shop"), label("till"));
    let mut entries = Entries::default();
    for (name, key) in [(&shop, "s"), (&till, "t")] {
        entries.set_client(name, Some(client(key)));
        entries.set_secret(name, "first", Some(secret("first", 1, "x")));
    }
    let mut next = entries.clone();
    next.set_secret(&shop, "second", Some(secret("second", 2, "y")));
    let same = |name| Arc::ptr_eq(entries.client(name).expect("there"), next.client(name).expect("there"));
    assert_eq!((same(&shop), same(&till)), (false, true));
    assert!(Arc::ptr_eq(&entries.secrets(&shop)[0], &next.secrets(&shop)[0]), "what is prepared of it stays");
    // One that is set anew goes on where it was.
    next.secrets(&shop)[0].touch(5_000);
    next.set_secret(&shop, "first", Some(secret("first", 1, "x")));
    assert_eq!(next.secrets(&shop)[0].last_used(), Some(5_000));
}

#[test]
fn secrets_are_chosen_by_use_and_time() {
    let mut entries = Entries::default();
    entries.set_client(&label("shop"), Some(client("app")));
    let uses = |one| std::iter::once(one).collect();
    for (id, uses, not_after) in [("a", uses(SecretUse::Sign), Some(10)), ("b", uses(SecretUse::Oauth), None)] {
        let kept = ClientSecret { sealed: String::new(), uses, created_at: 1, not_after };
        entries.set_secret(&label("shop"), id, Some(LiveSecret::new(id, &kept, Secret::from("x"))));
    }
    let entry = entries.by_access_key("app").expect("it is there");
    let chosen = |wanted, now| entry.secrets_for(wanted, now).map(|secret| secret.id.as_ref()).collect::<Vec<_>>();
    assert_eq!((chosen(SecretUse::Sign, 9), chosen(SecretUse::Sign, 10)), (vec!["a"], Vec::new()));
    assert_eq!((chosen(SecretUse::Oauth, 10), chosen(SecretUse::Seal, 9)), (vec!["b"], Vec::new()));
}

#[test]
fn a_public_key_that_stays_keeps_what_was_prepared_of_it() {
    let key = |id: &str, pem: &str| ClientKey {
        id: id.parse().expect("a name"),
        algorithm: crate::model::KeyAlgorithm::Ed25519,
        jwk: None,
        pem: Some(pem.to_owned()),
    };
    let with = |keys: &[ClientKey]| Client { keys: keys.to_vec(), ..client("app") };
    let mut entries = Entries::default();
    entries.set_client(&label("shop"), Some(with(&[key("a", "1"), key("b", "2")])));
    let former = Arc::clone(entries.by_access_key("app").expect("it is there"));
    former.keys[0].prepared.get_or_init(|| 7_u32);
    entries.set_client(&label("shop"), Some(with(&[key("b", "3"), key("a", "1")])));
    let entry = entries.by_access_key("app").expect("it is there");
    assert_eq!(entry.key("a").expect("a key").prepared.get_or_init(|| 8_u32), &7);
    assert_eq!(entry.key("b").expect("a key").declared.pem.as_deref(), Some("3"));
    assert!(entry.key("c").is_none());
}
