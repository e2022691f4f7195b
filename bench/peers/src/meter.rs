//! What is read at the beginning and at the end of what counts, and the latencies between.
//!
//! In: two moments, durations. Out: figures as JSON. Never: an average of latencies.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::device::Device;

/// Anything slower counts as this.
const HIGHEST: Duration = Duration::from_secs(60);

/// A moment: the clock, the processor time of the process with all its threads, the device's counter.
pub struct Moment {
    at: Instant,
    processor: Duration,
    written_bytes: Option<u64>,
}

impl Moment {
    pub fn now(device: &Device) -> Moment {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        let processor = Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32);
        Moment { at: Instant::now(), processor, written_bytes: device.written_bytes() }
    }

    /// What `appends` of `user_bytes` altogether came to since `begin`.
    pub fn since(&self, begin: &Moment, appends: u64, user_bytes: u64) -> Value {
        let seconds = (self.at - begin.at).as_secs_f64();
        let processor_us = (self.processor - begin.processor).as_secs_f64() * 1e6;
        let written = self.written_bytes.zip(begin.written_bytes).map(|(end, begin)| end - begin);
        json!({
            "appends_per_second": appends as f64 / seconds.max(1e-9),
            "processor_us_per_append": processor_us / appends.max(1) as f64,
            "device_bytes_per_byte": written.map(|written| written as f64 / user_bytes.max(1) as f64),
        })
    }
}

/// Latencies to three significant digits.
pub struct Latencies(Histogram<u64>);

impl Latencies {
    pub fn new() -> Latencies {
        match Histogram::new_with_bounds(1, HIGHEST.as_nanos() as u64, 3) {
            Ok(histogram) => Latencies(histogram),
            Err(error) => unreachable!("the bounds are constants: {error}"),
        }
    }

    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(latency.as_nanos() as u64);
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Takes in what another thread has seen.
    pub fn add(&mut self, other: &Latencies) {
        if let Err(error) = self.0.add(&other.0) {
            unreachable!("the bounds are the same: {error}");
        }
    }

    /// The latency that so many percent do not exceed.
    pub fn percentile_us(&self, percent: f64) -> f64 {
        self.0.value_at_quantile(percent / 100.0) as f64 / 1000.0
    }
}
