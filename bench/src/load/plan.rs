//! When each request should be sent.
//!
//! In: a rate, or none. Out: the time of request `n`. Never: moves a time because an earlier answer was late;
//! that would hide the stall from every request that should have been sent meanwhile.

use std::time::{Duration, Instant};

/// The times of an open loop: request `n` at `begin + n * pace`.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    begin: Instant,
    pace: Duration,
}

impl Plan {
    /// One request every `pace` from `begin` on.
    pub fn new(begin: Instant, pace: Duration) -> Plan {
        Plan { begin, pace }
    }

    /// When request `number` should be sent.
    pub fn due(&self, number: u64) -> Instant {
        let nanos = self.pace.as_nanos().saturating_mul(u128::from(number));
        self.begin + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX / 2))
    }

    /// How many requests should be sent before `end`.
    pub fn count_until(&self, end: Instant) -> u64 {
        let time = end.saturating_duration_since(self.begin);
        time.as_nanos().div_ceil(self.pace.as_nanos().max(1)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_the_same_distance() {
        let begin = Instant::now();
        let plan = Plan::new(begin, Duration::from_millis(10));
        assert_eq!(plan.due(0), begin);
        assert_eq!(plan.due(250), begin + Duration::from_millis(2500));
        assert_eq!(plan.count_until(begin + Duration::from_secs(1)), 100);
        assert_eq!(plan.count_until(begin), 0);
    }
}
