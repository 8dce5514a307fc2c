//! Passwords that an Auth API verifies: failures of an address block through one client.
//!
//! Whose password it is, only the Auth API reads; so nothing is counted by user, and everybody behind one address shares a
//! counter. It is as patient as that of a block with any users. A success takes one failure back: where people mistype less
//! often than not, nobody waits for the others, and whoever wipes guesses away with a password of their own has to log in for
//! each of them.

use std::time::Duration;

use portcullis_core::model::Label;
use portcullis_core::network;
use portcullis_core::refusal::Refusal;

use super::table::Key;
use super::{Lockout, LoginOrigin};

impl Lockout {
    /// Takes a guess on that the Auth API of a client will judge, or says how long to wait. Behind a proxy where nobody can be
    /// told apart nothing is counted.
    pub(crate) fn admit_elsewhere(&self, client: &Label, from: LoginOrigin) -> Result<Elsewhere<'_>, Refusal> {
        let now = self.now();
        let mut tables = self.tables();
        if from.shared {
            self.complain(&mut tables, from.address);
            return Ok(Elsewhere { lockout: self, key: None });
        }
        let key = self.key((3_u8, client.as_str(), network::of(from.address)));
        let counter = tables.elsewhere.entry(key, |counter| counter.is_clean(now));
        let wait = counter.wait(self.block, now);
        if wait > 0 {
            tables.report.refused += 1;
            let private = "this address at this client's Auth API";
            return Err(Refusal::LoginLocked { private, retry_after: Duration::from_nanos(wait) });
        }
        counter.reserve();
        Ok(Elsewhere { lockout: self, key: Some(key) })
    }
}

/// A guess that an Auth API judges. One that is dropped was not judged and does not count.
#[must_use]
#[derive(Debug)]
pub struct Elsewhere<'a> {
    lockout: &'a Lockout,
    /// None where nothing is counted, or no more.
    key: Option<Key>,
}

impl Elsewhere<'_> {
    /// The Auth API has said no.
    pub fn failed(mut self) {
        let (lockout, now) = (self.lockout, self.lockout.now());
        let mut tables = lockout.tables();
        tables.report.failed += 1;
        if let Some(key) = self.key.take() {
            tables.elsewhere.entry(key, |counter| counter.is_clean(now)).fail(lockout.block, now);
        }
    }

    /// The Auth API has said yes.
    pub fn succeeded(mut self) {
        let (lockout, now) = (self.lockout, self.lockout.now());
        if let Some(key) = self.key.take() {
            lockout.tables().elsewhere.entry(key, |counter| counter.is_clean(now)).make_up(lockout.block);
        }
    }
}

impl Drop for Elsewhere<'_> {
    fn drop(&mut self) {
        let now = self.lockout.now();
        if let Some(key) = self.key.take() {
            self.lockout.tables().elsewhere.entry(key, |counter| counter.is_clean(now)).release();
        }
    }
}
