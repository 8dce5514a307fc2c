//! The integration tests, all in one binary, because every test binary links the whole gateway again.

mod acme;
mod admin_api;
mod bench;
mod captures;
mod command_line;
mod crash;
mod data_plane;
mod declarations;
mod demo;
mod deployment;
mod docs;
mod early_hints;
mod explain;
mod grpc;
mod hostile;
mod http2;
#[cfg(feature = "http3")]
mod http3;
mod lockout;
mod login;
mod nginx;
mod policies;
mod policies_everyday;
mod proxies;
mod reference;
mod registration;
mod resting;
mod security;
mod socket_activation;
mod streams;
mod support;
mod tidy;
mod tls;
mod tunnels;
mod upstream_http2;
mod upstream_tls;
