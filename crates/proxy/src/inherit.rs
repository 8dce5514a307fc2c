//! Sockets that whoever has started this process has opened and goes on holding (socket activation): `LISTEN_FDS` says
//! how many, `LISTEN_PID` for whom, `LISTEN_FDNAMES` what they are called (`sd_listen_fds(3)`). Connections wait in them
//! while no gateway runs, so that a restart refuses none.

use std::net::TcpListener;
use std::{env, io};

use listenfd::ListenFd;

/// What the data plane's socket is called.
const DATA: &str = "data";
/// What the admin API's socket is called.
const ADMIN: &str = "admin";
/// What the data plane's socket for TLS is called.
const TLS: &str = "tls";

/// The sockets that were passed in.
#[derive(Debug, Default)]
pub struct Inherited {
    /// For the data plane.
    pub data: Option<TcpListener>,
    /// For the data plane over TLS.
    pub tls: Option<TcpListener>,
    /// For the admin API.
    pub admin: Option<TcpListener>,
}

/// Why sockets that were passed in cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// More than one for each use, or too many to know which is for what.
    #[error("{0} sockets were passed in; expected one for calls, and perhaps one for the admin API and one for TLS")]
    Count(usize),
    /// Some bear our names, but not each a different one.
    #[error(
        "the sockets that were passed in are called '{0}'; expected '{DATA}', '{TLS}' and '{ADMIN}', each at most once"
    )]
    Names(String),
    /// Not a TCP socket.
    #[error("a socket that was passed in is no TCP socket: {0}")]
    Kind(#[from] io::Error),
}

/// Takes what was passed to this process, once; later calls find nothing. Changes the environment, and so belongs
/// before the first thread.
pub fn inherited() -> Result<Inherited, Unusable> {
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    let ours = number("LISTEN_PID") == usize::try_from(std::process::id()).ok();
    let Some(count) = number("LISTEN_FDS").filter(|count| ours && *count > 0) else { return Ok(Inherited::default()) };
    let uses = uses(count, &env::var("LISTEN_FDNAMES").unwrap_or_default())?;
    let mut passed = ListenFd::from_env();
    let mut take = |at: Option<usize>| at.map_or(Ok(None), |at| passed.take_tcp_listener(at));
    Ok(Inherited { data: take(uses.data)?, tls: take(uses.tls)?, admin: take(uses.admin)? })
}

/// Which of the sockets is for what.
#[derive(Debug, PartialEq, Eq)]
struct Uses {
    data: Option<usize>,
    tls: Option<usize>,
    admin: Option<usize>,
}

/// By their names, if one bears a name of ours; else the first is for calls and the second for the admin API.
fn uses(count: usize, names: &str) -> Result<Uses, Unusable> {
    if count > 3 {
        return Err(Unusable::Count(count));
    }
    let list: Vec<&str> = names.split(':').collect();
    let place = |wanted: &str| list.iter().position(|name| *name == wanted);
    let uses = Uses { data: place(DATA), tls: place(TLS), admin: place(ADMIN) };
    let named = [uses.data, uses.tls, uses.admin].iter().flatten().count();
    match named {
        0 if count > 2 => Err(Unusable::Count(count)),
        0 => Ok(Uses { data: Some(0), tls: None, admin: (count > 1).then_some(1) }),
        _ if named == count && list.len() == count => Ok(uses),
        _ => Err(Unusable::Names(names.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_known_by_name_or_by_order() {
        let check = |count, names: &str, data, admin| {
            assert_eq!(uses(count, names).expect(names), Uses { data, tls: None, admin }, "{count} {names}");
        };
        check(1, "", Some(0), None);
        check(2, "", Some(0), Some(1));
        check(1, "portcullis.socket", Some(0), None);
        check(2, "portcullis.socket:portcullis.socket", Some(0), Some(1));
        check(1, "data", Some(0), None);
        check(1, "admin", None, Some(0));
        check(2, "admin:data", Some(1), Some(0));
        check(2, "data:admin", Some(0), Some(1));
        let all = Uses { data: Some(2), tls: Some(0), admin: Some(1) };
        assert_eq!(uses(3, "tls:admin:data").expect("named"), all);
        assert_eq!(uses(1, "tls").expect("named"), Uses { data: None, tls: Some(0), admin: None });
    }

    #[test]
    fn sockets_nobody_can_place_are_refused() {
        for (count, names) in [(2, "data:data"), (2, "data:other"), (2, "data"), (1, "data:admin"), (2, "other:admin")]
        {
            assert!(matches!(uses(count, names), Err(Unusable::Names(_))), "{count} {names}");
        }
        assert!(matches!(uses(3, "data:admin:x"), Err(Unusable::Names(_))));
        assert!(matches!(uses(3, "a:b:c"), Err(Unusable::Count(3))));
        assert!(matches!(uses(usize::MAX, ""), Err(Unusable::Count(_))));
    }

    #[test]
    fn a_process_that_was_passed_nothing_inherits_nothing() {
        let inherited = inherited().expect("nothing");
        assert!(inherited.data.is_none() && inherited.tls.is_none() && inherited.admin.is_none());
    }
}
