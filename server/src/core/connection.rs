//! One connection: its socket, its session, the bytes on their way in and out.
//!
//! In: completions of its two operations, events for its session. Out: the next receive and send. Never: has two
//! receives or two sends in flight.
//!
//! ```text
//!   receive ──bytes──> session ──> output ──> send
//!      ^ re-armed while the session wants input and little waits to be sent
//! ```

use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use ringmain_engine::io::{Descriptor, Op};

use crate::broker::command::Event;
use crate::broker::context::{Context, Output};
use crate::{admin, amqp, kafka};

/// A receive asks for at least so many bytes.
const RECEIVE_BYTES_MIN: usize = 8 << 10;
/// And at most for so many, so that memory follows bytes that came, not lengths that were claimed.
const RECEIVE_BYTES_MAX: usize = 256 << 10;
/// Bytes that may wait to be sent before no more input is taken.
const OUTPUT_BYTES_MAX: usize = 4 << 20;
/// Pieces of one send.
const SEND_PIECES_MAX: usize = ringmain_engine::io::SEND_PIECES_MAX;

/// Which front end a listener is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    Kafka,
    Amqp,
    Admin,
}

impl Protocol {
    /// As metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Kafka => "kafka",
            Protocol::Amqp => "amqp",
            Protocol::Admin => "admin",
        }
    }
}

/// The protocol state of a connection.
enum Front {
    Kafka(Box<kafka::Session>),
    Amqp(Box<amqp::Session>),
    Admin(Box<admin::Session>),
}

/// Calls the same method of whichever session it is.
macro_rules! front {
    ($front:expr, $session:ident => $call:expr) => {
        match $front {
            Front::Kafka($session) => $call,
            Front::Amqp($session) => $call,
            Front::Admin($session) => $call,
        }
    };
}

/// One connection.
pub struct Connection {
    pub protocol: Protocol,
    pub socket: Descriptor,
    pub generation: u32,
    pub output: Output,
    front: Front,
    /// Empty while a receive is in flight: the operation has it.
    input: BytesMut,
    receiving: bool,
    /// Bytes that were in the buffer before the receive in flight.
    before_receive: usize,
    sending: bool,
    /// What the next receive asks for, beyond what the session says it needs.
    appetite: usize,
    /// The time in the core's timers.
    pub wake_at_us: Option<u64>,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(protocol: Protocol, socket: Descriptor, peer: SocketAddr, generation: u32) -> Connection {
        let front = match protocol {
            Protocol::Kafka => Front::Kafka(Box::new(kafka::Session::new(peer))),
            Protocol::Amqp => Front::Amqp(Box::new(amqp::Session::new(peer))),
            Protocol::Admin => Front::Admin(Box::new(admin::Session::new(peer))),
        };
        Connection {
            protocol,
            socket,
            generation,
            output: Output::default(),
            front,
            input: BytesMut::new(),
            receiving: false,
            before_receive: 0,
            sending: false,
            appetite: RECEIVE_BYTES_MIN,
            wake_at_us: None,
        }
    }

    /// Calls `call` on the session with the output in the context's place.
    pub fn with_output<R>(&mut self, call: impl FnOnce(&mut Connection, &mut Output) -> R) -> R {
        let mut output = std::mem::take(&mut self.output);
        let result = call(self, &mut output);
        self.output = output;
        result
    }

    /// A receive has ended; false: the peer has finished.
    pub fn received(&mut self, buffer: BytesMut, cx: &mut Context<'_>) -> bool {
        self.receiving = false;
        let count = buffer.len() - self.before_receive;
        if count == 0 {
            return false;
        }
        self.appetite = if count >= self.appetite { self.appetite * 2 } else { RECEIVE_BYTES_MIN.max(count) };
        self.appetite = self.appetite.min(RECEIVE_BYTES_MAX);
        self.input = buffer;
        front!(&mut self.front, session => session.on_bytes(&mut self.input, cx));
        true
    }

    /// Bytes that were left because the session had too much in flight are offered again.
    pub fn offer_input(&mut self, cx: &mut Context<'_>) {
        if !self.receiving && !self.input.is_empty() && front!(&self.front, session => session.wants_input())
        {
            front!(&mut self.front, session => session.on_bytes(&mut self.input, cx));
        }
    }

    /// An answer to something the session asked.
    pub fn event(&mut self, ticket: u64, event: Event, cx: &mut Context<'_>) {
        front!(&mut self.front, session => session.on_event(ticket, event, cx));
    }

    /// A time that the session wished for.
    pub fn time(&mut self, cx: &mut Context<'_>) {
        front!(&mut self.front, session => session.on_time(cx));
    }

    /// The connection is gone.
    pub fn closed(&mut self, cx: &mut Context<'_>) {
        front!(&mut self.front, session => session.on_close(cx));
    }

    /// A send has ended after `count` bytes.
    pub fn sent(&mut self, mut count: usize, cx: &mut Context<'_>) {
        self.sending = false;
        let output = &mut *cx.output;
        output.bytes_count -= count;
        while let Some(front) = output.chunks.front_mut() {
            if front.len() > count {
                front.advance(count);
                break;
            }
            count -= front.len();
            output.chunks.pop_front();
        }
        let left = output.bytes_count;
        front!(&mut self.front, session => session.on_sent(left, cx));
    }

    /// The next send, if there is something to send and none is in flight.
    pub fn next_send(&mut self) -> Option<Op> {
        if self.sending || self.output.chunks.is_empty() {
            return None;
        }
        self.sending = true;
        let data = self.output.chunks.iter().take(SEND_PIECES_MAX).cloned().collect();
        Some(Op::Send { socket: self.socket.clone(), data })
    }

    /// The next receive, if the session wants input and none is in flight.
    pub fn next_receive(&mut self) -> Option<Op> {
        let wanted = !self.receiving
            && !self.output.close
            && self.output.bytes_count < OUTPUT_BYTES_MAX
            && front!(&self.front, session => session.wants_input());
        if !wanted {
            return None;
        }
        self.receiving = true;
        let mut buffer = std::mem::take(&mut self.input);
        let missing = front!(&self.front, session => session.input_hint()).saturating_sub(buffer.len());
        // Twice what is there at most: a frame that claims much gets memory as its bytes arrive.
        let wanted = missing.min(buffer.len().max(RECEIVE_BYTES_MAX)).max(self.appetite);
        self.before_receive = buffer.len();
        buffer.reserve(wanted);
        Some(Op::Receive { socket: self.socket.clone(), buffer })
    }

    /// Whether everything was sent and the session wants no more.
    pub fn is_finished(&self) -> bool {
        self.output.close && self.output.chunks.is_empty() && !self.sending
    }

    /// Whether nothing waits to be sent.
    pub fn is_drained(&self) -> bool {
        self.output.chunks.is_empty() && !self.sending
    }

    /// Whether an operation on the socket is in flight.
    pub fn is_busy(&self) -> bool {
        self.receiving || self.sending
    }
}
