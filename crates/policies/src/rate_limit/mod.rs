//! `rate_limit`: how many calls a known caller may make; by client, user, key, header, path, address, or several of them.

use portcullis_core::model::Problem;
use portcullis_core::policy::Step;
use serde_json::Value;

use crate::limit::{self, LimitKind, Part};
use crate::{PolicyContext, limiting};

const PLACE: LimitKind = LimitKind { kind: "rate_limit", knows_callers: true, counts_by: Part::Client };

/// The JSON schema of its settings.
pub fn schema() -> Value {
    limit::schema()
}

/// Builds the step; none without limits.
pub fn build(site: &PolicyContext<'_>, value: Option<&Value>) -> Result<Option<Step>, Vec<Problem>> {
    limiting::build(site, &PLACE, value)
}
