//! Latencies of one run, and the median of several runs.
//!
//! In: durations. Out: percentiles in microseconds. Never: averages, which hide the tail.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies to three significant digits, up to [`Latencies::HIGHEST`].
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// Anything slower counts as this.
    pub const HIGHEST: Duration = Duration::from_secs(60);

    /// None yet.
    pub fn new() -> Latencies {
        match Histogram::new_with_bounds(1, Latencies::HIGHEST.as_nanos() as u64, 3) {
            Ok(histogram) => Latencies(histogram),
            Err(error) => unreachable!("the bounds are constants: {error}"),
        }
    }

    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        let nanos = latency.min(Latencies::HIGHEST).as_nanos() as u64;
        self.0.saturating_record(nanos);
    }

    /// Counts all that another one counted.
    pub fn add(&mut self, other: &Latencies) {
        // Both have the same bounds, so everything fits.
        let added = self.0.add(&other.0);
        assert!(added.is_ok(), "histograms of one kind can be added");
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that `percent` of all do not exceed, in microseconds.
    pub fn percentile_us(&self, percent: f64) -> f64 {
        self.0.value_at_quantile(percent / 100.0) as f64 / 1000.0
    }

    /// The slowest, in microseconds.
    pub fn max_us(&self) -> f64 {
        self.0.max() as f64 / 1000.0
    }
}

/// The middle value, or the mean of the two middle values; 0 of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len().is_multiple_of(2)) {
        (None, _) => 0.0,
        (Some(high), true) => (values[middle - 1] + high) / 2.0,
        (Some(value), false) => *value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_recorded() {
        let mut latencies = Latencies::new();
        (1..=100).for_each(|us| latencies.record(Duration::from_micros(us)));
        latencies.record(Duration::from_secs(1000));
        assert_eq!(latencies.count(), 101);
        assert!((latencies.percentile_us(50.0) - 51.0).abs() < 0.1);
        assert!((latencies.max_us() / 60e6 - 1.0).abs() < 0.01);
    }

    #[test]
    fn what_is_added_counts() {
        let (mut all, mut other) = (Latencies::new(), Latencies::new());
        all.record(Duration::from_micros(1));
        other.record(Duration::from_secs(1000));
        all.add(&other);
        assert_eq!((all.count(), all.max_us()), (2, other.max_us()));
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(median(vec![3.0, 1.0, 100.0]), 3.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 100.0]), 3.0);
    }
}
