//! Health and metrics over HTTP: `/livez`, `/readyz`, `/metrics`, for probes and collectors.
//!
//! In: bytes of one connection, and every core's status. Out: answers in the order of the requests. Never:
//! changes anything, or shows a number no core has said.
//!
//! ```text
//!            request            all cores answered, or the time is over
//!   idle ───────────▶ asking ───────────────────────────────────────────▶ idle, or closed
//!     └─ /livez and refusals are answered at once
//! ```

mod exposition;
mod request;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::BytesMut;

use crate::broker::command::{Command, Event};
use crate::broker::context::Context;
use crate::broker::metrics::CoreStatus;
use request::{Request, Status, Wants};

/// Requests taken before the first of them is answered; with the last the connection ends.
const REQUESTS_MAX: usize = 16;
/// A core that takes longer to say how it is, is not well.
const ANSWER_WITHIN_US: u64 = 2_000_000;

/// One connection.
pub struct Session {
    /// Understood and not answered, oldest first; the first is being asked about. `len <= REQUESTS_MAX`.
    waiting: VecDeque<Request>,
    asking: Option<Asking>,
    /// Tells answers to this question from late ones to an earlier.
    question: u64,
    /// Nothing further is read.
    ended: bool,
}

/// What the cores have said so far.
struct Asking {
    statuses: Vec<Option<CoreStatus>>,
    until_us: u64,
}

impl Session {
    /// A connection from `_peer`, who need not be anybody.
    pub fn new(_peer: SocketAddr) -> Session {
        Session { waiting: VecDeque::new(), asking: None, question: 0, ended: false }
    }

    /// Bytes arrived.
    pub fn on_bytes(&mut self, input: &mut BytesMut, cx: &mut Context<'_>) {
        while !self.ended
            && let Some(mut request) = request::take(input)
        {
            request.keep_alive &= self.waiting.len() + 1 < REQUESTS_MAX;
            self.ended = !request.keep_alive;
            self.waiting.push_back(request);
        }
        if self.ended {
            input.clear();
        }
        self.proceed(cx);
    }

    /// A core has answered.
    pub fn on_event(&mut self, ticket: u64, event: Event, cx: &mut Context<'_>) {
        let Event::Status(status) = event else { return };
        let (question, core) = (ticket >> 16, (ticket & 0xffff) as usize);
        let asked = self.asking.as_mut().filter(|_| question == self.question);
        if let Some(slot) = asked.and_then(|asking| asking.statuses.get_mut(core)) {
            *slot = Some(*status);
        }
        self.proceed(cx);
    }

    /// The time has come to stop waiting.
    pub fn on_time(&mut self, cx: &mut Context<'_>) {
        self.proceed(cx);
    }

    /// Answers are small: nothing waits for them to leave.
    pub fn on_sent(&mut self, _left: usize, _cx: &mut Context<'_>) {}

    /// Nothing is held elsewhere.
    pub fn on_close(&mut self, _cx: &mut Context<'_>) {}

    /// Whether to go on reading.
    pub fn wants_input(&self) -> bool {
        !self.ended
    }

    /// Unknown before the head has ended.
    pub fn input_hint(&self) -> usize {
        0
    }

    /// Answers as many requests as can be answered now.
    fn proceed(&mut self, cx: &mut Context<'_>) {
        while let Some(request) = self.waiting.front().copied() {
            let Some((status, body)) = self.answer_to(request.wants, cx) else { return };
            self.waiting.pop_front();
            cx.send(request::answer(status, &body, request.head_only, request.keep_alive));
            if !request.keep_alive {
                cx.close();
            }
        }
    }

    /// `None`: the cores are asked, and not all have answered.
    fn answer_to(&mut self, wants: Wants, cx: &mut Context<'_>) -> Option<(Status, String)> {
        match wants {
            Wants::Live => return Some((Status::Ok, "ok\n".to_string())),
            Wants::Refusal(status) => return Some((status, format!("{}\n", status.text()))),
            Wants::Ready | Wants::Metrics => {}
        }
        let asking = match self.asking.take() {
            Some(asking) => asking,
            None => self.ask(cx),
        };
        let missing = asking.statuses.iter().any(Option::is_none);
        if missing && cx.now.monotonic_us < asking.until_us {
            cx.wake_at(asking.until_us);
            self.asking = Some(asking);
            return None;
        }
        let troubles = asking.troubles();
        if wants == Wants::Ready && troubles.is_empty() {
            return Some((Status::Ok, format!("ok\n{}", asking.shortages())));
        }
        // With a core missing, sums would seem to fall and rise again: better none.
        if wants == Wants::Ready || missing {
            return Some((Status::NotReady, troubles));
        }
        let metrics: Vec<_> = asking.statuses.iter().flatten().map(|status| &status.metrics).collect();
        Some((Status::Ok, exposition::text(&metrics, cx.settings.version)))
    }

    fn ask(&mut self, cx: &mut Context<'_>) -> Asking {
        self.question += 1;
        for core in 0..cx.settings.cores {
            cx.ask(self.question << 16 | u64::from(core), Command::Status { core });
        }
        let statuses = (0..cx.settings.cores).map(|_| None).collect();
        Asking { statuses, until_us: cx.now.monotonic_us + ANSWER_WITHIN_US }
    }
}

impl Asking {
    /// One line for each core that refuses new records. It is ready all the same: taken out of service, it could not
    /// be asked to delete what takes the room.
    fn shortages(&self) -> String {
        let lines = self.statuses.iter().flatten().enumerate().filter_map(|(core, status)| {
            status.shortage.as_ref().map(|why| format!("core {core}: new records are refused: {why}\n"))
        });
        lines.collect()
    }

    /// One line for each core that is not well.
    fn troubles(&self) -> String {
        let lines = self.statuses.iter().enumerate().filter_map(|(core, status)| match status {
            None => Some(format!("core {core}: no answer\n")),
            Some(CoreStatus { failure: Some(failure), .. }) => Some(format!("core {core}: {failure}\n")),
            Some(_) => None,
        });
        lines.collect()
    }
}
