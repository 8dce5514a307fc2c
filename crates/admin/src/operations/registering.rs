//! A microservice registers itself, or says where it is now.
//!
//! An enrolment token takes a free name once; from then on whoever holds its registration key may change the versions
//! that came by registration, and make more of them. A version that an operator made or adopted is not the registration's,
//! and neither is a path that an operator has declared. Everything is looked up by name, path or hash, so that a
//! registration costs the same however many services and routes there are.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use portcullis_core::audit::Actor;
use portcullis_core::directory::{KeyHash, KeyOwner};
use portcullis_core::model::{
    Enrolment, Label, Name, Owner, Registration, Service, ServiceId, Target, TargetUrl, matches_pattern,
};
use portcullis_core::secret::Secret;
use portcullis_identity::{KeyKind, hash_key, mint};
use portcullis_routing::change::{ChangeError, Changes, Edit, Transaction, View};
use subtle::ConstantTimeEq;

use super::api_keys;
use super::names::check_new;
use super::registrations::versions;
use super::services::{check_versions, too_many_targets};
use crate::bounds::MAX_TARGETS;
use crate::registrar::{LimitReached, Permit, Registrar, RegistrationBounds};

/// What a microservice says of itself.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// The service.
    pub id: ServiceId,
    /// Where it is.
    pub url: TargetUrl,
    /// Which of several instances it is.
    pub instance: Option<Name>,
}

/// What became of it, and under which path calls reach the service; none if routes alone lead to it.
#[derive(Debug)]
pub struct Registered {
    /// What became of it.
    pub outcome: Outcome,
    /// The path of its default route.
    pub path: Option<String>,
}

/// What became of a registration.
#[derive(Debug)]
pub enum Outcome {
    /// The name was free and is taken now; the keys are shown this once.
    Taken {
        /// Calls the service.
        api_key: Secret,
        /// Changes the registration.
        registration_key: Secret,
    },
    /// The name was the bearer's already, and its target is set.
    Updated,
    /// Too much was changed; nothing is done.
    Limited(LimitReached),
}

/// What was found out while it was decided.
enum Decided {
    Taken(Option<String>),
    Updated(Option<String>),
    Limited(LimitReached),
}

/// What a bearer is entitled to.
enum Right<'a> {
    /// To change what this registration has made.
    Owner(&'a Registration),
    /// To take a free name with this enrolment token.
    Newcomer(Label, &'a Enrolment),
}

/// Registers a service. `bearer` is the hash of the token that was shown, `now` in Unix milliseconds, `from` the
/// address of the caller.
pub async fn register(
    registrar: &Arc<Registrar>,
    changes: &Changes,
    now: u64,
    from: IpAddr,
    bearer: KeyHash,
    said: Announcement,
) -> Result<Registered, ChangeError> {
    // Whoever shows nothing good is turned away here and does not fill the queue of changes.
    // A token stays what it is, so who this is does not change until the change is decided.
    let actor = match entitled(&changes.view(), now, &bearer, &said.id.name)? {
        Right::Owner(_) => Actor::registration_key(&said.id.name, Some(from)),
        Right::Newcomer(name, _) => Actor::enrolment(&name, Some(from)),
    };
    let changes = &changes.by(actor);
    let registration_key = mint(KeyKind::Registration);
    let api_key = mint(KeyKind::Api);
    let key_hash = hash_key(registration_key.expose()).to_hex();
    let (key_edit, _) = api_keys::prepare(&api_key, KeyOwner::Service(said.id.name.clone()), now);
    let name = said.id.name.clone();
    let (held, permit) = (Arc::clone(registrar), Arc::new(OnceLock::new()));
    let admitted = Arc::clone(&permit);
    let done = changes
        .submit(move |view| {
            let ask = Ask { view, bounds: &held.bounds, id: &said.id };
            let (edits, enrolment, decided) = match entitled(view, now, &bearer, &said.id.name)? {
                Right::Owner(registration) => {
                    let (edits, path) = ask.update(&said)?;
                    (edits, registration.enrolment.clone(), Decided::Updated(path))
                }
                Right::Newcomer(label, enrolment) => {
                    let (service, path) = ask.newcomer(&said, &label)?;
                    let used = Enrolment { uses: enrolment.uses + 1, ..enrolment.clone() };
                    let registration = Registration {
                        key_hash: key_hash.clone(),
                        enrolment: label.clone(),
                        created_at: now,
                        rotated_at: None,
                    };
                    let edits = vec![
                        Edit::Enrolment(label.clone(), Some(used)),
                        Edit::Registration(said.id.name.clone(), Some(registration)),
                        key_edit.clone(),
                        service,
                    ];
                    (edits, label, Decided::Taken(path))
                }
            };
            // What says again what is known is free.
            // One that is decided again was admitted before.
            let is_free = edits.is_empty() || admitted.get().is_some();
            let permit = if is_free { Ok(None) } else { held.admit(&said.id.name, &enrolment).map(Some) };
            match permit {
                Ok(permit) => {
                    permit.into_iter().for_each(|permit: Permit| _ = admitted.set(permit));
                    Ok((Transaction { owner: Owner::Registration, edits }, decided))
                }
                Err(limited) => {
                    let nothing = Transaction { owner: Owner::Registration, edits: Vec::new() };
                    Ok((nothing, Decided::Limited(limited)))
                }
            }
        })
        .await;
    let decided = match done {
        Ok((committed, decided)) => {
            if committed.revisions.is_empty() {
                // Admitted when it was decided first, and found done by somebody else when it was decided again.
                permit.get().into_iter().for_each(|permit| registrar.give_back(permit));
            }
            decided
        }
        Err(error) => {
            permit.get().into_iter().for_each(|permit| registrar.give_back(permit));
            return Err(error);
        }
    };
    let (outcome, path) = match decided {
        Decided::Limited(limited) => return Ok(Registered { outcome: Outcome::Limited(limited), path: None }),
        Decided::Taken(path) => (Outcome::Taken { api_key, registration_key }, path),
        Decided::Updated(path) => (Outcome::Updated, path),
    };
    registrar.hear(&name, now);
    Ok(Registered { outcome, path })
}

/// What the bearer may do with the name, if anything.
fn entitled<'a>(view: &'a View, now: u64, bearer: &KeyHash, name: &Name) -> Result<Right<'a>, ChangeError> {
    let registration = view.registration(name);
    if let Some(registration) = registration {
        let held = KeyHash::from_hex(&registration.value.key_hash);
        if held.is_some_and(|held| held.0.ct_eq(&bearer.0).into()) {
            return Ok(Right::Owner(&registration.value));
        }
    }
    let Some((label, enrolment)) = view.enrolment_with(bearer) else {
        return Err(ChangeError::Unauthenticated("neither an enrolment token nor the name's registration key"));
    };
    let enrolment = &enrolment.value;
    if enrolment.expires_at.is_some_and(|end| end <= now) {
        return Err(ChangeError::Unauthenticated("the enrolment token has expired"));
    }
    if enrolment.max_uses.is_some_and(|most| most <= enrolment.uses) {
        return Err(ChangeError::Unauthenticated("the enrolment token is used up"));
    }
    if !matches_pattern(&enrolment.pattern, name.as_str()) {
        return Err(ChangeError::Forbidden("the enrolment token is not for this name".into()));
    }
    if registration.is_some() || !view.spellings(name.as_str()).is_empty() {
        return Err(ChangeError::Conflict("the name is taken".into()));
    }
    Ok(Right::Newcomer(label.clone(), enrolment))
}

/// What is asked for, on the declarations as they stand.
struct Ask<'a> {
    view: &'a View,
    bounds: &'a RegistrationBounds,
    id: &'a ServiceId,
}

impl Ask<'_> {
    /// Takes a free name.
    fn newcomer(&self, said: &Announcement, enrolment: &Label) -> Result<(Edit, Option<String>), ChangeError> {
        let most = self.bounds.services_per_enrolment;
        if self.view.registered_with(enrolment) >= most {
            let message = format!("at most {most} services are registered with one enrolment token");
            return Err(ChangeError::Conflict(message));
        }
        self.make(said)
    }

    /// Sets the target of a version that came by registration, or makes a new one.
    fn update(&self, said: &Announcement) -> Result<(Vec<Edit>, Option<String>), ChangeError> {
        let Some(former) = self.view.service(self.id) else {
            check_versions(self.view, &self.id.name)?;
            let most = self.bounds.versions_per_service;
            if versions(self.view, &self.id.name).len() >= most {
                let message = format!("at most {most} versions of a service are registered");
                return Err(ChangeError::Conflict(message));
            }
            let (edit, path) = self.make(said)?;
            return Ok((vec![edit], path));
        };
        if former.owner != Owner::Registration {
            let message = format!("service '{}' belongs to an operator, who made or adopted it", self.id);
            return Err(ChangeError::Conflict(message));
        }
        let mut service = former.value.clone();
        let url = said.url.clone();
        match &said.instance {
            None => service.targets = vec![Target { url, weight: 1, instance: None }],
            Some(instance) => {
                let held = service.targets.iter_mut().find(|target| target.instance.as_ref() == Some(instance));
                match held {
                    Some(target) => target.url = url,
                    None => service.targets.push(Target { url, weight: 1, instance: Some(instance.clone()) }),
                }
            }
        }
        if service.targets.len() > MAX_TARGETS {
            return Err(too_many_targets());
        }
        // Where it is already is no change, whatever has been declared there since.
        if former.value.targets.iter().all(|target| target.url != said.url) {
            self.check_target(&said.url)?;
        }
        let path = self.view.default_path(self.id);
        // A service that says again what is known changes nothing.
        let edits =
            if service == former.value { Vec::new() } else { vec![Edit::Service(self.id.clone(), Some(service))] };
        Ok((edits, path))
    }

    /// Makes a version, at a path that no operator has declared.
    fn make(&self, said: &Announcement) -> Result<(Edit, Option<String>), ChangeError> {
        check_new(self.view, self.id)?;
        self.check_target(&said.url)?;
        let service = Service::with_target(said.url.clone(), said.instance.clone());
        let path = self.view.default_routes().of(self.id, &service, Owner::Registration);
        if let Some(path) = path.as_deref().filter(|path| self.view.is_taken(path)) {
            return Err(ChangeError::Conflict(format!("a declared route already uses the path '{path}'")));
        }
        Ok((Edit::Service(self.id.clone(), Some(service)), path))
    }

    /// Whether a target is nobody's whose rules calls would come past.
    fn check_target(&self, url: &TargetUrl) -> Result<(), ChangeError> {
        match self.view.guarded_target(&self.id.name, url) {
            None => Ok(()),
            Some(other) => Err(ChangeError::Conflict(format!(
                "the target '{url}' is one of service '{other}', which has rules of its own; only an operator declares another service there"
            ))),
        }
    }
}
