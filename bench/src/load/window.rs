//! Pre-encoded requests on their way: a ring of frames of one length.
//!
//! In: a frame, how many may wait for an answer, a plan if there is one. Out: stretches of bytes to send, and the
//! times each answered request was due and sent. Never: copies or allocates while it runs.
//!
//! Request `n` is copy `n % copies`. `answered <= sent <= queued <= answered + in_flight`, so a copy is only
//! changed when its last request has been answered.

use std::time::Instant;

use super::plan::Plan;
use super::tally::{Answer, Tally};

/// What makes request `n` of a copy of the frame.
pub type Patch = Box<dyn Fn(&mut [u8], u64) + Send>;

/// Requests and where they are.
pub struct Window {
    frames: Vec<u8>,
    frame_bytes: usize,
    in_flight: u64,
    plan: Option<Plan>,
    patch: Patch,
    /// Requests that may be made at all; set when the run ends.
    limit: u64,
    /// Requests made ready to be sent.
    queued: u64,
    /// Bytes sent of all requests made ready.
    sent_bytes: u64,
    answered: u64,
    /// When request `n` was due and sent, at `n % in_flight`.
    times: Vec<(Instant, Instant)>,
    /// What one request counts for.
    records: u64,
    bytes: u64,
}

impl Window {
    /// A window of `in_flight` requests, each of `records` records and `bytes` bytes of payload.
    pub fn new(frame: &[u8], in_flight: u64, (records, bytes): (u64, u64), patch: Patch) -> Window {
        let now = Instant::now();
        Window {
            frames: frame.repeat(in_flight as usize),
            frame_bytes: frame.len(),
            in_flight,
            plan: None,
            patch,
            limit: u64::MAX,
            queued: 0,
            sent_bytes: 0,
            answered: 0,
            times: vec![(now, now); in_flight as usize],
            records,
            bytes,
        }
    }

    /// Sends by this plan, what is due before `end`, instead of as fast as answers come.
    pub fn follow(&mut self, plan: Plan, end: Instant) {
        self.limit = plan.count_until(end);
        self.plan = Some(plan);
    }

    /// What can be sent now: everything that is ready, up to the end of the ring.
    pub fn output(&mut self, now: Instant) -> &[u8] {
        while self.queued < self.limit.min(self.answered + self.in_flight) {
            let due = self.plan.map_or(now, |plan| plan.due(self.queued));
            if due > now {
                break;
            }
            let place = (self.queued % self.in_flight) as usize;
            self.times[place] = (due, now);
            let start = place * self.frame_bytes;
            (self.patch)(&mut self.frames[start..start + self.frame_bytes], self.queued);
            self.queued += 1;
        }
        let ring_bytes = self.frames.len() as u64;
        let left = self.queued * self.frame_bytes as u64 - self.sent_bytes;
        let start = self.sent_bytes % ring_bytes;
        let end = (start + left).min(ring_bytes);
        &self.frames[start as usize..end as usize]
    }

    /// `count` bytes of the output are with the kernel.
    pub fn sent(&mut self, count: usize) {
        self.sent_bytes += count as u64;
    }

    /// Whether no request is sent in part.
    pub fn is_between_requests(&self) -> bool {
        self.sent_bytes.is_multiple_of(self.frame_bytes as u64)
    }

    /// When the next request is due, if that is what it waits for.
    pub fn next_due(&self) -> Option<Instant> {
        let room = self.queued < self.limit.min(self.answered + self.in_flight);
        self.plan.filter(|_| room).map(|plan| plan.due(self.queued))
    }

    /// The number of the oldest request without an answer, if one was sent.
    pub fn waiting(&self) -> Option<u64> {
        (self.answered < self.queued).then_some(self.answered)
    }

    /// The oldest request has its answer.
    pub fn answered(&mut self, now: Instant, tally: &mut Tally) {
        assert!(self.answered < self.queued, "only what was sent is answered");
        let (due, sent) = self.times[(self.answered % self.in_flight) as usize];
        tally.answered(Answer { due, sent, records: self.records, bytes: self.bytes }, now);
        self.answered += 1;
    }

    /// Makes no request after this but those that are planned.
    pub fn stop(&mut self) {
        if self.plan.is_none() {
            self.limit = self.queued;
        }
    }

    /// Makes no request beyond `count` in all.
    pub fn stop_after(&mut self, count: u64) {
        self.limit = self.limit.min(count);
    }

    /// Counts what is planned and not sent with the time it has waited, and makes no further request.
    pub fn give_up(&mut self, now: Instant, tally: &mut Tally) {
        if let Some(plan) = self.plan {
            (self.queued..self.limit).for_each(|number| tally.gave_up(plan.due(number), now));
        }
        self.limit = self.queued;
    }

    /// Whether all requests that were to be made are answered.
    pub fn is_done(&self) -> bool {
        self.answered == self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn window(in_flight: u64) -> Window {
        Window::new(b"..", in_flight, (1, 2), Box::new(|frame, number| frame[1] = b'0' + number as u8))
    }

    #[test]
    fn a_copy_is_used_again_only_after_its_answer() {
        let now = Instant::now();
        let mut tally = Tally::new(now, Duration::from_secs(1));
        let mut window = window(2);
        assert_eq!(window.output(now), b".0.1");
        window.sent(3);
        assert!(!window.is_between_requests());
        assert_eq!(window.output(now), b"1");
        window.sent(1);
        assert!(window.is_between_requests());
        assert_eq!(window.output(now), b"");
        window.answered(now, &mut tally);
        assert_eq!(window.output(now), b".2");
        window.stop();
        assert!(!window.is_done());
        window.answered(now, &mut tally);
        window.answered(now, &mut tally);
        assert!(window.is_done() && window.waiting().is_none());
        assert_eq!((tally.records, tally.bytes), (3, 6));
    }

    #[test]
    fn a_plan_holds_requests_back_and_then_owes_them() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut tally = Tally::new(now, second);
        let mut window = window(4);
        window.follow(Plan::new(now, second), now + 6 * second);
        assert_eq!(window.output(now), b".0");
        window.sent(2);
        assert_eq!(window.next_due(), Some(now + second));
        // The server stalls: at three seconds, three more are owed.
        assert_eq!(window.output(now + 3 * second), b".1.2.3");
        window.sent(6);
        window.answered(now + 3 * second, &mut tally);
        window.answered(now + 3 * second, &mut tally);
        assert!((tally.response.max_us() - 3e6).abs() < 3e4, "the first waited three seconds");
        assert!(
            (tally.service.percentile_us(1.0)).abs() < 1.0,
            "the second was sent at once when it could be"
        );
        window.stop();
        window.give_up(now + 6 * second, &mut tally);
        assert_eq!(tally.unsent, 2);
    }
}
