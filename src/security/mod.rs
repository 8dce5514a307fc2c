//! Reads a configuration as an auditor would: settings, files and declarations against one table of rules.
//!
//! What the gateway refuses outright (an admin API off loopback, a wait of no end, a short RSA key) is no rule here. What is
//! not known here (a policy or a setting of another version) is passed over.

mod clients;
mod files;
mod places;
mod policies;
mod reference;
mod rules;
mod services;
mod settings;
mod sites;

use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use crate::config::Config;

pub(crate) use places::locate;
pub(crate) use reference::reference;
use rules::RULES;

/// How much a finding matters, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Good to know; often meant so.
    Low,
    /// Takes away a line of defence.
    Medium,
    /// Lets in, or shows, what should not be.
    High,
    /// Gives the gateway away.
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
struct Rule {
    /// A stable code.
    id: &'static str,
    severity: Severity,
    about: About,
    /// What is wrong, and why that matters, in a sentence without its full stop.
    wrong: &'static str,
    /// What to do about it, in a sentence without its full stop.
    remedy: &'static str,
    /// Finds the places.
    look: fn(&Subject<'_>) -> Vec<Place>,
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
struct Place {
    /// A path into the declarations, the key of a setting, or the name of a file.
    path: String,
    /// What stands there.
    detail: String,
}

impl Place {
    fn new(path: impl Into<String>, detail: impl Into<String>) -> Self {
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

/// Everything an auditor would object to, the worst first.
pub(crate) fn audit(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for rule in RULES {
        for place in (rule.look)(subject) {
            // A route that inherits something shows what its service showed.
            if findings.iter().any(|other| other.id == rule.id && other.path == place.path) {
                continue;
            }
            findings.push(Finding {
                id: rule.id,
                severity: rule.severity,
                about: rule.about,
                path: place.path,
                message: format!("{}: {}", rule.wrong, place.detail),
                remedy: rule.remedy,
            });
        }
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// What an auditor would object to in the modes of files, for a gateway that starts all the same.
pub(crate) fn audit_of_files(config: &Config, config_file: PathBuf) -> Vec<Finding> {
    let mut findings = audit(&Subject { config, config_file, declared: None, services: None, enrolments: None });
    findings.retain(|finding| finding.about == About::Files);
    findings
}

#[cfg(test)]
mod tests;
