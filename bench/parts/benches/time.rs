//! Times each part by the wall clock: `cargo bench -p portcullis-bench --bench time`.

// What the macros make has no documentation.
#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis_bench::{PARTS, warm};

fn parts(criterion: &mut Criterion) {
    for (name, _) in PARTS {
        criterion.bench_function(name, |bencher| bencher.iter(warm(name)));
    }
}

criterion_group!(benches, parts);
criterion_main!(benches);
