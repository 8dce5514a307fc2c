//! Portcullis: a secure API gateway and token issuer in one binary.

mod acme;
mod app;
mod cli;
mod config;
#[cfg(test)]
#[path = "../fuzz/engine.rs"]
mod fuzzing;
mod import;
mod process;
mod reference;
mod security;

use std::io::{self, Write as _};
use std::process::ExitCode;

use process::Process;

/// Calls make many small things and drop them soon: this one takes less time over it than the system's, and gives back
/// what connections at rest do not need. It asks for no huge pages: they would double what a gateway at rest takes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let process = match Process::begin() {
        Ok(process) => process,
        Err(error) => {
            // Nothing is there yet that could say it better.
            let _ = writeln!(io::stderr(), "error: the process cannot begin: {error}");
            return ExitCode::FAILURE;
        }
    };
    // The one there is; nothing has been able to install another before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let code = cli::main(&process);
    process.end();
    code
}
