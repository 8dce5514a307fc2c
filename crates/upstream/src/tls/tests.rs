//! Which declarations share an identity, and how long there is one.

use portcullis_core::model::{Protocol, Target, TargetTls};
use portcullis_core::ports::SystemClock;

use super::*;
use crate::backend::{Backend, backends};

/// A certificate and its key, made once.
fn made() -> &'static (String, String) {
    static MADE: OnceLock<(String, String)> = OnceLock::new();
    MADE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let rest = ["-days", "2", "-subj", "/CN=somebody", "-keyout", "key.pem", "-out", "certificate.pem"];
        let mut openssl = std::process::Command::new("openssl");
        let output = openssl.args(request).args(rest).current_dir(directory.path()).output();
        assert!(output.expect("openssl is installed").status.success());
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).expect("there");
        (read("certificate.pem"), read("key.pem"))
    })
}

fn identities() -> Identities {
    Identities::new(Path::new("/nowhere"), Arc::new(SystemClock))
}

fn trusting() -> TargetTls {
    TargetTls { ca: Some(made().0.clone()), ..TargetTls::default() }
}

fn known(identities: &Identities) -> usize {
    identities.known.lock().expect("not poisoned").len()
}

fn backend(identities: &Identities, url: &str, tls: Option<&TargetTls>) -> Backend {
    let target = Target { url: url.parse().expect("well formed"), weight: 1, instance: None };
    backends(&[target], Protocol::Auto, tls, identities).expect("good").remove(0)
}

#[test]
fn one_declaration_is_one_identity_as_long_as_somebody_has_it() {
    let identities = identities();
    let first = identities.of(&trusting()).expect("good");
    assert_eq!(identities.of(&trusting()).expect("good").id(), first.id());
    let id = first.id();
    drop(first);
    assert_ne!(identities.of(&trusting()).expect("good").id(), id, "a number is not given twice");
}

#[test]
fn every_difference_makes_another_identity() {
    let identities = identities();
    let pin = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned();
    let all = [
        trusting(),
        TargetTls { ca: Some(made().0.repeat(2)), ..trusting() },
        TargetTls { server_name: Some("a.example".to_owned()), ..trusting() },
        TargetTls { pins: vec![pin], ..trusting() },
        TargetTls { min_version: Some(TlsVersion::Tls13), ..trusting() },
    ];
    let made: Vec<_> = all.iter().map(|tls| identities.of(tls).expect("good")).collect();
    let ids: std::collections::HashSet<u64> = made.iter().map(|identity| identity.id()).collect();
    assert_eq!(ids.len(), all.len());
}

#[test]
fn what_nobody_is_declared_with_is_forgotten() {
    let identities = identities();
    for number in 0..1_000 {
        let tls = TargetTls { server_name: Some(format!("a{number}.example")), ..trusting() };
        identities.of(&tls).expect("good");
        assert!(known(&identities) <= 1, "{number}");
    }
}

#[test]
fn pools_are_of_an_authority_and_an_identity() {
    let identities = identities();
    let other = TargetTls { server_name: Some("b".to_owned()), ..trusting() };
    let one = backend(&identities, "https://a:443", Some(&trusting()));
    for (url, tls, same) in [
        ("https://a:443", Some(&trusting()), true),
        ("https://a:443/base", Some(&trusting()), true),
        ("https://a:443", Some(&other), false),
        ("https://b:443", Some(&trusting()), false),
        ("http://a:443", None, false),
    ] {
        assert_eq!(backend(&identities, url, tls).pool == one.pool, same, "{url}");
    }
    assert_eq!(backend(&identities, "http://a", None).pool, backend(&identities, "http://a/base", None).pool);
}

#[test]
fn the_name_that_is_proved_is_the_targets_or_the_one_declared() {
    let identities = identities();
    let name = |url: &str, tls: &TargetTls| {
        backend(&identities, url, Some(tls)).tls.map(|tls| tls.name.to_str().into_owned()).expect("TLS")
    };
    let other = TargetTls { server_name: Some("b.example".to_owned()), ..trusting() };
    assert_eq!(name("https://A.example:1/x", &trusting()), "a.example");
    assert_eq!(name("https://[::1]:1", &trusting()), "::1");
    assert_eq!(name("https://a.example", &other), "b.example");
}

#[test]
fn what_is_wrong_with_changed_files_is_told_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = made();
    std::fs::write(directory.path().join("client.pem"), certificate).expect("written");
    std::fs::write(directory.path().join("client.key"), key).expect("written");
    let identities = Identities::new(directory.path(), Arc::new(SystemClock));
    let tls = TargetTls {
        client_certificate: Some("client.pem".to_owned()),
        client_key: Some("client.key".to_owned()),
        ..trusting()
    };
    let identity = identities.of(&tls).expect("good");
    assert!(identity.refresh(&identities.workshop).is_ok());
    let before = identity.config.load_full();
    for garbage in ["garbage", "more garbage"] {
        std::fs::write(directory.path().join("client.key"), garbage).expect("written");
        for is_news in [true, false, false] {
            assert!(identity.refresh(&identities.workshop).is_err());
            assert_eq!(identity.is_news(), is_news);
        }
        assert!(identities.of(&tls).is_err(), "whoever declares it is told each time");
        assert!(Arc::ptr_eq(&before, &identity.config.load_full()), "the former one is shown");
    }
    std::fs::write(directory.path().join("client.key"), key).expect("written");
    assert!(identity.refresh(&identities.workshop).is_ok());
    assert!(!Arc::ptr_eq(&before, &identity.config.load_full()));
}
