//! What one change consists of.

use std::fmt;

use portcullis_core::directory::KeyHash;
use portcullis_core::model::{
    ApiKey, Client, ClientSecret, Enrolment, Label, Name, Owner, Problem, Registration, Route, Service, ServiceId,
};
use portcullis_core::ports::RegistryError;
use thiserror::Error;

/// One object as it shall be; `None` takes it out.
#[derive(Debug, Clone)]
pub enum Edit {
    /// A service.
    Service(ServiceId, Option<Service>),
    /// A route.
    Route(Name, Option<Box<Route>>),
    /// A client.
    Client(Label, Option<Client>),
    /// A client's secret, by client and a handle.
    ClientSecret(Label, String, Option<ClientSecret>),
    /// An API key.
    ApiKey(KeyHash, Option<ApiKey>),
    /// A registration.
    Registration(Name, Option<Registration>),
    /// An enrolment token.
    Enrolment(Label, Option<Enrolment>),
    /// An object that is there belongs to the transaction's owner from now on. It stands before another edit of
    /// the same object, with which it is written.
    Adopt(Declared),
}

/// Which declared object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Declared {
    /// A service.
    Service(ServiceId),
    /// A route.
    Route(Name),
    /// A client.
    Client(Label),
}

impl Declared {
    /// The word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Service(_) => "service",
            Self::Route(_) => "route",
            Self::Client(_) => "client",
        }
    }

    /// Its name.
    pub fn name(&self) -> String {
        match self {
            Self::Service(id) => id.to_string(),
            Self::Route(name) => name.to_string(),
            Self::Client(name) => name.to_string(),
        }
    }
}

impl fmt::Display for Declared {
    /// Its place in the declarations: `services.orders/v1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s.{}", self.kind(), self.name())
    }
}

/// Edits that happen together or not at all.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// Who objects made by it belong to. Objects that exist keep their owner.
    pub owner: Owner,
    /// The edits, in order.
    pub edits: Vec<Edit>,
}

/// Why a change did not happen. Nothing of it was written.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// It does not compile; every problem at once.
    #[error("the change has problems: {}", List(.0))]
    Invalid(Vec<Problem>),
    /// The object it is about is not there.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The object it would make is there already, or a bound is reached.
    #[error("{0}")]
    Conflict(String),
    /// Somebody changed the object since the caller looked at it.
    #[error("the object is in revision {0} now")]
    Stale(u64),
    /// The caller may not make this change.
    #[error("not allowed: {0}")]
    Forbidden(String),
    /// The caller did not show who it is.
    #[error("not authenticated: {0}")]
    Unauthenticated(&'static str),
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Others changed the same objects each time it was about to be written.
    #[error("others change the same objects all the time")]
    Contended,
    /// The gateway is stopping.
    #[error("the gateway is stopping")]
    Stopping,
}

struct List<'a>(&'a [Problem]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}
