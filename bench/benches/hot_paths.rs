//! Time of each path that every record takes.

mod paths;

use criterion::{Criterion, criterion_group, criterion_main};

fn time(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("paths");
    for mut path in paths::all() {
        assert!((path.run)() > 0, "{} does its work", path.name);
        group.bench_function(path.name, |bencher| bencher.iter(|| (path.run)()));
    }
    group.finish();
}

criterion_group!(benches, time);
criterion_main!(benches);
