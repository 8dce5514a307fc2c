//! Password hashing with Argon2id (RFC 9106): few at a time, a bounded queue before it, and fair by address.
//!
//! Hashing is the most expensive thing an unknown caller can ask for. So only half of the cores do it at a
//! time, at most [`PasswordLimits::queue`] callers wait, and one address holds only its share of the queue.
//! An unknown user costs exactly what a wrong password costs.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::password_hash::{Error as HashError, PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use portcullis_core::network;
use portcullis_core::refusal::Refusal;
use portcullis_core::secret::Secret;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::IdentityError;
use crate::random::random;

/// The longest password, in bytes.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// What one hash costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for Cost {
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2, lanes: 1 }
    }
}

/// How much hashing a node takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordLimits {
    /// What one hash costs.
    pub cost: Cost,
    /// How many are computed at a time; at least one is.
    pub at_a_time: usize,
    /// How many may wait.
    pub queue: usize,
    /// How many of those may come from one address; an IPv6 address stands for its /64.
    pub per_address: usize,
}

impl Default for PasswordLimits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { cost: Cost::default(), at_a_time: (cores / 2).max(1), queue: 128, per_address: 128 / 4 }
    }
}

/// Who waits for a hash.
#[derive(Debug, Default)]
struct Waiting {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Hashes and verifies passwords.
pub struct Passwords {
    argon2: Argon2<'static>,
    limits: PasswordLimits,
    running: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    dummy: Arc<str>,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Passwords {
    /// Checks the cost. What stands in for the hash of users that do not exist is one that no password has: it is made
    /// up, so that a start does not wait for a hash.
    pub fn new(limits: PasswordLimits) -> Result<Self, IdentityError> {
        let Cost { memory_kib, passes, lanes } = limits.cost;
        let params = Params::new(memory_kib, passes, lanes, None)
            .map_err(|error| IdentityError::PasswordCost(error.to_string()))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let [salt, output] = [&random::<16>()[..], &random::<32>()].map(|bytes| STANDARD_NO_PAD.encode(bytes));
        let dummy = format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${output}");
        Ok(Self {
            argon2,
            limits,
            running: Arc::new(Semaphore::new(limits.at_a_time.max(1))),
            waiting: Mutex::default(),
            dummy: dummy.into(),
        })
    }

    /// Hashes a password into a PHC string. Refused if it has more than [`MAX_PASSWORD_BYTES`] or the queue is full.
    pub async fn hash(&self, from: IpAddr, password: Secret) -> Result<String, Refusal> {
        check_length(&password)?;
        let argon2 = self.argon2.clone();
        let hashed = self.run(from, move || compute(&argon2, password.expose().as_bytes())).await?;
        hashed.map_err(|error| Refusal::internal(format!("a password could not be hashed: {error}")))
    }

    /// Whether the password is the one of the stored PHC string. Without a stored one the answer is `false`,
    /// at the same cost.
    pub async fn verify(&self, from: IpAddr, stored: Option<String>, password: Secret) -> Result<bool, Refusal> {
        check_length(&password)?;
        let argon2 = self.argon2.clone();
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.dummy.as_ref().to_owned());
        let verified = self.run(from, move || {
            let stored = PasswordHash::new(&stored).map_err(|_| HashError::EncodingInvalid)?;
            argon2.verify_password(password.expose().as_bytes(), &stored)
        });
        match verified.await? {
            Ok(()) => Ok(known),
            Err(HashError::PasswordInvalid) => Ok(false),
            Err(error) => Err(Refusal::internal(format!("a stored password hash cannot be verified: {error}"))),
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        from: IpAddr,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let permit = self.turn(from).await?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            // Held until here, even if the caller has gone: the cores are busy either way.
            drop(permit);
            done
        });
        done.await.map_err(|_| Refusal::internal("password hashing panicked"))
    }

    /// Waits for a turn, in the order of arrival.
    pub(crate) async fn turn(&self, from: IpAddr) -> Result<OwnedSemaphorePermit, Refusal> {
        if let Ok(permit) = Arc::clone(&self.running).try_acquire_owned() {
            return Ok(permit);
        }
        let _place = self.line_up(network::of(from))?;
        let permit = Arc::clone(&self.running).acquire_owned().await;
        permit.map_err(|_| Refusal::internal("the password queue was closed"))
    }

    fn line_up(&self, from: IpAddr) -> Result<QueuePlace<'_>, Refusal> {
        let full = Refusal::Overloaded { private: "password queue", retry_after: Duration::from_secs(1) };
        let mut waiting = self.waiting();
        let of_address = waiting.by_address.get(&from).copied().unwrap_or(0);
        if waiting.all >= self.limits.queue || of_address >= self.limits.per_address {
            return Err(full);
        }
        waiting.all += 1;
        waiting.by_address.insert(from, of_address + 1);
        Ok(QueuePlace { queue: self, from })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue; given back when its turn has come or the caller has gone.
struct QueuePlace<'a> {
    queue: &'a Passwords,
    from: IpAddr,
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queue.waiting();
        waiting.all = waiting.all.saturating_sub(1);
        if let Some(count) = waiting.by_address.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                waiting.by_address.remove(&self.from);
            }
        }
    }
}

fn check_length(password: &Secret) -> Result<(), Refusal> {
    if password.expose().len() > MAX_PASSWORD_BYTES {
        return Err(Refusal::malformed("password_too_long", "a password has at most 1024 bytes"));
    }
    Ok(())
}

fn compute(argon2: &Argon2<'_>, password: &[u8]) -> Result<String, HashError> {
    Ok(argon2.hash_password_with_salt(password, &random::<16>())?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{HERE, limits};
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    type Verifying<'a> = std::pin::Pin<Box<dyn Future<Output = Result<bool, Refusal>> + 'a>>;

    fn poll(future: &mut Verifying<'_>) -> Poll<Result<bool, Refusal>> {
        future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    fn refused(found: Poll<Result<bool, Refusal>>) -> bool {
        let expected = Refusal::Overloaded { private: "password queue", retry_after: Duration::from_secs(1) };
        matches!(found, Poll::Ready(Err(refusal)) if refusal == expected)
    }

    #[tokio::test]
    async fn a_password_is_known_again_and_another_is_not() {
        let passwords = Passwords::new(limits()).expect("fine limits");
        let stored = passwords.hash(HERE, "s3cret".into()).await.expect("hashed");
        assert!(stored.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{stored}");
        assert_ne!(passwords.hash(HERE, "s3cret".into()).await.expect("hashed"), stored, "salted");
        assert_eq!(passwords.verify(HERE, Some(stored.clone()), "s3cret".into()).await, Ok(true));
        assert_eq!(passwords.verify(HERE, Some(stored), "s3creT".into()).await, Ok(false));
    }

    #[tokio::test]
    async fn without_a_stored_hash_the_dummy_is_verified_and_never_true() {
        let mut passwords = Passwords::new(limits()).expect("fine limits");
        assert_eq!(passwords.verify(HERE, None, "anything".into()).await, Ok(false));
        // Even with the right password of the dummy the answer is no.
        passwords.dummy = passwords.hash(HERE, "dummy".into()).await.expect("hashed").into();
        assert_eq!(passwords.verify(HERE, None, "dummy".into()).await, Ok(false));
        // That it is really verified shows when it cannot be.
        passwords.dummy = "no hash".into();
        assert_eq!(passwords.verify(HERE, None, "dummy".into()).await.expect_err("verified").code(), "internal");
    }

    #[tokio::test]
    async fn the_dummy_looks_like_a_real_hash() {
        let passwords = Passwords::new(limits()).expect("fine limits");
        let real = passwords.hash(HERE, "s3cret".into()).await.expect("hashed");
        let shape = |hash: &str| hash.split('$').map(str::len).collect::<Vec<_>>();
        assert_eq!(shape(&passwords.dummy), shape(&real), "{}", passwords.dummy);
    }

    #[test]
    fn the_dummy_costs_what_a_real_hash_costs() {
        let default = Passwords::new(PasswordLimits::default()).expect("fine limits");
        assert!(default.dummy.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", default.dummy);
        let none = PasswordLimits { cost: Cost { memory_kib: 1, ..Cost::default() }, ..PasswordLimits::default() };
        assert!(matches!(Passwords::new(none), Err(IdentityError::PasswordCost(_))));
    }

    #[tokio::test]
    async fn a_stored_hash_keeps_its_own_cost() {
        let cheap = Passwords::new(limits()).expect("fine limits");
        let stored = cheap.hash(HERE, "s3cret".into()).await.expect("hashed");
        let dearer = PasswordLimits { cost: Cost { memory_kib: 16, passes: 2, lanes: 1 }, ..limits() };
        let dearer = Passwords::new(dearer).expect("fine limits");
        assert_eq!(dearer.verify(HERE, Some(stored), "s3cret".into()).await, Ok(true));
    }

    #[tokio::test]
    async fn a_password_has_a_longest_length() {
        let passwords = Passwords::new(limits()).expect("fine limits");
        let longest = "x".repeat(MAX_PASSWORD_BYTES);
        assert!(passwords.hash(HERE, longest.as_str().into()).await.is_ok());
        let longer: Secret = format!("{longest}x").into();
        assert_eq!(passwords.hash(HERE, longer.clone()).await.expect_err("too long").code(), "password_too_long");
        assert_eq!(passwords.verify(HERE, None, longer).await.expect_err("too long").code(), "password_too_long");
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_shared_by_address() {
        let passwords =
            Passwords::new(PasswordLimits { queue: 4, per_address: 2, at_a_time: 1, ..limits() }).expect("fine limits");
        let busy = Arc::clone(&passwords.running).try_acquire_owned().expect("free");
        let verify = |from: &str| -> Verifying<'_> {
            Box::pin(passwords.verify(from.parse().expect("an address"), None, "x".into()))
        };
        let mut line: Vec<_> =
            ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::2:3"].into_iter().map(verify).collect();
        assert!(poll(&mut line[0]).is_pending());
        assert!(poll(&mut line[1]).is_pending());
        assert!(refused(poll(&mut verify("192.0.2.1"))), "the address holds its share");
        assert!(poll(&mut line[2]).is_pending());
        assert!(poll(&mut line[3]).is_pending());
        assert_eq!(passwords.waiting().by_address.len(), 2, "an IPv6 address counts as its /64");
        assert!(refused(poll(&mut verify("198.51.100.1"))), "the queue is full");
        // Whoever leaves makes room.
        drop(line.remove(1));
        let mut late = verify("198.51.100.1");
        assert!(poll(&mut late).is_pending());
        line.push(late);
        drop(busy);
        for waiting in line {
            assert_eq!(waiting.await, Ok(false));
        }
        let waiting = passwords.waiting();
        assert_eq!((waiting.all, waiting.by_address.len()), (0, 0));
    }
}
