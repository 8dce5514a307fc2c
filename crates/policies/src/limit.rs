//! A limit as it is declared, and as it is compiled: how much, by what it counts, and what is told about it.

use std::sync::Arc;

use portcullis_core::fields::known;
use portcullis_core::message::FieldName;
use portcullis_core::model::{Name, Problem};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::gcra::Pace;
use crate::limiters::KeyText;
use crate::settings;

/// Limits a policy has at most.
pub(crate) const MOST: usize = 8;
/// Parts a limit counts by at most; one more is the limit's identity.
const MOST_PARTS: usize = KeyText::PARTS - 1;
/// The most units in a window, and at once.
const MOST_UNITS: u32 = 1_000_000;
/// The longest window, in seconds.
const LONGEST: u32 = 31 * 86_400;

/// The settings: a list of limits, or one limit directly.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the schema alone; each limit is read by itself, so that all mistakes are found")]
enum Settings {
    /// Several.
    Many(Limits),
    /// One.
    One(LimitSettings),
}

/// Several limits; a call must be admitted by all of them.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Limits {
    /// At most 8, each with a name of its own.
    #[schemars(with = "Vec<LimitSettings>")]
    limits: Vec<Value>,
}

/// A limit.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LimitSettings {
    /// What callers see it called: letters, digits, `-` and `_`. "default", if absent.
    #[serde(default)]
    name: Option<String>,
    /// Units in a window.
    #[schemars(range(min = 1, max = 1_000_000))]
    rate: u32,
    /// The window: seconds, or a text like "30s", "1m", "1h", "1d".
    per: Window,
    /// Units that are admitted at once after a rest; as many as `rate`, if absent.
    #[schemars(range(min = 1, max = 1_000_000))]
    #[serde(default)]
    burst: Option<u32>,
    /// By what calls are counted; all of it together makes a key.
    #[serde(default)]
    key: Option<Vec<String>>,
    /// Units a call takes; 1, if absent.
    #[schemars(range(min = 1, max = 1_000_000))]
    #[serde(default)]
    cost: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Window {
    Seconds(u32),
    Text(String),
}

impl Default for Window {
    fn default() -> Self {
        Self::Seconds(0)
    }
}

impl Window {
    fn seconds(&self) -> Option<u32> {
        let seconds = match self {
            Self::Seconds(seconds) => *seconds,
            Self::Text(text) => {
                let digits = text.bytes().take_while(u8::is_ascii_digit).count();
                let unit = match text[digits..].trim_start() {
                    "s" => 1,
                    "m" => 60,
                    "h" => 3_600,
                    "d" => 86_400,
                    _ => return None,
                };
                text[..digits].parse::<u32>().ok()?.checked_mul(unit)?
            }
        };
        (1..=LONGEST).contains(&seconds).then_some(seconds)
    }
}

/// A part of what calls are counted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// The client address; an IPv6 address by its /64.
    Address,
    /// The canonical path.
    Path,
    /// The value of a field that stands once.
    Header(FieldName),
    /// The client, or the service whose key it is.
    Client,
    /// The user.
    User,
    /// The very API key.
    ApiKey,
}

impl Part {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "address" => Self::Address,
            "path" => Self::Path,
            "client" => Self::Client,
            "user" => Self::User,
            "api_key" => Self::ApiKey,
            other => Self::Header(other.strip_prefix("header:")?.parse().ok()?),
        })
    }

    /// Whether it is a field that no call has, in whatever spelling.
    fn is_never_seen(&self) -> bool {
        matches!(self, Self::Header(name) if known(name.as_str()).is_some_and(|known| !known.kind.may_enter()))
    }

    /// Whether it is known before anybody has looked at credentials.
    fn is_known_early(&self) -> bool {
        matches!(self, Self::Address | Self::Path | Self::Header(_))
    }
}

/// What a policy of limits may count by.
#[derive(Debug)]
pub(crate) struct LimitKind {
    /// The kind, as declarations name it.
    pub(crate) kind: &'static str,
    /// Whether callers are known where it stands.
    pub(crate) knows_callers: bool,
    /// What it counts by, unless it says otherwise.
    pub(crate) counts_by: Part,
}

/// A compiled limit.
#[derive(Debug)]
pub(crate) struct Limit {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// How fast, and how much at once.
    pub(crate) pace: Pace,
    /// Units in a window.
    pub(crate) rate: u32,
    /// The window in seconds.
    pub(crate) window: u32,
    /// Units a call takes.
    pub(crate) cost: u32,
    /// What it counts by.
    pub(crate) key: Vec<Part>,
    /// What of the key is the same for every call: site, kind and name.
    pub(crate) identity: String,
}

/// The JSON schema of the settings.
pub(crate) fn schema() -> Value {
    settings::schema::<Settings>()
}

/// Reads the limits of a policy on a site, or says everything that is wrong with them. None without settings.
pub(crate) fn read(site: &str, place: &LimitKind, value: Option<&Value>) -> Result<Vec<Limit>, Vec<Problem>> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let base = format!("policies.{}", place.kind);
    let declared = match value.get("limits") {
        None => vec![(base.clone(), value.clone())],
        Some(_) => {
            let limits: Limits = settings::parse(&base, value)?;
            let at = |(position, limit)| (format!("{base}.limits[{position}]"), limit);
            limits.limits.into_iter().enumerate().map(at).collect()
        }
    };
    let mut problems = Vec::new();
    if declared.len() > MOST {
        problems.push(Problem::new(format!("{base}.limits"), format!("at most {MOST} limits")));
    }
    let mut limits: Vec<Limit> = Vec::with_capacity(declared.len());
    for (path, value) in declared {
        match settings::parse(&path, &value).and_then(|declared| compile(site, place, &path, &declared)) {
            Ok(limit) if limits.iter().any(|other| other.name == limit.name) => {
                let message = format!("there is a limit '{}' already; give each a name of its own", limit.name);
                problems.push(Problem::new(format!("{path}.name"), message));
            }
            Ok(limit) => limits.push(limit),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(limits) } else { Err(problems) }
}

fn compile(site: &str, place: &LimitKind, path: &str, declared: &LimitSettings) -> Result<Limit, Vec<Problem>> {
    let mut problems = Vec::new();
    let name = declared.name.as_deref().unwrap_or("default");
    let mut wrong = |field: &str, message: String| problems.push(Problem::new(format!("{path}.{field}"), message));
    if name.parse::<Name>().is_err() {
        wrong("name", "a name has 1 to 64 letters, digits, '-' or '_'".to_owned());
    }
    let window = declared.per.seconds();
    if window.is_none() {
        wrong("per", format!("expected 1 to {LONGEST} seconds, as a number or like \"30s\", \"1m\", \"1h\", \"1d\""));
    }
    let burst = declared.burst.unwrap_or(declared.rate);
    let cost = declared.cost.unwrap_or(1);
    for (field, units) in [("rate", declared.rate), ("burst", burst), ("cost", cost)] {
        if !(1..=MOST_UNITS).contains(&units) {
            wrong(field, format!("expected 1 to {MOST_UNITS}, found {units}"));
        }
    }
    if cost > burst {
        wrong("cost", format!("a call of {cost} units is never admitted where {burst} are admitted at once"));
    }
    let mut key = Vec::new();
    for (at, text) in declared.key.iter().flatten().enumerate() {
        let early = if place.knows_callers { "client, user, api_key, " } else { "" };
        match Part::parse(text) {
            Some(part) if part.is_never_seen() => {
                let message =
                    format!("'{text}' is taken away from every call before limits are asked: nothing is counted by it");
                wrong(&format!("key[{at}]"), message);
            }
            Some(part) if place.knows_callers || part.is_known_early() => key.push(part),
            Some(_) => wrong(&format!("key[{at}]"), format!("'{text}' is not known before credentials are verified")),
            None => wrong(&format!("key[{at}]"), format!("expected one of {early}address, path, header:<name>")),
        }
    }
    if declared.key.as_ref().is_some_and(|parts| parts.is_empty() || parts.len() > MOST_PARTS) {
        wrong("key", format!("expected 1 to {MOST_PARTS} parts"));
    }
    let pace = window.and_then(|window| Pace::new(declared.rate, window, burst));
    if pace.is_none() && problems.is_empty() {
        problems.push(Problem::new(format!("{path}.burst"), "refilling the whole burst would take longer than a year"));
    }
    let (Some(pace), Some(window), true) = (pace, window, problems.is_empty()) else { return Err(problems) };
    Ok(Limit {
        name: name.into(),
        pace,
        rate: declared.rate,
        window,
        cost,
        key: if key.is_empty() { vec![place.counts_by.clone()] } else { key },
        identity: format!("{site}\n{}\n{name}", place.kind),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LATE: LimitKind = LimitKind { kind: "rate_limit", knows_callers: true, counts_by: Part::Client };
    const EARLY: LimitKind = LimitKind { kind: "throttle", knows_callers: false, counts_by: Part::Address };

    #[track_caller]
    fn wrong(place: &LimitKind, settings: &Value, expected: &[&str]) {
        let found = read("orders/v1", place, Some(settings)).expect_err("problems");
        let found: Vec<_> = found.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(found, expected, "{settings}");
    }

    #[test]
    fn one_limit_or_several() {
        let read = |settings: Value| read("orders/v1", &LATE, Some(&settings)).expect("limits");
        let one = read(json!({"rate": 100, "per": 60}));
        assert_eq!((one.len(), &*one[0].name, one[0].key.as_slice()), (1, "default", &[Part::Client][..]));
        assert_eq!((one[0].rate, one[0].window, one[0].cost), (100, 60, 1));
        assert_eq!(Some(one[0].pace), Pace::new(100, 60, 100), "a burst is a whole window, unless it is said");
        let two = read(json!({"limits": [
            {"name": "a", "rate": 100, "per": "1m", "burst": 20, "key": ["user", "header:X-Tenant"], "cost": 2},
            {"name": "b", "rate": 1000, "per": "1 d"},
        ]}));
        assert_eq!((two[0].cost, two[1].window), (2, 86_400));
        assert_eq!(Some(two[0].pace), Pace::new(100, 60, 20));
        assert_eq!(two[0].key, [Part::User, Part::Header(FieldName::from_static("x-tenant"))]);
        assert_eq!(read(json!({"limits": []})).len(), 0);
    }

    #[test]
    fn every_mistake_is_named() {
        wrong(
            &EARLY,
            &json!({"rate": 0, "per": "1w", "cost": 5}),
            &["policies.throttle.per", "policies.throttle.rate", "policies.throttle.burst", "policies.throttle.cost"],
        );
        wrong(
            &LATE,
            &json!({"limits": [{"rate": 1}, {"rate": 1, "per": 1, "key": ["nobody", "header:a b"]}, {"rate": 1, "per": 1, "more": 1},
                {"name": "x y", "rate": 1, "per": 1}, {"rate": 1, "per": 1, "key": []}, {"rate": -1, "per": 1}]}),
            &[
                "policies.rate_limit.limits[0].per",
                "policies.rate_limit.limits[1].key[0]",
                "policies.rate_limit.limits[1].key[1]",
                "policies.rate_limit.limits[2].more",
                "policies.rate_limit.limits[3].name",
                "policies.rate_limit.limits[4].key",
                "policies.rate_limit.limits[5].rate",
            ],
        );
        wrong(&EARLY, &json!({"rate": 1, "per": 1, "key": ["address", "user"]}), &["policies.throttle.key[1]"]);
        for field in ["Host", "X-Forwarded-For", "x_real_ip", "Content-Length", "X.User.Json", "Remote-User"] {
            let key = format!("header:{field}");
            wrong(&EARLY, &json!({"rate": 1, "per": 1, "key": ["address", key]}), &["policies.throttle.key[1]"]);
        }
        for field in ["X-API-Key", "x_api_key", "Authorization", "True-Client-IP", "Traceparent", "X-Tenant"] {
            let limit = json!({"rate": 1, "per": 1, "key": [format!("header:{field}")]});
            assert!(read("", &EARLY, Some(&limit)).is_ok(), "{field}");
        }
        wrong(&LATE, &json!({"rate": 1, "per": "31d", "burst": 1_000}), &["policies.rate_limit.burst"]);
        wrong(&LATE, &json!({"rate": 5, "per": 1, "burst": 2, "cost": 3}), &["policies.rate_limit.cost"]);
        let twice = json!({"limits": [{"rate": 1, "per": 1}, {"rate": 2, "per": 1}]});
        wrong(&LATE, &twice, &["policies.rate_limit.limits[1].name"]);
    }
}
