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

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        list: Vec<String>,
        limit: Option<u32>,
    }

    #[test]
    fn every_mistake_in_settings_is_told_with_its_place() {
        let wrong = |value: Value| {
            let found = read::<Settings>("one", Some(&value)).expect_err("problems");
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            wrong(json!({"list": ["a", 1], "limit": "many", "more": {}})),
            [
                "policies.one.more: is not known; expected one of limit, list",
                "policies.one.limit: expected a whole number, found a text",
                "policies.one.list[1]: expected a text, found the number 1",
            ]
        );
        assert_eq!(wrong(json!("x")), ["policies.one: expected an object, found a text"]);
        let settings: Settings = read("one", Some(&json!({"limit": 7}))).expect("settings");
        assert_eq!((settings.limit, settings.list.len()), (Some(7), 0));
    }
}
