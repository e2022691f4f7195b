//! What came back during a run: latencies as a user sees them, latencies as the server saw them, and both over time.
//!
//! In: each answered request. Out: histograms, one figure per interval, an HdrHistogram log. Never: counts what
//! came back before the warm-up was over.

use std::io;
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;

use crate::failure::Failure;
use crate::histogram::Latencies;

/// No run has more intervals than this; longer runs have longer intervals.
const INTERVALS_MAX: u64 = 600;

/// One answered request, or one delivery.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// When it should have been sent: its planned time, or the time it was sent where there is no plan.
    pub due: Instant,
    pub sent: Instant,
    pub records: u64,
    pub bytes: u64,
}

/// A stretch of the run.
pub struct Interval {
    pub records: u64,
    pub latencies: Histogram<u64>,
}

/// The answers of a run.
pub struct Tally {
    begin: Instant,
    began_at: SystemTime,
    interval: Duration,
    /// From the planned time to the answer.
    pub response: Latencies,
    /// From sending to the answer.
    pub service: Latencies,
    pub records: u64,
    pub bytes: u64,
    /// Planned requests that were never sent, because the server was too slow; they count in `response` with the
    /// time they had waited when the run ended.
    pub unsent: u64,
    pub intervals: Vec<Interval>,
    /// The last answer.
    last: Instant,
}

impl Tally {
    /// Counts from `begin` on for a run of `time`.
    pub fn new(begin: Instant, time: Duration) -> Tally {
        let seconds = time.as_secs().div_ceil(INTERVALS_MAX).max(1);
        let wait = begin.saturating_duration_since(Instant::now());
        Tally {
            begin,
            began_at: SystemTime::now() + wait,
            interval: Duration::from_secs(seconds),
            response: Latencies::new(),
            service: Latencies::new(),
            records: 0,
            bytes: 0,
            unsent: 0,
            intervals: Vec::new(),
            last: begin,
        }
    }

    /// Another one, empty, for the same stretch of time.
    pub fn alike(&self) -> Tally {
        Tally { begin: self.begin, began_at: self.began_at, ..Tally::new(self.begin, self.interval) }
    }

    /// Counts one answer that came at `now`.
    pub fn answered(&mut self, answer: Answer, now: Instant) {
        if answer.due < self.begin {
            return;
        }
        let latency = now.saturating_duration_since(answer.due);
        self.response.record(latency);
        self.service.record(now.saturating_duration_since(answer.sent));
        self.records += answer.records;
        self.bytes += answer.bytes;
        self.last = self.last.max(now);
        let interval = self.interval_at(now);
        interval.records += answer.records;
        interval.latencies.saturating_record(latency.as_nanos() as u64);
    }

    /// Counts a planned request that was given up at `now`, before it was sent.
    pub fn gave_up(&mut self, due: Instant, now: Instant) {
        if due >= self.begin {
            self.response.record(now.saturating_duration_since(due));
            self.unsent += 1;
        }
    }

    fn interval_at(&mut self, now: Instant) -> &mut Interval {
        let place = (now - self.begin).as_nanos() / self.interval.as_nanos();
        let place = (place as usize).min(2 * INTERVALS_MAX as usize);
        while self.intervals.len() <= place {
            self.intervals.push(Interval { records: 0, latencies: coarse() });
        }
        &mut self.intervals[place]
    }

    /// Refuses a run in which nothing came back: its figures would say nothing.
    pub fn check(&self, target: &str) -> Result<(), Failure> {
        if self.records > 0 {
            return Ok(());
        }
        Err(Failure::Broker(format!("{target} answered nothing in this run; is the topic or queue empty?")))
    }

    /// From the end of the warm-up to the last answer.
    pub fn seconds(&self) -> f64 {
        (self.last - self.begin).as_secs_f64().max(1e-9)
    }

    /// How long one of the intervals is.
    pub fn interval_seconds(&self) -> f64 {
        self.interval.as_secs_f64()
    }

    /// The latencies as an HdrHistogram interval log (V2, compressed), in nanoseconds.
    pub fn log(&self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        let mut writer = IntervalLogWriterBuilder::new()
            .add_comment("ringmain-bench; nanoseconds from the planned time to the answer")
            .with_start_time(self.began_at)
            .with_base_time(self.began_at)
            .begin_log_with(&mut out, &mut serializer)?;
        for (place, interval) in self.intervals.iter().enumerate() {
            let start = self.interval * place as u32;
            writer
                .write_histogram(&interval.latencies, start, self.interval, None)
                .map_err(|error| io::Error::other(format!("{error:?}")))?;
        }
        Ok(out)
    }
}

/// Two significant digits: 30 KiB for each interval rather than 250.
fn coarse() -> Histogram<u64> {
    match Histogram::new_with_bounds(1, Latencies::HIGHEST.as_nanos() as u64, 2) {
        Ok(histogram) => histogram,
        Err(error) => unreachable!("the bounds are constants: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(due: Instant) -> Answer {
        Answer { due, sent: due, records: 2, bytes: 100 }
    }

    #[test]
    fn the_warm_up_does_not_count() {
        let begin = Instant::now();
        let mut tally = Tally::new(begin + Duration::from_secs(1), Duration::from_secs(5));
        tally.answered(answer(begin), begin + Duration::from_millis(1500));
        assert_eq!(tally.response.count(), 0);
        let due = begin + Duration::from_millis(1500);
        tally.answered(answer(due), begin + Duration::from_millis(3500));
        assert_eq!((tally.response.count(), tally.records, tally.intervals.len()), (1, 2, 3));
        assert!((tally.response.percentile_us(50.0) / 2e6 - 1.0).abs() < 0.01);
        assert!((tally.seconds() - 2.5).abs() < 0.01);
    }

    #[test]
    fn the_log_has_a_line_for_each_interval() {
        let begin = Instant::now();
        let mut tally = Tally::new(begin, Duration::from_secs(5));
        tally.answered(answer(begin), begin + Duration::from_millis(1500));
        let log = String::from_utf8(tally.log().unwrap()).unwrap();
        let lines = log.lines().filter(|line| !line.starts_with('#') && !line.starts_with('"'));
        assert_eq!(lines.count(), 2, "{log}");
    }
}
