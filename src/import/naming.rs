//! What imported objects are called here: as there, as far as names here allow it, and each but once.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher as _;

use portcullis_core::model::{Label, Name, is_reserved_service_name};

/// Characters of a name.
const LONGEST: usize = 64;
/// Words that no version is called by.
const KEPT_VERSIONS: [&str; 2] = ["api-keys", "registration"];

/// A text as a name: what no name has becomes `-`. The second says whether it is the text itself.
fn shaped(text: &str) -> (String, bool) {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    let name: String = text.chars().map(|letter| if fits(letter) { letter } else { '-' }).take(LONGEST).collect();
    let is_itself = name == text && !name.is_empty();
    (if name.is_empty() { "-".to_owned() } else { name }, is_itself)
}

/// A name with a mark of what it stands for, the same each time.
fn marked(name: &str, of: &[&str]) -> String {
    // FNV-1a: it need not be secret, and must be the same in every release.
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    for part in of {
        hash.write(part.as_bytes());
        hash.write(&[0]);
    }
    let mark = format!("-{:08x}", hash.finish() as u32);
    let kept: String = name.chars().take(LONGEST - mark.len()).collect();
    kept + &mark
}

struct Fnv(u64);

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The names of services. Those that differ in case alone are the same here.
#[derive(Debug, Default)]
pub(crate) struct ServiceNames {
    /// Each spelling by its form in lower case.
    spellings: BTreeMap<String, String>,
    /// In lower case.
    taken: BTreeSet<(String, String)>,
}

impl ServiceNames {
    /// A name of its own for what calls know as `name/version`, told from others by `what`.
    pub(crate) fn find(&mut self, name: &str, version: &str, what: &str) -> String {
        let ((mut own, _), (mut version_here, _)) = (shaped(name), shaped(version));
        let is_kept = |word: &str| KEPT_VERSIONS.iter().any(|kept| kept.eq_ignore_ascii_case(word));
        if is_reserved_service_name(&own) {
            own = format!("{own}-service");
        }
        if is_kept(&version_here) {
            version_here = format!("{version_here}-version");
        }
        if self.spellings.get(&own.to_ascii_lowercase()).is_some_and(|held| *held != own) {
            own = marked(&own, &[name]);
        }
        let lower = |own: &str| (own.to_ascii_lowercase(), version_here.to_ascii_lowercase());
        if self.taken.contains(&lower(&own)) {
            own = marked(&own, &[name, version, what]);
        }
        let mut number = 2;
        while self.taken.contains(&lower(&own)) {
            own = marked(&own, &[name, version, what, &number.to_string()]);
            number += 1;
        }
        self.spellings.insert(own.to_ascii_lowercase(), own.clone());
        self.taken.insert(lower(&own));
        format!("{own}/{version_here}")
    }
}

/// The names of routes.
#[derive(Debug, Default)]
pub(crate) struct RouteNames(BTreeSet<String>);

impl RouteNames {
    /// A name of its own for a client's route to what calls know as `name/version`.
    pub(crate) fn find(&mut self, client: &str, name: &str, version: &str) -> String {
        let joined = format!("{client}-{name}-{version}");
        let (mut own, is_itself) = shaped(&joined);
        if !is_itself || self.0.contains(&own) {
            own = marked(&own, &[client, name, version]);
        }
        let mut number = 2;
        while self.0.contains(&own) {
            own = marked(&own, &[client, name, version, &number.to_string()]);
            number += 1;
        }
        debug_assert!(own.parse::<Name>().is_ok());
        self.0.insert(own.clone());
        own
    }
}

/// What a gateway has already that names and access keys must go with.
#[derive(Debug, Default)]
pub(crate) struct Existing {
    /// Names of its clients by their access keys.
    pub(crate) by_access_key: BTreeMap<String, String>,
    /// Names of all its clients.
    pub(crate) clients: BTreeSet<String>,
}

/// What clients are called, by their ids. One that the gateway has keeps its name, so that renaming it there makes no other
/// client of it; else it is called as there if nobody else is, else by its id.
pub(crate) fn clients<'a>(
    wanted: impl Iterator<Item = (&'a str, Option<&'a str>)> + Clone,
    existing: &Existing,
) -> BTreeMap<String, String> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for (_, name) in wanted.clone() {
        *counts.entry(name.unwrap_or_default()).or_default() += 1;
    }
    let mut taken = existing.clients.clone();
    taken.insert(portcullis_identity::DEFAULT_CLIENT.to_owned());
    let mut found = BTreeMap::new();
    for (app_id, name) in wanted {
        if let Some(held) = existing.by_access_key.get(app_id) {
            found.insert(app_id.to_owned(), held.clone());
            continue;
        }
        let is_free =
            |label: &&str| label.parse::<Label>().is_ok() && label.trim() == *label && !taken.contains(*label);
        let name = name.filter(|name| counts.get(name) == Some(&1)).filter(is_free);
        let name = name.or_else(|| Some(app_id).filter(is_free)).map(str::to_owned);
        let mut name = name.unwrap_or_else(|| marked(&shaped(app_id).0, &[app_id]));
        while taken.contains(&name) {
            name = marked(&name, &[app_id]);
        }
        taken.insert(name.clone());
        found.insert(app_id.to_owned(), name);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_called_as_there_and_each_but_once() {
        let mut names = ServiceNames::default();
        for (name, version, what, want) in [
            ("orders", "v1", "a", "orders/v1"),
            ("orders", "v2", "a", "orders/v2"),
            ("user.api", "v1", "a", "user-api/v1"),
            ("oauth", "v1", "a", "oauth-service/v1"),
            ("keys", "API-keys", "a", "keys/API-keys-version"),
        ] {
            assert_eq!(names.find(name, version, what), want);
        }
        let others = [("orders", "v1", "b"), ("orders", "v1", "c"), ("Orders", "v1", "a"), ("orders", "V1", "a")];
        let mut found: Vec<_> = others.iter().map(|(name, version, what)| names.find(name, version, what)).collect();
        assert!(found.iter().all(|name| name.to_ascii_lowercase().starts_with("orders-")), "{found:?}");
        found.dedup();
        assert_eq!(found.len(), 4);
        let long = names.find(&"x".repeat(200), "v1", "");
        assert!(long.parse::<portcullis_core::model::ServiceId>().is_ok());
    }

    #[test]
    fn routes_of_different_clients_have_different_names() {
        let mut names = RouteNames::default();
        assert_eq!(names.find("shop", "orders", "v1"), "shop-orders-v1");
        let others = [names.find("shop-orders", "v1", "v1"), names.find("shop", "orders-v1", "v1")];
        assert_ne!(others[0], others[1]);
        assert!(names.find("商店", &"x".repeat(99), "v1").parse::<Name>().is_ok());
    }

    #[test]
    fn a_client_keeps_the_name_it_has() {
        let existing = Existing {
            by_access_key: BTreeMap::from([("k1".to_owned(), "old".to_owned())]),
            clients: BTreeSet::from(["old".to_owned(), "taken".to_owned()]),
        };
        let wanted = [
            ("k1", Some("new")),
            ("k2", Some("shop")),
            ("k3", Some("twice")),
            ("k4", Some("twice")),
            ("k5", Some("taken")),
            ("k6", Some("a/b")),
            ("k7", None),
            ("a/b", Some("default")),
        ];
        let found = clients(wanted.into_iter(), &existing);
        let names: Vec<_> = ["k1", "k2", "k3", "k4", "k5", "k6", "k7"].iter().map(|key| found[*key].as_str()).collect();
        assert_eq!(names, ["old", "shop", "k3", "k4", "k5", "k6", "k7"]);
        assert!(found["a/b"].starts_with("a-b-"));
    }
}
