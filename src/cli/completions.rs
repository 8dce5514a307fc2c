//! `portcullis completions` and `portcullis man`, from the one table of arguments.

use clap::{Arg, Command};
use clap_complete::{generate, shells};
use clap_mangen::Man;

use super::args::Shell;
use super::failure::Failure;
use super::output::Output;

const NAME: &str = "portcullis";

/// What a shell reads to complete command lines.
pub(super) fn script(shell: Shell, mut command: Command, output: &mut Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    match shell {
        Shell::Bash => generate(shells::Bash, &mut command, NAME, &mut script),
        Shell::Zsh => generate(shells::Zsh, &mut command, NAME, &mut script),
        Shell::Fish => generate(shells::Fish, &mut command, NAME, &mut script),
    }
    text(&script, output)
}

/// One manual page: the program, and behind it every command with its options.
pub(super) fn manual(mut command: Command, output: &mut Output) -> Result<(), Failure> {
    command.build();
    let mut page = Vec::new();
    let man = Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    page.extend_from_slice(b".SH COMMANDS\n");
    for subcommand in command.get_subcommands() {
        section(subcommand, NAME, &mut page)?;
    }
    man.render_version_section(&mut page)?;
    text(&page, output)
}

/// What is said of a command, and of those below it.
fn section(command: &Command, parent: &str, page: &mut Vec<u8>) -> Result<(), Failure> {
    if command.get_name() == "help" {
        return Ok(());
    }
    let name = format!("{parent} {}", command.get_name());
    page.extend_from_slice(format!(".SS \"{name}\"\n").as_bytes());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    page.extend_from_slice(format!("{}\n", escaped(&about)).as_bytes());
    // Options of every command stand at the top, once.
    for argument in command.get_arguments().filter(|argument| !argument.is_global_set()) {
        let id = argument.get_id();
        if id == "help" || id == "version" {
            continue;
        }
        let written = escaped(&argument.to_string());
        let help = escaped(&help(argument));
        page.extend_from_slice(format!(".TP\n\\fB{written}\\fR\n{help}\n").as_bytes());
    }
    for subcommand in command.get_subcommands() {
        section(subcommand, &name, page)?;
    }
    Ok(())
}

/// What is said of an argument, with the values it takes where these are few.
fn help(argument: &Arg) -> String {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let takes = argument.get_num_args().is_some_and(|range| range.takes_values());
    let values: Vec<_> = argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if values.is_empty() || !takes { help } else { format!("{help} [possible values: {}]", values.join(", ")) }
}

/// A text in which roff finds no command.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let lines = text.lines().map(|line| match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn text(bytes: &[u8], output: &mut Output) -> Result<(), Failure> {
    output.line(String::from_utf8_lossy(bytes).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roff_finds_no_command_in_a_help_text() {
        assert_eq!(escaped(".so x\n'a \\fB --b"), "\\&.so x\n\\&'a \\efB \\-\\-b");
    }
}
