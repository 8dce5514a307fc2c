//! Counts the instructions of each part under callgrind. `./check instructions` compares them with those written down.

// What the macros make has no documentation.
#![allow(missing_docs)]

use gungraun::prelude::*;
use portcullis_bench::{Part, once, warm};

#[library_benchmark(setup = warm)]
#[bench::host("host")]
#[bench::path("path")]
#[bench::request_id("request_id")]
#[bench::hex("hex")]
#[bench::trace_parent("trace_parent")]
#[bench::address("address")]
#[bench::route_of_10("route_of_10")]
#[bench::route_of_10000("route_of_10000")]
#[bench::route_of_a_client_of_10("route_of_a_client_of_10")]
#[bench::route_of_a_client_of_10000("route_of_a_client_of_10000")]
#[bench::token_met_before("token_met_before")]
#[bench::signature_verify("signature_verify")]
#[bench::signature_of_answer("signature_of_answer")]
#[bench::seal("seal")]
#[bench::open_sealed("open_sealed")]
#[bench::log_line("log_line")]
#[bench::log_line_escaped("log_line_escaped")]
fn part(part: Part) -> Part {
    once(part)
}

library_benchmark_group!(name = parts, benchmarks = part);
main!(library_benchmark_groups = parts);
