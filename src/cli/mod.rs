//! The command line: what can be asked of the process, and the demo. The only room that writes to stdout.

mod admin;
mod args;
mod audit;
mod captures;
mod certificates;
mod client;
mod client_secret;
mod completions;
mod declarations;
mod demo;
mod enrolment;
mod exchange;
mod explain;
mod failure;
mod host;
mod import;
mod json;
mod logs;
mod output;
mod redis;
mod route;
mod run;
mod security;
mod service;
mod setting_flags;
mod status;
mod stdin;
mod table;
mod token;
mod trust;
mod user;

pub(crate) use run::main;
