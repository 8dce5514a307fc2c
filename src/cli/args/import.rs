//! The arguments of `portcullis import`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `portcullis import`.
#[derive(Debug, Subcommand)]
pub(crate) enum ImportCommand {
    /// Take over clients, endpoints and access rights from fomalhaut. Running it again brings the gateway up to date and
    /// removes what is gone there, of what it has made itself. Exit code 1 if something would be lost
    Fomalhaut(ImportFomalhaut),
}

/// `portcullis import fomalhaut`.
#[derive(Debug, Args)]
pub(crate) struct ImportFomalhaut {
    /// The panel's export as a file, '-' for stdin, or redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]
    #[arg(value_name = "SOURCE")]
    pub(crate) source: String,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Go on although something is lost; without this, nothing is changed then
    #[arg(long)]
    pub(crate) accept_losses: bool,
    /// Take over objects that other owners made and that differ
    #[arg(long)]
    pub(crate) adopt: bool,
    /// Do not ask before clients, or more than half of what an import has made, are removed; needed without a terminal
    #[arg(long)]
    pub(crate) yes: bool,
    /// Take over the tokens of users who are logged in, too; from Redis alone
    #[arg(long)]
    pub(crate) tokens: bool,
    /// A host on which every call is in the clients' dialect; once for each
    #[arg(long = "host", value_name = "HOST")]
    pub(crate) hosts: Vec<String>,
    /// File with the password of Redis [env: PORTCULLIS_REDIS_PASSWORD]
    #[arg(long, value_name = "FILE")]
    pub(crate) redis_password_file: Option<PathBuf>,
}
