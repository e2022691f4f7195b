//! CRC-32C of the libraries that could serve, at the sizes the log checks.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn crc(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("crc32c");
    for bytes in [64usize, 1 << 10, 16 << 10, 1 << 20] {
        let input: Vec<u8> = (0..bytes).map(|at| (at * 31) as u8).collect();
        assert_eq!(crc32c::crc32c(&input), crc_fast::crc32_iscsi(&input));
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_with_input(BenchmarkId::new("crc32c", bytes), &input, |bencher, input| {
            bencher.iter(|| crc32c::crc32c(black_box(input)));
        });
        group.bench_with_input(BenchmarkId::new("crc-fast", bytes), &input, |bencher, input| {
            bencher.iter(|| crc_fast::crc32_iscsi(black_box(input)));
        });
    }
    group.finish();
}

criterion_group!(benches, crc);
criterion_main!(benches);
