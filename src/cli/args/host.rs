//! The arguments of `portcullis host`.

use clap::{Args, Subcommand};

/// `portcullis host`.
#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// List the declared hosts
    List,
    /// Show a declared host
    Get {
        /// The host, without a port
        name: String,
    },
    /// Declare a host, or replace what is declared of it
    Put(PutHost),
    /// Delete a host
    Delete {
        /// The host, without a port
        name: String,
    },
}

/// `portcullis host put`.
#[derive(Debug, Args)]
pub(crate) struct PutHost {
    /// The host: a name in lower case or an IP address, without a port
    pub(crate) name: String,
    /// How calls and answers are written on this host [default: http]
    #[arg(long, value_name = "DIALECT", value_parser = ["http", "fo", "api"])]
    pub(crate) dialect: Option<String>,
    /// The URL under which callers reach it
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// Whether the gateway's own endpoints answer on this host [default: as the setting builtin_hosts says]
    #[arg(long, value_name = "BOOL")]
    pub(crate) builtin: Option<bool>,
}
