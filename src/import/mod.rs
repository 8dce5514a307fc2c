//! Moving in from fomalhaut: what it has becomes declarations, secrets and a report. Nothing here reads or writes anything; the
//! command line does that.

mod convert;
mod lifetimes;
mod naming;
mod pattern;
mod report;
mod source;
#[cfg(test)]
mod tests;

pub(crate) use convert::{Conversion, convert};
pub(crate) use naming::Existing;
pub(crate) use report::{Finding, word};
pub(crate) use source::Source;
