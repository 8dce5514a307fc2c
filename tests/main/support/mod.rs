//! A real gateway, a plain client and backends for the tests: nothing in it comes from the gateway's own code.

mod agreement;
pub(crate) mod authority;
pub(crate) mod backend;
pub(crate) mod client;
pub(crate) mod gateway;
pub(crate) mod issuer;
pub(crate) mod scene;
pub(crate) mod tls;

use std::path::{Path, PathBuf};

pub(crate) use backend::Backend;
pub(crate) use client::{Answer, call};
pub(crate) use gateway::Gateway;
pub(crate) use scene::Scene;

/// A Python with the packages of `tests/python/requirements.txt`, as `./check` installs it.
pub(crate) fn python() -> PathBuf {
    installed("python/bin/python3")
}

/// A Python with the packages of `clients/python/requirements.txt`, as `./check` installs it.
pub(crate) fn python_of_client() -> PathBuf {
    installed("python-client/bin/python3")
}

/// A directory with the npm packages of `tests/node/package-lock.json`, as `./check` installs them.
pub(crate) fn node() -> PathBuf {
    installed("node/node_modules");
    installed("node")
}

fn installed(path: &str) -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_portcullis"));
    let tool = binary.ancestors().nth(2).expect("a target directory").join("tools").join(path);
    assert!(tool.exists(), "{} is not there; `./check` installs it", tool.display());
    tool
}
