//! The arguments of `portcullis client`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `portcullis client`.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// List all clients
    List,
    /// Show a client
    Get {
        /// The client's name
        name: String,
    },
    /// Make a client
    Create(CreateClient),
    /// Change how users log in through a client; what is not given stays
    Update {
        /// The client's name
        name: String,
        #[command(flatten)]
        logins: ClientLogins,
    },
    /// Delete a client, with its keys and sessions
    Delete {
        /// The client's name
        name: String,
    },
    /// Allow a client to call more services
    Grant {
        /// The client's name
        name: String,
        /// NAME/VERSION, NAME for all versions, or '*' for everything
        #[arg(required = true, value_name = "SERVICE")]
        services: Vec<String>,
    },
    /// Make an API key for a client and print it
    ApiKey {
        /// The client's name
        name: String,
    },
    /// List the API keys of a client, without the keys themselves
    ApiKeys {
        /// The client's name
        name: String,
    },
    /// Secrets of a client, with which it gets tokens, signs and encrypts calls; two at most
    #[command(subcommand)]
    Secret(SecretCommand),
}

/// `portcullis client secret`.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Make a secret for a client and print it
    Make {
        /// The client's name
        name: String,
        #[command(flatten)]
        terms: SecretTerms,
    },
    /// Import a secret that exists already, of any form, from the first line of stdin or from a file
    Import {
        /// The client's name
        name: String,
        /// The file with the secret, whose last line end does not count [default: stdin]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        terms: SecretTerms,
    },
    /// List the secrets of a client, without the secrets themselves
    List {
        /// The client's name
        name: String,
    },
    /// Retire a secret of a client, at once or later
    Retire {
        /// The client's name
        name: String,
        /// The secret's id, as 'list' shows it
        id: String,
        /// Accept it this long still: seconds, or with a unit like 90s, 24h, 7d
        #[arg(long, value_name = "SPAN")]
        after: Option<String>,
    },
}

/// What a new secret is good for, and how long.
#[derive(Debug, Args)]
pub(crate) struct SecretTerms {
    /// What it may be used for, once for each: to get tokens, to sign calls, to encrypt calls [default: all]
    #[arg(long = "use", value_name = "USE", value_parser = ["oauth", "sign", "seal"])]
    pub(crate) uses: Vec<String>,
    /// How long it is good: seconds, or with a unit like 90s, 24h, 7d [default: for ever]
    #[arg(long, value_name = "SPAN")]
    pub(crate) ttl: Option<String>,
}

/// `portcullis client create`.
#[derive(Debug, Args)]
pub(crate) struct CreateClient {
    /// The client's name
    pub(crate) name: String,
    /// A service it may call: NAME/VERSION, NAME for all versions, or '*'; once for each
    #[arg(long = "service", value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Its public id (OAuth2 client_id), where one exists already
    #[arg(long, value_name = "KEY")]
    pub(crate) access_key: Option<String>,
    /// Read its secret key from the first line of stdin
    #[arg(long)]
    pub(crate) secret_key_stdin: bool,
    #[command(flatten)]
    pub(crate) logins: ClientLogins,
}

/// How users log in through a client with fomalhaut's endpoints.
#[derive(Debug, Args)]
pub(crate) struct ClientLogins {
    /// The Auth API that is asked whether a user may log in; '' for none: then the gateway's own users log in
    #[arg(long, value_name = "URL")]
    pub(crate) login_auth_url: Option<String>,
    /// The same for logins by SMS; '' for none
    #[arg(long, value_name = "URL")]
    pub(crate) sms_login_auth_url: Option<String>,
    /// The Auth API that changes passwords; '' for none: then the gateway's own users change theirs
    #[arg(long, value_name = "URL")]
    pub(crate) change_password_url: Option<String>,
    /// The same for changes by SMS; '' for none
    #[arg(long, value_name = "URL")]
    pub(crate) sms_change_password_url: Option<String>,
    /// How long access tokens last: seconds, or with a unit like 12h, 7d; '' for the default of 7d
    #[arg(long, value_name = "SPAN")]
    pub(crate) access_token_ttl: Option<String>,
    /// How long refresh tokens last, longer than access tokens; '' for the default of 20d
    #[arg(long, value_name = "SPAN")]
    pub(crate) refresh_token_ttl: Option<String>,
    /// Whether a login ends every other session that the user has through this client
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) single_login: Option<bool>,
}
