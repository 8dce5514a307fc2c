//! The page of all commands.

use std::fmt::Write as _;

use clap::{Arg, Command};

use super::table::cell;

pub(super) fn page(mut command: Command) -> String {
    command.build();
    let mut text = String::from(
        "# Command line\n\n\
         <!-- Written by `portcullis reference cli`; a test compares them. -->\n\n\
         Exit codes: 0 for success; 1 if it was refused or did not work; 2 if the command or the configuration was not written\n\
         as it must be. Results go to stdout, everything else to stderr. `portcullis completions bash|zsh|fish` prints what a\n\
         shell needs to complete all of this, `portcullis man` the manual page.\n",
    );
    let _ = write!(text, "\n## Options of every command\n\n");
    let is_global = |arg: &&Arg| arg.is_global_set();
    table(&mut text, command.get_arguments().filter(is_global));
    for subcommand in command.get_subcommands() {
        describe(&mut text, subcommand, "portcullis", 2);
    }
    text
}

fn describe(text: &mut String, command: &Command, parent: &str, level: usize) {
    if command.get_name() == "help" || command.is_hide_set() {
        return;
    }
    let name = format!("{parent} {}", command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = write!(text, "\n{} `{name}`\n\n{about}.\n", "#".repeat(level));
    let own: Vec<_> = command.get_arguments().filter(|arg| !arg.is_global_set() && arg.get_id() != "help").collect();
    let own: Vec<_> = own.into_iter().filter(|arg| arg.get_id() != "version").collect();
    if command.get_name() == "serve" {
        text.push_str("\nA flag for each setting; see [the settings](settings.md).\n");
    } else if !own.is_empty() {
        text.push('\n');
        table(text, own.into_iter());
    }
    for subcommand in command.get_subcommands() {
        describe(text, subcommand, &name, level + 1);
    }
}

fn table<'a>(text: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    text.push_str("| argument | meaning |\n|---|---|\n");
    for argument in arguments {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let choices: Vec<_> = argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        let takes = argument.get_num_args().is_some_and(|range| range.takes_values());
        let choices =
            if choices.is_empty() || !takes { String::new() } else { format!(" One of: `{}`.", choices.join("`, `")) };
        let stop = if choices.is_empty() { "" } else { "." };
        let _ = writeln!(text, "| `{}` | {}{stop}{choices} |", written(argument, takes), cell(&help));
    }
}

/// An argument as it is typed.
fn written(argument: &Arg, takes: bool) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    let value = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ");
    let value = if value.is_empty() { argument.get_id().as_str().to_ascii_uppercase() } else { value };
    let value = if takes { format!(" {value}") } else { String::new() };
    match (argument.get_short(), argument.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}{value}"),
        (None, Some(long)) => format!("--{long}{value}"),
        (Some(short), None) => format!("-{short}{value}"),
        (None, None) => value.trim_start().to_owned(),
    }
}
