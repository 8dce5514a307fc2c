//! Steps that routes share. Of many routes to one service, each call takes another one: what is the same for all of them stands
//! in memory once, so that the processor finds it in its caches.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use portcullis_core::model::{Service, ServiceId};
use portcullis_core::policy::{Step, Steps};

/// Ways in which the routes of one service are declared whose steps are known at once; of more, the latest.
const MOST_WAYS: usize = 8;
/// Services before those whose steps nobody holds are looked for.
const FEW: usize = 16;

/// The steps of what is compiled, for as long as something compiled holds them.
#[derive(Default)]
pub struct SharedSteps(Mutex<Known>);

#[derive(Default)]
struct Known {
    services: HashMap<ServiceId, Vec<Way>>,
    /// How many services there may be before those that nobody holds are let go.
    most: usize,
}

/// A way in which a service is declared, with what its routes have of their own, and the steps that it was compiled to.
struct Way {
    service: Service,
    /// Whether they are those of routes that take the calls of one client alone, whichever it is.
    is_of_client: bool,
    steps: Weak<Steps>,
}

impl SharedSteps {
    /// A service's id as all of its routes have it.
    pub fn id(&self, id: &ServiceId) -> ServiceId {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.services.get_key_value(id).map_or_else(|| id.clone(), |(known, _)| known.clone())
    }

    /// The steps that the same declaration was compiled to before, or these.
    pub(crate) fn share(
        &self,
        id: &ServiceId,
        service: &Service,
        is_of_client: bool,
        steps: Vec<(&'static str, Step)>,
    ) -> Arc<Steps> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.make_room(id);
        let ways = known.services.entry(id.clone()).or_default();
        ways.retain(Way::is_held);
        let is_it = |way: &&Way| way.is_of_client == is_of_client && way.service == *service;
        if let Some(shared) = ways.iter().find(is_it).and_then(|way| way.steps.upgrade()) {
            return shared;
        }
        if ways.len() >= MOST_WAYS {
            ways.remove(0);
        }
        let steps = Arc::from(steps);
        ways.push(Way { service: service.clone(), is_of_client, steps: Arc::downgrade(&steps) });
        steps
    }
}

impl Way {
    fn is_held(&self) -> bool {
        self.steps.strong_count() > 0
    }
}

impl Known {
    /// There are never many more services than something compiled holds steps of: as soon as there are twice as many as the
    /// last time, the others are let go.
    fn make_room(&mut self, id: &ServiceId) {
        if self.services.len() < self.most.max(FEW) || self.services.contains_key(id) {
            return;
        }
        self.services.retain(|_, ways| ways.iter().any(Way::is_held));
        self.most = self.services.len() * 2 + FEW;
    }
}

impl fmt::Debug for SharedSteps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSteps").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::call::Call;
    use portcullis_core::policy::Check;
    use portcullis_core::refusal::Refusal;
    use serde_json::json;

    use super::*;

    struct Passes;

    impl Check for Passes {
        fn check(&self, _: &mut Call) -> Result<(), Refusal> {
            Ok(())
        }
    }

    fn service(url: &str) -> Service {
        serde_json::from_value(json!({"targets": [{"url": url}]})).expect("a service")
    }

    fn id(name: &str) -> ServiceId {
        name.parse().expect("an id")
    }

    fn share(shared: &SharedSteps, id: &ServiceId, service: &Service) -> Arc<Steps> {
        shared.share(id, service, false, vec![("one", Step::Check(Arc::new(Passes)))])
    }

    #[test]
    fn what_is_declared_alike_has_the_same_steps() {
        let shared = SharedSteps::default();
        let (orders, bills) = (id("orders/v1"), id("bills/v1"));
        let first = share(&shared, &orders, &service("http://a"));
        assert!(Arc::ptr_eq(&first, &share(&shared, &orders, &service("http://a"))));
        assert!(!Arc::ptr_eq(&first, &share(&shared, &orders, &service("http://b"))), "another declaration");
        assert!(!Arc::ptr_eq(&first, &share(&shared, &bills, &service("http://a"))), "another service");
        assert!(!Arc::ptr_eq(&first, &shared.share(&orders, &service("http://a"), true, Vec::new())), "for one client");
    }

    #[test]
    fn what_nobody_holds_any_more_is_let_go() {
        let shared = SharedSteps::default();
        let kept = share(&shared, &id("kept/v1"), &service("http://a"));
        for number in 0..1_000 {
            share(&shared, &id(&format!("gone-{number}/v1")), &service("http://a"));
            share(&shared, &id("kept/v1"), &service(&format!("http://host-{number}")));
        }
        let known = shared.0.lock().expect("not poisoned");
        assert!(known.services.len() <= 3 * FEW, "{}", known.services.len());
        assert!(known.services[&id("kept/v1")].len() <= MOST_WAYS);
        drop(known);
        assert!(Arc::ptr_eq(&kept, &share(&shared, &id("kept/v1"), &service("http://a"))));
    }
}
