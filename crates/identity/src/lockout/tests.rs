//! Guessing from one address, from many, at many users, and from behind a proxy nobody knows.

use portcullis_core::memory::ManualClock;
use portcullis_core::model::Label;
use proptest::prelude::*;

use super::*;

const USER: &str = "this user from this address";
const NEW: &str = "this user from new addresses";
const ADDRESS: &str = "this address";

fn settings() -> LockoutSettings {
    LockoutSettings { failures: 3, address_failures: 12, ..LockoutSettings::default() }
}

/// A user is beset soon.
fn soon() -> LockoutSettings {
    LockoutSettings { user_failures: 6, ..settings() }
}

struct Room {
    clock: Arc<ManualClock>,
    lockout: Lockout,
}

/// Why a guess was refused, and for how many milliseconds.
type Locked = (&'static str, u128);

impl Room {
    fn with(settings: &LockoutSettings) -> Self {
        let clock = Arc::new(ManualClock::at(1_700_000_000));
        Self { lockout: Lockout::new(settings, clock.clone()), clock }
    }

    fn new() -> Self {
        Self::with(&settings())
    }

    fn admit(&self, user: &str, from: impl Into<LoginOrigin>) -> Result<Attempt<'_>, Locked> {
        self.lockout.admit(user, from.into()).map_err(|refusal| match refusal {
            Refusal::LoginLocked { private, retry_after } => (private, retry_after.as_millis()),
            other => panic!("{other:?}"),
        })
    }

    fn fail(&self, user: &str, from: impl Into<LoginOrigin>) -> Result<(), Locked> {
        self.admit(user, from).map(Attempt::failed)
    }

    fn succeed(&self, user: &str, from: impl Into<LoginOrigin>) -> Result<(), Locked> {
        self.admit(user, from).map(Attempt::succeeded)
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

fn v4(last: u32) -> IpAddr {
    IpAddr::V4((0xc633_6400 + last).into())
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn one_address_guessing_one_user_waits_ever_longer_and_nobody_else_does() {
    let room = Room::new();
    for _ in 0..3 {
        assert_eq!(room.fail("ada", v4(1)), Ok(()));
    }
    for wait in [1, 2, 4, 8, 16] {
        assert_eq!(room.fail("ada", v4(1)), Err((USER, wait * 1000)));
        assert_eq!(room.succeed("ada", v4(1)), Err((USER, wait * 1000)), "the right password too");
        assert_eq!(room.succeed("bob", v4(1)), Ok(()));
        room.pass(wait.try_into().expect("small"));
        assert_eq!(room.fail("ada", v4(1)), Ok(()));
    }
    let report = room.lockout.report();
    assert_eq!((report.failed, report.refused, report.by_untrusted_proxies), (8, 10, 0));
    room.pass(900);
    assert_eq!(room.succeed("ada", v4(1)), Ok(()));
    for _ in 0..3 {
        assert_eq!(room.fail("ada", v4(1)), Ok(()), "a success forgets the failures before it");
    }
    assert_eq!(room.fail("ada", v4(1)), Err((USER, 1000)));
}

#[test]
fn guesses_at_once_are_not_more_and_those_not_verified_do_not_count() {
    let room = Room::new();
    let all: Vec<_> = (0..10).filter_map(|_| room.admit("ada", v4(1)).ok()).collect();
    assert_eq!(all.len(), 3);
    assert_eq!(room.admit("ada", v4(1)).map(drop), Err((USER, 1000)));
    drop(all);
    for _ in 0..20 {
        drop(room.admit("ada", v4(1)).expect("nothing was verified"));
    }
    assert_eq!(room.fail("ada", v4(1)), Ok(()));
}

#[test]
fn a_block_is_a_64_of_ipv6_and_an_address_of_ipv4() {
    let room = Room::new();
    for host in ["2001:db8::1", "2001:db8::ffff:2", "2001:db8::9"] {
        assert_eq!(room.fail("ada", address(host)), Ok(()));
    }
    assert_eq!(room.fail("ada", address("2001:db8::7")), Err((USER, 1000)));
    assert_eq!(room.fail("ada", address("2001:db8:0:1::7")), Ok(()));
    for host in ["198.51.100.1", "::ffff:198.51.100.1", "198.51.100.1"] {
        assert_eq!(room.fail("ada", address(host)), Ok(()));
    }
    assert_eq!(room.fail("ada", address("::ffff:198.51.100.1")), Err((USER, 1000)));
}

#[test]
fn many_addresses_at_one_user_make_strangers_wait_a_little_and_friends_not_at_all() {
    let room = Room::with(&soon());
    assert_eq!(room.succeed("ada", v4(0)), Ok(()));
    for last in 1..=6 {
        assert_eq!(room.fail("ada", v4(last)), Ok(()));
    }
    assert_eq!(room.succeed("ada", v4(0)), Ok(()), "it has succeeded from here before");
    assert_eq!(room.succeed("bob", v4(7)), Ok(()), "another user");
    assert_eq!(room.succeed("ada", v4(7)), Err((NEW, 15_000)));
    // However many hammer on meanwhile: whoever has waited has a try of its own.
    for last in 100..300 {
        assert_eq!(room.fail("ada", v4(last)), Err((NEW, 15_000)));
    }
    room.pass(15);
    for last in 100..300 {
        assert_eq!(room.fail("ada", v4(last)), Ok(()));
        assert_eq!(room.fail("ada", v4(last)), Err((USER, 15_000)), "one at a time");
    }
    assert_eq!(room.succeed("ada", v4(7)), Ok(()));
    // A failure of a friend is its own alone.
    for _ in 0..3 {
        assert_eq!(room.fail("ada", v4(7)), Ok(()));
    }
    assert_eq!(room.fail("ada", v4(7)), Err((USER, 1000)));
    // Some time after the last failure nobody waits any more.
    room.pass(61);
    assert_eq!(room.fail("ada", v4(400)), Ok(()));
}

#[test]
fn one_address_at_many_users_waits_but_not_those_who_log_in_from_there() {
    let room = Room::new();
    assert_eq!(room.succeed("ada", v4(1)), Ok(()));
    for number in 0..12 {
        assert_eq!(room.fail(&format!("user-{number}"), v4(1)), Ok(()));
    }
    assert_eq!(room.fail("somebody", v4(1)), Err((ADDRESS, 1000)));
    assert_eq!(room.fail("somebody", v4(2)), Ok(()));
    assert_eq!(room.succeed("ada", v4(1)), Ok(()), "known here");
    assert_eq!(room.fail("somebody", v4(1)), Err((ADDRESS, 1000)), "a login of one's own wipes nothing away");
    // Who is known here has one try and no more while somebody sprays.
    assert_eq!(room.fail("ada", v4(1)), Ok(()));
    assert_eq!(room.fail("ada", v4(1)), Err((USER, 15_000)));
    for number in 0..40 {
        room.pass(60);
        assert_eq!(room.fail(&format!("more-{number}"), v4(1)), Ok(()));
        let (which, wait) = room.fail("another", v4(1)).expect_err("waits");
        assert!(which == ADDRESS && wait <= 60_000, "{which}: {wait}");
    }
}

#[test]
fn behind_an_unknown_proxy_nobody_waits_for_an_address_and_guessing_is_slow_all_the_same() {
    let room = Room::with(&soon());
    let proxy = LoginOrigin { address: v4(1), shared: true };
    for _ in 0..6 {
        for user in ["ada", "bob", "eve"] {
            assert_eq!(room.fail(user, proxy), Ok(()), "beyond what one address may");
        }
    }
    assert_eq!(room.succeed("carol", proxy), Ok(()));
    for wait in [1, 2, 4, 8, 8, 15, 15] {
        assert_eq!(room.fail("ada", proxy), Err((USER, wait * 1000)));
        room.pass(wait.try_into().expect("small"));
        assert_eq!(room.fail("ada", proxy), Ok(()));
    }
    let report = room.lockout.report();
    assert_eq!((report.by_untrusted_proxies, report.untrusted_proxy), (33, Some(v4(1))));
    room.pass(15);
    assert_eq!(room.succeed("ada", proxy), Ok(()));
    assert_eq!(room.fail("ada", proxy), Ok(()));
    assert!(room.fail("ada", proxy).is_err(), "a success behind it wipes nothing away");
    // What came through it makes nobody wait who comes himself, and nobody is known by it.
    assert_eq!(room.fail("ada", v4(1)), Ok(()));
}

#[test]
fn only_the_latest_blocks_of_a_user_are_remembered() {
    let room = Room::with(&soon());
    for last in 0..=8 {
        assert_eq!(room.succeed("ada", v4(last)), Ok(()));
    }
    for last in 100..106 {
        assert_eq!(room.fail("ada", v4(last)), Ok(()));
    }
    assert_eq!(room.succeed("ada", v4(0)), Err((NEW, 15_000)), "the ninth pushed it out");
    for last in 1..=8 {
        assert_eq!(room.succeed("ada", v4(last)), Ok(()));
    }
}

#[test]
fn flooding_the_tables_forgets_neither_the_user_under_attack_nor_who_is_known() {
    let room = Room::with(&LockoutSettings { entries: 64, ..soon() });
    assert_eq!(room.succeed("ada", v4(0)), Ok(()));
    for last in 1..=6 {
        assert_eq!(room.fail("ada", v4(last)), Ok(()));
    }
    for number in 0..2_000 {
        // Each from an address of its own, at a user of its own; in between, one more at her.
        assert_eq!(room.fail(&format!("nobody-{number}"), v4(1000 + number)), Ok(()));
        if number % 32 == 0 {
            let found = room.fail("ada", v4(10_000 + number));
            assert_eq!(found, Err((NEW, 15_000)));
            room.pass(15);
            assert_eq!(room.fail("ada", v4(10_000 + number)), Ok(()));
        }
    }
    assert_eq!(room.succeed("ada", v4(0)), Ok(()));
}

#[test]
fn texts_that_only_look_alike_are_counted_apart_and_nothing_is_shown() {
    let room = Room::new();
    for _ in 0..3 {
        assert_eq!(room.fail("Ada", v4(1)), Ok(()));
    }
    assert_eq!(room.fail("ada", v4(1)), Ok(()));
    assert!(!format!("{:?}", room.lockout).contains("hasher"));
}

proptest! {
    /// However guesses are spread over time, at once, and over the addresses of a block: no more than the formula, and
    /// no wait beyond the longest.
    #[test]
    fn never_more_guesses_than_the_formula(
        failures in 1_usize..8, beset in any::<bool>(),
        steps in proptest::collection::vec((0_u64..1_200, 1_usize..9), 1..80),
    ) {
        let room = Room::with(&LockoutSettings { failures, address_failures: 100_000, ..soon() });
        if beset {
            for last in 100..106 {
                prop_assert_eq!(room.fail("ada", v4(last)), Ok(()));
            }
        }
        let longest = LockoutSettings::default().longest_wait;
        let mut guesses = Vec::new();
        for (pause, tries) in steps {
            room.pass(pause);
            let tried: Vec<_> = (0..tries).map(|host| {
                room.admit("ada", IpAddr::V6((0x2001_0db8_u128 << 96 | host as u128).into()))
            }).collect();
            for attempt in tried {
                match attempt {
                    Ok(attempt) => {
                        attempt.failed();
                        guesses.push(room.clock.monotonic());
                    }
                    Err((_, wait)) => prop_assert!(wait <= longest.as_millis()),
                }
            }
        }
        let top = u128::from(room.lockout.own.top());
        for (from, start) in guesses.iter().enumerate() {
            for (count, at) in guesses[from..].iter().enumerate() {
                let most = top + (*at - *start).as_nanos().div_ceil(longest.as_nanos());
                prop_assert!((count as u128) < most);
            }
        }
    }
}

#[test]
fn guesses_that_an_auth_api_judges_are_counted_by_client_and_address() {
    let room = Room::new();
    let (shop, till): (Label, Label) = ("shop".parse().expect("a label"), "till".parse().expect("a label"));
    let admit = |client: &Label, from: LoginOrigin| {
        room.lockout.admit_elsewhere(client, from).map_err(|refusal| match refusal {
            Refusal::LoginLocked { retry_after, .. } => retry_after.as_secs(),
            other => panic!("{other:?}"),
        })
    };
    let one = LoginOrigin::from(v4(1));
    // Those under way count, and those that were not judged do not.
    let all: Vec<_> = (0..20).filter_map(|_| admit(&shop, one).ok()).collect();
    assert_eq!((all.len(), admit(&shop, one).map(drop)), (12, Err(1)));
    drop(all);
    for _ in 0..12 {
        admit(&shop, one).expect("one of the first").failed();
    }
    for wait in [1, 2, 4, 8, 16] {
        assert_eq!(admit(&shop, one).map(drop), Err(wait), "also for whoever has the right password");
        room.pass(wait);
        admit(&shop, one).expect("it has waited").failed();
    }
    assert_eq!(admit(&shop, one).map(drop), Err(32));
    // Nobody else waits: at another client, from another address, or as a user of the gateway.
    admit(&till, one).expect("another client").failed();
    admit(&shop, v4(2).into()).expect("another address").failed();
    assert_eq!(room.fail("shop", v4(1)), Ok(()));
    assert_eq!(room.fail("ada", v4(1)), Ok(()));
    // Who is behind a proxy that nobody knows is not held up for others there.
    for _ in 0..50 {
        admit(&shop, LoginOrigin { address: v4(9), shared: true }).expect("not counted").failed();
    }
    assert_eq!(room.lockout.report().by_untrusted_proxies, 50);
}

#[test]
fn a_success_at_an_auth_api_makes_up_for_one_failure() {
    let room = Room::new();
    let shop: Label = "shop".parse().expect("a label");
    let admit = || room.lockout.admit_elsewhere(&shop, v4(1).into());
    for _ in 0..200 {
        admit().expect("people mistype, and then they do not").failed();
        admit().expect("nobody waits").succeeded();
    }
    for _ in 0..12 {
        admit().expect("the first ones are free").failed();
    }
    assert!(admit().is_err(), "all the successes before it are no credit");
    room.pass(1);
    admit().expect("it has waited").succeeded();
    admit().expect("there is room for one").failed();
    assert!(admit().is_err(), "and for no more");
}
