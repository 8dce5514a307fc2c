//! The admin token and the local admin address: how commands find the gateway of a data directory.

use std::path::{Path, PathBuf};

use portcullis_core::secret::Secret;
use serde_json::json;

use super::failure::Failure;
use super::output::Output;
use crate::config::{Config, reachable};

/// The file in the data directory that holds the token alone.
const FILE_NAME: &str = "admin.token";

/// `portcullis token`: where the token is, or the token itself.
pub(super) fn run(config: &Config, show: bool, output: &mut Output) -> Result<(), Failure> {
    let path = path(&config.data_dir);
    if show {
        let token = read(&config.data_dir)?;
        return match output.is_json() {
            true => output.json(&json!({"path": path, "token": token.expose()})),
            false => output.line(token.expose()),
        };
    }
    if !path.exists() {
        return Err(missing(&path, "it is not there"));
    }
    match output.is_json() {
        true => output.json(&json!({"path": path})),
        false => output.line(&path.display().to_string()),
    }
}

/// The token of the gateway with this data directory.
pub(super) fn read(data_dir: &Path) -> Result<Secret, Failure> {
    let path = path(data_dir);
    let text = std::fs::read_to_string(&path).map_err(|error| missing(&path, &error.to_string()))?;
    match text.trim() {
        "" => Err(missing(&path, "it is empty")),
        token => Ok(Secret::from(token)),
    }
}

/// The admin API of the gateway with this configuration, on this machine.
pub(super) fn local_url(config: &Config) -> String {
    let scheme = if config.admin_certificate().is_some() { "https" } else { "http" };
    format!("{scheme}://{}", reachable(config.admin_listen))
}

/// The file with the token of the gateway with this data directory.
pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE_NAME)
}

fn missing(path: &Path, reason: &str) -> Failure {
    Failure::failed(format!(
        "no admin token in {}: {reason}; 'portcullis serve' makes it when it first starts, \
         --data-dir says where it is, and PORTCULLIS_ADMIN_TOKEN can hold it instead",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::output;
    use crate::config::AdminTls;

    #[test]
    fn the_token_is_shown_only_when_asked_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = Config::with_data_dir(dir.path().into());
        let (mut out, shown, _) = output(false);
        assert!(matches!(run(&config, false, &mut out), Err(Failure::Failed(_))));
        std::fs::write(path(dir.path()), "s3cret\n").expect("written");
        run(&config, false, &mut out).expect("there");
        assert_eq!(shown.text(), format!("{}\n", path(dir.path()).display()));
        run(&config, true, &mut out).expect("there");
        assert!(shown.text().ends_with("\ns3cret\n"));
    }

    #[test]
    fn a_gateway_on_all_addresses_is_found_on_loopback() {
        let mut config = Config::with_data_dir("d".into());
        for (listen, url) in [
            ("127.0.0.1:6501", "http://127.0.0.1:6501"),
            ("0.0.0.0:7", "http://127.0.0.1:7"),
            ("[::]:7", "http://[::1]:7"),
            ("10.0.0.1:7", "http://10.0.0.1:7"),
        ] {
            config.admin_listen = listen.parse().expect("an address");
            assert_eq!(local_url(&config), url);
        }
        config.admin_tls = AdminTls { certificate: Some("a".into()), key: Some("b".into()) };
        assert_eq!(local_url(&config), "https://10.0.0.1:7");
    }
}
