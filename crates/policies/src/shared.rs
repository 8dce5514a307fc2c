//! Steps that routes share. Of many routes to one service, each call takes another one: what is the same for all of them stands
//! in memory once, so that the processor finds it in its caches.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use portcullis_core::model::{Service, ServiceId};
use portcullis_core::policy::{Check, Policy, Step};

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
    steps: Vec<(&'static str, Held)>,
}

enum Held {
    Check(Weak<dyn Check>),
    Policy(Weak<dyn Policy>),
}

impl Held {
    fn of(step: &Step) -> Self {
        match step {
            Step::Check(check) => Self::Check(Arc::downgrade(check)),
            Step::Policy(policy) => Self::Policy(Arc::downgrade(policy)),
        }
    }

    fn step(&self) -> Option<Step> {
        match self {
            Self::Check(check) => check.upgrade().map(Step::Check),
            Self::Policy(policy) => policy.upgrade().map(Step::Policy),
        }
    }

    fn is_held(&self) -> bool {
        match self {
            Self::Check(check) => check.strong_count() > 0,
            Self::Policy(policy) => policy.strong_count() > 0,
        }
    }
}

impl Way {
    fn is_held(&self) -> bool {
        self.steps.iter().any(|(_, held)| held.is_held())
    }
}

impl SharedSteps {
    /// A service's id as all of its routes have it.
    pub fn id(&self, id: &ServiceId) -> ServiceId {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.services.get_key_value(id).map_or_else(|| id.clone(), |(known, _)| known.clone())
    }

    /// Puts those steps in the place of these that the same declaration was compiled to before. What is built for a route alone
    /// must not be among them.
    pub(crate) fn share<'a>(
        &self,
        id: &ServiceId,
        service: &Service,
        steps: impl Iterator<Item = (&'static str, &'a mut Step)>,
    ) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.make_room(id);
        let ways = known.services.entry(id.clone()).or_default();
        if let Some(way) = ways.iter_mut().find(|way| way.service == *service) {
            for (name, step) in steps {
                match way.steps.iter_mut().find(|(held, _)| *held == name) {
                    Some((_, held)) => match held.step() {
                        Some(shared) => *step = shared,
                        None => *held = Held::of(step),
                    },
                    None => way.steps.push((name, Held::of(step))),
                }
            }
            return;
        }
        ways.retain(Way::is_held);
        if ways.len() >= MOST_WAYS {
            ways.remove(0);
        }
        ways.push(Way { service: service.clone(), steps: steps.map(|(name, step)| (name, Held::of(step))).collect() });
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

    fn made() -> Vec<(&'static str, Step)> {
        vec![("one", Step::Check(Arc::new(Passes))), ("other", Step::Check(Arc::new(Passes)))]
    }

    fn share(shared: &SharedSteps, id: &ServiceId, service: &Service) -> Vec<(&'static str, Step)> {
        let mut steps = made();
        shared.share(id, service, steps.iter_mut().map(|(name, step)| (*name, step)));
        steps
    }

    fn are_same(one: &[(&str, Step)], other: &[(&str, Step)]) -> bool {
        let place = |step: &Step| match step {
            Step::Check(check) => Arc::as_ptr(check).cast::<()>(),
            Step::Policy(policy) => Arc::as_ptr(policy).cast::<()>(),
        };
        one.iter().map(|(name, step)| (*name, place(step))).eq(other.iter().map(|(name, step)| (*name, place(step))))
    }

    #[test]
    fn what_is_declared_alike_has_the_same_steps() {
        let shared = SharedSteps::default();
        let (orders, bills) = (id("orders/v1"), id("bills/v1"));
        let first = share(&shared, &orders, &service("http://a"));
        assert!(are_same(&first, &share(&shared, &orders, &service("http://a"))));
        assert!(!are_same(&first, &share(&shared, &orders, &service("http://b"))), "another declaration");
        assert!(!are_same(&first, &share(&shared, &bills, &service("http://a"))), "another service");
        assert!(are_same(&first, &share(&shared, &orders, &service("http://a"))), "both ways are known");
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
        assert!(are_same(&kept, &share(&shared, &id("kept/v1"), &service("http://a"))));
    }
}
