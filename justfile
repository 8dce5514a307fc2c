# Short names for what is done every day. `just` lists them.

_default:
    @just --list

# Everything that must be green before a change is offered
check *options:
    ./check {{options}}

# Format the sources
format:
    cargo fmt --all

# The tests whose name contains the filter
test *filter:
    cargo nextest run --workspace --locked {{filter}}

# A gateway with two sample backends, to try things out
demo:
    cargo run --release -- demo

# A gateway on ./data
serve *options:
    cargo run --release -- serve {{options}}

# The API documentation of all crates
docs:
    cargo doc --workspace --no-deps --locked --open

# Portcullis beside other proxies; docs/performance.md says how to read it
bench *options:
    bench/run {{options}}
