//! What an audit looks at, what a rule is, and what it finds.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use crate::config::Config;

/// How much a finding matters, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// For information; often intended.
    Low,
    /// Removes a layer of defence.
    Medium,
    /// Allows access, or discloses data, that should be protected.
    High,
    /// Lets an attacker take over the gateway.
    Critical,
}

impl Severity {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum About {
    /// Services, routes and clients.
    Declarations,
    /// Enrolment tokens, which only a running gateway can tell of.
    Enrolments,
    /// Settings: the file, the environment, the defaults.
    Settings,
    /// The files in the data directory.
    Files,
}

/// One row of the table of rules.
pub(super) struct Rule {
    /// A stable code.
    pub(super) id: &'static str,
    pub(super) severity: Severity,
    pub(super) about: About,
    /// What is wrong, and why that matters, in a sentence without its full stop.
    pub(super) wrong: &'static str,
    /// What to do about it, in a sentence without its full stop.
    pub(super) remedy: &'static str,
    /// Finds the places.
    pub(super) look: fn(&Subject<'_>) -> Vec<Location>,
}

/// What is looked at.
pub(crate) struct Subject<'a> {
    /// The settings.
    pub(crate) config: &'a Config,
    /// The file they are read from, whether or not it is there.
    pub(crate) config_file: PathBuf,
    /// The declarations, as JSON; none if they are not known.
    pub(crate) declared: Option<&'a Value>,
    /// The services, as the admin API lists them; none if they are not known.
    pub(crate) services: Option<&'a [Value]>,
    /// The enrolment tokens, as the admin API lists them; none if they are not known.
    pub(crate) enrolments: Option<&'a [Value]>,
}

/// Where a rule found what it looks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// A path into the declarations, the key of a setting, or the name of a file.
    pub(super) path: String,
    /// What stands there.
    pub(super) detail: String,
}

impl Location {
    pub(super) fn new(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { path: path.into(), detail: detail.into() }
    }
}

/// One thing an auditor would object to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The rule's code.
    pub(crate) id: &'static str,
    /// How much it matters.
    pub(crate) severity: Severity,
    /// What it is about.
    pub(crate) about: About,
    /// A path into the declarations, the key of a setting, or the name of a file.
    pub(crate) path: String,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do.
    pub(crate) remedy: &'static str,
}
