//! Everything that is declared at once: what a file of declarations says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Client, Host, HostName, Label, Name, Route, Service, ServiceId};

/// The version of the form that is written and understood.
pub const DECLARATIONS_VERSION: u64 = 1;

/// Services, routes, clients and hosts as a file declares them, in the order of their names. Secrets, keys, users and
/// sessions are no declarations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declarations {
    /// The version of the form, [`DECLARATIONS_VERSION`].
    pub version: u64,
    /// Services, by `name/version`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<ServiceId, Service>,
    /// Routes, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub routes: BTreeMap<Name, Route>,
    /// Clients, by name; one without an access key keeps the one it has, or gets one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clients: BTreeMap<Label, Client>,
    /// Hosts, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<HostName, Host>,
}

impl Default for Declarations {
    fn default() -> Self {
        Self {
            version: DECLARATIONS_VERSION,
            services: BTreeMap::new(),
            routes: BTreeMap::new(),
            clients: BTreeMap::new(),
            hosts: BTreeMap::new(),
        }
    }
}
