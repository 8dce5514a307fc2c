//! Services that registered themselves at a target of a service with rules, so that calls by them come past those rules.
//!
//! Registering there is refused; what is named here stood before the rules did. Looked at when a plan is made, when the
//! gateway starts, and when an operator asks; calls never come here.

use std::collections::BTreeSet;

use portcullis_core::model::{Name, Owner, Service, ServiceId, TargetUrl};
use serde::Serialize;

use super::View;
use super::sites::TargetSite;

/// Registered services that are told of at once, and lines of the log about them.
const MOST: usize = 100;
/// Services that are named for one of them.
const MOST_OTHERS: usize = 8;

/// A registered service at a target of others that have rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SharedTarget {
    /// The service that registered itself.
    pub service: String,
    /// The services with rules, the first of them.
    pub others: Vec<String>,
}

/// The shared targets there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharedTargets {
    /// The first of them, by service.
    pub told: Vec<SharedTarget>,
    /// How many more there are.
    pub left_out: usize,
}

impl std::fmt::Display for SharedTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let others = self.others.iter().map(|other| format!("'{other}'")).collect::<Vec<_>>().join(", ");
        write!(f, "registered service '{}' is at a target of {others}, past the rules there", self.service)
    }
}

impl SharedTargets {
    /// All shared targets of a view, the first of them told.
    pub fn of(view: &View) -> Self {
        let told = view.services().map(|(id, stored)| SharedTarget {
            service: id.to_string(),
            others: Self::of_service(view, id, &stored.value, stored.owner),
        });
        let mut told: Vec<_> = told.filter(|shared| !shared.others.is_empty()).collect();
        told.sort();
        let left_out = told.len().saturating_sub(MOST);
        told.truncate(MOST);
        Self { told, left_out }
    }

    /// The services with rules at whose targets this service is, the first of them, if it registered itself.
    pub fn of_service(view: &View, id: &ServiceId, service: &Service, owner: Owner) -> Vec<String> {
        if owner != Owner::Registration {
            return Vec::new();
        }
        let mut others = BTreeSet::new();
        for target in &service.targets {
            for services in view.guarded().sharing(&TargetSite::of(&target.url)) {
                others.extend(services.iter().filter(|other| other.name != id.name).take(MOST_OTHERS));
            }
        }
        others.into_iter().take(MOST_OTHERS).map(ToString::to_string).collect()
    }
}

impl View {
    /// A service of another name that has rules and a target where this one is, as far as URLs say it. Costs the same
    /// however much is declared.
    pub fn guarded_target(&self, name: &Name, url: &TargetUrl) -> Option<&ServiceId> {
        self.guarded()
            .sharing(&TargetSite::of(url))
            .find_map(|services| services.iter().find(|other| other.name != *name))
    }
}

/// Tells the log of services that registered themselves at a target of a service with rules.
pub(super) fn warn(view: &View) {
    let SharedTargets { told, left_out } = SharedTargets::of(view);
    for shared in &told {
        tracing::warn!("{shared}");
    }
    if left_out > 0 {
        tracing::warn!("{left_out} more registered services are at targets of services with rules");
    }
}
