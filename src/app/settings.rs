//! What the configuration says, in the words of each room.

use std::net::SocketAddr;
use std::sync::Arc;

use portcullis_admin::{ChangeRate, RegistrationBounds};
use portcullis_core::budget::Budget;
use portcullis_core::message::FieldValue;
use portcullis_core::model::DefaultRoutes;
use portcullis_core::ports::Clock;
use portcullis_identity::LockoutSettings;
use portcullis_policies::{Holding, Limiters, StrangerLimits, Strangers};
use portcullis_proxy::limits::{Limits, Timeouts};
use portcullis_telemetry::{CaptureSettings, Settings as LogSettings, Target};
use portcullis_upstream::Settings as UpstreamSettings;
use portcullis_upstream::forwarding_fields::Via;
use portcullis_upstream::guard::{Allow, Guard};
use portcullis_upstream::names::{Names, ResolveBy};
use portcullis_upstream::sockets::Sockets;

use crate::config::{AllowTarget, Config, ResolverKind};

/// The directory of captured exchanges, in the data directory.
const CAPTURES: &str = "captures";
/// Memory for captured exchanges that are under way or wait to be written.
const CAPTURE_QUEUE: usize = 64 << 20;

pub(super) fn log_settings(config: &Config) -> LogSettings {
    LogSettings {
        target: match &config.log.access_log {
            Target::Path(path) => Target::Path(config.data_dir.join(path)),
            stream => stream.clone(),
        },
        queue_bytes: usize::try_from(config.log.log_queue_bytes).unwrap_or(usize::MAX),
        recent_bytes: usize::try_from(config.log.recent_log_bytes).unwrap_or(usize::MAX),
        file_bytes: config.log.access_log_max_bytes,
        kept_files: u32::try_from(config.log.access_log_keep).unwrap_or(u32::MAX),
    }
}

pub(super) fn capture_settings(config: &Config) -> CaptureSettings {
    CaptureSettings {
        directory: config.data_dir.join(CAPTURES),
        max_bytes: config.captures.max_bytes,
        max_age: config.captures.max_age,
        queue_bytes: CAPTURE_QUEUE,
    }
}

pub(super) fn limits(config: &Config, connections: usize) -> Limits {
    Limits {
        request_line: usize::try_from(config.limits.request_line_bytes).unwrap_or(usize::MAX),
        header_block: usize::try_from(config.limits.header_bytes).unwrap_or(usize::MAX),
        header_count: config.limits.header_count,
        http2_streams: u32::try_from(config.limits.http2_streams).unwrap_or(u32::MAX),
        body_rate: config.limits.body_rate,
        connections,
        connections_per_peer: config.limits.connections_per_peer,
    }
}

pub(crate) fn default_routes(config: &Config) -> DefaultRoutes {
    DefaultRoutes { by_default: config.default_route, registered_below: config.registration.prefix.as_str().into() }
}

pub(super) fn registration_bounds(config: &Config) -> RegistrationBounds {
    let bounds = &config.registration;
    RegistrationBounds {
        services_per_enrolment: bounds.services_per_enrolment,
        versions_per_service: bounds.versions_per_service,
        changes: ChangeRate { at_once: bounds.changes_at_once, per_minute: bounds.changes_per_minute },
        enrolment_changes: ChangeRate {
            at_once: bounds.enrolment_changes_at_once,
            per_minute: bounds.enrolment_changes_per_minute,
        },
    }
}

pub(super) fn lockout_settings(config: &Config) -> LockoutSettings {
    let lockout = &config.lockout;
    LockoutSettings {
        failures: lockout.failures,
        first_wait: lockout.first_wait,
        longest_wait: lockout.longest_wait,
        user_failures: lockout.user_failures,
        user_wait: lockout.user_wait,
        address_failures: lockout.address_failures,
        address_wait: lockout.address_wait,
        entries: lockout.entries,
    }
}

pub(super) fn timeouts(config: &Config) -> Timeouts {
    Timeouts {
        first_byte: config.timeouts.first_byte,
        head: config.timeouts.head,
        body_idle: config.timeouts.body_idle,
        keep_alive: config.timeouts.keep_alive,
        tunnel_idle: config.timeouts.tunnel_idle,
        connection_age: Some(config.timeouts.connection_age).filter(|age| !age.is_zero()),
    }
}

pub(super) fn upstream_settings(
    config: &Config,
    pseudonym: &FieldValue,
    own: Vec<SocketAddr>,
    sockets: usize,
    lookups: usize,
) -> UpstreamSettings {
    let allow = |allowed: &[AllowTarget]| {
        let allow = allowed.iter().map(|allow| match allow {
            AllowTarget::Loopback => Allow::Loopback,
            AllowTarget::Private => Allow::Private,
            AllowTarget::Public => Allow::Public,
            AllowTarget::Network(network) => Allow::Network(*network),
        });
        allow.collect::<Vec<_>>()
    };
    let guard = Guard::new(allow(&config.allow_targets), own);
    let resolve_by = match config.resolver.kind {
        ResolverKind::Dns => ResolveBy::Dns(config.resolver.servers.clone()),
        ResolverKind::System => ResolveBy::System,
    };
    UpstreamSettings {
        guard: guard.with_registered(allow(&config.registration.allow_targets)),
        per_target: config.limits.upstream_connections,
        tunnels: config.limits.upstream_tunnels,
        sockets: Sockets::new(sockets),
        gathered: Budget::new(usize::try_from(config.limits.gathered_bytes).unwrap_or(usize::MAX)),
        names: Names::new(resolve_by, lookups, config.resolver.stale),
        queue_wait: config.timeouts.upstream_queue_wait,
        connect_timeout: config.timeouts.connect,
        first_byte: config.timeouts.upstream_first_byte,
        body_idle: config.timeouts.body_idle,
        stream_idle: config.timeouts.tunnel_idle,
        keep_alive: config.timeouts.upstream_keep_alive,
        answer_head: usize::try_from(config.limits.header_bytes).unwrap_or(usize::MAX),
        timeouts: Default::default(),
        via: Via::new(pseudonym),
        files: config.data_dir.clone(),
    }
}

/// Bounds on messages that are held whole.
pub(super) fn holding(config: &Config) -> Holding {
    let limits = &config.limits;
    let bytes = usize::try_from(limits.held_bytes).unwrap_or(usize::MAX);
    Holding::new(bytes, limits.held_body_bytes, limits.held_answer_bytes)
}

/// What counts callers who do not prove whom they claim to be of.
pub(super) fn strangers(config: &Config, limiters: &Arc<Limiters>, clock: &Arc<dyn Clock>) -> Arc<Strangers> {
    let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
    let limits = StrangerLimits {
        at_once: number(config.limits.failed_signatures_at_once),
        per_minute: number(config.limits.failed_signatures_per_minute),
    };
    Arc::new(Strangers::new(Arc::clone(limiters), Arc::clone(clock), limits))
}
