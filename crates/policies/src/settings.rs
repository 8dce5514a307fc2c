//! Reading a policy's settings out of a declaration.

use portcullis_core::model::Problem;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads settings; absent ones are those by default. Problems are named below `policies.<kind>`.
pub(crate) fn read<T: DeserializeOwned + Default>(kind: &str, settings: Option<&Value>) -> Result<T, Vec<Problem>> {
    let Some(settings) = settings else { return Ok(T::default()) };
    serde_path_to_error::deserialize(settings).map_err(|error| {
        let path = error.path().to_string();
        let problem = Problem::new(if path == "." { String::new() } else { path }, error.inner().to_string());
        vec![problem.under(&format!("policies.{kind}"))]
    })
}

/// The JSON schema of a settings type.
pub(crate) fn schema<T: JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}
