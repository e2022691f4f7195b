//! How long a frame waits for those who were answered a moment ago: they mostly come back, and one write for all of them is
//! sooner done than one for the first of them and another for the rest.
//!
//! In: appends as they come, writes as they begin and end. Out: whether to write now, and until when to wait. Never: waits
//! longer than a write takes, for a caller that is alone, or where those who were waited for did not come.
//!
//! ```text
//!   write ends ──> expected: all whom it answered ──> all of them are there, or it takes too long ──> write begins
//! ```
//!
//! Invariant: trust <= TRUST_MAX.

/// A write of more bytes than this takes longer the more it holds: to begin it is better than to wait.
const FRAME_BYTES_MAX: u64 = 256 << 10;
/// Waiting begins when so many writes have been followed by those they answered ...
const TRUST_WAITS: u32 = 3;
/// ... and one that was not takes so much away.
const TRUST_LOST: u32 = 2;
const TRUST_MAX: u32 = 6;
/// Nearly all are as good as all: those that are missing, as a divisor.
const MISSING_MAX: u64 = 8;
/// A write that takes longer than this is an exception, and no measure for how long to wait.
const WRITE_US_MAX: u64 = 1_000;
/// The share of the latest write in the mean, as a divisor.
const MEAN_WRITES: u64 = 8;

/// Appends of one write.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    count: u64,
    bytes: u64,
}

/// What is known of the writes of a worker and of those who wait for them.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// Came since the last write began.
    waiting: Group,
    /// On their way to the device.
    writing: Group,
    began_us: u64,
    /// Mean time of a write.
    write_us: u64,
    /// Those of the last write, who are likely to come back, and those who came during it.
    expected: Group,
    /// How many of them came in time.
    in_time: u64,
    until_us: u64,
    trust: u32,
}

impl Hold {
    /// An append of so many bytes has come.
    pub(super) fn came(&mut self, bytes: u64, now_us: u64) {
        self.waiting.count += 1;
        self.waiting.bytes += bytes;
        if now_us < self.until_us {
            self.in_time += 1;
        }
    }

    /// Something else has come that is not to wait.
    pub(super) fn is_over(&mut self) {
        self.until_us = 0;
    }

    /// What waits is on its way.
    pub(super) fn begins(&mut self, now_us: u64) {
        self.writing = std::mem::take(&mut self.waiting);
        self.began_us = now_us;
    }

    /// What was on its way is on the device.
    pub(super) fn ends(&mut self, now_us: u64) {
        let took_us = now_us.saturating_sub(self.began_us).min(WRITE_US_MAX);
        self.write_us = (self.write_us * (MEAN_WRITES - 1) + took_us) / MEAN_WRITES;
        let missing = self.expected.count.saturating_sub(self.in_time);
        self.trust = match missing <= self.expected.count / MISSING_MAX {
            true => (self.trust + 1).min(TRUST_MAX),
            false => self.trust.saturating_sub(TRUST_LOST),
        };
        let answered = std::mem::take(&mut self.writing);
        self.expected =
            Group { count: answered.count + self.waiting.count, bytes: answered.bytes + self.waiting.bytes };
        self.in_time = self.waiting.count;
        self.until_us = now_us + self.write_us;
    }

    /// Whether what is there waits for more.
    pub(super) fn waits(&self, now_us: u64) -> bool {
        self.writing.count == 0
            && (1..self.expected.count).contains(&self.waiting.count)
            && self.expected.bytes <= FRAME_BYTES_MAX
            && self.trust >= TRUST_WAITS
            && now_us < self.until_us
    }

    /// Until when, if it does.
    pub(super) fn until_us(&self) -> u64 {
        self.until_us
    }

    /// Whether the first has come, who sees to it that what waits does not wait for too long.
    pub(super) fn is_first(&self) -> bool {
        self.waiting.count == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes of 100 us, each of those who were answered by the one before and came at once; the time then.
    fn rounds(hold: &mut Hold, mut now_us: u64, writes: u64, callers: u64, bytes: u64) -> u64 {
        for _ in 0..writes {
            (0..callers).for_each(|_| hold.came(bytes, now_us));
            hold.begins(now_us);
            now_us += 100;
            hold.ends(now_us);
        }
        now_us
    }

    #[test]
    fn a_frame_waits_for_those_who_mostly_come_back_and_no_longer() {
        let mut hold = Hold::default();
        let now_us = rounds(&mut hold, 0, 20, 3, 1000);
        assert!(!hold.waits(now_us), "nobody is there");
        hold.came(1000, now_us);
        assert!(hold.is_first() && hold.waits(now_us));
        assert!((now_us + 50..=now_us + 100).contains(&hold.until_us()), "a write takes 100 us");
        assert!(!hold.waits(hold.until_us()));
        hold.came(1000, now_us);
        assert!(!hold.is_first() && hold.waits(now_us));
        hold.came(1000, now_us);
        assert!(!hold.waits(now_us), "all are there");
    }

    #[test]
    fn a_caller_alone_large_frames_and_other_requests_do_not_wait() {
        let mut alone = Hold::default();
        let now_us = rounds(&mut alone, 0, 20, 1, 1000);
        alone.came(1000, now_us);
        assert!(!alone.waits(now_us));
        let mut large = Hold::default();
        let now_us = rounds(&mut large, 0, 20, 3, FRAME_BYTES_MAX);
        large.came(FRAME_BYTES_MAX, now_us);
        assert!(!large.waits(now_us));
        let mut asked = Hold::default();
        let now_us = rounds(&mut asked, 0, 20, 3, 1000);
        asked.came(1000, now_us);
        assert!(asked.waits(now_us));
        asked.is_over();
        assert!(!asked.waits(now_us));
    }

    #[test]
    fn those_who_do_not_come_back_are_not_waited_for_again() {
        let mut hold = Hold::default();
        let mut now_us = rounds(&mut hold, 0, 20, 3, 1000);
        for _ in 0..4 {
            now_us = rounds(&mut hold, now_us + 1000, 1, 3, 1000);
        }
        hold.came(1000, now_us);
        assert!(!hold.waits(now_us));
    }
}
