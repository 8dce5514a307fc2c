//! The nouns of the gateway and the ports to everything outside it.
//!
//! Nothing here opens a socket, a file or a database: what the nouns need from the world stands in
//! [`ports`] as traits, and [`memory`] gives each of them an in-memory form.

pub mod address;
pub mod admitted_by;
pub mod ascii_json;
pub mod audit;
pub mod body;
pub mod budget;
pub mod call;
pub mod caller;
pub mod canonical;
pub mod capture;
pub mod dialect;
pub mod digits;
pub mod directory;
pub mod dry_run;
pub mod duration;
pub mod effects;
pub mod escapes;
pub mod fields;
pub mod fresh;
#[cfg(test)]
#[path = "../../../fuzz/engine.rs"]
mod fuzzing;
pub mod grpc;
pub mod handler;
pub mod jobs;
pub mod live_key;
pub mod live_secret;
pub mod memory;
pub mod message;
pub mod metrics;
pub mod model;
pub mod network;
pub mod object;
pub mod open_record;
pub mod policy;
pub mod ports;
pub mod prepared;
pub mod record;
pub mod refusal;
pub mod request_id;
pub mod route_facts;
pub mod secret;
pub mod session_id;
pub mod settings;
pub mod signature_report;
pub mod spellings;
pub mod table;
pub mod vital;
