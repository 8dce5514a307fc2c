//! Traffic settings: how calls are sent to the targets of a service, declared by kind for a service and, in place of it
//! field by field, for a route.
//!
//! Adding a kind is one file with its settings type, one `mod` line, one field of [`Traffic`] and one row in [`KINDS`].
//! Its reference page and its schema in the OpenAPI document follow from the type.

pub mod timeouts;
pub mod whole;

use std::collections::BTreeMap;

use portcullis_core::model::Problem;
use serde_json::Value;

use timeouts::Timeouts;

/// One row of the table of kinds.
pub struct Kind {
    /// The name in declarations.
    pub name: &'static str,
    /// The JSON schema of its settings.
    pub schema: fn() -> Value,
    /// Reads settings of an origin and puts them over those that are there. Problems have paths inside of the settings.
    pub build: fn(&Value, Origin, &mut Traffic) -> Result<(), Vec<Problem>>,
}

/// Every kind of traffic settings.
pub const KINDS: &[Kind] = &[Kind { name: "timeouts", schema: timeouts::schema, build: timeouts::build }];

/// Whose settings they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The node's: nobody has declared any.
    #[default]
    Node,
    /// The service's.
    Service,
    /// The route's.
    Route,
}

/// What the kinds make of what is declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How long calls may take.
    pub timeouts: Timeouts,
}

/// Settings by kind, as they are declared.
pub type Declared = BTreeMap<String, Value>;

/// Reads the settings of a service and, over them, those of a route, or says everything that is wrong with them.
pub fn compile(service: &Declared, route: &Declared) -> Result<Traffic, Vec<Problem>> {
    let mut traffic = Traffic::default();
    let mut problems = Vec::new();
    for (origin, declared) in [(Origin::Service, service), (Origin::Route, route)] {
        for (name, settings) in declared {
            let place = format!("traffic.{name}");
            match KINDS.iter().find(|kind| kind.name == name) {
                Some(kind) => {
                    let found = (kind.build)(settings, origin, &mut traffic).err().into_iter().flatten();
                    problems.extend(found.map(|problem| problem.under(&place)));
                }
                None => {
                    let known: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
                    let message = format!("unknown kind of traffic settings; expected one of {}", known.join(", "));
                    problems.push(Problem::new(place, message));
                }
            }
        }
    }
    if problems.is_empty() { Ok(traffic) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn declared(value: Value) -> Declared {
        serde_json::from_value(value).expect("settings by kind")
    }

    #[test]
    fn a_route_goes_over_its_service_field_by_field() {
        let service = declared(json!({"timeouts": {"connect": "1s", "idle": 90}}));
        let route = declared(json!({"timeouts": {"idle": "2m", "call": "500ms"}}));
        let timeouts = compile(&service, &route).expect("traffic").timeouts;
        let limit = |limit: Option<timeouts::Limit>| limit.map(|limit| (limit.time, limit.origin));
        assert_eq!(limit(timeouts.connect), Some((Duration::from_secs(1), Origin::Service)));
        assert_eq!(limit(timeouts.first_byte), None);
        assert_eq!(limit(timeouts.idle), Some((Duration::from_secs(120), Origin::Route)));
        assert_eq!(limit(timeouts.call), Some((Duration::from_millis(500), Origin::Route)));
    }

    #[test]
    fn every_problem_is_told_with_its_path() {
        let service =
            declared(json!({"timeouts": {"connect": 0, "idle": "2d", "wait": 1, "call": []}, "teleport": {}}));
        let found = compile(&service, &declared(json!({"timeouts": 7}))).expect_err("problems");
        let paths: Vec<_> = found.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "traffic.teleport",
                "traffic.timeouts.wait",
                "traffic.timeouts.call",
                "traffic.timeouts.connect",
                "traffic.timeouts.idle",
                "traffic.timeouts",
            ]
        );
        let message =
            "expected a time from 1ms to 1d, in seconds like 10, or like '500ms', '10s', '5m', '1h' or '1d', found";
        assert_eq!(found[2].message, format!("{message} a list"));
        assert_eq!(found[3].message, format!("{message} 0"));
    }
}
