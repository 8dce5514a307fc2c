//! The pages of the reference that are written from the program's own tables, so that they cannot go stale.

mod command_line;
mod policies;
mod schema;
mod settings;
mod table;
mod traffic;

use clap::{Command, ValueEnum};

/// A page of `docs/reference`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Page {
    /// Every command with its arguments.
    Cli,
    /// Every policy with its settings.
    PolicySettings,
    /// What `portcullis check --security` looks for.
    SecurityFindings,
    /// Every setting.
    Settings,
    /// Every kind of traffic settings.
    Traffic,
}

/// A page as Markdown.
pub(crate) fn page(page: Page, command_line: Command) -> String {
    match page {
        Page::Cli => command_line::page(command_line),
        Page::PolicySettings => policies::page(),
        Page::SecurityFindings => crate::security::reference(),
        Page::Settings => settings::page(),
        Page::Traffic => traffic::page(),
    }
}
