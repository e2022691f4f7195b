//! One Kafka connection.
//!
//! In: bytes from the peer, events from the broker, the time. Out: commands and response bytes, responses in
//! the order of the requests. Never: reads from a socket or a clock, or takes in more than its limits.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};

use super::inflight::{Inflight, Outgoing};
use super::wire::frame::{self, Front};
use super::wire::{Reader, RequestHeader, WireError};
use super::{API_VERSIONS_KEY, api_of, is_flexible};
use crate::broker::command::Event;
use crate::broker::context::Context;

/// No more requests are taken in while so many bytes wait to be sent to a peer that does not read them.
pub const UNSENT_BYTES_MAX: usize = 16 << 20;

/// Protocol state of one connection.
pub struct Session {
    inflight: Inflight,
    /// Input that came while there was too much in flight. Empty otherwise.
    held: BytesMut,
    input_hint: usize,
    unsent_bytes: usize,
    closed: bool,
}

impl Session {
    /// A connection from `peer` that has said nothing yet.
    pub fn new(peer: SocketAddr) -> Session {
        Session {
            inflight: Inflight::new(peer),
            held: BytesMut::new(),
            input_hint: frame::SIZE_BYTES,
            unsent_bytes: 0,
            closed: false,
        }
    }

    /// Takes whole requests off the front of `input`; while too much is in flight, all of it, for later.
    pub fn on_bytes(&mut self, input: &mut BytesMut, cx: &mut Context<'_>) {
        if !self.held.is_empty() {
            self.held.unsplit(input.split());
            std::mem::swap(&mut self.held, input);
        }
        self.advance(input, cx);
        if self.is_full() {
            self.held = input.split();
        }
    }

    /// An answer came.
    pub fn on_event(&mut self, ticket: u64, event: Event, cx: &mut Context<'_>) {
        self.inflight.on_event(ticket, event, cx);
        self.resume(cx);
    }

    /// Time passed.
    pub fn on_time(&mut self, cx: &mut Context<'_>) {
        self.inflight.on_time(cx);
        self.resume(cx);
    }

    /// Output left; `left` bytes still wait.
    pub fn on_sent(&mut self, left: usize, cx: &mut Context<'_>) {
        self.unsent_bytes = left;
        self.resume(cx);
    }

    /// The connection is gone.
    pub fn on_close(&mut self, cx: &mut Context<'_>) {
        self.closed = true;
        self.held.clear();
        self.inflight.on_close(cx);
    }

    /// Whether more input may be read.
    pub fn wants_input(&self) -> bool {
        !self.closed && !self.is_full()
    }

    /// Bytes of the frame at the front of the input, as far as is known.
    pub fn input_hint(&self) -> usize {
        self.input_hint
    }

    fn is_full(&self) -> bool {
        self.inflight.is_full() || self.unsent_bytes >= UNSENT_BYTES_MAX
    }

    /// Goes on with what was held back.
    fn resume(&mut self, cx: &mut Context<'_>) {
        let mut held = std::mem::take(&mut self.held);
        self.advance(&mut held, cx);
        self.held = held;
    }

    /// Sends what may leave and takes requests in until the input has no whole one, or until it must wait.
    fn advance(&mut self, input: &mut BytesMut, cx: &mut Context<'_>) {
        self.send_ready(cx);
        while !self.closed && !self.is_full() {
            match frame::take(input, cx.settings.request_bytes_max) {
                Ok(Front::Frame(bytes)) => {
                    let begun = self.begin(bytes, cx);
                    self.send_ready(cx);
                    if begun.is_err() {
                        self.close(cx);
                    }
                }
                Ok(Front::Needs(total)) => {
                    self.input_hint = total;
                    break;
                }
                Err(frame::BadSize(_)) => self.close(cx),
            }
        }
        if self.closed {
            input.clear();
        }
        self.inflight.wish(cx);
    }

    /// Starts the work on one request.
    fn begin(&mut self, bytes: Bytes, cx: &mut Context<'_>) -> Result<(), WireError> {
        let request_bytes = bytes.len();
        let mut reader = Reader::new(bytes, false);
        let header = RequestHeader::decode(&mut reader, is_flexible)?;
        let api = api_of(header.key).ok_or(WireError::Unserved)?;
        let served = (api.min..=api.max).contains(&header.version) || api.key == API_VERSIONS_KEY;
        if !served {
            return Err(WireError::Unserved);
        }
        self.inflight.begin(header, request_bytes, cx, |call| (api.handle)(&mut reader, call))
    }

    fn send_ready(&mut self, cx: &mut Context<'_>) {
        while !self.closed
            && let Some(outgoing) = self.inflight.next_ready()
        {
            match outgoing {
                Outgoing::Pieces(pieces) => {
                    for piece in pieces {
                        self.unsent_bytes += piece.len();
                        cx.send(piece);
                    }
                }
                Outgoing::Close => self.close(cx),
            }
        }
    }

    /// Ends the connection once what was sent has left; nothing that still waits is answered.
    fn close(&mut self, cx: &mut Context<'_>) {
        self.closed = true;
        self.inflight.on_close(cx);
        cx.close();
    }
}
