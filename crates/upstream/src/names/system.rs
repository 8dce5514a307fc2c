//! Names by the system's own resolver, `getaddrinfo`, which holds a thread for as long as it takes.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use tokio::sync::oneshot;

use super::found::{Failure, Found};

/// How long an answer is used. The system does not say how long it is good.
const LASTS: Duration = Duration::from_secs(10);

/// Asks in a thread of its own. How many there are is bounded by whoever asks, who has to wait for the end.
pub(super) async fn ask(name: &str) -> Result<Found, Failure> {
    let (told, tells) = oneshot::channel();
    let asked = name.to_owned();
    let thread = std::thread::Builder::new().name("resolver".into()).spawn(move || {
        // Whoever asked may be gone, with the process.
        let _ = told.send((asked.as_str(), 0).to_socket_addrs().map(Iterator::collect::<Vec<SocketAddr>>));
    });
    thread.map_err(|error| Failure::passing(format!("no thread to resolve it in: {error}")))?;
    let found = tells.await.map_err(|_| Failure::passing("the system's resolver has no answer".to_owned()))?;
    let found = found.map_err(|error| Failure::passing(error.to_string()))?;
    Ok(Found { addresses: found.iter().map(SocketAddr::ip).collect(), lasts: LASTS })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_is_asked_and_nobody_has_names_below_invalid() {
        let found = ask("localhost").await.expect("it is this machine");
        assert!(!found.addresses.is_empty() && found.addresses.iter().all(|address| address.is_loopback()));
        assert!(!ask("nowhere.invalid").await.expect_err("there is none").is_final);
    }
}
