//! A real gateway, a plain client and backends for the tests: nothing in it comes from the gateway's own code.

mod agreement;
pub(crate) mod authority;
pub(crate) mod backend;
pub(crate) mod client;
pub(crate) mod gateway;
pub(crate) mod issuer;
pub(crate) mod scene;
pub(crate) mod tls;

pub(crate) use backend::Backend;
pub(crate) use client::{Answer, call};
pub(crate) use gateway::Gateway;
pub(crate) use scene::Scene;

/// A Python with the packages of `tests/python/requirements.txt`, as `./check` installs it.
pub(crate) fn python() -> std::path::PathBuf {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_portcullis"));
    let python = binary.ancestors().nth(2).expect("a target directory").join("tools/python/bin/python3");
    assert!(python.is_file(), "{} is not there; `./check` installs it", python.display());
    python
}
