//! The step that holds calls against limits, and tells callers what is left of them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use portcullis_core::call::{Call, KeyHolder, Response};
use portcullis_core::canonical::DecisionPath;
use portcullis_core::message::names::{RATELIMIT, RATELIMIT_POLICY};
use portcullis_core::message::{FieldValue, HasFields};
use portcullis_core::model::Problem;
use portcullis_core::policy::{Next, Policy, Step};
use portcullis_core::ports::Clock;
use portcullis_core::refusal::{LimitFields, Refusal};
use portcullis_core::spellings;
use serde_json::Value;

use crate::PolicyContext;
use crate::gcra::{Admittance, SECOND};
use crate::limit::{self, Limit, LimitKind, Part};
use crate::limiters::{Key, KeyText, Limiters};

/// Builds the step; none without limits.
pub(crate) fn build(
    site: &PolicyContext<'_>,
    place: &LimitKind,
    value: Option<&Value>,
) -> Result<Option<Step>, Vec<Problem>> {
    let limits = limit::read(&site.name_of(place.kind), place, value)?;
    if limits.is_empty() {
        return Ok(None);
    }
    let policy = Limiting::new(limits, &site.parts.limiters, &site.parts.clock);
    Ok(Some(Step::Policy(Arc::new(policy))))
}

struct Limiting {
    limits: Vec<Limit>,
    policy: FieldValue,
    limiters: Arc<Limiters>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Policy for Limiting {
    async fn handle(&self, call: &mut Call, next: Next<'_>) -> Result<Response, Refusal> {
        let state = self.hold(call)?;
        let mut response = next.run(call).await;
        // Beside what the target, or another policy of limits, says of its own.
        response.fields_mut().add(RATELIMIT_POLICY, self.policy.clone());
        response.fields_mut().add(RATELIMIT, state);
        Ok(response)
    }
}

impl Limiting {
    fn new(limits: Vec<Limit>, limiters: &Arc<Limiters>, clock: &Arc<dyn Clock>) -> Self {
        let items = limits.iter().map(|limit| format!("\"{}\";q={};w={}", limit.name, limit.rate, limit.window));
        let policy = FieldValue::try_from(items.collect::<Vec<_>>().join(", "));
        let policy = policy.expect("names of limits have letters, digits, '-' and '_' alone");
        Self { limits, policy, limiters: Arc::clone(limiters), clock: Arc::clone(clock) }
    }

    /// Takes from every limit, or from none. Of a call that is only tried nothing is taken.
    fn hold(&self, call: &Call) -> Result<FieldValue, Refusal> {
        let now = u64::try_from(self.clock.monotonic().as_nanos()).unwrap_or(u64::MAX);
        let effects = call.effects();
        let mut taken: [Option<(Key, Admittance)>; limit::MOST] = [None; limit::MOST];
        let mut state = Vec::with_capacity(self.limits.len() * 40);
        let mut refused = None;
        for (limit, slot) in self.limits.iter().zip(&mut taken) {
            let key = key(&self.limiters, limit, call);
            let verdict = match &effects {
                Some(effects) => self.limiters.take(effects, key, limit.pace, limit.cost, now),
                None => self.limiters.look(key, limit.pace, limit.cost, now),
            };
            note(&mut state, limit, &verdict);
            if !verdict.admitted {
                refused = Some((limit, verdict.wait));
                break;
            }
            *slot = effects.is_some().then_some((key, verdict));
        }
        let state = FieldValue::from_shared(Bytes::from(state));
        let state = state.map_err(|_| Refusal::internal("a limit's name that is no text"))?;
        let Some((limit, wait)) = refused else { return Ok(state) };
        for (key, verdict) in taken.iter().flatten() {
            self.limiters.give_back(*key, verdict);
        }
        Err(Refusal::TooManyRequests {
            limit: Arc::clone(&limit.name),
            retry_after: Duration::from_nanos(wait),
            fields: Box::new(LimitFields { policy: self.policy.clone(), state }),
        })
    }
}

/// One item of `RateLimit`: what is left, and in how many seconds there is more.
fn note(state: &mut Vec<u8>, limit: &Limit, verdict: &Admittance) {
    let (mut remaining, mut next) = (itoa::Buffer::new(), itoa::Buffer::new());
    let comma = if state.is_empty() { "" } else { ", " };
    let (remaining, next) = (remaining.format(verdict.remaining), next.format(verdict.next.div_ceil(SECOND)));
    for piece in [comma, "\"", &limit.name, "\";r=", remaining, ";t=", next] {
        state.extend_from_slice(piece.as_bytes());
    }
}

/// What a call is counted under.
fn key(limiters: &Limiters, limit: &Limit, call: &Call) -> Key {
    let mut text = limiters.text();
    text.push(0, limit.identity.as_bytes());
    for part in &limit.key {
        if !push(&mut text, part, call) {
            // Nobody escapes a limit by not saying who they are.
            text.push_address(call.peer.client_ip);
        }
    }
    text.key()
}

/// Writes a part down, if the call has it.
fn push(text: &mut KeyText, part: &Part, call: &Call) -> bool {
    let caller = &call.caller;
    match part {
        Part::Address => text.push_address(call.peer.client_ip),
        Part::Path => push_path(text, call),
        Part::Header(name) => {
            // In every spelling: services read them as the same.
            let mut values = spellings::values(call.request.fields(), name);
            let (Some(value), None) = (values.next(), values.next()) else { return false };
            text.push(3, value.as_bytes());
        }
        Part::Client => match (caller.client(), &caller.foreign_client, &caller.key) {
            (Some(client), _, _) => text.push(4, client.name.as_str().as_bytes()),
            (None, Some(client), _) => text.push(9, client.name.as_bytes()),
            (None, None, Some(KeyHolder::Service(name))) => text.push(5, name.as_bytes()),
            _ => return false,
        },
        // Another issuer may have a user of the same name.
        Part::User => match (&caller.token_subject, &caller.user) {
            (Some(subject), _) => text.push(6, subject.as_bytes()),
            (None, Some(user)) => text.push(7, user.name.as_bytes()),
            (None, None) => return false,
        },
        // Only a key that was verified: anybody can make up another one, beside a certificate that lets them in too.
        Part::ApiKey => match &caller.admitted_by.key {
            Some(key) => text.push(8, &key.0),
            None => return false,
        },
    }
    true
}

/// All readings of a path, with and without a slash at its end, are one path.
fn push_path(text: &mut KeyText, call: &Call) {
    let path = &call.request.path;
    let plainest = path.readings().chain([path.decision()]).min_by_key(|reading| reading.as_str().len());
    let plainest = plainest.unwrap_or(path.decision());
    let push =
        |text: &mut KeyText, path: DecisionPath<'_>| text.push(2, path.as_str().trim_end_matches('/').as_bytes());
    if call.route.as_ref().is_some_and(|route| route.paths.case_insensitive) {
        push(text, plainest.folded().decision());
    } else {
        push(text, plainest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{call, caller, foreign, walk};
    use portcullis_core::call::UserFacts;
    use portcullis_core::directory::KeyHash;
    use portcullis_core::memory::ManualClock;
    use portcullis_core::message::FieldName;
    use serde_json::json;

    const LATE: LimitKind = LimitKind { kind: "rate_limit", knows_callers: true, counts_by: Part::Client };

    struct Bench {
        limiters: Arc<Limiters>,
        clock: Arc<ManualClock>,
    }

    impl Bench {
        fn new() -> Self {
            Self { limiters: Arc::default(), clock: Arc::new(ManualClock::at(1_000_000)) }
        }

        /// Compiles settings of a site, as often as one likes, on the same node.
        fn step(&self, site: &str, settings: &Value) -> Step {
            let limits = limit::read(site, &LATE, Some(settings)).expect("limits");
            let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
            Step::Policy(Arc::new(Limiting::new(limits, &self.limiters, &clock)))
        }
    }

    async fn status(step: &Step, mut call: Call) -> u16 {
        walk(step, &mut call, &[]).await.0.status().as_u16()
    }

    fn field<'a>(response: &'a Response, name: &'static str) -> Vec<&'a str> {
        response.fields().all(FieldName::from_static(name)).map(|value| value.text().expect("text")).collect()
    }

    #[tokio::test]
    async fn callers_are_told_what_is_left_also_when_nothing_is() {
        let bench = Bench::new();
        let step = bench.step(
            "orders/v1",
            &json!({"limits": [
                {"rate": 2, "per": "1m"}, {"name": "daily", "rate": 100, "per": "1d", "cost": 10},
            ]}),
        );
        let policy = "\"default\";q=2;w=60, \"daily\";q=100;w=86400";
        let (response, _) = walk(&step, &mut call("GET", "/", &[]), &[("ratelimit", "\"own\";r=1")]).await;
        assert_eq!((response.status().as_u16(), field(&response, "ratelimit-policy")), (200, vec![policy]));
        let state = "\"default\";r=1;t=30, \"daily\";r=90;t=864";
        assert_eq!(field(&response, "ratelimit"), ["\"own\";r=1", state], "beside what the target says");
        assert_eq!(status(&step, call("GET", "/", &[])).await, 200);
        bench.clock.advance(Duration::from_millis(500));
        let (response, reached) = walk(&step, &mut call("GET", "/", &[]), &[]).await;
        assert_eq!((response.status().as_u16(), reached), (429, None));
        assert_eq!(field(&response, "ratelimit"), ["\"default\";r=0;t=30"]);
        assert_eq!((field(&response, "ratelimit-policy"), field(&response, "retry-after")), (vec![policy], vec!["30"]));
        bench.clock.advance(Duration::from_secs(30));
        assert_eq!(status(&step, call("GET", "/", &[])).await, 200, "waiting as long as one is told to is enough");
    }

    #[tokio::test]
    async fn a_call_that_is_refused_by_one_limit_takes_nothing_of_another() {
        let bench = Bench::new();
        let step = bench.step(
            "orders/v1",
            &json!({"limits": [
                {"name": "wide", "rate": 3, "per": 60, "key": ["address"]},
                {"name": "narrow", "rate": 1, "per": 60, "key": ["path"]},
            ]}),
        );
        for (path, expected) in [("/a", 200), ("/a", 429), ("/a", 429), ("/b", 200), ("/c", 200), ("/d", 429)] {
            assert_eq!(status(&step, call("GET", path, &[])).await, expected, "{path}");
        }
    }

    #[tokio::test]
    async fn setting_the_time_of_day_neither_opens_nor_locks_a_limit() {
        let bench = Bench::new();
        let step = bench.step("orders/v1", &json!({"rate": 1, "per": 60}));
        assert_eq!(status(&step, call("GET", "/", &[])).await, 200);
        bench.clock.set(5_000_000);
        assert_eq!(status(&step, call("GET", "/", &[])).await, 429);
        bench.clock.set(1);
        assert_eq!(status(&step, call("GET", "/", &[])).await, 429);
        bench.clock.advance(Duration::from_secs(60));
        assert_eq!(status(&step, call("GET", "/", &[])).await, 200);
    }

    #[tokio::test]
    async fn what_was_used_outlives_being_compiled_anew() {
        let bench = Bench::new();
        let settings = json!({"rate": 1, "per": 60});
        assert_eq!(status(&bench.step("orders/v1", &settings), call("GET", "/", &[])).await, 200);
        assert_eq!(status(&bench.step("orders/v1", &settings), call("GET", "/", &[])).await, 429);
        assert_eq!(status(&bench.step("orders/v2", &settings), call("GET", "/", &[])).await, 200, "another site");
        let named = json!({"name": "other", "rate": 1, "per": 60});
        assert_eq!(status(&bench.step("orders/v1", &named), call("GET", "/", &[])).await, 200, "another limit");
    }

    /// Both calls, each after as many of the first as the limit admits.
    async fn same(key: &[&str], one: impl Fn() -> Call, other: impl Fn() -> Call) -> bool {
        let bench = Bench::new();
        let step = bench.step("orders/v1", &json!({"rate": 1, "per": 60, "key": key}));
        assert_eq!(status(&step, one()).await, 200);
        assert_eq!(status(&step, one()).await, 429);
        status(&step, other()).await == 429
    }

    fn from(address: &str) -> Call {
        let mut call = call("GET", "/", &[]);
        call.peer.client_ip = address.parse().expect("an address");
        call
    }

    fn of(client: Option<&str>, user: Option<&str>, subject: Option<&str>, fields: &[(&str, &str)]) -> Call {
        let mut call = call("GET", "/", fields);
        call.caller = client.map(caller).unwrap_or_default();
        call.caller.token_subject = subject.map(Into::into);
        let json = FieldValue::from_static("e30=");
        call.caller.user = user.map(|name| UserFacts { name: name.into(), user_json: json });
        call
    }

    #[tokio::test]
    async fn addresses_count_by_the_network_that_one_caller_has() {
        for (one, other, expected) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::ffff:1:2:3", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            assert_eq!(same(&["address"], || from(one), || from(other)).await, expected, "{one} {other}");
        }
    }

    #[tokio::test]
    async fn callers_count_by_what_is_known_of_them() {
        let one = || of(Some("shop"), Some("ada"), None, &[]);
        assert!(same(&["client"], one, || of(Some("shop"), None, None, &[])).await);
        assert!(!same(&["client"], one, || of(Some("other"), Some("ada"), None, &[])).await);
        assert!(same(&["user"], one, || of(None, Some("ada"), None, &[])).await);
        assert!(!same(&["user"], one, || of(None, Some("ada"), Some("ada"), &[])).await, "of another issuer");
        assert!(!same(&["client", "user"], one, || of(Some("shop"), Some("bob"), None, &[])).await);
        let foreign = |issuer: &'static str, id: &'static str| {
            move || {
                let mut call = of(None, None, None, &[]);
                call.caller.foreign_client = Some(foreign(issuer, id));
                call
            }
        };
        let shop = foreign("https://idp", "shop");
        assert!(same(&["client"], shop, shop).await);
        assert!(!same(&["client"], shop, foreign("https://idp", "batch")).await);
        assert!(!same(&["client"], shop, foreign("https://other", "shop")).await, "of another issuer");
        assert!(!same(&["client"], shop, || of(Some("shop"), None, None, &[])).await, "of our own");
        assert!(same(&["path"], || call("GET", "/a", &[]), || call("PUT", "/%61", &[])).await);
        assert!(!same(&["path"], || call("GET", "/a", &[]), || call("GET", "/b", &[])).await);
        let tenant = |name: &'static str| move || call("GET", "/", &[("x-tenant", name)]);
        assert!(same(&["header:X-Tenant"], tenant("a"), tenant("a")).await);
        assert!(!same(&["header:x-tenant"], tenant("a"), tenant("b")).await);
    }

    #[tokio::test]
    async fn nobody_escapes_by_not_saying_who_they_are() {
        for key in ["client", "user", "api_key", "header:x-tenant"] {
            let made_up = |key: &'static str| move || call("GET", "/", &[("x-api-key", key)]);
            assert!(same(&[key], made_up("a"), made_up("b")).await, "{key}: as strangers from one address");
            assert!(!same(&[key], || from("192.0.2.1"), || from("192.0.2.2")).await, "{key}: from two");
        }
        let twice = |one: &'static str| move || call("GET", "/", &[("x-tenant", one), ("x-tenant", "b")]);
        assert!(same(&["header:x-tenant"], twice("a"), twice("c")).await);
        // Services read every spelling as the same field.
        let odd = |name: &'static str, value: &'static str| move || call("GET", "/", &[(name, value)]);
        let both = |one: &'static str| move || call("GET", "/", &[("x-tenant", one), ("x_tenant", "b")]);
        assert!(same(&["header:x-tenant"], odd("x_tenant", "a"), odd("x-tenant", "a")).await);
        assert!(!same(&["header:x-tenant"], odd("x.tenant", "a"), odd("x_tenant", "b")).await);
        assert!(same(&["header:x-tenant"], both("a"), both("c")).await, "none of two is believed");
        let keyed = |key: &'static str| {
            move || {
                let mut call = of(Some("shop"), None, None, &[("x-api-key", key)]);
                call.caller.admitted_by.key = Some(KeyHash([key.as_bytes()[0]; 32]));
                call
            }
        };
        assert!(!same(&["api_key"], keyed("a"), keyed("b")).await, "two keys of one client");
        // Let in by something else, like a certificate: the field is anybody's.
        let certified = |key: &'static str| move || of(Some("shop"), None, None, &[("x-api-key", key)]);
        assert!(same(&["api_key"], certified("a"), certified("b")).await);
    }
}
