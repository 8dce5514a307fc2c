//! The settings of `signature`.

use std::time::Duration;

use portcullis_core::call::fomalhaut::Form;
use portcullis_core::model::{Problem, Timeout};
use portcullis_signing::http::{Coverage, Identifiers, Window};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::windows::{Scheme, Windows};

/// What the kind is called.
pub(super) const KIND: &str = "signature";

/// The settings. Which calls have to be signed is said by `require`; with which keys, by the clients.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    /// How far the time of a signature may be from now, in fomalhaut's dialect `fo`: 10m unless it is said.
    fo_window: Option<Timeout>,
    /// The same in `api`: 1h unless it is said.
    api_window: Option<Timeout>,
    /// How old a signature by RFC 9421 may be: 5m unless it is said.
    http_max_age: Option<Timeout>,
    /// How far the clocks of client and gateway may be apart, for signatures by RFC 9421: 1m unless it is said.
    http_skew: Option<Timeout>,
    /// What a signature by RFC 9421 must cover beside the method, the host, the target, and the body by `content-digest`:
    /// component identifiers such as `authorization` or `"@query-param";name="id"`.
    #[schemars(length(max = MOST_COMPONENTS))]
    http_components: Vec<String>,
    /// The `tag` that a signature by RFC 9421 must have; any, if absent.
    #[schemars(length(max = LONGEST_TAG))]
    http_tag: Option<String>,
    /// Whether the body of a request signed by RFC 9421 is passed on while it is verified. The last piece is held back until
    /// the digest matches; if it does not, the request to the service is broken off.
    pub(super) stream: bool,
    /// Whether answers are signed by RFC 9421 for callers who have signed by it. In fomalhaut's dialects the caller asks.
    pub(super) sign_answers: bool,
    /// Whether `Signature` and `Signature-Input` travel on to the service.
    pub(super) forward_credentials: bool,
    /// Whether a caller whose signature does not match is told the string that the gateway has verified. For setting up
    /// clients only: `check --security` reports it.
    pub(super) debug_signatures: bool,
}

/// Components that can be demanded.
const MOST_COMPONENTS: usize = 32;
/// The widest window: a stamp may be ahead by one, and is remembered for another.
const WIDEST: Duration = Duration::from_secs(6 * 3_600);
/// Bytes of a tag.
const LONGEST_TAG: usize = 256;

impl Settings {
    /// Reads them, or says everything that is wrong with them.
    pub(super) fn read(value: Option<&Value>) -> Result<Self, Vec<Problem>> {
        let settings: Self = crate::settings::read(KIND, value)?;
        let identifiers = settings.http_components.iter().enumerate();
        let windows = [
            ("fo_window", settings.fo_window),
            ("api_window", settings.api_window),
            ("http_max_age", settings.http_max_age),
            ("http_skew", settings.http_skew),
        ];
        let too_wide = windows.into_iter().filter(|(_, said)| said.is_some_and(|Timeout(time)| time > WIDEST));
        let too_wide = too_wide.map(|(field, _)| {
            let message = "expected at most 6h: requests have to be remembered for as long as they would pass";
            Problem::new(format!("policies.signature.{field}"), message)
        });
        let problems: Vec<_> = identifiers
            .filter_map(|(at, identifier)| {
                let error = Identifiers::new(&[identifier.as_str()]).err()?;
                Some(Problem::new(format!("policies.signature.http_components[{at}]"), error.to_string()))
            })
            .chain(too_wide)
            .collect();
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    /// How far a time stamp may be from now, in seconds.
    pub(super) fn window(&self, form: Form) -> u64 {
        let (said, usual) = match form {
            Form::Fo => (self.fo_window, 600),
            Form::Api => (self.api_window, 3_600),
        };
        said.map_or(usual, |Timeout(window)| window.as_secs().max(1))
    }

    /// Notes how long requests pass where these settings count.
    pub(super) fn widen(&self, windows: &Windows, now: u64) {
        windows.widen(Scheme::Fo, self.window(Form::Fo), now);
        windows.widen(Scheme::Api, self.window(Form::Api), now);
        let times = self.times();
        windows.widen(Scheme::Http, u64::from(times.max_age.unwrap_or_default()) + u64::from(times.skew), now);
    }

    /// When a signature by RFC 9421 may have been made.
    pub(super) fn times(&self) -> Window {
        let usual = Window::default();
        let seconds =
            |said: Option<Timeout>| said.map(|Timeout(time)| u32::try_from(time.as_secs()).unwrap_or(u32::MAX));
        Window {
            max_age: seconds(self.http_max_age).or(usual.max_age),
            skew: seconds(self.http_skew).unwrap_or(usual.skew),
            ..usual
        }
    }

    /// What a signature by RFC 9421 must cover.
    pub(super) fn coverage(&self) -> Coverage {
        let more: Vec<_> = self.http_components.iter().map(String::as_str).collect();
        // They have been read before.
        Coverage::request().and_components(&more).unwrap_or_else(|_| Coverage::request())
    }

    /// The tag that is demanded.
    pub(super) fn tag(&self) -> Option<&str> {
        self.http_tag.as_deref()
    }
}
