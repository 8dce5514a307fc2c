//! The addresses of names, resolved apart from calls: a name that is slow, or is never resolved, costs calls of other names
//! nothing.
//!
//! For each name there is at most one lookup at a time, on the control plane's runtime. Its answer is used for as long as the
//! name server says, and longer where none newer is to be had.

mod dns;
mod found;
mod system;
mod table;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout_at;

use crate::race::in_turn;
use dns::Dns;
use found::{Failure, Found};
use table::{Answer, Look, Table, Waiting};

/// Whom names are resolved by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolveBy {
    /// Name servers, after the hosts file; those of `/etc/resolv.conf`, if none are given.
    Dns(Vec<SocketAddr>),
    /// `getaddrinfo`, and with it whatever nsswitch.conf says.
    System,
}

/// The addresses of names.
#[derive(Debug)]
pub struct Names {
    source: Source,
    table: Mutex<Table>,
    /// Told when a lookup has ended.
    ended: Notify,
    /// Where lookups run; where it was made outside of any, on that of whoever asks.
    runtime: Option<Handle>,
}

#[derive(Debug)]
enum Source {
    Dns(Dns),
    System,
}

impl Names {
    /// Names by this resolver, with so many lookups at once. For so long after its time an answer is used if none newer is to
    /// be had. Lookups run on the runtime that this is called in.
    pub fn new(by: ResolveBy, lookups: usize, stale: Duration) -> Arc<Self> {
        let source = match by {
            ResolveBy::Dns(servers) => Source::Dns(Dns::new(servers)),
            ResolveBy::System => Source::System,
        };
        Arc::new(Self {
            source,
            table: Mutex::new(Table::new(lookups, stale)),
            ended: Notify::new(),
            runtime: Handle::try_current().ok(),
        })
    }

    /// Names of which this one leads to these addresses, for as long as a test takes.
    #[cfg(test)]
    pub(crate) fn knowing(name: &str, addresses: Vec<IpAddr>) -> Arc<Self> {
        let names = Self::new(ResolveBy::System, 1, Duration::ZERO);
        let now = Instant::now();
        let _ = names.table().look(name, now);
        names.table().settle(name, now, Ok(Found { addresses, lasts: Duration::from_secs(300) }));
        names
    }

    /// The addresses of a name, the one that is to be tried first at the front.
    pub async fn resolve(self: &Arc<Self>, name: &str) -> Result<Vec<IpAddr>, Arc<str>> {
        if is_localhost(name) {
            return Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
        }
        loop {
            // Before the look: what ends between the two is not missed.
            let ended = self.ended.notified();
            let (look, turn) = self.table().look(name, Instant::now());
            let answer = match look {
                Look::Known(answer) => answer,
                Look::Wait(waiting) => outcome(waiting).await,
                Look::Ask(waiting) => {
                    let asking = Asking { names: Arc::clone(self), name: name.into(), found: None };
                    match &self.runtime {
                        Some(runtime) => drop(runtime.spawn(asking.ask())),
                        None => drop(tokio::spawn(asking.ask())),
                    }
                    outcome(waiting).await
                }
                // Whoever connects has a limit on that.
                Look::Later => {
                    ended.await;
                    continue;
                }
            };
            return answer.map(|addresses| in_turn(&addresses, turn));
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// This machine, whatever anybody says (RFC 6761 section 6.3).
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or(name);
    last.eq_ignore_ascii_case("localhost")
}

/// Waits for a lookup, or for its turn to use an older answer.
async fn outcome(Waiting { mut answer, old }: Waiting) -> Answer {
    let ended = async {
        let ended = answer.wait_for(Option::is_some).await.ok();
        ended.and_then(|ended| ended.clone()).unwrap_or_else(|| Err("the lookup was broken off".into()))
    };
    match old {
        None => ended.await,
        Some((old, from)) => timeout_at(from.into(), ended).await.unwrap_or(Ok(old)),
    }
}

/// A lookup under way. However it ends, the table is told.
struct Asking {
    names: Arc<Names>,
    name: Box<str>,
    found: Option<Result<Found, Failure>>,
}

impl Asking {
    async fn ask(mut self) {
        let found = match &self.names.source {
            Source::Dns(dns) => dns.ask(&self.name).await,
            Source::System => system::ask(&self.name).await,
        };
        self.found = Some(match found {
            Ok(found) if found.addresses.is_empty() => Err(Failure::passing("it has no address".to_owned())),
            found => found,
        });
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let found = self.found.take();
        let found = found.unwrap_or_else(|| Err(Failure::passing("the lookup was broken off".to_owned())));
        if let Err(failure) = &found {
            tracing::debug!("{} is not resolved: {}", self.name, failure.reason);
        }
        self.names.table().settle(&self.name, Instant::now(), found);
        self.names.ended.notify_waiters();
    }
}
