//! A real gateway, a plain client and backends for the tests: nothing in it comes from the gateway's own code.

mod agreement;
pub(crate) mod backend;
pub(crate) mod client;
pub(crate) mod gateway;
pub(crate) mod issuer;
pub(crate) mod scene;

pub(crate) use backend::Backend;
pub(crate) use client::{Answer, call};
pub(crate) use gateway::Gateway;
pub(crate) use scene::Scene;
