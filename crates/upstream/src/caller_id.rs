//! Who is counted as one caller where callers share something: the user of a client, a client, a user, else an address.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::LazyLock;

use portcullis_core::call::Call;
use portcullis_core::caller::Caller;
use portcullis_core::network;

/// A caller, as a hash whose seed nobody knows. Two callers that have the same one share what either would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallerId(NonZeroU64);

/// What a caller is known by.
#[derive(Hash)]
enum Known<'a> {
    /// A client, and the user it calls for. Users of one client are no more to one another than those of two.
    Client(&'a str, Option<&'a str>),
    User(&'a str),
    Address(IpAddr),
}

impl CallerId {
    /// Who makes a call.
    pub fn of(call: &Call) -> Self {
        Self::new(&known(&call.caller, call.peer.client_ip))
    }

    fn new(known: &impl Hash) -> Self {
        static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self(NonZeroU64::new(SEED.hash_one(known)).unwrap_or(NonZeroU64::MIN))
    }

    /// As a number that is never 0.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// What [`Self::get`] gave.
    pub fn from_number(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }
}

fn known(caller: &Caller, address: IpAddr) -> Known<'_> {
    let user = caller.user.as_ref().map(|user| &*user.name);
    match (caller.client(), &caller.foreign_client, user) {
        (Some(client), ..) => Known::Client(client.name.as_str(), user),
        (None, Some(client), _) => Known::Client(&client.name, user),
        (None, None, Some(user)) => Known::User(user),
        (None, None, None) => Known::Address(network::of(address)),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::caller::{ForeignClient, UserFacts};

    use super::*;

    fn at(address: &str) -> CallerId {
        of(&Caller::default(), address)
    }

    fn of(caller: &Caller, address: &str) -> CallerId {
        CallerId::new(&known(caller, address.parse().expect("an address")))
    }

    #[test]
    fn addresses_of_one_network_are_one_caller() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::2", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
        ] {
            assert_eq!(at(one) == at(other), same, "{one} {other}");
        }
    }

    #[test]
    fn whoever_is_known_by_name_is_one_caller_wherever_it_is() {
        let field = || portcullis_core::message::FieldValue::from_static("x");
        let user = |name: &str| Caller {
            user: Some(UserFacts { name: name.into(), user_json: field() }),
            ..Caller::default()
        };
        let client = |name: &str| Caller {
            foreign_client: Some(ForeignClient { name: name.into(), app_id: field() }),
            ..user("anna")
        };
        let for_user = |name: &str, user_name: &str| Caller { user: user(user_name).user, ..client(name) };
        assert_ne!(of(&for_user("i#a", "anna"), "192.0.2.1"), of(&for_user("i#a", "bob"), "192.0.2.1"));
        assert_eq!(of(&user("anna"), "192.0.2.1"), of(&user("anna"), "192.0.2.2"));
        assert_ne!(of(&user("anna"), "192.0.2.1"), of(&user("bob"), "192.0.2.1"));
        assert_eq!(of(&client("i#a"), "192.0.2.1"), of(&client("i#a"), "192.0.2.2"));
        // A client is nobody else for having a user's name.
        assert_ne!(of(&client("anna"), "192.0.2.1"), of(&user("anna"), "192.0.2.1"));
        assert_ne!(of(&user("anna"), "192.0.2.1"), at("192.0.2.1"));
    }
}
