//! Reading a policy's settings out of a declaration.

use portcullis_core::model::Problem;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads settings; absent ones are those by default. Problems are named below `policies.<kind>`.
pub(crate) fn read<T: DeserializeOwned + Default>(kind: &str, settings: Option<&Value>) -> Result<T, Vec<Problem>> {
    let Some(settings) = settings else { return Ok(T::default()) };
    parse(&format!("policies.{kind}"), settings)
}

/// Reads what stands at a path of the declaration.
pub(crate) fn parse<T: DeserializeOwned>(path: &str, settings: &Value) -> Result<T, Vec<Problem>> {
    serde_path_to_error::deserialize(settings).map_err(|error| {
        let inner = error.path().to_string();
        let problem = Problem::new(if inner == "." { String::new() } else { inner }, error.inner().to_string());
        vec![problem.under(path)]
    })
}

/// The JSON schema of a settings type.
pub(crate) fn schema<T: JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}
