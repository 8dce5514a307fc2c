//! Proxies in front: whose word counts, and what a caller who speaks like one gains by it.

use std::io::Write;
use std::net::TcpStream;

use super::support::client::{answers, connect, exchange, read_answer, read_to_close};
use super::support::{Answer, Backend, Gateway, Scene};

/// Settings under which the tests' own address is a trusted proxy, and 10.0.0.0/8 as well.
const TRUSTING: &str = "trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]";
/// Settings under which it is not.
const WARY: &str = "trusted_proxies = [\"192.0.2.1\"]";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn scene(settings: &[&str]) -> Scene {
    Scene::open(Backend::echo(), &settings.join("\n"))
}

/// What backend and log are told of the newest call: address, scheme, host.
fn told(scene: &Scene, path: &str) -> (String, String, String) {
    let seen = scene.backend.received().pop().expect("a request");
    assert_eq!(seen.target, path);
    assert_eq!((seen.header("forwarded"), seen.header("x-real-ip")), (None, None));
    let field = |name| seen.header(name).expect(name).to_owned();
    let client = field("x-forwarded-for");
    let whole = format!("/orders/v1{path}");
    scene.gateway.record(&format!("path={whole}"), |record| record["client_ip"] == client.as_str());
    (client, field("x-forwarded-proto"), field("x-forwarded-host"))
}

#[track_caller]
fn check(scene: &Scene, headers: &[(&str, &str)], want: (&str, &str, &str)) {
    let path = format!("/{}", scene.backend.received().len());
    let headers = [&[("Host", "shop.example")][..], headers].concat();
    assert_eq!(scene.gateway.call("GET", &format!("/orders/v1{path}"), &headers, b"").status, 200);
    let (client, scheme, host) = told(scene, &path);
    assert_eq!((client.as_str(), scheme.as_str(), host.as_str()), want, "{headers:?}");
}

/// The statuses of all answers in what was read to the close.
fn statuses(bytes: &[u8]) -> Vec<u16> {
    answers(bytes).iter().map(|answer| answer.status).collect()
}

#[test]
fn a_caller_who_speaks_like_a_proxy_gains_nothing() {
    for settings in ["", WARY] {
        let scene = scene(&[settings, "public_url = \"https://api.example.com\""]);
        let honest = ("127.0.0.1", "http", "shop.example");
        for headers in [
            &[("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https")][..],
            &[("X-Forwarded-Host", "api.example.com"), ("X-Real-IP", "203.0.113.9")],
            &[("Forwarded", "for=203.0.113.9;proto=https;host=api.example.com")],
            &[("X_Forwarded_For", "203.0.113.9"), ("x_forwarded_proto", "https")],
            &[("X-Forwarded-For", "203.0.113.9"), ("Connection", "X-Forwarded-For")],
        ] {
            check(&scene, headers, honest);
        }
    }
}

#[test]
fn a_trusted_proxy_is_believed_through_chains() {
    let scene = scene(&[TRUSTING]);
    let check = |headers: &[(&str, &str)], client, scheme| check(&scene, headers, (client, scheme, "shop.example"));
    check(&[("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https")], "203.0.113.9", "https");
    check(&[("X-Forwarded-For", "6.6.6.6, 203.0.113.9, 10.0.0.7")], "203.0.113.9", "http");
    check(
        &[("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "2001:db8::1"), ("X-Forwarded-For", "10.0.0.7:99")],
        "2001:db8::1",
        "http",
    );
    check(&[("X-Forwarded-For", "6.6.6.6, nobody, 10.0.0.7")], "10.0.0.7", "http");
    check(
        &[("Forwarded", "for=6.6.6.6, for=\"[2001:db8::1]:4711\";proto=https, for=10.0.0.7")],
        "2001:db8::1",
        "https",
    );
    check(&[("Forwarded", "for=\"6.6.6.6, for=203.0.113.9")], "203.0.113.9", "http");
    check(&[("Forwarded", "for=6.6.6.6;proto=https"), ("X-Forwarded-For", "203.0.113.9")], "203.0.113.9", "http");
    check(&[("X-Real-IP", "6.6.6.6"), ("X_Forwarded_For", "6.6.6.6")], "127.0.0.1", "http");
}

#[test]
fn a_proxy_names_only_hosts_that_are_declared() {
    let hosts = ["public_url = \"https://api.example.com\"", "builtin_hosts = [\"auth.example.com\"]"];
    let scene = Scene::before(Backend::echo(), &[TRUSTING, hosts[0]].join("\n"));
    scene.declare(&serde_json::json!({"targets": [{"url": scene.backend.url()}], "require": []}));
    check(&scene, &[("X-Forwarded-Host", "API.example.com:443")], ("127.0.0.1", "http", "api.example.com:443"));
    check(&scene, &[("X-Forwarded-Host", "evil.example, api.example.com")], ("127.0.0.1", "http", "api.example.com"));
    for refused in ["evil.example", "api.example.com.evil.example", "api.example.com, evil.example", "a b", ""] {
        check(&scene, &[("X-Forwarded-Host", refused)], ("127.0.0.1", "http", "shop.example"));
    }
    check(&scene, &[("Forwarded", "for=203.0.113.9;host=api.example.com")], ("203.0.113.9", "http", "api.example.com"));

    let gateway = Gateway::with(&[TRUSTING, hosts[1]].join("\n"));
    let health =
        |host: &str| gateway.call("GET", "/-/health", &[("Host", "10.0.0.5"), ("X-Forwarded-Host", host)], b"");
    assert_eq!(health("auth.example.com").status, 200);
    assert_eq!(health("other.example.com").code(), "no_route");
}

#[test]
fn a_proxys_connections_are_not_counted_as_one_callers() {
    const FEW: &str = "[limits]\nconnections_per_peer = 3";
    let gateway = Gateway::with(FEW);
    // All are answered, and so let in, and stay open.
    let mut open: Vec<_> = (0..3).map(|_| connect(gateway.data)).collect();
    assert!(open.iter_mut().all(|stream| ask_for_health(stream) == Some(200)));
    assert_eq!(ask_for_health(&mut connect(gateway.data)), None, "the fourth is closed");
    let gateway = Gateway::with(&format!("{TRUSTING}\n{FEW}"));
    let mut open: Vec<_> = (0..8).map(|_| connect(gateway.data)).collect();
    assert!(open.iter_mut().all(|stream| ask_for_health(stream) == Some(200)));
}

/// Asks for health on a connection that goes on; none if it is closed instead.
fn ask_for_health(stream: &mut TcpStream) -> Option<u16> {
    stream.write_all(b"GET /-/health HTTP/1.1\r\nHost: a\r\n\r\n").ok()?;
    // The end of a connection that was closed with our request unread is a reset.
    if stream.peek(&mut [0]).unwrap_or(0) == 0 {
        return None;
    }
    Some(read_answer(stream, false).status)
}

/// Sends a header of the PROXY protocol and a request behind it.
fn proxied(scene: &Scene, header: &[u8], fields: &str) -> (Answer, String) {
    let path = format!("/{}", scene.backend.received().len());
    let mut stream = connect(scene.gateway.data);
    let head = format!("GET /orders/v1{path} HTTP/1.1\r\nHost: shop.example\r\n{fields}\r\n");
    stream.write_all(&[header, head.as_bytes()].concat()).expect("sent");
    (read_answer(&mut stream, false), path)
}

fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
    [V2, &[0x20 | command, family], &length, rest].concat()
}

fn tcp4(source: [u8; 4]) -> Vec<u8> {
    version_2(1, 0x11, &[&source[..], &[10, 0, 0, 1, 0x12, 0x67, 1, 0xbb], &[4, 0, 2, 0, 0]].concat())
}

#[test]
fn the_proxy_protocol_says_whose_a_connection_is() {
    let scene = scene(&[TRUSTING, "proxy_protocol = \"optional\""]);
    let forged = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n";
    let long = [&tcp4([203, 0, 113, 9])[..12], &[0x21, 0x11, 0x0f, 0xa0], &[7; 4000]].concat();
    for (header, fields, client, scheme) in [
        (&b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n"[..], "", "203.0.113.9", "http"),
        (b"PROXY TCP6 2001:db8::9 ::1 4711 443\r\n", "", "2001:db8::9", "http"),
        (&tcp4([203, 0, 113, 9]), "", "203.0.113.9", "http"),
        (&long, "", "7.7.7.7", "http"),
        // Whoever has connected to the proxy is no proxy ...
        (&tcp4([203, 0, 113, 9]), forged, "203.0.113.9", "http"),
        (b"PROXY UNKNOWN\r\n", forged, "127.0.0.1", "http"),
        (&version_2(1, 0, b""), forged, "127.0.0.1", "http"),
        // ... unless it is one of ours.
        (&tcp4([10, 0, 0, 7]), forged, "6.6.6.6", "https"),
        (&version_2(0, 0, b""), forged, "6.6.6.6", "https"),
        (b"", forged, "6.6.6.6", "https"),
        (b"", "", "127.0.0.1", "http"),
    ] {
        let (answer, path) = proxied(&scene, header, fields);
        assert_eq!(answer.status, 200, "{header:?}");
        let (found, found_scheme, _) = told(&scene, &path);
        assert_eq!((found.as_str(), found_scheme.as_str()), (client, scheme), "{header:?} {fields}");
    }
}

#[test]
fn a_header_may_come_in_pieces_and_holds_for_its_connection() {
    let scene = scene(&[TRUSTING, "proxy_protocol = \"optional\""]);
    for header in [tcp4([203, 0, 113, 9]), b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n".to_vec()] {
        let mut stream = connect(scene.gateway.data);
        for byte in &header {
            stream.write_all(&[*byte]).expect("sent");
        }
        for piece in ["GET /orders/v1/a HT", "TP/1.1\r\nHost: a\r\n\r\n"] {
            stream.write_all(piece.as_bytes()).expect("sent");
        }
        assert_eq!(read_answer(&mut stream, false).status, 200);
        assert_eq!(told(&scene, "/a").0, "203.0.113.9");
        stream
            .write_all(b"GET /orders/v1/b HTTP/1.1\r\nHost: a\r\n\r\nGET /orders/v1/c HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("sent");
        assert_eq!(read_answer(&mut stream, false).status, 200);
        assert_eq!(read_answer(&mut stream, false).status, 200);
        assert_eq!(told(&scene, "/c").0, "203.0.113.9");
        // A second one is no header any more.
        stream.write_all(&header).expect("sent");
        assert_eq!(statuses(&read_to_close(&mut stream)), [400]);
    }
}

#[test]
fn what_is_framed_twice_is_seen_behind_a_header() {
    // The bytes behind the header are given back to be read as HTTP: nothing that looks at them may miss them.
    let scene = scene(&[TRUSTING, "proxy_protocol = \"optional\""]);
    let request = b"POST /orders/v1/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\nGET /orders/v1/y HTTP/1.1\r\nHost: a\r\n\r\n";
    let bytes = exchange(scene.gateway.data, &[&tcp4([203, 0, 113, 9])[..], request].concat());
    assert_eq!(statuses(&bytes), [200]);
    assert!(scene.backend.received().iter().all(|request| request.target == "/x"));
}

#[test]
fn a_header_is_garbage_where_it_is_not_expected() {
    let header = b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n";
    for (settings, proxy_protocol) in [(TRUSTING, "off"), (WARY, "off"), (WARY, "optional"), (WARY, "required")] {
        let gateway = speaking(settings, proxy_protocol);
        for header in [&header[..], &tcp4([203, 0, 113, 9])] {
            let bytes = exchange(gateway.data, &[header, b"GET /-/health HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
            assert_eq!(statuses(&bytes), [400], "{settings} {proxy_protocol}");
        }
        let plain = exchange(gateway.data, b"GET /-/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let want = if proxy_protocol == "required" { 400 } else { 200 };
        assert_eq!(statuses(&plain), [want], "{settings} {proxy_protocol}");
    }
}

/// A gateway with the PROXY protocol in this mode.
fn speaking(settings: &str, proxy_protocol: &str) -> Gateway {
    Gateway::with(&format!("{settings}\nproxy_protocol = \"{proxy_protocol}\""))
}

#[test]
fn a_malformed_header_ends_the_connection() {
    for proxy_protocol in ["optional", "required"] {
        let gateway = speaking(TRUSTING, proxy_protocol);
        let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 300]].concat();
        for bad in [
            &b"PROXY TCP4 203.0.113.9\r\n"[..],
            b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443 \r\n",
            &endless,
            &version_2(2, 0x11, &[0; 12]),
            &version_2(1, 0x11, &[0; 11]),
            &version_2(1, 0x11, &[0; 5000]),
        ] {
            let bytes = exchange(gateway.data, &[bad, b"GET /-/health HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
            assert_eq!(statuses(&bytes), [400], "{bad:?}");
        }
        let status = gateway.admin_ok("GET", "/status", None, 200);
        assert!(status.to_string().contains("\"malformed\":6"), "they are counted: {status}");
    }
    let gateway = speaking(TRUSTING, "required");
    let plain = exchange(gateway.data, b"GET /-/health HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(statuses(&plain), [400], "without a header nobody is let in");
}

#[test]
fn a_header_that_never_ends_is_not_waited_for() {
    let gateway = Gateway::with(&format!(
        "{TRUSTING}\nproxy_protocol = \"required\"\n[timeouts]\nhead = \"300ms\"\nfirst_byte = \"300ms\""
    ));
    for beginning in [&b""[..], b"P", b"PROXY TCP4 1.2.3.4", V2] {
        let mut stream = connect(gateway.data);
        stream.write_all(beginning).expect("sent");
        assert!(read_to_close(&mut stream).is_empty(), "{beginning:?}");
    }
}
