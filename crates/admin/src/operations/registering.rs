//! A microservice registers itself, or says where it is now.
//!
//! An enrolment token takes a free name once; from then on the name belongs to whoever holds its registration
//! key, in every version. Everything is looked up by name or hash, so that a registration costs the same
//! however many services there are.

use std::net::IpAddr;

use portcullis_core::audit::Actor;
use portcullis_core::directory::{KeyHash, KeyOwner};
use portcullis_core::model::{
    Enrolment, Name, Owner, Registration, Service, ServiceId, Target, TargetUrl, matches_pattern,
};
use portcullis_core::secret::Secret;
use portcullis_identity::{KeyKind, hash_key, mint};
use portcullis_proxy::change::{ChangeError, Changes, Edit, Transaction, View};
use subtle::ConstantTimeEq;

use super::services::{MAX_TARGETS, check_versions, too_many_targets};
use super::{api_keys, submit};

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

/// What became of it.
#[derive(Debug)]
pub enum Registered {
    /// The name was free and is taken now; the keys are shown this once.
    Taken {
        /// Calls the service.
        api_key: Secret,
        /// Changes the registration.
        registration_key: Secret,
    },
    /// The name was the bearer's already, and its target is set.
    Updated,
}

/// What a bearer is entitled to.
enum Right<'a> {
    /// To change the registration of the name.
    Owner,
    /// To take a free name with this enrolment token.
    Newcomer(portcullis_core::model::Label, &'a Enrolment),
}

/// Registers a service. `bearer` is the hash of the token that was shown, `now` in Unix milliseconds, `from` the
/// address of the caller.
pub async fn register(
    changes: &Changes,
    now: u64,
    from: IpAddr,
    bearer: KeyHash,
    said: Announcement,
) -> Result<Registered, ChangeError> {
    // Whoever shows nothing good is turned away here and does not fill the queue of changes.
    // A token stays what it is, so who this is does not change until the change is decided.
    let actor = match entitled(&changes.view(), now, &bearer, &said.id.name)? {
        Right::Owner => Actor::registration_key(&said.id.name, Some(from)),
        Right::Newcomer(name, _) => Actor::enrolment(&name, Some(from)),
    };
    let changes = &changes.by(actor);
    let registration_key = mint(KeyKind::Registration);
    let api_key = mint(KeyKind::Api);
    let key_hash = hash_key(registration_key.expose()).to_hex();
    let (key_edit, _) = api_keys::prepare(&api_key, KeyOwner::Service(said.id.name.clone()), now);
    let (_, taken) = submit(changes, move |view| {
        let (edits, taken) = match entitled(view, now, &bearer, &said.id.name)? {
            Right::Owner => (update(view, said)?, false),
            Right::Newcomer(name, enrolment) => {
                let used = Enrolment { uses: enrolment.uses + 1, ..enrolment.clone() };
                let registration = Registration { key_hash, enrolment: name.clone(), created_at: now };
                let edits = vec![
                    Edit::Enrolment(name, Some(used)),
                    Edit::Registration(said.id.name.clone(), Some(registration)),
                    key_edit,
                    Edit::Service(said.id, Some(Service::with_target(said.url, said.instance))),
                ];
                (edits, true)
            }
        };
        Ok((Transaction { owner: Owner::Registration, edits }, taken))
    })
    .await?;
    Ok(if taken { Registered::Taken { api_key, registration_key } } else { Registered::Updated })
}

/// What the bearer may do with the name, if anything.
fn entitled<'a>(view: &'a View, now: u64, bearer: &KeyHash, name: &Name) -> Result<Right<'a>, ChangeError> {
    let registration = view.registration(name);
    if let Some(registration) = registration {
        let held = KeyHash::from_hex(&registration.value.key_hash);
        if held.is_some_and(|held| held.0.ct_eq(&bearer.0).into()) {
            return Ok(Right::Owner);
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
    if registration.is_some() || !view.versions(name).is_empty() {
        return Err(ChangeError::Conflict("the name is taken".into()));
    }
    Ok(Right::Newcomer(label.clone(), enrolment))
}

/// Sets the target of a service whose name the bearer owns, or makes a new version of it.
fn update(view: &View, said: Announcement) -> Result<Vec<Edit>, ChangeError> {
    let Some(former) = view.service(&said.id) else {
        check_versions(view, &said.id.name)?;
        return Ok(vec![Edit::Service(said.id, Some(Service::with_target(said.url, said.instance)))]);
    };
    let mut service = former.value.clone();
    match said.instance {
        None => service.targets = vec![Target { url: said.url, weight: 1, instance: None }],
        Some(instance) => {
            let held = service.targets.iter_mut().find(|target| target.instance.as_ref() == Some(&instance));
            match held {
                Some(target) => target.url = said.url,
                None => service.targets.push(Target { url: said.url, weight: 1, instance: Some(instance) }),
            }
        }
    }
    if service.targets.len() > MAX_TARGETS {
        return Err(too_many_targets());
    }
    if service == former.value {
        // A service that says again what is known changes nothing.
        return Ok(Vec::new());
    }
    Ok(vec![Edit::Service(said.id, Some(service))])
}
