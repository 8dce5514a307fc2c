//! What calls know of the route they have taken.

use std::sync::Arc;

use crate::model::{Label, PathOptions, ServiceId};

/// What a compiled route tells about itself.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RouteFacts {
    /// The route's name.
    pub name: Arc<str>,
    /// The service behind it; none for a built-in route.
    pub service: Option<ServiceId>,
    /// What a client must be granted to call the endpoint of the gateway behind it; none for a service, and where everybody
    /// may.
    pub grant: Option<ServiceId>,
    /// The client whose calls alone it takes; none for a route that takes those of everybody.
    pub client: Option<Label>,
    /// Whether it is switched off: it refuses what it takes.
    pub is_disabled: bool,
    /// Which paths it takes that are refused otherwise.
    pub paths: PathOptions,
}

/// The route that a request takes.
#[derive(Debug)]
pub struct Matched {
    /// What the route tells about itself.
    pub route: Arc<RouteFacts>,
    /// How many bytes of the path that is decided on it has matched.
    pub matched: usize,
    /// The same for each other reading of a path with parameters.
    pub matched_readings: Vec<usize>,
}
