//! The command line: every command with its arguments, and the help texts.

mod client;
mod host;
mod import;
mod service;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use client::{ClientCommand, ClientLogins, CreateClient, SecretCommand, SecretTerms};
pub(crate) use host::{HostCommand, PutHost};
pub(crate) use import::{ImportCommand, ImportFomalhaut};
pub(crate) use service::{PutService, RegistrationCommand, ServiceCommand};

use super::setting_flags::SettingFlags;
use crate::reference::Page;
use crate::security::Severity;

/// A secure API gateway and token issuer in one binary.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Directory for all persistent state [env: PORTCULLIS_DATA_DIR] [default: ./data]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The configuration file [env: PORTCULLIS_CONFIG] [default: portcullis.toml in the data directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The admin API to talk to [env: PORTCULLIS_ADMIN_URL] [default: the local gateway's]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) admin: Option<String>,
    /// PEM file with the root certificates for an admin API on https [env: PORTCULLIS_ADMIN_CA] [default: the system's]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) admin_ca: Option<PathBuf>,
    /// Send the admin token over plain http to another machine; anybody on the network can read it
    #[arg(long, global = true)]
    pub(crate) insecure: bool,
    /// Write results as JSON, as the admin API gives them
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log level on stderr: error, warn, info, debug, trace, or a filter by module [env: PORTCULLIS_LOG]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the gateway
    Serve(Box<Serve>),
    /// Run a gateway with two sample services, and show how to call them
    Demo,
    /// Print every setting with its default, as a commented portcullis.toml
    Settings,
    /// Services: the backends that calls go to
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Routes: which requests go to which service, redirect, fixed answer or endpoint of the gateway itself
    #[command(subcommand)]
    Route(RouteCommand),
    /// Hosts: what is different on one of the gateway's hosts
    #[command(subcommand)]
    Host(HostCommand),
    /// Apply a file of declarations: all of it at once, or nothing
    Apply(Apply),
    /// Show what a file would change: exit code 0 if nothing, 1 if something, 2 on errors
    Diff {
        #[command(flatten)]
        file: DeclarationFile,
        /// Take over objects that other owners made and that differ from the file
        #[arg(long)]
        adopt: bool,
    },
    /// Print the gateway's declarations
    Export(Export),
    /// Take over what another gateway has
    #[command(subcommand)]
    Import(ImportCommand),
    /// Check a file of declarations without a gateway, or audit a configuration with --security: exit code 0 if it is
    /// good, 1 if not, 2 if it cannot be read
    Check(Check),
    /// Clients: the apps and machines that call
    #[command(subcommand)]
    Client(ClientCommand),
    /// Users: the people who log in
    #[command(subcommand)]
    User(UserCommand),
    /// Enrolment tokens: what a service shows when it registers itself
    #[command(subcommand)]
    Enrolment(EnrolmentCommand),
    /// Show the state of the gateway: its version, and the targets of its services with their last failures
    Status,
    /// List the certificates of the data plane, and the renewal status of ACME certificates
    Certificates,
    /// Show where the admin token is
    Token {
        /// Print the token itself
        #[arg(long)]
        show: bool,
    },
    /// Explain what would happen to a call and why: its route, the verdict of each policy, its target.
    /// It sends nothing and uses up no limit
    Explain(Explain),
    /// Read the access log
    Logs(LogsCommand),
    /// Captured exchanges: whole calls of routes with the policy 'capture'
    #[command(subcommand)]
    Captures(CapturesCommand),
    /// Read the audit trail: who changed what, when and from where
    Audit(AuditCommand),
    /// Print the OpenAPI document of the admin API
    Openapi,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, for man
    Man,
    /// Print a page of the reference as Markdown
    Reference {
        /// Which one
        page: Page,
    },
}

/// A shell that completions are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// Bash 4.4 or later.
    Bash,
    /// Zsh.
    Zsh,
    /// Fish.
    Fish,
}

/// `portcullis serve`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

/// `portcullis explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The method
    pub(crate) method: String,
    /// A path with its query, or an absolute URL; with https the call comes over TLS
    pub(crate) url: String,
    /// A header field; once for each
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// A client: as if the call showed an API key or a certificate of it
    #[arg(long, value_name = "NAME")]
    pub(crate) client: Option<String>,
    /// A user: as if the call showed a token of theirs
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// The address the connection comes from [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) from: Option<IpAddr>,
    /// The body, which signatures are verified over; '-' is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) body_file: Option<PathBuf>,
    /// What the client has signed, to compare: its string to sign or signature base; '-' is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) string_to_sign_file: Option<PathBuf>,
}

/// `portcullis route`.
#[derive(Debug, Subcommand)]
pub(crate) enum RouteCommand {
    /// List every route, including the default routes of services, with its destination
    List,
    /// Show a declared route
    Get {
        /// The route's name
        name: String,
    },
    /// Make or replace a route
    Put {
        /// The route's name
        name: String,
        /// The route as JSON; '-' is stdin
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Delete a route
    Delete {
        /// The route's name
        name: String,
    },
}

/// Which file of declarations.
#[derive(Debug, Args)]
pub(crate) struct DeclarationFile {
    /// The declarations as YAML or JSON; '-' is stdin
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// `portcullis check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The declarations as YAML or JSON; '-' is stdin
    #[arg(short, long, value_name = "FILE", required_unless_present = "security")]
    pub(crate) file: Option<PathBuf>,
    /// Audit settings, files and declarations for security problems
    #[arg(long)]
    pub(crate) security: bool,
    /// Check the declarations of the running gateway instead of a file
    #[arg(long, requires = "security", conflicts_with = "file")]
    pub(crate) live: bool,
    /// Fail if a finding has this severity or a higher one [default: high]
    #[arg(long, value_name = "SEVERITY", requires = "security")]
    pub(crate) fail_on: Option<Severity>,
}

/// `portcullis apply`.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) file: DeclarationFile,
    /// Do not ask, not even on a terminal
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Take over objects that other owners made and that differ from the file
    #[arg(long)]
    pub(crate) adopt: bool,
}

/// `portcullis export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Format [default: yaml, or json with --json]
    #[arg(short, long, value_name = "FORM", value_parser = ["yaml", "json"])]
    pub(crate) output: Option<String>,
    /// Only those of this owner [default: of all]
    #[arg(long, value_name = "OWNER", value_parser = ["file", "api", "registration", "import"])]
    pub(crate) owner: Option<String>,
}

/// `portcullis user`.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// List all users
    List,
    /// Show a user
    Get {
        /// The user name
        name: String,
    },
    /// Make a user; the password comes from stdin or from PORTCULLIS_PASSWORD
    Create {
        /// The user name
        name: String,
        /// Read the password from the first line of stdin
        #[arg(long)]
        password_stdin: bool,
        /// User information that backends receive: a JSON object
        #[arg(long, value_name = "JSON")]
        user_info: Option<String>,
    },
    /// Disable a user: end their sessions and refuse new logins
    Disable {
        /// The user name
        name: String,
    },
    /// Let a user log in again
    Enable {
        /// The user name
        name: String,
    },
    /// List the sessions of a user
    Sessions {
        /// The user name
        name: String,
    },
    /// End the sessions of a user, all or one; they may log in again
    EndSessions {
        /// The user name
        name: String,
        /// Only the session with this id
        #[arg(long, value_name = "ID")]
        session: Option<String>,
    },
    /// Delete a user and end their sessions
    Delete {
        /// The user name
        name: String,
    },
}

/// `portcullis enrolment`.
#[derive(Debug, Subcommand)]
pub(crate) enum EnrolmentCommand {
    /// Make an enrolment token and print it
    Create {
        /// What the token is called
        name: String,
        /// Which service names it is good for; '*' stands for any characters [default: *]
        #[arg(long, value_name = "PATTERN")]
        pattern: Option<String>,
        /// How many registrations it is good for [default: any number]
        #[arg(long, value_name = "NUMBER")]
        max_uses: Option<u64>,
        /// How long it is good, like 3600, 90s, 24h or 7d [default: for ever]
        #[arg(long, value_name = "DURATION")]
        ttl: Option<String>,
    },
    /// List all enrolment tokens, without the tokens themselves
    List,
    /// Delete an enrolment token; what was registered with it stays
    Delete {
        /// What the token is called
        name: String,
    },
}

/// `portcullis logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsCommand {
    /// Keep running and print each call when it has ended
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only calls of this service: NAME or NAME/VERSION
    #[arg(long, value_name = "SERVICE")]
    pub(crate) service: Option<String>,
    /// Only answers with this status: 404 or 4xx
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Option<String>,
    /// Only calls of this client
    #[arg(long, value_name = "NAME")]
    pub(crate) client: Option<String>,
    /// Only calls of this user
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Only paths that begin with this
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// Only calls since then: a time like 2026-01-31T12:00:00Z, or how long ago, like 10m or 24h
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<String>,
    /// At most so many calls, the newest
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
}

/// `portcullis captures`.
#[derive(Debug, Subcommand)]
pub(crate) enum CapturesCommand {
    /// List captured exchanges, the newest first
    List(ListCaptures),
    /// Show the captured exchange of a call; that it was read goes to the audit trail
    Show {
        /// The id of the call
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Delete every captured exchange
    Clear,
}

/// `portcullis captures list`.
#[derive(Debug, Args)]
pub(crate) struct ListCaptures {
    /// Only calls of this service: NAME or NAME/VERSION
    #[arg(long, value_name = "SERVICE")]
    pub(crate) service: Option<String>,
    /// Only calls of this route
    #[arg(long, value_name = "NAME")]
    pub(crate) route: Option<String>,
    /// At most so many, the newest
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
}

/// `portcullis audit`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AuditCommand {
    /// At most so many entries, the newest
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Only changes of this kind of object: service, route, client, host, client_secret, api_key, registration, enrolment, user, capture, token_pairs
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Only changes of the object with this name; 'orders' finds 'orders/v1' too
    #[arg(long, value_name = "NAME")]
    pub(crate) key: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Option<VerifyCommand>,
}

/// `portcullis audit verify`.
#[derive(Debug, Subcommand)]
pub(crate) enum VerifyCommand {
    /// Verify that nobody has altered the audit trail or the objects it describes; exit code 1 if somebody has
    Verify {
        /// Read the data directory directly; no gateway may run on it
        #[arg(long)]
        offline: bool,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use super::*;

    fn refused(line: &str) -> clap::Error {
        Cli::try_parse_from(line.split(' ')).expect_err(line)
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_not_understood_is_a_usage_error() {
        for line in [
            "portcullis serve --lisen x",
            "portcullis nonsense",
            "portcullis service",
            "portcullis service put orders/v1",
            "portcullis service put orders/v1 --target http://a --open --require bearer",
            "portcullis client grant shop",
            "portcullis logs --limit 0",
            "portcullis captures list --limit 0",
            "portcullis audit --limit 0",
            "portcullis audit --kind service verify",
            "portcullis serve extra",
            "portcullis check",
            "portcullis check -f x --live",
            "portcullis check --security -f x --live",
            "portcullis check --security --fail-on never",
        ] {
            assert_eq!(refused(line).exit_code(), 2, "{line}");
        }
        for line in ["portcullis --help", "portcullis serve --help", "portcullis --version"] {
            assert_eq!(refused(line).exit_code(), 0, "{line}");
        }
        assert_eq!(refused("portcullis").kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
    }

    #[test]
    fn every_setting_is_a_flag_of_serve() {
        let line = "portcullis serve --data-dir d --listen 127.0.0.1:1 --limits-header-bytes 8KiB \
                    --builtin-hosts a --builtin-hosts b,c";
        let cli = Cli::try_parse_from(line.split_whitespace()).expect("understood");
        assert_eq!(cli.global.data_dir, Some("d".into()));
        let Command::Serve(serve) = cli.command else { panic!("another command") };
        let given: Vec<_> = serve.settings.0.iter().map(|(setting, value)| (setting.key, value.as_str())).collect();
        assert_eq!(given, [("listen", "127.0.0.1:1"), ("builtin_hosts", "a,b,c"), ("limits.header_bytes", "8KiB")]);
    }

    #[test]
    fn global_options_stand_anywhere() {
        for line in [
            "portcullis --json --admin http://a client list",
            "portcullis client --json list --admin http://a",
            "portcullis client list --admin http://a --json",
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).expect(line);
            assert!(cli.global.json && cli.global.admin.as_deref() == Some("http://a"), "{line}");
        }
    }
}
