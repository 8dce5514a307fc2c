//! The flags of `portcullis serve`, one for each setting, made from the table of settings.

use std::sync::LazyLock;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::config::{SETTINGS, Setting};

/// The settings that were given as flags.
#[derive(Debug, Clone, Default)]
pub(crate) struct SettingFlags(pub(crate) Vec<(&'static Setting, String)>);

/// The flags' names, which have to live as long as the program.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| SETTINGS.iter().map(Setting::flag).collect());

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        SETTINGS.iter().zip(NAMES.iter()).fold(command, |command, (setting, name)| command.arg(flag(setting, name)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for setting in SETTINGS {
            if let Some(values) = matches.get_many::<String>(setting.key) {
                self.0.push((setting, values.cloned().collect::<Vec<_>>().join(",")));
            }
        }
        Ok(())
    }
}

fn flag(setting: &'static Setting, name: &'static str) -> Arg {
    let doc = setting.doc.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let default = if setting.default.is_empty() { "none" } else { setting.default };
    let action = if setting.list { ArgAction::Append } else { ArgAction::Set };
    let arg = Arg::new(setting.key)
        .long(name)
        .value_name(setting.form)
        .action(action)
        .help(format!("{doc} [env: {}] [default: {default}]", setting.env()));
    // The short help shows what most people set.
    match setting.group() {
        Some(group) => arg.hide_short_help(true).help_heading(group.heading),
        None => arg,
    }
}
