//! The parts of a call's way that are pure functions, each with what it is measured on: what `benches/instructions.rs`
//! counts and `benches/time.rs` times.

mod log;
mod routes;
mod signed;
mod token;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use portcullis_core::call::{RequestId, hex};
use portcullis_core::canonical::{Host, Path};
use portcullis_upstream::forwarding_fields;

/// As in the gateway: what a part allocates is part of what it costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Does a part of a call's way once.
pub type Part = Box<dyn FnMut()>;

/// Makes a part ready.
pub type Ready = fn() -> Part;

/// Every part, by its name, with what makes it ready.
pub const PARTS: [(&str, Ready); 17] = [
    ("host", host),
    ("path", path),
    ("request_id", request_id),
    ("hex", digits),
    ("trace_parent", trace_parent),
    ("address", address),
    ("route_of_10", || routes::find(10)),
    ("route_of_10000", || routes::find(10_000)),
    ("route_of_a_client_of_10", || routes::find_of_client(10)),
    ("route_of_a_client_of_10000", || routes::find_of_client(10_000)),
    ("token_met_before", token::verify),
    ("signature_verify", signed::verify),
    ("signature_of_answer", signed::sign_answer),
    ("seal", signed::seal),
    ("open_sealed", signed::open),
    ("log_line", log::line),
    ("log_line_escaped", log::escaped),
];

/// A part that is ready, and has been done before: what only the first time costs is not what a call costs.
pub fn warm(name: &str) -> Part {
    let (_, make) = PARTS.iter().find(|(part, _)| *part == name).expect("a part of this name");
    let mut part = make();
    for _ in 0..8 {
        part();
    }
    part
}

/// Does a part once. Never inlined, so that it is counted as a whole.
#[inline(never)]
pub fn once(mut part: Part) -> Part {
    part();
    part
}

/// The host that is asked for, once for routing and once for the service.
fn host() -> Part {
    Box::new(|| {
        let host = Host::parse(black_box(b"api.example.com:8443")).expect("a host");
        black_box(host.header());
        black_box(host);
    })
}

fn path() -> Part {
    Box::new(|| {
        let path = Path::parse(black_box("/orders/v1/items/7")).expect("a path");
        black_box(path);
    })
}

/// The id of a call, with what is said of it to the caller and to the service.
fn request_id() -> Part {
    Box::new(|| {
        let id = RequestId::from_random(black_box([0xab; 16]));
        black_box((id.header(), id.header()));
        black_box(id);
    })
}

fn digits() -> Part {
    Box::new(|| {
        black_box(hex(black_box(&[0xab; 32])));
    })
}

fn trace_parent() -> Part {
    let id = RequestId::from_random([0xab; 16]);
    Box::new(move || {
        black_box(forwarding_fields::trace_parent(black_box(None), black_box(&id)));
    })
}

fn address() -> Part {
    Box::new(|| {
        black_box(forwarding_fields::address(black_box(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 47)))));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_works_and_is_written_down() {
        let written = include_str!("../instructions.txt").lines().filter(|line| !line.starts_with('#'));
        let written: Vec<&str> = written.filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(written, PARTS.map(|(name, _)| name), "as `./check instructions write` does");
        for (name, _) in PARTS {
            drop(once(warm(name)));
        }
    }
}
