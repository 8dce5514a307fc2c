//! Names of targets: which of their addresses calls reach, and what becomes of them while name servers are slow, gone or
//! of another opinion.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::support::scene::until;
use crate::support::{Answer, Gateway};

/// What a name server says of a name.
#[derive(Clone)]
enum Says {
    /// These addresses, for so many seconds.
    Addresses(Vec<Ipv4Addr>, u32),
    /// This response code.
    Code(u8),
    /// Nothing.
    Silence,
}

const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

#[derive(Default)]
struct Zone {
    says: HashMap<String, Says>,
    /// How often IPv4 addresses of a name were asked for.
    asked: HashMap<String, usize>,
}

/// A name server on loopback. It lives as long as the test's process.
struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

impl NameServer {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("an address");
        let zone = Arc::<Mutex<Zone>>::default();
        let asked = Arc::clone(&zone);
        thread::spawn(move || {
            let mut query = [0; 1_500];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                if let Some(answer) = answer(&query[..length], &mut asked.lock().expect("not poisoned")) {
                    // Whoever asked may be gone.
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self { address, zone }
    }

    fn say(&self, name: &str, says: Says) {
        self.zone.lock().expect("not poisoned").says.insert(name.to_owned(), says);
    }

    fn asked(&self, name: &str) -> usize {
        self.zone.lock().expect("not poisoned").asked.get(name).copied().unwrap_or(0)
    }

    fn gateway(&self, settings: &str) -> Gateway {
        Gateway::with(&format!("resolver.servers = [\"{}\"]\n{settings}", self.address))
    }
}

/// The answer to a query with one question (RFC 1035 section 4).
fn answer(query: &[u8], zone: &mut Zone) -> Option<Vec<u8>> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let name = labels.join(".");
    let is_for_ipv4 = query.get(at..at + 2)? == [0, 1];
    let question = query.get(12..at + 4)?;
    *zone.asked.entry(name.clone()).or_default() += usize::from(is_for_ipv4);
    let (code, addresses, ttl) = match zone.says.get(&name).cloned().unwrap_or(Says::Code(NXDOMAIN)) {
        Says::Silence => return None,
        Says::Code(code) => (code, Vec::new(), 0),
        Says::Addresses(addresses, ttl) => (0, if is_for_ipv4 { addresses } else { Vec::new() }, ttl),
    };
    let count = u8::try_from(addresses.len()).expect("few");
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(question);
    for address in addresses {
        answer.extend([0xc0, 12, 0, 1, 0, 1]);
        answer.extend(ttl.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

/// Servers on one port of several addresses, each of which tells its own, one call a connection.
fn speakers(addresses: &[Ipv4Addr]) -> u16 {
    let bound = (0..100).find_map(|_| {
        let mut port = 0;
        let mut listeners = Vec::new();
        for address in addresses {
            let listener = TcpListener::bind((*address, port)).ok()?;
            port = listener.local_addr().expect("an address").port();
            listeners.push(listener);
        }
        Some((port, listeners))
    });
    let (port, listeners) = bound.expect("a port that is free everywhere");
    for listener in listeners {
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let says = stream.local_addr().expect("an address").ip().to_string();
                let mut read = [0; 4_096];
                // One read is enough for a request as short as these.
                if stream.read(&mut read).is_ok_and(|length| length > 0) {
                    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length";
                    let _ = write!(stream, "{head}: {}\r\n\r\n{says}", says.len());
                }
            }
        });
    }
    port
}

/// A listener that answers nobody, because its queue is full, with what fills it.
fn mute(address: Ipv4Addr, port: u16) -> Vec<Socket> {
    let address = SocketAddr::new(IpAddr::V4(address), port);
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let listener = socket();
    listener.set_reuse_address(true).expect("set");
    listener.bind(&address.into()).expect("a free port");
    listener.listen(0).expect("listens");
    let fillers = (0..4).map(|_| {
        let filler = socket();
        filler.set_nonblocking(true).expect("set");
        // It is under way, or waits in the queue.
        let _ = filler.connect(&address.into());
        filler
    });
    fillers.chain([listener]).collect()
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 77, last)
}

fn declare(gateway: &Gateway, name: &str, host: &str, port: u16) {
    let service = json!({"targets": [{"url": format!("http://{host}:{port}")}], "require": []});
    gateway.admin_ok("PUT", &format!("/services/{name}/v1"), Some(&service), 201);
}

fn get(gateway: &Gateway, name: &str) -> Answer {
    gateway.call("GET", &format!("/{name}/v1/"), &[], b"")
}

/// Calls, which must be answered, and tells by which address.
fn reached(gateway: &Gateway, name: &str) -> String {
    let answer = get(gateway, name);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

#[test]
fn a_silent_address_of_a_name_costs_no_call_and_good_ones_share_them() {
    let server = NameServer::start();
    let port = speakers(&[ip(2), ip(3)]);
    let _mute = mute(ip(1), port);
    let gateway = server.gateway("");
    declare(&gateway, "pair", "pair.test", port);
    for addresses in [vec![ip(1), ip(2)], vec![ip(2), ip(1)]] {
        server.say("pair.test", Says::Addresses(addresses, 1));
        for _ in 0..4 {
            assert_eq!(reached(&gateway, "pair"), ip(2).to_string());
        }
    }
    declare(&gateway, "good", "good.test", port);
    server.say("good.test", Says::Addresses(vec![ip(2), ip(3)], 300));
    let by: Vec<_> = (0..8).map(|_| reached(&gateway, "good")).collect();
    let share = |last| by.iter().filter(|found| **found == ip(last).to_string()).count();
    assert_eq!((share(2), share(3)), (4, 4), "{by:?}");
    assert_eq!(server.asked("good.test"), 1, "its answer is good for minutes");
}

#[test]
fn names_that_are_never_resolved_hold_up_no_others_and_are_asked_for_once() {
    let server = NameServer::start();
    let port = speakers(&[ip(2)]);
    let gateway = server.gateway("timeouts.connect = \"3s\"\n");
    for name in ["never", "neither"] {
        server.say(&format!("{name}.test"), Says::Silence);
        declare(&gateway, name, &format!("{name}.test"), port);
    }
    for number in 0..6 {
        let name = format!("other{number}");
        server.say(&format!("{name}.test"), Says::Addresses(vec![ip(2)], 300));
        declare(&gateway, &name, &format!("{name}.test"), port);
    }
    thread::scope(|scope| {
        let call = |name| {
            let gateway = &gateway;
            scope.spawn(move || get(gateway, name))
        };
        let waiting: Vec<_> = (0..20).flat_map(|_| [call("never"), call("neither")]).collect();
        until("somebody waits", || server.asked("never.test") > 0 && server.asked("neither.test") > 0);
        for number in 0..6 {
            assert_eq!(reached(&gateway, &format!("other{number}")), ip(2).to_string());
        }
        for waited in waiting {
            assert_eq!(waited.join().expect("answered").status, 502);
        }
    });
    // A query is sent again while nobody answers, but not for each call.
    assert!(server.asked("never.test") <= 12, "{}", server.asked("never.test"));
}

#[test]
fn an_answer_is_used_for_its_time_and_no_longer_and_the_guard_judges_each() {
    let server = NameServer::start();
    let port = speakers(&[ip(2), ip(3)]);
    let gateway = server.gateway("");
    declare(&gateway, "moves", "moves.test", port);
    server.say("moves.test", Says::Addresses(vec![ip(2)], 1));
    assert_eq!(reached(&gateway, "moves"), ip(2).to_string());
    server.say("moves.test", Says::Addresses(vec![ip(3)], 1));
    until("it has moved", || reached(&gateway, "moves") == ip(3).to_string());
    server.say("moves.test", Says::Addresses(vec![Ipv4Addr::new(169, 254, 169, 254)], 1));
    until("it has moved to where calls do not go", || get(&gateway, "moves").status != 200);
    let refused = get(&gateway, "moves");
    assert_eq!((refused.status, refused.code().as_str()), (502, "upstream_address_refused"));
    server.say("moves.test", Says::Addresses(vec![ip(2)], 1));
    until("it has come back", || get(&gateway, "moves").status == 200);
}

#[test]
fn a_failure_is_remembered_for_a_second() {
    let server = NameServer::start();
    let port = speakers(&[ip(2)]);
    let gateway = server.gateway("");
    for (name, code) in [("broken", SERVFAIL), ("unknown", NXDOMAIN)] {
        let host = format!("{name}.test");
        server.say(&host, Says::Code(code));
        declare(&gateway, name, &host, port);
        let begun = Instant::now();
        for _ in 0..20 {
            assert_eq!(get(&gateway, name).status, 502);
        }
        let seconds = usize::try_from(begun.elapsed().as_secs()).expect("few");
        let asked = server.asked(&host);
        assert!((1..=1 + seconds).contains(&asked), "{host} was asked for {asked} times in {seconds} s");
        server.say(&host, Says::Addresses(vec![ip(2)], 300));
        until("it is forgotten", || get(&gateway, name).status == 200);
    }
}

#[test]
fn the_last_answer_is_used_while_name_servers_are_gone_but_not_when_they_deny_the_name() {
    let server = NameServer::start();
    let port = speakers(&[ip(2)]);
    let gateway = server.gateway("");
    declare(&gateway, "stays", "stays.test", port);
    for trouble in [Says::Silence, Says::Code(SERVFAIL)] {
        server.say("stays.test", Says::Addresses(vec![ip(2)], 1));
        until("it is resolved", || get(&gateway, "stays").status == 200);
        let before = server.asked("stays.test");
        server.say("stays.test", trouble);
        until("it was asked for again", || {
            assert_eq!(reached(&gateway, "stays"), ip(2).to_string());
            server.asked("stays.test") > before + 1
        });
    }
    server.say("stays.test", Says::Code(NXDOMAIN));
    until("it is gone", || get(&gateway, "stays").status == 502);
}

#[test]
fn without_stale_answers_a_name_is_gone_with_its_name_server() {
    let server = NameServer::start();
    let port = speakers(&[ip(2)]);
    let gateway = server.gateway("resolver.stale = \"0s\"\n");
    declare(&gateway, "strict", "strict.test", port);
    server.say("strict.test", Says::Addresses(vec![ip(2)], 1));
    assert_eq!(reached(&gateway, "strict"), ip(2).to_string());
    server.say("strict.test", Says::Code(SERVFAIL));
    until("it is gone", || get(&gateway, "strict").status == 502);
}

#[test]
fn this_machine_and_addresses_are_never_asked_for() {
    let server = NameServer::start();
    let port = speakers(&[Ipv4Addr::LOCALHOST]);
    for kind in ["", "resolver.kind = \"system\"\n"] {
        let gateway = if kind.is_empty() { server.gateway("") } else { Gateway::with(kind) };
        for (number, host) in ["localhost", "a.b.localhost", "LOCALHOST.", "127.0.0.1"].iter().enumerate() {
            server.say(&host.to_ascii_lowercase(), Says::Addresses(vec![Ipv4Addr::new(192, 0, 2, 1)], 300));
            let name = format!("here{number}");
            declare(&gateway, &name, host, port);
            assert_eq!(reached(&gateway, &name), "127.0.0.1", "{host}");
            assert_eq!(server.asked(host), 0, "{host}");
        }
        // Nobody has names below it (RFC 6761).
        declare(&gateway, "nowhere", "nowhere.invalid", port);
        assert_eq!(get(&gateway, "nowhere").status, 502);
    }
}
