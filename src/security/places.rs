//! Where a finding stands for whoever has to mend it: a line of a file, a variable, or a default.

use std::collections::HashMap;
use std::path::Path;

use portcullis_admin::declaration::with_lines;
use portcullis_core::model::Problem;
use toml::de::{DeTable, DeValue};

use super::finding::{About, Finding};
use crate::config::SETTINGS;

/// What was read: its name and its text.
type Origin<'a> = (&'a str, &'a [u8]);

/// The place of each finding in words, and its line where there is one.
pub(crate) fn locate(
    findings: &[Finding],
    declarations: Option<Origin<'_>>,
    config_file: &Path,
    is_set: impl Fn(&str) -> bool,
) -> Vec<(String, Option<u64>)> {
    let text = std::fs::read_to_string(config_file).unwrap_or_default();
    let settings = lines_of_settings(&text);
    let problems = findings.iter().map(|finding| Problem::new(finding.path.clone(), "")).collect();
    let declared = declarations.map(|(_, text)| with_lines(problems, text)).unwrap_or_default();
    let place = |(at, finding): (usize, &Finding)| {
        let in_line = |name: &str, line: u64| (format!("{name}:{line}"), Some(line));
        match finding.about {
            About::Declarations => match (declarations, declared.get(at).and_then(|problem| problem.line)) {
                (Some((name, _)), Some(line)) => in_line(name, line),
                (Some((name, _)), None) => (name.to_owned(), None),
                (None, _) => ("gateway".to_owned(), None),
            },
            About::Enrolments => ("gateway".to_owned(), None),
            About::Files => ("file".to_owned(), None),
            About::Settings => {
                let variable = SETTINGS.iter().find(|setting| setting.key == finding.path).map(|s| s.env());
                match (variable.filter(|name| is_set(name)), settings.get(&finding.path)) {
                    (Some(name), _) => (name, None),
                    (None, Some(line)) => in_line(&config_file.display().to_string(), *line),
                    (None, None) => ("default".to_owned(), None),
                }
            }
        }
    };
    findings.iter().enumerate().map(place).collect()
}

/// The line of each key of a `portcullis.toml`; none if it is not TOML.
fn lines_of_settings(text: &str) -> HashMap<String, u64> {
    let mut lines = HashMap::new();
    let Ok(table) = DeTable::parse(text) else { return lines };
    let line = |start: usize| 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count() as u64;
    for (key, value) in table.get_ref() {
        lines.insert(key.get_ref().to_string(), line(key.span().start));
        if let DeValue::Table(group) = value.get_ref() {
            for inner in group.keys() {
                lines.insert(format!("{}.{}", key.get_ref(), inner.get_ref()), line(inner.span().start));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_a_file_has_its_line() {
        let lines = lines_of_settings("# x\nlisten = 'a'\nlog.access_log_keep = 1\n\n[tokens]\n\naccess_ttl = 1\n");
        let found =
            ["listen", "log.access_log_keep", "tokens.access_ttl", "workers"].map(|key| lines.get(key).copied());
        assert_eq!(found, [Some(2), Some(3), Some(7), None]);
        assert!(lines_of_settings("listen =").is_empty());
    }
}
