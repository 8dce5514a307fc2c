//! Every way in which a command does not succeed, and the exit code of each.

use std::fmt;
use std::io;
use std::process::ExitCode;

use portcullis_core::model::Problem;

use crate::config::ConfigError;

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command was not written as it must be. Exit code 2.
    Usage(String),
    /// The configuration is not good. Exit code 2, as for a flag.
    Config(ConfigError),
    /// The gateway said no. Exit code 1.
    Refused {
        /// Its words.
        detail: String,
        /// The mistakes it found in what was sent.
        problems: Vec<Problem>,
    },
    /// Something did not work. Exit code 1.
    Failed(anyhow::Error),
    /// Any of these, where exit code 1 means something else. Exit code 2.
    Trouble(Box<Failure>),
    /// There are differences, and they have been told. Exit code 1.
    Differs,
    /// There are findings that count, and they have been told. Exit code 1.
    Found,
    /// Whoever read our output has seen enough. Exit code 0.
    Closed,
}

impl Failure {
    /// A failure in words.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::Failed(anyhow::anyhow!("{message}"))
    }

    /// What the process tells its parent.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) | Self::Config(_) | Self::Trouble(_) => 2,
            Self::Refused { .. } | Self::Failed(_) | Self::Differs | Self::Found => 1,
            Self::Closed => 0,
        })
    }

    /// The mistakes, where there are several to tell.
    pub(crate) fn problems(&self) -> &[Problem] {
        match self {
            Self::Config(error) => &error.problems,
            Self::Refused { problems, .. } => problems,
            Self::Trouble(failure) => failure.problems(),
            _ => &[],
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) => f.write_str(message),
            Self::Config(error) => error.fmt(f),
            Self::Refused { detail, .. } => f.write_str(detail),
            Self::Failed(error) => write!(f, "{error:#}"),
            Self::Trouble(failure) => failure.fmt(f),
            Self::Differs => f.write_str("there are differences"),
            Self::Found => f.write_str("there are findings"),
            Self::Closed => f.write_str("the output was closed"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(error.into()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        error.downcast::<ConfigError>().map_or_else(Self::Failed, Self::Config)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}
