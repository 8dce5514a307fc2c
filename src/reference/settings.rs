//! The page of all settings.

use std::fmt::Write as _;

use super::table::cell;
use crate::config::SETTINGS;

pub(super) fn page() -> String {
    let mut text = String::from(
        "# Settings\n\n\
         <!-- Written by `portcullis reference settings`; a test compares them. -->\n\n\
         A flag of `portcullis serve` beats the environment, the environment beats `portcullis.toml` in the data directory\n\
         (or where `--config` says), the file beats the default. A setting that is not known is an error that names it.\n\
         Settings are read at the start. `portcullis settings` prints them as a commented `portcullis.toml`.\n\n\
         Sizes are bytes or like `64KiB`, times are seconds or like `500ms`, `10s`, `5m`, `1h`, `1d`. In flags and\n\
         variables, lists have commas between their items.\n\n\
         The data directory is no setting of the file: `--data-dir` or `PORTCULLIS_DATA_DIR`, `./data` by default.\n",
    );
    let mut group = None;
    for setting in SETTINGS {
        let found = setting.group().map(|group| group.name);
        if found != group || setting.key == SETTINGS[0].key {
            group = found;
            let title = setting.group().map_or_else(
                || "At the top\n\n".to_owned(),
                |group| format!("`[{}]`\n\n{}\n\n", group.name, cell(group.doc)),
            );
            let _ = write!(text, "\n## {title}| setting | default | meaning |\n|---|---|---|\n");
        }
        let default = if setting.default.is_empty() { "none".to_owned() } else { format!("`{}`", setting.default) };
        let name = setting.key.rsplit('.').next().unwrap_or(setting.key);
        let (env, flag, doc) = (setting.env(), setting.flag(), cell(setting.doc));
        let form = if setting.list { format!("list of {}", setting.form) } else { setting.form.to_owned() };
        let _ = writeln!(text, "| `{name}`<br>{form} | {default} | {doc}<br>`--{flag}`, `{env}` |");
    }
    text
}
