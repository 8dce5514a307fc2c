//! `ip_filter`: from which addresses a service may be called at all.

use std::net::IpAddr;
use std::sync::Arc;

use portcullis_core::address::Network;
use portcullis_core::call::Call;
use portcullis_core::model::Problem;
use portcullis_core::policy::{Check, Step};
use portcullis_core::refusal::Refusal;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{PolicyContext, settings};

/// Networks a list has at most.
const MOST: usize = 1_024;

/// The settings. The address is that of the client, also behind a trusted proxy.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Networks (`10.0.0.0/8`, `2001:db8::/32`) or addresses that may call; all, if empty.
    allow: Vec<String>,
    /// Networks or addresses that may not, also where `allow` names them.
    deny: Vec<String>,
}

/// The JSON schema of its settings.
pub fn schema() -> Value {
    settings::schema::<Settings>()
}

/// Builds the step; none where both lists are empty.
pub fn build(_: &PolicyContext<'_>, value: Option<&Value>) -> Result<Option<Step>, Vec<Problem>> {
    let settings: Settings = settings::read("ip_filter", value)?;
    let mut problems = Vec::new();
    let allow = networks("allow", &settings.allow, &mut problems);
    let deny = networks("deny", &settings.deny, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let filters = !allow.is_empty() || !deny.is_empty();
    Ok(filters.then(|| Step::Check(Arc::new(IpFilter { allow, deny }))))
}

fn networks(list: &str, declared: &[String], problems: &mut Vec<Problem>) -> Vec<Network> {
    let path = format!("policies.ip_filter.{list}");
    if declared.len() > MOST {
        problems.push(Problem::new(path.clone(), format!("at most {MOST} networks")));
    }
    let read = |(position, text): (usize, &String)| {
        let network = text.parse::<Network>();
        if let Err(error) = &network {
            problems.push(Problem::new(format!("{path}[{position}]"), format!("{error}, found '{text}'")));
        }
        network.ok()
    };
    declared.iter().enumerate().filter_map(read).collect()
}

struct IpFilter {
    allow: Vec<Network>,
    deny: Vec<Network>,
}

impl IpFilter {
    fn lets_in(&self, address: IpAddr) -> bool {
        let among = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        !among(&self.deny) && (self.allow.is_empty() || among(&self.allow))
    }
}

impl Check for IpFilter {
    fn check(&self, call: &mut Call) -> Result<(), Refusal> {
        if self.lets_in(call.peer.client_ip) {
            return Ok(());
        }
        Err(Refusal::Forbidden { detail: "the service may not be called from this address".into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn lets_in(allow: &[&str], deny: &[&str], address: &str, expected: bool) {
        let mut problems = Vec::new();
        let mut read =
            |list: &[&str]| networks("x", &list.iter().map(ToString::to_string).collect::<Vec<_>>(), &mut problems);
        let filter = IpFilter { allow: read(allow), deny: read(deny) };
        assert_eq!(problems, []);
        assert_eq!(filter.lets_in(address.parse().expect("an address")), expected, "{address}");
    }

    #[test]
    fn denied_goes_before_allowed_and_allowed_before_the_rest() {
        lets_in(&["10.0.0.0/8"], &[], "10.1.2.3", true);
        lets_in(&["10.0.0.0/8"], &[], "11.1.2.3", false);
        lets_in(&["10.0.0.0/8"], &["10.1.0.0/16"], "10.1.2.3", false);
        lets_in(&[], &["10.1.0.0/16"], "10.2.2.3", true);
        lets_in(&["2001:db8::/32"], &[], "2001:db8::7", true);
        lets_in(&["2001:db8::/32"], &[], "2001:db9::7", false);
        lets_in(&["192.0.2.7"], &[], "192.0.2.7", true);
        lets_in(&["192.0.2.7"], &[], "192.0.2.8", false);
    }

    #[test]
    fn an_address_has_one_form() {
        lets_in(&[], &["10.0.0.0/8"], "::ffff:10.1.2.3", false);
        lets_in(&[], &["::ffff:10.0.0.0/104"], "10.1.2.3", false);
        lets_in(&["::ffff:10.1.2.3"], &[], "::ffff:10.1.2.3", true);
        lets_in(&["0.0.0.0/0"], &[], "2001:db8::7", false);
    }

    #[test]
    fn every_mistake_is_named() {
        let mut problems = Vec::new();
        let declared = ["10.0.0.0/33", "10.0.0.0/8", "here"].map(str::to_owned);
        networks("deny", &declared, &mut problems);
        let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["policies.ip_filter.deny[0]", "policies.ip_filter.deny[2]"]);
    }
}
