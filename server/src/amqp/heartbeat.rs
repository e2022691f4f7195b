//! When the connection must say something, and when the peer has been silent for too long.
//!
//! In: the time at which bytes came and went. Out: what is due. Never: reads a clock.

/// A peer that does not finish what it began, the handshake or the closing, is given so long.
pub const PATIENCE_US: u64 = 10_000_000;

/// What the time asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    Nothing,
    /// Nothing was sent for half an interval.
    Send,
    /// Nothing was heard for two intervals, or the peer's time for an answer is over.
    Close,
}

/// Times of one connection, in microseconds of the monotonic clock.
#[derive(Debug, Default)]
pub struct Heartbeat {
    /// 0: no heartbeats.
    interval_us: u64,
    heard_us: u64,
    sent_us: u64,
    /// The peer must have answered by then.
    deadline_us: Option<u64>,
}

impl Heartbeat {
    /// Begins with the interval agreed upon.
    pub fn begin(&mut self, interval_s: u16, now_us: u64) {
        self.interval_us = u64::from(interval_s) * 1_000_000;
        self.heard(now_us);
        self.sent(now_us);
    }

    /// Something came.
    pub fn heard(&mut self, now_us: u64) {
        self.heard_us = now_us;
    }

    /// Something was sent.
    pub fn sent(&mut self, now_us: u64) {
        self.sent_us = now_us;
    }

    /// The peer must answer within [`PATIENCE_US`].
    pub fn expect_answer(&mut self, now_us: u64) {
        self.deadline_us = Some(now_us + PATIENCE_US);
    }

    /// All is said: no more heartbeats, and the peer must be gone within [`PATIENCE_US`].
    pub fn part(&mut self, now_us: u64) {
        self.interval_us = 0;
        self.expect_answer(now_us);
    }

    /// The peer answered.
    pub fn answered(&mut self) {
        self.deadline_us = None;
    }

    /// What is due now.
    pub fn due(&self, now_us: u64) -> Due {
        let silent = self.interval_us > 0 && now_us >= self.heard_us + 2 * self.interval_us;
        if silent || self.deadline_us.is_some_and(|deadline| now_us >= deadline) {
            Due::Close
        } else if self.interval_us > 0 && now_us >= self.sent_us + self.interval_us / 2 {
            Due::Send
        } else {
            Due::Nothing
        }
    }

    /// When something will be due, if nothing comes and goes before.
    pub fn next_us(&self) -> Option<u64> {
        let beat = (self.interval_us > 0)
            .then(|| (self.sent_us + self.interval_us / 2).min(self.heard_us + 2 * self.interval_us));
        match (beat, self.deadline_us) {
            (Some(beat), Some(deadline)) => Some(beat.min(deadline)),
            (beat, deadline) => beat.or(deadline),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_speaks_after_half_an_interval_and_gives_up_after_two() {
        let mut heartbeat = Heartbeat::default();
        assert_eq!((heartbeat.due(u64::MAX), heartbeat.next_us()), (Due::Nothing, None));
        heartbeat.begin(10, 0);
        assert_eq!(heartbeat.next_us(), Some(5_000_000));
        assert_eq!(heartbeat.due(4_999_999), Due::Nothing);
        assert_eq!(heartbeat.due(5_000_000), Due::Send);
        heartbeat.sent(19_000_000);
        assert_eq!(heartbeat.next_us(), Some(20_000_000));
        assert_eq!(heartbeat.due(20_000_000), Due::Close);
        heartbeat.heard(20_000_000);
        assert_eq!(heartbeat.due(20_000_000), Due::Nothing);
        heartbeat.expect_answer(20_000_000);
        assert_eq!(heartbeat.due(30_000_000), Due::Close);
    }
}
