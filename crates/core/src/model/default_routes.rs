//! Where the default routes of services stand, if they have any.

use std::sync::Arc;

use super::{Owner, Service, ServiceId};

/// What a node says of default routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultRoutes {
    /// Whether a service has one whose declaration does not say so.
    pub by_default: bool,
    /// The path below which those of registered services stand, without a slash at its end. Empty: they stand among the
    /// others.
    pub registered_below: Arc<str>,
}

impl Default for DefaultRoutes {
    fn default() -> Self {
        Self { by_default: true, registered_below: "".into() }
    }
}

impl DefaultRoutes {
    /// The path of a service's default route; none if it has none.
    pub fn of(&self, id: &ServiceId, service: &Service, owner: Owner) -> Option<String> {
        service.default_route.unwrap_or(self.by_default).then(|| self.place(id, owner))
    }

    /// The path a service's default route has, if it has one.
    pub fn place(&self, id: &ServiceId, owner: Owner) -> String {
        match owner {
            Owner::Registration => format!("{}{}", self.registered_below, id.path()),
            Owner::File | Owner::Api | Owner::Import => id.path(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_says_for_itself_what_a_node_says_for_all() {
        let id: ServiceId = "orders/v1".parse().expect("an id");
        let services = [None, Some(true), Some(false)].map(|said| {
            let url = "http://127.0.0.1:1".parse().expect("a URL");
            Service { default_route: said, ..Service::with_target(url, None) }
        });
        let has = |by_default| {
            let node = DefaultRoutes { by_default, registered_below: "/svc".into() };
            services
                .each_ref()
                .map(|service| [Owner::Api, Owner::File, Owner::Registration].map(|owner| node.of(&id, service, owner)))
        };
        let (plain, below) = (Some("/orders/v1".to_owned()), Some("/svc/orders/v1".to_owned()));
        let all = [plain.clone(), plain, below];
        let none = [None, None, None];
        assert_eq!(has(true), [all.clone(), all.clone(), none.clone()]);
        assert_eq!(has(false), [none.clone(), all, none]);
    }
}
