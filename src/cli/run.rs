//! Reads the command line, brings the configuration together, does the one thing it asks for, and tells how that went.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};
use portcullis_core::secret::Secret;
use portcullis_proxy::inherit::{Inherited, inherited};
use portcullis_telemetry::Target;
use tracing_subscriber::EnvFilter;

use super::admin::Admin;
use super::args::{AuditCommand, Cli, Command, Global, ImportCommand, VerifyCommand};
use super::failure::Failure;
use super::output::Output;
use super::{
    audit, captures, certificates, client, completions, declarations, demo, enrolment, explain, host, import, logs,
    route, security, service, status, token, user,
};
use crate::app::{Gateway, verify_audit};
use crate::config::{Config, ENV_ADMIN_CA, ENV_ADMIN_TOKEN, ENV_ADMIN_URL, ENV_LOG, Flags, reference};
use crate::process::{Diagnostics, Process};

/// Does what the process was started for.
pub(crate) fn main(process: &Process) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; that nobody reads them changes nothing.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let lasts = matches!(cli.command, Command::Serve(_) | Command::Demo);
    if !lasts {
        process.is_no_gateway();
    }
    let mut output = Output::standard(cli.global.json, process.diagnostics.clone());
    match run(cli, process, &mut output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit_code()
        }
    }
}

fn run(cli: Cli, process: &Process, output: &mut Output) -> Result<(), Failure> {
    let Cli { global, command } = cli;
    let usual = if matches!(command, Command::Serve(_)) { "info" } else { "warn" };
    start_tracing(global.log_level.as_deref(), usual, &process.diagnostics)?;
    let flags = Flags { data_dir: global.data_dir.clone(), config: global.config.clone(), settings: Vec::new() };
    match command {
        Command::Serve(flagged) => {
            let flags = Flags { settings: flagged.settings.0, ..flags };
            let config = Config::load(&flags, std::env::vars_os())?;
            for warning in config.warnings() {
                tracing::warn!("{warning}");
            }
            for finding in crate::security::audit_of_files(&config, config.file(&flags)) {
                tracing::warn!(file = finding.path, "{}: {}", finding.message, finding.remedy);
            }
            let inherited = inherited().map_err(anyhow::Error::from)?;
            to_its_end(serve(config, inherited, process))
        }
        Command::Demo => {
            let given = flags.data_dir.clone();
            let config = |data_dir| Config::load(&Flags { data_dir: Some(data_dir), ..flags }, std::env::vars_os());
            to_its_end(demo::run(given, config, &process.counters, output))
        }
        Command::Settings => output.line(reference().trim_end()),
        Command::Completions { shell } => completions::script(shell, Cli::command(), output),
        Command::Man => completions::manual(Cli::command(), output),
        Command::Reference { page } => output.line(crate::reference::page(page, Cli::command()).trim_end()),
        Command::Check(check) => {
            let config = Config::load(&flags, std::env::vars_os())?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            match &check.file {
                Some(file) if !check.security => runtime.block_on(declarations::check(file, &config, output)),
                _ => {
                    let trouble = |failure| Failure::Trouble(Box::new(failure));
                    let admin = if check.live { Some(connect(&global, &config).map_err(trouble)?) } else { None };
                    let place = config.file(&flags);
                    runtime.block_on(security::run(&check, &config, place, admin.as_ref(), output))
                }
            }
        }
        Command::Token { show } => token::run(&Config::load(&flags, std::env::vars_os())?, show, output),
        Command::Audit(AuditCommand { command: Some(VerifyCommand::Verify { offline: true }), .. }) => {
            let config = Config::load(&flags, std::env::vars_os())?;
            let work = verify_audit(&config.data_dir);
            let verdict = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)?;
            audit::judge(&verdict, output)
        }
        command => {
            let config = Config::load(&flags, std::env::vars_os())?;
            let is_diff = matches!(command, Command::Diff { .. });
            let trouble = |failure| if is_diff { Failure::Trouble(Box::new(failure)) } else { failure };
            let admin = connect(&global, &config).map_err(trouble)?;
            let work = ask(command, &admin, output);
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
        }
    }
}

/// Does the work of a gateway. What is left on its runtime then is not waited for: it may hang on a disk or on a name.
fn to_its_end(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

/// Runs the gateway until it is told to stop. One line on stdout tells whoever waits that calls are answered.
async fn serve(config: Config, inherited: Inherited, process: &Process) -> Result<(), Failure> {
    let mut orders = process.orders().ok_or_else(|| Failure::failed("the signals were not taken"))?;
    let (token, log) = (token::path(&config.data_dir), config.log.access_log.clone());
    let starting = Box::pin(Gateway::start(config, inherited, Arc::clone(&process.counters)));
    let gateway = tokio::select! {
        biased;
        () = orders.stopped() => {
            tracing::info!("ordered to stop before it was ready");
            return Ok(());
        }
        started = starting => started?,
    };
    tracing::info!(token = %token.display(), "the admin token is in this file");
    let plain = gateway.data_addr.map(|address| format!("http://{address}"));
    let secured = gateway.tls_addr.map(|address| format!("https://{address}"));
    let calls = plain.into_iter().chain(secured).collect::<Vec<_>>().join(" and ");
    let ready = format!("ready: calls {calls}, admin {}://{}", gateway.admin_scheme, gateway.admin_addr);
    match log {
        // Whoever reads stdout reads records there, and nothing else.
        Target::Stdout => tracing::info!("{ready}"),
        _ => announce(ready)?,
    }
    Ok(gateway.run(orders).await?)
}

/// Tells whoever waits on stdout. That nobody reads it is no reason not to serve, so the gateway does not wait for it.
fn announce(ready: String) -> Result<(), Failure> {
    let tell = move || {
        let line = format!("{ready}\n");
        let mut stdout = std::io::stdout();
        if stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()).is_err() {
            tracing::warn!("stdout cannot be written to; {ready}");
        }
    };
    std::thread::Builder::new().name("ready".to_owned()).spawn(tell)?;
    Ok(())
}

/// The commands that are a question to the admin API.
async fn ask(command: Command, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Service(command) => service::run(command, admin, output).await,
        Command::Route(command) => route::run(command, admin, output).await,
        Command::Host(command) => host::run(command, admin, output).await,
        Command::Apply(apply) => declarations::apply(&apply, admin, output).await,
        Command::Diff { file, adopt } => declarations::diff(&file.file, adopt, admin, output).await,
        Command::Import(ImportCommand::Fomalhaut(command)) => import::run(&command, admin, output).await,
        Command::Export(export) => declarations::export(&export, admin, output).await,
        Command::Client(command) => client::run(command, admin, output).await,
        Command::User(command) => user::run(command, admin, output).await,
        Command::Status => status::run(admin, output).await,
        Command::Certificates => certificates::run(admin, output).await,
        Command::Enrolment(command) => enrolment::run(command, admin, output).await,
        Command::Explain(question) => explain::run(&question, admin, output).await,
        Command::Logs(command) => logs::run(&command, admin, output).await,
        Command::Audit(AuditCommand { command: Some(VerifyCommand::Verify { .. }), .. }) => {
            audit::verify(admin, output).await
        }
        Command::Captures(command) => captures::run(command, admin, output).await,
        Command::Audit(command) => audit::list(&command, admin, output).await,
        Command::Openapi => output.json(&admin.get("/openapi.json").await?.body),
        Command::Serve(_)
        | Command::Demo
        | Command::Settings
        | Command::Token { .. }
        | Command::Check(_)
        | Command::Completions { .. }
        | Command::Man
        | Command::Reference { .. } => Ok(()),
    }
}

/// The admin API that is meant: the one that was named, or the local gateway's.
fn connect(global: &Global, config: &Config) -> Result<Admin, Failure> {
    let url = global.admin.clone().or_else(|| std::env::var(ENV_ADMIN_URL).ok().filter(|url| !url.is_empty()));
    let url = url.unwrap_or_else(|| token::local_url(config));
    let token = match std::env::var(ENV_ADMIN_TOKEN) {
        Ok(token) if !token.is_empty() => Secret::from(token),
        _ => token::read(&config.data_dir)?,
    };
    let roots = global.admin_ca.clone().or_else(|| {
        let named = std::env::var_os(ENV_ADMIN_CA).filter(|file| !file.is_empty());
        named.map(Into::into)
    });
    Admin::new(&url, &token, roots.as_deref(), global.insecure)
}

/// What the process has to say of itself goes to stderr.
fn start_tracing(flag: Option<&str>, usual: &str, diagnostics: &Diagnostics) -> Result<(), Failure> {
    use std::io::IsTerminal as _;
    let from_env = std::env::var(ENV_LOG).ok().filter(|level| !level.is_empty());
    let (place, level) = match (flag, &from_env) {
        (Some(level), _) => ("--log-level", level),
        (None, Some(level)) => (ENV_LOG, level.as_str()),
        (None, None) => ("the usual level", usual),
    };
    // Whoever connects can have this one written as often as they like.
    let filter = EnvFilter::builder()
        .parse(format!("{level},h2::proto::ping_pong=error"))
        .map_err(|error| Failure::Usage(format!("{place}: '{level}' is no level and no filter: {error}")))?;
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(diagnostics.clone()).with_ansi(colours);
    // What goes wrong with a line must not be told past the queue.
    lines.log_internal_errors(false).init();
    Ok(())
}
