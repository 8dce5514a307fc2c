//! Whatever is done in whatever order, a token is good exactly where a few rules say so.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const CLIENTS: [&str; 2] = ["shop", "till"];
const USERS: usize = 3;
const SESSIONS_PER_USER: usize = 3;
const SESSION_TTL: u64 = 2_000;

#[derive(Debug, Clone)]
enum Operation {
    LogIn {
        client: usize,
        user: usize,
        alone: bool,
    },
    /// Of the token with this number, by this client.
    Refresh {
        client: usize,
        of: prop::sample::Index,
    },
    End {
        client: usize,
        of: prop::sample::Index,
    },
    EndAll,
    Advance(u64),
    Prune,
}

fn operation() -> impl Strategy<Value = Operation> {
    let client = || 0..CLIENTS.len();
    let of = any::<prop::sample::Index>;
    prop_oneof![
        4 => (client(), 0..USERS, prop::bool::weighted(0.3))
            .prop_map(|(client, user, alone)| Operation::LogIn { client, user, alone }),
        5 => (client(), of()).prop_map(|(client, of)| Operation::Refresh { client, of }),
        2 => (client(), of()).prop_map(|(client, of)| Operation::End { client, of }),
        1 => Just(Operation::EndAll),
        3 => (1_u64..400).prop_map(Operation::Advance),
        1 => Just(Operation::Prune),
    ]
}

/// A pair that was given to somebody, and what ought to be true of it. Times are Unix seconds.
struct Given {
    client: usize,
    user: usize,
    created_at: u64,
    access_until: u64,
    expires_at: u64,
    ended: bool,
    access: Secret,
    refresh: Secret,
}

impl Given {
    fn new(client: usize, user: usize, created_at: u64, now: u64, pair: Pair) -> Self {
        let end = created_at + SESSION_TTL;
        let expires_at = (now + LIFETIMES.refresh.as_secs()).min(end);
        let access_until = (now + LIFETIMES.access.as_secs()).min(expires_at);
        let (access, refresh) = (pair.access_token, pair.refresh_token);
        Self { client, user, created_at, access_until, expires_at, ended: false, access, refresh }
    }
}

async fn apply(scene: &Scene, given: &mut Vec<Given>, now: &mut u64, operation: Operation) {
    match operation {
        Operation::LogIn { client, user, alone } => {
            // No two logins are of one age.
            *now += 1;
            scene.advance(1);
            let lifetimes = Lifetimes { alone, ..LIFETIMES };
            let name = label(CLIENTS[client]);
            let pair = match user {
                0 => scene.pairs.log_in(HERE, &name, lifetimes, "ada", "s3cret".into()).await,
                other => scene.pairs.open_for(&name, lifetimes, &json!({"id": other})).await,
            };
            // Those of an Auth API are others at each client.
            let is_same = |held: &Given| held.user == user && (user == 0 || held.client == client);
            let alone_ends = |held: &&mut Given| alone && is_same(held) && held.client == client;
            given.iter_mut().filter(alone_ends).for_each(|held| held.ended = true);
            let mut kept: Vec<_> = given.iter_mut().filter(|held| !held.ended && is_same(held)).collect();
            kept.sort_by_key(|held| held.created_at);
            let over = (kept.len() + 1).saturating_sub(SESSIONS_PER_USER);
            kept.into_iter().take(over).for_each(|held| held.ended = true);
            given.push(Given::new(client, user, *now, *now, pair.expect("logged in")));
        }
        Operation::Refresh { client, of } if !given.is_empty() => {
            let at = of.index(given.len());
            let held = &given[at];
            let is_good = !held.ended && held.client == client && *now < held.expires_at;
            let found = scene.refresh(CLIENTS[client], &held.refresh).await;
            assert_eq!(found.is_some(), is_good);
            if let Some(pair) = found {
                let (user, created_at) = (held.user, held.created_at);
                given[at].ended = true;
                given.push(Given::new(client, user, created_at, *now, pair));
            }
        }
        Operation::End { client, of } if !given.is_empty() => {
            let at = of.index(given.len());
            let held = &mut given[at];
            scene.pairs.end_by_access(&label(CLIENTS[client]), held.access.expose()).await.expect("fine");
            held.ended |= held.client == client;
        }
        Operation::EndAll => {
            scene.house.parts.users.end_sessions(&actor(), &label("ada"), None).await.expect("ended");
            given.iter_mut().filter(|held| held.user == 0).for_each(|held| held.ended = true);
        }
        Operation::Advance(seconds) => {
            *now += seconds;
            scene.advance(seconds);
        }
        Operation::Prune => {
            scene.house.parts.sessions.prune().await.expect("pruned");
            // What is over is not counted among a user's any more.
            given.iter_mut().filter(|held| *now >= held.expires_at).for_each(|held| held.ended = true);
        }
        Operation::Refresh { .. } | Operation::End { .. } => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_token_is_good_where_the_rules_say_so(operations in vec(operation(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let scene = Scene::with(LoginSettings {
                session_ttl: Duration::from_secs(SESSION_TTL),
                sessions_per_user: SESSIONS_PER_USER as u32,
                ..LoginSettings::default()
            })
            .await;
            let (mut given, mut now) = (Vec::new(), 1_700_000_000);
            for operation in operations {
                let what = format!("{operation:?}");
                apply(&scene, &mut given, &mut now, operation).await;
                for held in &given {
                    let left = (!held.ended && now < held.access_until).then(|| held.access_until - now);
                    for (number, client) in CLIENTS.into_iter().enumerate() {
                        let wanted = left.filter(|_| number == held.client);
                        let found = scene.pairs.remaining(&label(client), held.access.expose()).await.expect("answered");
                        prop_assert_eq!(found.map(|left| left.as_secs()), wanted, "after {}", &what);
                    }
                }
            }
            Ok(())
        })?;
    }
}
