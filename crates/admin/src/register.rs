//! `POST /-/register` on the data plane: a microservice registers itself.
//!
//! This is the outside of [`crate::operations::registering`]: it reads the request, hands the work to the control
//! runtime, and writes the answer. No probe is sent to what registers.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use portcullis_core::directory::KeyHash;
use portcullis_core::handler::{Admitted, Asked, Handler, Reply};
use portcullis_core::jobs::Class;
use portcullis_core::message::names::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use portcullis_core::message::{FieldName, FieldValue, HasFields};
use portcullis_core::model::{Name, ServiceId};
use portcullis_core::ports::Clock;
use portcullis_core::refusal::{Credential, LimitFields, Refusal};
use portcullis_identity::hash_key;
use portcullis_routing::change::{ChangeError, Changes};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::bearer;
use crate::operations::registering::{Announcement, Outcome, Registered, register};
use crate::registrar::{LimitReached, Registrar};
use crate::request::is_json;

/// Bytes of a registration.
const BODY_LIMIT: u64 = 16 << 10;

/// What a microservice sends. Fields that are not known are passed over.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RegistrationRequest)]
pub(crate) struct RegistrationRequest {
    /// The service's name, the first segment of its path.
    name: String,
    /// Where it is: `http://host[:port][/base]`, or `https://…` over TLS.
    base_url: String,
    /// Its version, the second segment of its path; `v1` if absent.
    #[schema(default = "v1")]
    version: Option<String>,
    /// Which of several instances it is; its target is set beside the others'.
    instance: Option<String>,
}

/// What a microservice is told. The keys are there only when the name was taken just now.
#[derive(Serialize, ToSchema)]
#[schema(as = RegistrationReply)]
pub(crate) struct RegistrationReply {
    /// The service's name.
    name: String,
    /// Its version.
    version: String,
    /// The path under which apps call it; null if the operator has it called by routes of its own alone.
    #[schema(required)]
    path: Option<String>,
    /// The API key with which apps call it; shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
    /// The key that changes this registration; shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_key: Option<String>,
}

/// What is read of a call beside its body.
static READS: [FieldName; 2] = [AUTHORIZATION, CONTENT_TYPE];

/// Registers services.
pub struct Registering {
    registrar: Arc<Registrar>,
    changes: Changes,
    clock: Arc<dyn Clock>,
}

impl Registering {
    /// Registers by these changes.
    pub fn new(registrar: Arc<Registrar>, changes: Changes, clock: Arc<dyn Clock>) -> Self {
        Self { registrar, changes, clock }
    }
}

#[async_trait]
impl Handler for Registering {
    /// The hash of the token in `Authorization`.
    type Seen = KeyHash;

    fn reads(&self) -> &'static [FieldName] {
        &READS
    }

    fn admit(&self, asked: &Asked) -> Result<Admitted<KeyHash>, Refusal> {
        let seen = shown_token(asked)?;
        if !is_json(asked.fields()) {
            return Err(Refusal::UnsupportedMediaType);
        }
        Ok(Admitted::Work { class: Class::Registrations, body_limit: BODY_LIMIT, seen })
    }

    async fn handle(&self, asked: Asked, token: KeyHash) -> Result<Reply, Refusal> {
        let said = announcement(&asked.body)?;
        let id = said.id.clone();
        let now = self.clock.unix_millis();
        let registered = register(&self.registrar, &self.changes, now, asked.client_ip, token, said).await;
        answer(&id, registered.map_err(refuse)?)
    }
}

/// The hash of the token in `Authorization`.
fn shown_token(asked: &Asked) -> Result<KeyHash, Refusal> {
    let shown = asked.fields().only(AUTHORIZATION);
    let shown = shown.map_err(|_| Refusal::invalid(Credential::Enrolment, "several Authorization fields"))?;
    let token = shown.and_then(|value| bearer(value.text()?));
    token.map(hash_key).ok_or(Refusal::MissingCredential(Credential::Enrolment))
}

fn announcement(body: &[u8]) -> Result<Announcement, Refusal> {
    let wanted: RegistrationRequest = serde_json::from_slice(body).map_err(|error| {
        Refusal::malformed("malformed_json", format!("expected a JSON object with 'name' and 'base_url': {error}"))
    })?;
    let name: Name = read(&wanted.name, "name", "bad_name")?;
    let version: Name = read(wanted.version.as_deref().unwrap_or("v1"), "version", "bad_version")?;
    let id = ServiceId::new(name, version).map_err(|error| Refusal::malformed("bad_name", format!("name: {error}")))?;
    let url = read(&wanted.base_url, "base_url", "bad_base_url")?;
    let instance = wanted.instance.map(|text| read(&text, "instance", "bad_instance")).transpose()?;
    Ok(Announcement { id, url, instance })
}

fn read<T: FromStr<Err: std::fmt::Display>>(text: &str, field: &str, code: &'static str) -> Result<T, Refusal> {
    text.parse().map_err(|error: T::Err| Refusal::malformed(code, format!("{field}: {error}")))
}

/// For the log of a registration that others got in the way of.
const CONTENDED: &str = "others change the same objects all the time";

fn refuse(error: ChangeError) -> Refusal {
    match error {
        ChangeError::Unauthenticated(private) => Refusal::invalid(Credential::Enrolment, private),
        ChangeError::Forbidden(detail) => Refusal::Forbidden { detail: detail.into() },
        ChangeError::Conflict(detail) => Refusal::Conflict { detail: detail.into() },
        ChangeError::Invalid(problems) => {
            let all: Vec<_> = problems.iter().map(ToString::to_string).collect();
            let code = match problems.first().map(|problem| problem.path.as_str()) {
                Some("name") => "bad_name",
                Some("version") => "bad_version",
                _ => "bad_base_url",
            };
            Refusal::malformed(code, all.join("; "))
        }
        ChangeError::Stopping => {
            Refusal::Overloaded { private: "the gateway is stopping", retry_after: Duration::from_secs(1) }
        }
        ChangeError::Registry(error) => error.into(),
        ChangeError::Contended => Refusal::Overloaded { private: CONTENDED, retry_after: Duration::from_secs(1) },
        error @ (ChangeError::NotFound(_) | ChangeError::Stale(_)) => Refusal::internal(error.to_string()),
    }
}

/// Too many changes, in the fields that calls are told about their limits in.
fn limit(LimitReached { limit, rate, retry_after }: LimitReached) -> Refusal {
    let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
    let value = |text: String| FieldValue::try_from(text).map_err(|error| Refusal::internal(error.to_string()));
    let policy = value(format!("\"{limit}\";q={};w=60", rate.per_minute));
    match (policy, value(format!("\"{limit}\";r=0;t={seconds}"))) {
        (Ok(policy), Ok(state)) => Refusal::TooManyRequests {
            limit: limit.into(),
            retry_after,
            fields: Box::new(LimitFields { policy, state }),
        },
        (Err(refusal), _) | (_, Err(refusal)) => refusal,
    }
}

fn answer(id: &ServiceId, registered: Registered) -> Result<Reply, Refusal> {
    let (name, version, path) = (id.name.to_string(), id.version.to_string(), registered.path);
    let (status, reply) = match registered.outcome {
        Outcome::Limited(limited) => return Err(limit(limited)),
        Outcome::Taken { api_key, registration_key } => {
            let api_key = Some(api_key.expose().to_owned());
            let registration_key = Some(registration_key.expose().to_owned());
            (StatusCode::CREATED, RegistrationReply { name, version, path, api_key, registration_key })
        }
        Outcome::Updated => {
            (StatusCode::OK, RegistrationReply { name, version, path, api_key: None, registration_key: None })
        }
    };
    let body = serde_json::to_vec(&reply).map_err(|error| Refusal::internal(error.to_string()))?;
    let mut response = http::Response::new(body.into());
    *response.status_mut() = status;
    let mut headers = response.fields_mut();
    headers.set(CONTENT_TYPE, FieldValue::from_static("application/json"));
    headers.set(CACHE_CONTROL, FieldValue::from_static("no-store"));
    Ok(response.into())
}
