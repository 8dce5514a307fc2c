//! An object of the registry as it is stored, and the kinds there are.

use crate::model::Owner;

/// The kinds of object a registry keeps by key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Facts about the registry itself.
    Meta,
    /// Services, by `name/version`.
    Service,
    /// Routes, by name.
    Route,
    /// Clients, by name.
    Client,
    /// Hosts, by name.
    Host,
    /// Secrets of clients, sealed, by `client/id`.
    ClientSecret,
    /// API keys, by the hex SHA-256 of the key.
    ApiKey,
    /// Registrations, by service name.
    Registration,
    /// Enrolment tokens, by name.
    Enrolment,
    /// Users, by user name.
    User,
    /// Signing keys, by key id, sealed.
    SigningKey,
    /// Accounts at certificate authorities, by the URL of their directory, sealed.
    AcmeAccount,
    /// Certificates that were obtained, with their keys, by host, sealed; and how it goes with the next.
    Certificate,
    /// What certificate authorities are to find, by host, while an order is under way.
    Challenge,
    /// Work that one node does at a time, by its name: who does it, and until when.
    Lease,
}

impl Kind {
    /// The kinds of which every change leaves an entry in the audit trail, so that the trail answers for what is there.
    /// The others are what the gateway makes for itself.
    pub const AUDITED: [Self; 9] = [
        Self::Service,
        Self::Route,
        Self::Client,
        Self::Host,
        Self::ClientSecret,
        Self::ApiKey,
        Self::Registration,
        Self::Enrolment,
        Self::User,
    ];

    /// Whether every change of such an object leaves an entry in the audit trail.
    pub fn is_audited(self) -> bool {
        match self {
            Self::Service | Self::Route | Self::Client | Self::Host => true,
            Self::ClientSecret | Self::ApiKey | Self::Registration | Self::Enrolment | Self::User => true,
            Self::Meta | Self::SigningKey | Self::AcmeAccount | Self::Certificate | Self::Challenge | Self::Lease => {
                false
            }
        }
    }

    /// The kind of audited objects with this word.
    pub fn audited(word: &str) -> Option<Self> {
        Self::AUDITED.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The word the registry stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Service => "service",
            Self::Route => "route",
            Self::Client => "client",
            Self::Host => "host",
            Self::ClientSecret => "client_secret",
            Self::ApiKey => "api_key",
            Self::Registration => "registration",
            Self::Enrolment => "enrolment",
            Self::User => "user",
            Self::SigningKey => "signing_key",
            Self::AcmeAccount => "acme_account",
            Self::Certificate => "certificate",
            Self::Challenge => "challenge",
            Self::Lease => "lease",
        }
    }
}

/// An object as it is stored: its body is JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is.
    pub kind: Kind,
    /// Its key, unique in its kind.
    pub key: String,
    /// Counts up with every change, from 1.
    pub revision: u64,
    /// Who it belongs to.
    pub owner: Owner,
    /// JSON.
    pub body: String,
}
