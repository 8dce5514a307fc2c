//! The integration tests, all in one binary, because every test binary links the whole gateway again.

mod admin_api;
mod captures;
mod command_line;
mod crash;
mod data_plane;
mod declarations;
mod demo;
mod deployment;
mod docs;
mod explain;
mod hostile;
mod http2;
mod lockout;
mod login;
mod nginx;
mod policies;
mod policies_everyday;
mod proxies;
mod reference;
mod registration;
mod security;
mod socket_activation;
mod support;
mod tidy;
mod tls;
mod tunnels;
