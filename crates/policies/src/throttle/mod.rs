//! `throttle`: how many calls an address, or the bearer of a header, may make before anybody looks at who it is.

use portcullis_core::model::Problem;
use portcullis_core::policy::Step;
use serde_json::Value;

use crate::limit::{self, LimitKind, Part};
use crate::{PolicyContext, limiting};

const PLACE: LimitKind = LimitKind { kind: "throttle", knows_callers: false, counts_by: Part::Address };

/// The JSON schema of its settings.
pub fn schema() -> Value {
    limit::schema()
}

/// Builds the step; none without limits.
pub fn build(site: &PolicyContext<'_>, value: Option<&Value>) -> Result<Option<Step>, Vec<Problem>> {
    limiting::build(site, &PLACE, value)
}
