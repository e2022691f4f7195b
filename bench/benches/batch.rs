//! What a core pays per batch before it may be appended, and what building one costs.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringmain_engine::format::batch::CheckedBatch;
use ringmain_engine::format::record::BatchBuilder;

const RECORD_BYTES: usize = 1024;

fn build(records_count: usize) -> CheckedBatch {
    let value = [0x5a; RECORD_BYTES];
    let mut builder = BatchBuilder::new(1_000_000);
    for _ in 0..records_count {
        builder.push(1_000_000, None, Some(black_box(&value)), &[]);
    }
    builder.finish()
}

fn batch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch");
    for records_count in [1usize, 16] {
        let sent: Bytes = build(records_count).bytes().clone();
        group.throughput(Throughput::Bytes(sent.len() as u64));
        group.bench_with_input(BenchmarkId::new("from_producer", sent.len()), &sent, |bencher, sent| {
            bencher.iter(|| CheckedBatch::from_producer(black_box(sent.clone())));
        });
        group.bench_function(BenchmarkId::new("builder", sent.len()), |bencher| {
            bencher.iter(|| build(black_box(records_count)));
        });
    }
    group.finish();
}

criterion_group!(benches, batch);
criterion_main!(benches);
