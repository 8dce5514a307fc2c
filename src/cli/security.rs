//! `portcullis check --security`: what an auditor would object to.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::admin::Admin;
use super::args::Check;
use super::declarations::examine;
use super::failure::Failure;
use super::output::{Colour, Output, printable};
use crate::config::Config;
use crate::security::{Finding, Severity, Subject, audit, locate};

/// Looks at the settings, at the files in the data directory, and at declarations: a file's, a gateway's, or none.
pub(super) async fn run(
    check: &Check,
    config: &Config,
    config_file: PathBuf,
    admin: Option<&Admin>,
    output: &mut Output,
) -> Result<(), Failure> {
    let trouble = |failure| Failure::Trouble(Box::new(failure));
    let (mut declared, mut text, mut services, mut enrolments) = (None, None, None, None);
    if let Some(file) = &check.file {
        let (declarations, bytes) = examine(file, config, output).await?;
        declared = Some(serde_json::to_value(&declarations).map_err(Failure::failed)?);
        text = Some((file.display().to_string(), bytes));
    } else if let Some(admin) = admin {
        declared = Some(admin.get("/declarations?format=json").await.map_err(trouble)?.body);
        services = Some(admin.all("/services").await.map_err(trouble)?);
        enrolments = Some(admin.all("/enrolment-tokens").await.map_err(trouble)?);
    } else {
        output.note("note: declarations were not looked at; name a file with -f, or a running gateway with --live")?;
    }
    let subject = Subject {
        config,
        config_file: config_file.clone(),
        declared: declared.as_ref(),
        services: services.as_deref(),
        enrolments: enrolments.as_deref(),
    };
    let findings = audit(&subject);
    let origin = text.as_ref().map(|(name, bytes)| (name.as_str(), bytes.as_ref()));
    let is_set = |name: &str| std::env::var_os(name).is_some();
    let places = locate(&findings, origin, &config_file, is_set);
    let fail_on = check.fail_on.unwrap_or(Severity::High);
    let counted = findings.iter().filter(|finding| finding.severity >= fail_on).count();
    show(&findings, &places, (fail_on, counted), output)?;
    if counted > 0 { Err(Failure::Found) } else { Ok(()) }
}

fn show(
    findings: &[Finding],
    places: &[(String, Option<u64>)],
    (fail_on, counted): (Severity, usize),
    output: &mut Output,
) -> Result<(), Failure> {
    if output.is_json() {
        let object = |(finding, (place, line)): (&Finding, &(String, Option<u64>))| -> Result<Value, Failure> {
            let mut object = serde_json::to_value(finding).map_err(Failure::failed)?;
            object["place"] = place.as_str().into();
            if let Some(line) = line {
                object["line"] = (*line).into();
            }
            Ok(object)
        };
        let all = findings.iter().zip(places).map(object).collect::<Result<Vec<_>, _>>()?;
        return output.json(&json!({"findings": all, "fail_on": fail_on, "counted": counted}));
    }
    for (finding, (place, _)) in findings.iter().zip(places) {
        let colour = match finding.severity {
            Severity::Critical | Severity::High => Colour::Red,
            Severity::Medium => Colour::Yellow,
            Severity::Low => Colour::Grey,
        };
        let severity = output.paint(colour, &format!("{:<8}", finding.severity.word()));
        let head = printable(&format!("{}  {} ({place})", finding.id, finding.path));
        output.line(&format!("{severity}  {head}"))?;
        output.line(&printable(&format!("          {}.", finding.message)))?;
        output.line(&format!("          To do: {}.", finding.remedy))?;
    }
    let words = if findings.len() == 1 { "finding" } else { "findings" };
    output.note(&format!("{} {words}, {counted} of them {} or worse", findings.len(), fail_on.word()))
}
