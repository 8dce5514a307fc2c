//! What wins over what, and what is refused.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use super::*;

/// Loads a configuration from a file in a data directory, an environment and flags.
fn load(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join(FILE_NAME), file).expect("written");
    let setting = |key: &str| SETTINGS.iter().find(|setting| setting.key == key).expect("a setting");
    let flags = Flags {
        data_dir: Some(dir.path().into()),
        config: None,
        settings: flags.iter().map(|(key, value)| (setting(key), (*value).to_owned())).collect(),
    };
    let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let place = format!("{}/", dir.path().display());
    Config::load(&flags, env)
        .map_err(|error| error.problems.iter().map(|problem| problem.to_string().replace(&place, "")).collect())
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let file = "workers = 3\n[limits]\nheader_count = 3";
    let env = [("PORTCULLIS_WORKERS", "4"), ("PATH", "/bin")];
    let workers = |file, env: &[_], flags: &[_]| load(file, env, flags).expect("good").workers;
    assert_eq!(workers("", &[], &[]), std::thread::available_parallelism().expect("cores").get());
    assert_eq!(workers(file, &[], &[]), 3);
    assert_eq!(workers(file, &env, &[]), 4);
    assert_eq!(workers(file, &env, &[("workers", "5")]), 5);
    assert_eq!(load(file, &[], &[]).expect("good").limits.header_count, 3);
    let env = [("PORTCULLIS_LIMITS_HEADER_COUNT", "7")];
    assert_eq!(load(file, &env, &[]).expect("good").limits.header_count, 7);
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = load("", &[], &[]).expect("good");
    assert_eq!(config.listen, Some(SocketAddr::from(([127, 0, 0, 1], 6500))));
    assert_eq!((config.tls_listen, config.http_redirect), (None, false));
    assert_eq!(config.admin_listen, SocketAddr::from(([127, 0, 0, 1], 6501)));
    assert_eq!((config.public_url.clone(), config.builtin_hosts.len()), (None, 0));
    assert_eq!(config.allow_targets, [AllowTarget::Loopback, AllowTarget::Private, AllowTarget::Public]);
    let limits = &config.limits;
    assert_eq!((limits.request_line_bytes, limits.header_bytes, limits.header_count), (16_384, 65_536, 128));
    assert_eq!(limits.body_bytes, 67_108_864);
    assert_eq!((limits.connections, limits.connections_per_peer), (100_000, 1_000));
    assert_eq!(config.tokens.access_ttl, Duration::from_secs(300));
    assert_eq!(config.tokens.refresh_ttl, Duration::from_secs(86_400));
    let lockout = &config.lockout;
    assert_eq!((lockout.failures, lockout.user_failures, lockout.address_failures), (10, 50, 100));
    let waits = [lockout.first_wait, lockout.longest_wait, lockout.user_wait, lockout.address_wait];
    assert_eq!(waits.map(|wait| wait.as_secs()), [1, 900, 15, 60]);
    assert_eq!(config.warnings(), Vec::<String>::new());
}

#[test]
fn everything_that_is_wrong_in_the_file_is_named_at_once() {
    let file = "lisen = 'x'\ndata_dir = 'd'\nworkers = 'many'\nlog = 3\n\
                [limits]\nheader_cuont = 1\nheader_bytes = 0\n[nonsense]\na = 1";
    let problems = load(file, &[], &[]).expect_err("bad");
    for part in [
        "portcullis.toml: lisen: is not a setting; did you mean 'listen'?",
        "portcullis.toml: data_dir: is set by --data-dir or PORTCULLIS_DATA_DIR only",
        "portcullis.toml: workers: expected a number from 1 to 1024, 'cores' or 'cores/2', found \"many\"",
        "portcullis.toml: log: expected a table [log]",
        "portcullis.toml: limits.header_cuont: is not a setting; did you mean 'limits.header_count'?",
        "portcullis.toml: limits.header_bytes: expected a size of at least 1 byte like 65536 or '64KiB', found 0",
        "portcullis.toml: nonsense: is not a setting",
    ] {
        assert!(problems.iter().any(|problem| problem == part), "{part}\n{problems:#?}");
    }
    assert_eq!(problems.len(), 7);
}

#[test]
fn what_is_wrong_elsewhere_is_named_together_with_it() {
    let env = [("PORTCULLIS_LISSTEN", "x"), ("PORTCULLIS_TIMEOUTS_HEAD", "soon"), ("PORTCULLIS_LOG", "debug")];
    let problems = load("what = 1", &env, &[("listen", "here")]).expect_err("bad");
    assert_eq!(
        problems,
        [
            "PORTCULLIS_LISSTEN: is not a setting; did you mean 'PORTCULLIS_LISTEN'?",
            "portcullis.toml: what: is not a setting",
            "PORTCULLIS_TIMEOUTS_HEAD: expected a time longer than 0 in seconds like 10, \
             or like '500ms', '10s', '5m', '1h' or '1d', found 'soon'",
            "--listen: expected an address with a port like '127.0.0.1:6500', or 'off', found 'here'",
        ]
    );
}

#[test]
fn a_file_that_is_no_toml_is_named_with_its_line() {
    let problems = load("workers = 1\nlisten = ", &[], &[]).expect_err("bad");
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("portcullis.toml:2: "), "{problems:?}");
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let flags = Flags { data_dir: Some(dir.path().into()), ..Flags::default() };
    assert!(Config::load(&flags, []).is_ok());
    let missing = dir.path().join("missing.toml");
    let flags = Flags { config: Some(missing.clone()), ..flags };
    let error = Config::load(&flags, []).expect_err("bad");
    assert_eq!(error.problems[0].path, missing.display().to_string());

    let env = |value: &Path| vec![(OsString::from(ENV_CONFIG), value.as_os_str().to_owned())];
    let flags = Flags { config: None, ..flags };
    assert!(Config::load(&flags, env(&missing)).is_err());
    std::fs::write(&missing, "workers = 9").expect("written");
    assert_eq!(Config::load(&flags, env(&missing)).expect("good").workers, 9);
}

#[test]
fn the_data_directory_comes_from_flag_then_environment_then_default() {
    let env = || vec![(OsString::from(ENV_DATA_DIR), OsString::from("/nowhere/env"))];
    let config = Config::load(&Flags::default(), env()).expect("good");
    assert_eq!(config.data_dir, PathBuf::from("/nowhere/env"));
    let flags = Flags { data_dir: Some("/nowhere/flag".into()), ..Flags::default() };
    assert_eq!(Config::load(&flags, env()).expect("good").data_dir, PathBuf::from("/nowhere/flag"));
}

#[test]
fn variables_kubernetes_sets_are_no_mistakes_there() {
    let links = [
        ("PORTCULLIS_SERVICE_HOST", "10.0.0.1"),
        ("PORTCULLIS_SERVICE_PORT", "6500"),
        ("PORTCULLIS_SERVICE_PORT_HTTP", "6500"),
        ("PORTCULLIS_PORT", "tcp://10.0.0.1:6500"),
        ("PORTCULLIS_PORT_6500_TCP", "tcp://10.0.0.1:6500"),
        ("PORTCULLIS_PORT_6500_TCP_ADDR", "10.0.0.1"),
        ("PORTCULLIS_ADMIN_PORT_6501_TCP_PROTO", "tcp"),
    ];
    assert_eq!(load("", &links, &[]).expect_err("bad").len(), links.len());
    let inside: Vec<_> = links.into_iter().chain([("KUBERNETES_SERVICE_HOST", "10.0.0.1")]).collect();
    assert!(load("", &inside, &[]).is_ok());
    let typo: Vec<_> = inside.into_iter().chain([("PORTCULLIS_WORKER", "1")]).collect();
    assert_eq!(load("", &typo, &[]).expect_err("bad").len(), 1);
}

#[test]
fn what_is_hardly_meant_is_warned_about() {
    let file = "trusted_proxies = ['10.0.0.1']\n[tokens]\nrefresh_ttl = '30s'";
    let warnings = load(file, &[], &[]).expect("allowed").warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("refresh_ttl (30 s)"), "{warnings:?}");
}

#[test]
fn the_admin_token_does_not_cross_a_network_in_clear() {
    let problems = load("admin_listen = '0.0.0.0:6501'", &[], &[]).expect_err("bad");
    assert!(problems.len() == 1 && problems[0].contains("loopback"), "{problems:?}");
    let file = "admin_listen = '0.0.0.0:6501'\n[admin_tls]\ncertificate = 'a.pem'\nkey = 'a.key'";
    assert!(load(file, &[], &[]).is_ok());
}

#[test]
fn both_planes_cannot_share_an_address() {
    let problems = load("listen = '127.0.0.1:7'\nadmin_listen = '127.0.0.1:7'", &[], &[]).expect_err("bad");
    assert_eq!(problems, ["admin_listen: 127.0.0.1:7 is also the address of 'listen'"]);
    assert!(load("listen = '127.0.0.1:0'\nadmin_listen = '127.0.0.1:0'", &[], &[]).is_ok());
}

#[test]
fn what_tls_needs_is_asked_for() {
    let check = |file: &str, expected: &[&str]| {
        let found = load(file, &[], &[]).err().unwrap_or_default();
        let paths: Vec<&str> = found.iter().filter_map(|problem| problem.split(':').next()).collect();
        assert_eq!(paths, expected, "{file}: {found:?}");
    };
    let listener = "tls_listen = '127.0.0.1:0'";
    let pair = "certificates = [{certificate = 'a', key = 'b'}]";
    check(&format!("{listener}\n[tls]\n{pair}"), &[]);
    check(&format!("listen = 'off'\n{listener}\n[tls]\n{pair}"), &[]);
    check("listen = 'off'", &["listen"]);
    check(listener, &["tls.certificates"]);
    check("http_redirect = true", &["http_redirect"]);
    check("[tls]\nclient_certificates = 'optional'", &["tls.client_ca"]);
    check("[tls]\nhsts_preload = true\nhsts_max_age = '365d'", &["tls.hsts_preload"]);
    check("[tls]\nhsts_preload = true\nhsts_max_age = '365d'\nhsts_include_subdomains = true", &[]);
    let has_http3 = cfg!(feature = "http3");
    let lacking: &[&str] = if has_http3 { &[] } else { &["tls.http3"] };
    check(&format!("{listener}\n[tls]\n{pair}\nhttp3 = true"), lacking);
    check("[tls]\nhttp3 = true", &[lacking, &["tls.http3"]].concat());
    let announced = "proxy_protocol = 'required'\ntrusted_proxies = ['10.0.0.0/8']";
    check(&format!("{announced}\n{listener}\n[tls]\n{pair}\nhttp3 = true"), &[lacking, &["tls.http3"]].concat());
    check("[admin_tls]\nkey = 'a'", &["admin_tls.certificate"]);
    check("[admin_tls]\ncertificate = 'a'", &["admin_tls.key"]);
    check(&format!("listen = '127.0.0.1:7'\ntls_listen = '127.0.0.1:7'\n[tls]\n{pair}"), &["tls_listen"]);
}

#[test]
fn strict_transport_is_told_only_where_it_is_wanted() {
    let told = |file: &str| load(file, &[], &[]).expect("good").strict_transport();
    assert_eq!(told(""), None);
    assert_eq!(told("[tls]\nhsts_include_subdomains = true"), None);
    assert_eq!(told("[tls]\nhsts_max_age = '1d'").as_deref(), Some("max-age=86400"));
    let all = "[tls]\nhsts_max_age = '365d'\nhsts_include_subdomains = true\nhsts_preload = true";
    assert_eq!(told(all).as_deref(), Some("max-age=31536000; includeSubDomains; preload"));
}

#[test]
fn the_proxy_protocol_needs_somebody_to_believe() {
    let load = |file: &str| load(file, &[], &[]);
    assert_eq!(load("").expect("good").proxy_protocol, ProxyProtocol::Off);
    let problems = load("proxy_protocol = 'required'").expect_err("bad");
    assert!(problems.len() == 1 && problems[0].contains("trusted_proxies"), "{problems:?}");
    let config = load("proxy_protocol = 'optional'\ntrusted_proxies = ['10.0.0.1']").expect("good");
    assert_eq!(config.proxy_protocol, ProxyProtocol::Optional);
    assert!(load("proxy_protocol = 'on'\ntrusted_proxies = ['10.0.0.1']").is_err());
}

#[test]
fn name_servers_are_asked_by_dns_alone() {
    let servers = |text: &str, env: &[_]| load(text, env, &[]).map(|config| config.resolver.servers);
    let two = [SocketAddr::from(([10, 0, 0, 2], 53)), SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 5353))];
    assert_eq!(servers("resolver.servers = [\"10.0.0.2:53\", \"[::1]:5353\"]", &[]), Ok(two.to_vec()));
    assert_eq!(servers("", &[("PORTCULLIS_RESOLVER_SERVERS", "10.0.0.2:53,[::1]:5353")]), Ok(two.to_vec()));
    assert_eq!(servers("resolver.kind = \"system\"", &[]), Ok(Vec::new()));
    for (text, told) in [
        ("resolver.servers = [\"10.0.0.2\"]", "expected addresses with ports"),
        ("resolver.kind = \"files\"", "expected 'dns' or 'system'"),
        (
            "resolver.kind = \"system\"\nresolver.servers = [\"10.0.0.2:53\"]",
            "is used only with 'resolver.kind' = 'dns'",
        ),
    ] {
        let problems = servers(text, &[]).expect_err("a mistake");
        assert!(problems.len() == 1 && problems[0].contains(told), "{text}: {problems:?}");
    }
}

#[test]
fn its_own_hosts_are_those_it_is_called_by() {
    let file = "public_url = 'https://API.example.com:8443/base'\nbuiltin_hosts = ['auth.example.com']";
    assert_eq!(load(file, &[], &[]).expect("good").own_hosts(), ["auth.example.com", "api.example.com"]);
    assert_eq!(load("", &[], &[]).expect("good").own_hosts(), Vec::<String>::new());
}

#[test]
fn no_two_settings_share_a_name() {
    let mut names: Vec<String> = SETTINGS.iter().flat_map(|setting| [setting.env(), setting.flag()]).collect();
    names.extend(OTHER_ENV.map(str::to_owned));
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn fuzz_config() {
    let seeds = [
        "workers = 3\n[limits]\nheader_count = 3\nbody_bytes = \"1MiB\"",
        "listen = \"127.0.0.1:0\"\npublic_url = \"https://a\"\n[tokens]\naccess_ttl = \"5m\"",
        "trusted_proxies = [\"10.0.0.0/8\"]\nproxy_protocol = \"require\"\nworkers = \"x\"",
        "[tls]\ncertificates = [{certificate = \"a\", key = \"b\"}]\n[acme]\nhosts = [\"a.b\"]",
    ];
    crate::fuzzing::run("config", &seeds, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return None };
        let mut problems = Vec::new();
        let mut config = Config::with_data_dir("data".into());
        config.apply_file(Path::new("portcullis.toml"), text, &mut problems);
        config.check_addresses(&mut problems);
        config.check_tls(&mut problems);
        config.check_acme(&mut problems);
        // Everything that is wrong has its place, and a key that is not known is never passed over.
        for problem in &problems {
            assert!(!problem.path.is_empty() && !problem.message.is_empty(), "{problem:?}");
        }
        if let Ok(table) = text.parse::<toml::Table>() {
            for key in
                table.keys().filter(|key| !SETTINGS.iter().any(|setting| setting.key.split('.').next() == Some(key)))
            {
                let named = problems.iter().any(|problem| problem.path.ends_with(&format!(": {key}")));
                assert!(named, "{key}: {problems:?}");
            }
        }
        Some((
            problems.len().min(10),
            problems.first().map(|problem| problem.message.chars().take(16).collect::<String>()),
        ))
    });
}
