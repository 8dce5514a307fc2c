//! The reference of all settings, written from their table: a `portcullis.toml` in which everything is commented out.

use std::fmt::Write as _;

use super::settings::{SETTINGS, Setting};

/// Every setting with its meaning, its environment variable, its flag and its default, as a commented TOML file.
pub(crate) fn reference() -> String {
    let mut text = String::from(
        "# portcullis.toml: every setting with its default.\n\
         # A flag beats the environment, the environment beats this file, this file beats the default.\n",
    );
    let mut group = "";
    for setting in SETTINGS {
        let name = setting.key.rsplit('.').next().unwrap_or(setting.key);
        if let Some(found) = setting.group().filter(|found| found.name != group) {
            group = found.name;
            text.push_str("\n\n");
            comment(&mut text, found.doc);
            let _ = write!(text, "[{group}]");
        }
        let _ = write!(text, "\n\n");
        comment(&mut text, setting.doc);
        let _ = writeln!(text, "# {} or --{}", setting.env(), setting.flag());
        let _ = write!(text, "# {name} = {}", written(setting));
    }
    text.push('\n');
    text
}

/// Writes what is said of something in front of it.
fn comment(text: &mut String, doc: &str) {
    for line in doc.trim().split('\n') {
        let _ = writeln!(text, "# {}", line.trim());
    }
}

/// The default as TOML writes it.
fn written(setting: &Setting) -> String {
    let quoted = |text: &str| format!("\"{text}\"");
    if setting.list {
        let items: Vec<_> = setting.default.split(',').filter(|item| !item.is_empty()).map(quoted).collect();
        return format!("[{}]", items.join(", "));
    }
    let is_bare = setting.default.parse::<u64>().is_ok() || setting.default.parse::<bool>().is_ok();
    if is_bare { setting.default.to_owned() } else { quoted(setting.default) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Flags};

    #[test]
    fn the_reference_with_its_comments_taken_off_is_a_file_of_defaults() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys: Vec<_> = SETTINGS.iter().map(|setting| setting.key.rsplit('.').next().expect("a name")).collect();
        let file: String = reference()
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if keys.iter().any(|key| rest.starts_with(&format!("{key} = "))) => {
                    format!("{rest}\n")
                }
                _ => format!("{line}\n"),
            })
            .collect();
        let parsed: toml::Table = file.parse().expect("TOML");
        let leaves = parsed.values().map(|value| value.as_table().map_or(1, toml::Table::len)).sum::<usize>();
        assert_eq!(leaves, SETTINGS.len(), "{file}");
        std::fs::write(dir.path().join("portcullis.toml"), &file).expect("written");
        let flags = Flags { data_dir: Some(dir.path().into()), ..Flags::default() };
        let config = Config::load(&flags, []).expect("good");
        assert_eq!(config, Config::with_data_dir(dir.path().into()));
    }
}
