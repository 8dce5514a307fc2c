//! Portcullis: a secure API gateway and token issuer in one binary.

mod app;
mod cli;
mod config;
mod demo;
mod reference;
mod security;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
