//! The requests of one connection that are not answered yet, in the order they came.
//!
//! In: what handlers return, and the events they wait for. Out: responses, always in the order of the requests
//! (Kafka's clients pair them by order). Never: holds more than its limits ask the session to read.
//!
//! ```text
//!   front                                       back
//!   [ waiting ] [ ready ] [ waiting ] [ ready ]        a slot leaves only from the front, when it is ready
//!      first     first+1   first+2     first+3         its sequence: the upper bits of its tickets
//! ```

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;

use super::wire::{RequestHeader, Writer, frame};
use crate::broker::command::{Command, Event};
use crate::broker::context::Context;

/// Requests of one connection that may wait for their answer.
pub const REQUESTS_MAX: usize = 64;
/// Bytes of requests of one connection that may wait for their answer. One request may exceed it alone.
pub const REQUEST_BYTES_MAX: usize = 16 << 20;

/// Lower bits of a ticket: which of the request's commands.
const INDEX_BITS: u32 = 24;

/// What becomes of a request.
pub enum Reply {
    /// This response, begun with [`Call::response`].
    Answer(Writer),
    /// No response, as the request wished.
    Silent,
    /// No response can be given: the connection ends.
    Close,
}

/// What a handler did with a request.
pub enum Handled {
    Now(Reply),
    /// Commands were given with [`Call::ask`]; their events go to this.
    Later(Box<dyn Pending>),
}

impl Handled {
    /// Answered at once.
    pub fn answer(writer: Writer) -> Handled {
        Handled::Now(Reply::Answer(writer))
    }
}

/// A request that waits for events.
pub trait Pending: Send {
    /// The command that [`Call::ask`] gave the number `index` has this to say. `Some` when the request is done;
    /// nothing is called after that.
    fn on_event(&mut self, index: u32, event: Event, call: &mut Call<'_, '_>) -> Option<Reply>;

    /// When [`Pending::on_time`] should be called, on the monotonic clock.
    fn deadline_us(&self) -> Option<u64> {
        None
    }

    /// The deadline has come.
    fn on_time(&mut self, call: &mut Call<'_, '_>) -> Option<Reply> {
        let _ = call;
        None
    }

    /// The connection is gone: take back what would go on by itself.
    fn on_close(&mut self, call: &mut Call<'_, '_>) {
        let _ = call;
    }
}

/// One request, as its handler and its [`Pending`] see it, and what they can do.
pub struct Call<'a, 'b> {
    pub header: &'a RequestHeader,
    /// The client's address.
    pub peer: SocketAddr,
    pub cx: &'a mut Context<'b>,
    sequence: u64,
    asked: &'a mut u32,
}

impl Call<'_, '_> {
    /// Gives a command and returns its number: 0 for the request's first, then 1, and so on.
    pub fn ask(&mut self, command: Command) -> u32 {
        let index = *self.asked;
        *self.asked += 1;
        self.ask_again(index, command);
        index
    }

    /// Gives a command under a number used before: its events cannot be told from the earlier command's.
    pub fn ask_again(&mut self, index: u32, command: Command) {
        self.cx.ask(self.sequence << INDEX_BITS | u64::from(index), command);
    }

    /// Begins the response; the body is still to be written.
    pub fn response(&self) -> Writer {
        frame::begin_response(self.header)
    }
}

/// One request on its way.
struct Slot {
    header: RequestHeader,
    request_bytes: usize,
    asked: u32,
    state: State,
}

enum State {
    Waiting(Box<dyn Pending>),
    Ready(Reply),
}

/// The queue of one connection.
pub struct Inflight {
    peer: SocketAddr,
    /// Sequence of the front slot.
    first: u64,
    slots: VecDeque<Slot>,
    /// Sum over the slots.
    request_bytes: usize,
}

impl Inflight {
    /// Nothing on its way.
    pub fn new(peer: SocketAddr) -> Inflight {
        Inflight { peer, first: 0, slots: VecDeque::new(), request_bytes: 0 }
    }

    /// Whether no more requests should be taken in.
    pub fn is_full(&self) -> bool {
        self.slots.len() >= REQUESTS_MAX || self.request_bytes >= REQUEST_BYTES_MAX
    }

    /// Requests not answered yet.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether every request is answered.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Lets `handle` work on a request and queues what it returns.
    pub fn begin<E>(
        &mut self,
        header: RequestHeader,
        request_bytes: usize,
        cx: &mut Context<'_>,
        handle: impl FnOnce(&mut Call<'_, '_>) -> Result<Handled, E>,
    ) -> Result<(), E> {
        let sequence = self.first + self.slots.len() as u64;
        let mut asked = 0;
        let mut call = Call { header: &header, peer: self.peer, cx, sequence, asked: &mut asked };
        let state = match handle(&mut call)? {
            Handled::Now(reply) => State::Ready(reply),
            Handled::Later(pending) => State::Waiting(pending),
        };
        self.request_bytes += request_bytes;
        self.slots.push_back(Slot { header, request_bytes, asked, state });
        Ok(())
    }

    /// Hands an event to the request that asked. One that is no longer there does not care.
    pub fn on_event(&mut self, ticket: u64, event: Event, cx: &mut Context<'_>) {
        let sequence = ticket >> INDEX_BITS;
        let index = (ticket & ((1 << INDEX_BITS) - 1)) as u32;
        let place = sequence.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        if let Some(slot) = place.and_then(|place| self.slots.get_mut(place)) {
            slot.visit(self.peer, sequence, cx, |pending, call| pending.on_event(index, event, call));
        }
    }

    /// Tells every request whose deadline has come.
    pub fn on_time(&mut self, cx: &mut Context<'_>) {
        for (place, slot) in self.slots.iter_mut().enumerate() {
            if slot.deadline_us().is_some_and(|deadline| deadline <= cx.now.monotonic_us) {
                slot.visit(self.peer, self.first + place as u64, cx, |pending, call| pending.on_time(call));
            }
        }
    }

    /// Wishes for the earliest deadline.
    pub fn wish(&self, cx: &mut Context<'_>) {
        if let Some(deadline) = self.slots.iter().filter_map(Slot::deadline_us).min() {
            cx.wake_at(deadline);
        }
    }

    /// Gives everything up.
    pub fn on_close(&mut self, cx: &mut Context<'_>) {
        for (place, slot) in self.slots.iter_mut().enumerate() {
            slot.visit(self.peer, self.first + place as u64, cx, |pending, call| {
                pending.on_close(call);
                Some(Reply::Close)
            });
        }
        self.slots.clear();
        self.request_bytes = 0;
    }

    /// The pieces of the next response that may leave; `None` when the front request is still waiting.
    pub fn next_ready(&mut self) -> Option<Outgoing> {
        if !matches!(self.slots.front()?.state, State::Ready(_)) {
            return None;
        }
        let slot = self.slots.pop_front()?;
        self.first += 1;
        self.request_bytes -= slot.request_bytes;
        match slot.state {
            State::Ready(Reply::Answer(writer)) => Some(Outgoing::Pieces(frame::finish(writer))),
            State::Ready(Reply::Silent) => Some(Outgoing::Pieces(Vec::new())),
            State::Ready(Reply::Close) | State::Waiting(_) => Some(Outgoing::Close),
        }
    }
}

/// What leaves next.
pub enum Outgoing {
    Pieces(Vec<Bytes>),
    Close,
}

impl Slot {
    fn deadline_us(&self) -> Option<u64> {
        match &self.state {
            State::Waiting(pending) => pending.deadline_us(),
            State::Ready(_) => None,
        }
    }

    fn visit(
        &mut self,
        peer: SocketAddr,
        sequence: u64,
        cx: &mut Context<'_>,
        work: impl FnOnce(&mut dyn Pending, &mut Call<'_, '_>) -> Option<Reply>,
    ) {
        let State::Waiting(pending) = &mut self.state else { return };
        let mut call = Call { header: &self.header, peer, cx, sequence, asked: &mut self.asked };
        if let Some(reply) = work(pending.as_mut(), &mut call) {
            self.state = State::Ready(reply);
        }
    }
}
