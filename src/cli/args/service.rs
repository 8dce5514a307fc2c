//! The arguments of `portcullis service`.

use clap::{Args, Subcommand};

/// `portcullis service`.
#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// List all services
    List,
    /// Show a service
    Get {
        /// NAME/VERSION
        service: String,
    },
    /// Make or replace a service
    Put(PutService),
    /// Delete a service
    Delete {
        /// NAME/VERSION
        service: String,
    },
    /// Make an API key for a service, good for every version of its name, and print it
    ApiKey {
        /// NAME
        name: String,
    },
    /// Registrations: services that registered themselves, and their registration keys
    #[command(subcommand)]
    Registration(RegistrationCommand),
}

/// `portcullis service registration`.
#[derive(Debug, Subcommand)]
pub(crate) enum RegistrationCommand {
    /// Show since when a name is registered, with which enrolment token, and which versions its key may change
    Get {
        /// NAME
        name: String,
    },
    /// Revoke a registration: its key stops working; calls still reach the service until it is deleted
    Revoke {
        /// NAME
        name: String,
    },
    /// Replace the registration key and print the new one; the old one stops working at once
    Rotate {
        /// NAME
        name: String,
    },
}

/// `portcullis service put`.
#[derive(Debug, Args)]
pub(crate) struct PutService {
    /// NAME/VERSION
    pub(crate) service: String,
    /// The base URL of an instance; once for each
    #[arg(long = "target", value_name = "URL", required = true)]
    pub(crate) targets: Vec<String>,
    /// Credentials that a call must carry together, joined by '+'; repeat for alternatives [default: bearer+api_key]
    #[arg(long, value_name = "KIND+KIND", conflicts_with = "open")]
    pub(crate) require: Vec<String>,
    /// Anybody may call, without a credential
    #[arg(long)]
    pub(crate) open: bool,
    /// The settings of a policy: its kind and a JSON object; once for each
    #[arg(long = "policy", value_name = "KIND=JSON")]
    pub(crate) policies: Vec<String>,
    /// Traffic settings, like time limits: their kind and a JSON object; once for each
    #[arg(long = "traffic", value_name = "KIND=JSON")]
    pub(crate) traffic: Vec<String>,
    /// An audience that bearer tokens may name, beside the usual ones; once for each
    #[arg(long = "audience", value_name = "TEXT")]
    pub(crate) audiences: Vec<String>,
    /// Protocol to its instances: auto, http1, h2 (over TLS) or h2c (HTTP/2 in clear) [default: auto]
    #[arg(long, value_name = "PROTOCOL")]
    pub(crate) protocol: Option<String>,
    /// Whether calls reach it under /NAME/VERSION, beside the routes that lead to it [default: as the gateway's settings
    /// say]
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    pub(crate) default_route: Option<bool>,
}
