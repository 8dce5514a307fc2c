//! Reads a configuration as an auditor would: settings, files and declarations against one table of rules.
//!
//! What the gateway refuses outright (an admin API off loopback, a wait of no end, a short RSA key) is no rule here. What is
//! not known here (a policy or a setting of another version) is passed over.

mod clients;
mod files;
mod finding;
mod places;
mod policies;
mod reference;
mod rules;
mod services;
mod settings;
mod sites;

use std::path::PathBuf;

use crate::config::Config;

pub(crate) use finding::{About, Finding, Severity, Subject};
pub(crate) use places::locate;
pub(crate) use reference::reference;
use rules::RULES;

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
