//! What is wrong with the settings.

use std::net::IpAddr;
use std::time::Duration;

use portcullis_core::address::{METADATA, Network};
use portcullis_proxy::proxy_protocol::ProxyProtocol;

use super::finding::{Location, Subject};
use crate::config::{AllowTarget, MetricsAccess};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// A body that takes up a disk or a memory: 1 GiB.
const LARGE_BODY: u64 = 1 << 30;
/// The largest header block anybody needs: 1 MiB.
const LARGE_HEAD: u64 = 1 << 20;
/// Networks that are nobody's in public.
const PRIVATE: [&str; 8] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "fc00::/7",
    "fe80::/10",
];

/// A place at the key of a setting, if there is something to say of it.
fn at(key: &str, is_found: bool, detail: impl Into<String>) -> Vec<Location> {
    if is_found { vec![Location::new(key, detail)] } else { Vec::new() }
}

fn longer(key: &str, time: Duration, most: Duration) -> Vec<Location> {
    at(key, time > most, format!("{} s, and more than {} s", time.as_secs(), most.as_secs()))
}

pub(super) fn clear_listener(subject: &Subject<'_>) -> Vec<Location> {
    let config = subject.config;
    let Some(listen) = config.listen.filter(|_| !config.http_redirect) else { return Vec::new() };
    let is_clear = !listen.ip().is_loopback() && config.trusted_proxies.is_empty();
    at("listen", is_clear, format!("{listen} with no trusted_proxies"))
}

pub(super) fn listener_beside_proxy(subject: &Subject<'_>) -> Vec<Location> {
    let config = subject.config;
    let Some(listen) = config.listen.filter(|_| !config.http_redirect) else { return Vec::new() };
    let can_be_passed = listen.ip().is_unspecified()
        && !config.trusted_proxies.is_empty()
        && config.proxy_protocol != ProxyProtocol::Required;
    at("listen", can_be_passed, listen.to_string())
}

fn trusted(subject: &Subject<'_>, is_meant: impl Fn(&Network) -> bool) -> Vec<Location> {
    let networks = subject.config.trusted_proxies.iter().filter(|network| is_meant(network));
    networks.map(|network| Location::new("trusted_proxies", network.to_string())).collect()
}

pub(super) fn trusts_everybody(subject: &Subject<'_>) -> Vec<Location> {
    trusted(subject, |network| network.prefix_len() == 0)
}

pub(super) fn trusts_public_network(subject: &Subject<'_>) -> Vec<Location> {
    let is_private = |network: &Network| {
        PRIVATE.iter().filter_map(|text| text.parse::<Network>().ok()).any(|private| private.covers(network))
    };
    let is_wide = |network: &Network| network.prefix_len() < if network.is_ipv4() { 16 } else { 32 };
    trusted(subject, |network| network.prefix_len() > 0 && is_wide(network) && !is_private(network))
}

pub(super) fn optional_proxy_protocol(subject: &Subject<'_>) -> Vec<Location> {
    let is_wide = |network: &Network| network.prefix_len() < if network.is_ipv4() { 24 } else { 64 };
    let config = subject.config;
    let wide = config.trusted_proxies.iter().find(|network| is_wide(network));
    match wide {
        Some(network) if config.proxy_protocol == ProxyProtocol::Optional => {
            vec![Location::new("proxy_protocol", format!("optional for all of {network}"))]
        }
        _ => Vec::new(),
    }
}

pub(super) fn metadata_targets(subject: &Subject<'_>) -> Vec<Location> {
    let networks = subject.config.allow_targets.iter().filter_map(|allow| match allow {
        AllowTarget::Network(network) => Some(network),
        _ => None,
    });
    let reached = networks
        .filter_map(|network| Some((network, METADATA.iter().map(|(ip, _)| ip).find(|ip| network.contains(**ip))?)));
    reached.map(|(network, ip)| Location::new("allow_targets", format!("{network} has {ip} in it"))).collect()
}

pub(super) fn no_public_url(subject: &Subject<'_>) -> Vec<Location> {
    let config = subject.config;
    let is_missing = config.public_url.is_none() && !config.trusted_proxies.is_empty();
    at("public_url", is_missing, "not set, though there are trusted_proxies")
}

pub(super) fn plain_public_url(subject: &Subject<'_>) -> Vec<Location> {
    let Some(url) = &subject.config.public_url else { return Vec::new() };
    let host = url.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_local = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    at("public_url", url.starts_with("http://") && !is_local, url)
}

pub(super) fn long_access_token(subject: &Subject<'_>) -> Vec<Location> {
    longer("tokens.access_ttl", subject.config.tokens.access_ttl, HOUR)
}

pub(super) fn long_refresh_token(subject: &Subject<'_>) -> Vec<Location> {
    longer("tokens.refresh_ttl", subject.config.tokens.refresh_ttl, 90 * DAY)
}

pub(super) fn long_session(subject: &Subject<'_>) -> Vec<Location> {
    let ttl = subject.config.tokens.session_ttl;
    if ttl.is_zero() {
        at("tokens.session_ttl", true, "0: for ever")
    } else {
        longer("tokens.session_ttl", ttl, 90 * DAY)
    }
}

pub(super) fn long_grace(subject: &Subject<'_>) -> Vec<Location> {
    longer("tokens.refresh_grace", subject.config.tokens.refresh_grace, MINUTE)
}

pub(super) fn slow_callers(subject: &Subject<'_>) -> Vec<Location> {
    let timeouts = &subject.config.timeouts;
    let waits = [
        ("timeouts.first_byte", timeouts.first_byte),
        ("timeouts.head", timeouts.head),
        ("timeouts.body_idle", timeouts.body_idle),
    ];
    waits.into_iter().flat_map(|(key, time)| longer(key, time, 2 * MINUTE)).collect()
}

pub(super) fn slow_targets(subject: &Subject<'_>) -> Vec<Location> {
    let timeouts = &subject.config.timeouts;
    let mut found = longer("timeouts.connect", timeouts.connect, MINUTE);
    found.extend(longer("timeouts.upstream_first_byte", timeouts.upstream_first_byte, 10 * MINUTE));
    found
}

pub(super) fn unlimited_body(subject: &Subject<'_>) -> Vec<Location> {
    match subject.config.limits.body_bytes {
        0 => at("limits.body_bytes", true, "0 is no limit"),
        bytes => at("limits.body_bytes", bytes > LARGE_BODY, format!("{bytes} bytes")),
    }
}

pub(super) fn large_heads(subject: &Subject<'_>) -> Vec<Location> {
    let limits = &subject.config.limits;
    let sizes =
        [("limits.header_bytes", limits.header_bytes), ("limits.request_line_bytes", limits.request_line_bytes)];
    sizes.into_iter().flat_map(|(key, bytes)| at(key, bytes > LARGE_HEAD, format!("{bytes} bytes"))).collect()
}

pub(super) fn one_peer_takes_all(subject: &Subject<'_>) -> Vec<Location> {
    let limits = &subject.config.limits;
    let is_all = limits.connections_per_peer >= limits.connections;
    at("limits.connections_per_peer", is_all, format!("{} of {}", limits.connections_per_peer, limits.connections))
}

pub(super) fn open_metrics(subject: &Subject<'_>) -> Vec<Location> {
    at("metrics.access", subject.config.metrics.access == MetricsAccess::Open, "open")
}

pub(super) fn no_log(subject: &Subject<'_>) -> Vec<Location> {
    let log = &subject.config.log;
    let mut found = at("log.log_queue_bytes", log.log_queue_bytes < 64 << 10, format!("{} bytes", log.log_queue_bytes));
    found.extend(at("log.access_log_keep", log.access_log_keep == 0, "0 rotated files are kept"));
    found
}
