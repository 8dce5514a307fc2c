//! What one change consists of.

use std::fmt;

use portcullis_core::directory::KeyHash;
use portcullis_core::model::{
    ApiKey, Client, ClientSecret, Enrolment, Host, HostName, Label, Name, Owner, Registration, Route, Service,
    ServiceId,
};

/// One object as it shall be; `None` takes it out.
#[derive(Debug, Clone)]
pub enum Edit {
    /// A service.
    Service(ServiceId, Option<Service>),
    /// A route.
    Route(Name, Option<Box<Route>>),
    /// A client.
    Client(Label, Option<Client>),
    /// A host.
    Host(HostName, Option<Host>),
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
    /// A host.
    Host(HostName),
}

impl Declared {
    /// The word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Service(_) => "service",
            Self::Route(_) => "route",
            Self::Client(_) => "client",
            Self::Host(_) => "host",
        }
    }

    /// Its name.
    pub fn name(&self) -> String {
        match self {
            Self::Service(id) => id.to_string(),
            Self::Route(name) => name.to_string(),
            Self::Client(name) => name.to_string(),
            Self::Host(name) => name.to_string(),
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

impl Transaction {
    /// One edit, of what an operator makes by the API.
    pub fn one(edit: Edit) -> Self {
        Self { owner: Owner::Api, edits: vec![edit] }
    }
}
