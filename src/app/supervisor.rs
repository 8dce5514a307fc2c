//! Whoever has started this process and wants to know how it goes: systemd with `Type=notify`, or anything else that
//! sets `NOTIFY_SOCKET` (`sd_notify(3)`).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where news go; nowhere, if nobody asked for them.
#[derive(Debug, Default)]
pub(crate) struct Supervisor(Option<SocketAddr>);

impl Supervisor {
    /// The one the environment names.
    pub(crate) fn from_env() -> Self {
        let name = std::env::var("NOTIFY_SOCKET").unwrap_or_default();
        let address = match name.strip_prefix('@') {
            Some(hidden) => SocketAddr::from_abstract_name(hidden).ok(),
            None if name.starts_with('/') => SocketAddr::from_pathname(&name).ok(),
            None => None,
        };
        Self(address)
    }

    /// Calls are answered.
    pub(crate) fn ready(&self) {
        self.tell("READY=1");
    }

    /// Calls in flight are finished, and then the process ends.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, news: &str) {
        let Some(address) = &self.0 else { return };
        let sent = UnixDatagram::unbound().and_then(|socket| {
            // A supervisor that does not read is no reason to stand still.
            socket.set_nonblocking(true)?;
            socket.send_to_addr(news.as_bytes(), address)
        });
        if let Err(error) = sent {
            tracing::warn!(%error, news, "the supervisor could not be told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_arrive_where_they_were_asked_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        let supervisor = Supervisor(Some(SocketAddr::from_pathname(&path).expect("a path")));
        let mut buffer = [0; 64];
        supervisor.ready();
        let length = socket.recv(&mut buffer).expect("told");
        assert_eq!(&buffer[..length], b"READY=1");
        supervisor.stopping();
        let length = socket.recv(&mut buffer).expect("told");
        assert_eq!(&buffer[..length], b"STOPPING=1");
        drop((socket, directory));
        supervisor.ready();
        Supervisor::default().ready();
    }
}
