//! Reading a policy's settings out of a declaration.

use portcullis_core::model::Problem;
use portcullis_core::settings::accept;
pub(crate) use portcullis_core::settings::schema;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads settings; absent ones are those by default. Problems are named below `policies.<kind>`.
pub(crate) fn read<T>(kind: &str, settings: Option<&Value>) -> Result<T, Vec<Problem>>
where
    T: DeserializeOwned + JsonSchema + Default + 'static,
{
    let Some(settings) = settings else { return Ok(T::default()) };
    parse(&format!("policies.{kind}"), settings)
}

/// Reads what stands at a path of the declaration.
pub(crate) fn parse<T: DeserializeOwned + JsonSchema + 'static>(path: &str, value: &Value) -> Result<T, Vec<Problem>> {
    accept(value).map_err(|found| found.into_iter().map(|problem| problem.under(path)).collect())
}
