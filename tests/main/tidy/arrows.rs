//! Which crate of the workspace may use which: the floors of ARCHITECTURE.md as a table.

use cargo_metadata::{DependencyKind, MetadataCommand};

use super::Objections;

/// A crate of the workspace, without the prefix of its name, and what its manifest asks for.
pub(super) struct Crate {
    name: String,
    needs: Vec<Need>,
}

/// One dependency as a manifest declares it.
struct Need {
    name: String,
    features: Vec<String>,
    for_tests: bool,
}

/// Every crate with the crates it may name, from the ground up.
const ARROWS: [(&str, &[&str]); 14] = [
    ("core", &[]),
    ("signing", &[]),
    ("identity", &["core"]),
    ("store", &["core"]),
    ("telemetry", &["core"]),
    ("wire", &["core"]),
    ("policies", &["core", "identity", "signing"]),
    ("upstream", &["core", "wire"]),
    ("issuer", &["core", "identity"]),
    ("routing", &["core", "policies", "upstream"]),
    ("proxy", &["core", "telemetry", "wire", "upstream", "routing"]),
    ("admin", &["core", "identity", "telemetry", "wire", "policies", "upstream", "routing", "proxy"]),
    (
        "portcullis",
        &[
            "core",
            "signing",
            "identity",
            "issuer",
            "store",
            "telemetry",
            "wire",
            "policies",
            "upstream",
            "routing",
            "proxy",
            "admin",
        ],
    ),
    // Measures parts of the others, and nobody uses it.
    ("bench", &["core", "identity", "telemetry", "policies", "upstream", "routing", "signing"]),
];

/// Crates that speak to a database. Only `store` names them, in its tests as in its code.
const DRIVERS: [&str; 7] = ["sqlx", "sqlx-core", "sqlx-sqlite", "sqlx-postgres", "rusqlite", "redis", "mongodb"];

/// Crates that open sockets or files. `core` and `signing` do neither.
const IO: [&str; 9] =
    ["hyper", "hyper-util", "axum", "reqwest", "ureq", "socket2", "mio", "rustix", "tracing-subscriber"];

/// Reads the manifests of the workspace.
pub(super) fn workspace(root: &str) -> Vec<Crate> {
    let metadata = MetadataCommand::new()
        .manifest_path(format!("{root}/Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .expect("cargo reads the manifests");
    let read = |package: &cargo_metadata::Package| Crate {
        name: short(package.name.as_ref()),
        needs: package
            .dependencies
            .iter()
            .map(|needed| Need {
                name: needed.name.clone(),
                features: needed.features.clone(),
                for_tests: needed.kind == DependencyKind::Development,
            })
            .collect(),
    };
    metadata.workspace_packages().into_iter().map(read).collect()
}

fn short(name: &str) -> String {
    name.strip_prefix("portcullis-").unwrap_or(name).to_owned()
}

/// Compares the manifests with the table.
pub(super) fn check(crates: &[Crate]) -> Objections {
    let mut objections = Vec::new();
    for it in crates {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == it.name) else {
            objections.push(format!(
                "crate '{}' is not on any floor: write an ADR for it, then give it a row in tests/main/tidy/arrows.rs",
                it.name
            ));
            continue;
        };
        for needed in &it.needs {
            objections.extend(object(&it.name, allowed, needed));
        }
    }
    objections
}

fn object(name: &str, allowed: &[&str], needed: &Need) -> Option<String> {
    let other = needed.name.strip_prefix("portcullis-");
    if let Some(other) = other.filter(|other| !allowed.contains(other)) {
        return Some(format!("crate '{name}' may not use '{other}': arrows run down the floors only"));
    }
    if name != "store" && DRIVERS.contains(&needed.name.as_str()) {
        return Some(format!("crate '{name}' names the driver '{}'; only 'store' does that", needed.name));
    }
    let does_no_io = ["core", "signing"].contains(&name) && !needed.for_tests;
    if does_no_io && IO.contains(&needed.name.as_str()) {
        return Some(format!("crate '{name}' does no IO and cannot need '{}'", needed.name));
    }
    let only_sync = needed.features.iter().all(|feature| feature == "sync");
    if does_no_io && needed.name == "tokio" && !(name == "core" && only_sync) {
        return Some(format!("crate '{name}' does no IO: of tokio, 'core' has the feature 'sync' and nothing else"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn objects(name: &str, needs: Need, expected: &str) {
        let objections = check(&[Crate { name: name.to_owned(), needs: vec![needs] }]);
        assert_eq!(objections.len(), usize::from(!expected.is_empty()), "{objections:?}");
        assert!(objections.iter().all(|objection| objection.contains(expected)), "{objections:?}");
    }

    fn need(name: &str) -> Need {
        Need { name: name.to_owned(), features: Vec::new(), for_tests: false }
    }

    fn tokio(feature: &str) -> Need {
        Need { features: vec![feature.to_owned()], ..need("tokio") }
    }

    #[test]
    fn arrows_run_down() {
        objects("proxy", need("portcullis-core"), "");
        objects("proxy", need("portcullis-admin"), "may not use 'admin'");
        objects("proxy", need("portcullis-store"), "may not use 'store'");
        objects("identity", need("portcullis-telemetry"), "may not use 'telemetry'");
        objects("core", need("portcullis-signing"), "may not use 'signing'");
        objects("portcullis", need("portcullis-store"), "");
    }

    #[test]
    fn tests_do_not_bend_arrows() {
        objects("policies", Need { for_tests: true, ..need("portcullis-proxy") }, "may not use 'proxy'");
    }

    #[test]
    fn drivers_stay_in_the_store() {
        objects("store", need("sqlx"), "");
        objects("admin", need("sqlx"), "names the driver 'sqlx'");
        objects("portcullis", Need { for_tests: true, ..need("redis") }, "names the driver 'redis'");
    }

    #[test]
    fn the_ground_floor_does_no_io() {
        objects("core", need("hyper"), "cannot need 'hyper'");
        objects("signing", need("rustix"), "cannot need 'rustix'");
        objects("core", tokio("sync"), "");
        objects("core", tokio("net"), "nothing else");
        objects("signing", tokio("sync"), "nothing else");
        objects("core", Need { for_tests: true, ..tokio("rt") }, "");
    }

    #[test]
    fn a_new_crate_wants_an_adr() {
        objects("plugins", need("serde"), "write an ADR");
    }

    #[test]
    fn the_table_itself_runs_down() {
        for (floor, (name, allowed)) in ARROWS.iter().enumerate() {
            let below: Vec<_> = ARROWS[..floor].iter().map(|(name, _)| name).collect();
            assert!(allowed.iter().all(|other| below.contains(&other)), "'{name}' looks up");
        }
    }
}
