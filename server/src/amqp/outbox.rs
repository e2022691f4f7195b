//! What goes to the peer, in order, and what is known of how far it got.
//!
//! In: frames as they are written. Out: chunks to the socket; for deliveries that have left it, a
//! [`Command::Sent`] to their queue. Never: copies a large body.
//!
//! Invariant: the marks' `end` never falls, and none is above `given` plus what is still in `chunks` and `tail`.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use ringmain_engine::types::LogId;

use super::wire::frame;
use super::wire::method::Method;
use super::wire::properties::Properties;
use crate::broker::command::Command;
use crate::broker::context::Context;

/// Deliveries to one consumer are reported in steps of about this many bytes.
const MARK_BYTES: u64 = 64 << 10;

/// Output of one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    chunks: Vec<Bytes>,
    tail: BytesMut,
    /// Bytes ever given to the socket.
    given: u64,
    /// Bytes in `chunks`.
    chunked: u64,
    marks: VecDeque<Mark>,
    /// Given, but not sent when last heard.
    left: usize,
}

#[derive(Debug)]
struct Mark {
    start: u64,
    end: u64,
    log: LogId,
    consumer: u64,
    count: u32,
}

impl Outbox {
    /// Where the next bytes are written.
    pub fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Writes a method with its content, in frames of at most `frame_bytes_max`.
    pub fn content(
        &mut self,
        channel: u16,
        method: &Method,
        properties: &Properties,
        body: &Bytes,
        frame_bytes_max: u32,
    ) {
        let Outbox { tail, chunks, chunked, .. } = self;
        let mut send = |chunk: Bytes| {
            *chunked += chunk.len() as u64;
            chunks.push(chunk);
        };
        frame::put_content(channel, method, properties, body, frame_bytes_max, tail, &mut send);
    }

    fn cut(&mut self) {
        if !self.tail.is_empty() {
            self.chunked += self.tail.len() as u64;
            self.chunks.push(self.tail.split().freeze());
        }
    }

    fn end(&self) -> u64 {
        self.given + self.chunked + self.tail.len() as u64
    }

    /// A delivery to `consumer` was just written.
    pub fn delivered(&mut self, log: LogId, consumer: u64) {
        let end = self.end();
        if let Some(mark) = self.marks.back_mut()
            && mark.consumer == consumer
            && end - mark.start < MARK_BYTES
        {
            mark.end = end;
            mark.count += 1;
            return;
        }
        self.marks.push_back(Mark { start: end, end, log, consumer, count: 1 });
    }

    /// Gives everything written to the socket; says whether there was anything.
    pub fn flush(&mut self, cx: &mut Context<'_>) -> bool {
        self.cut();
        let any = self.chunked > 0;
        self.given += self.chunked;
        self.left += self.chunked as usize;
        self.chunked = 0;
        for chunk in self.chunks.drain(..) {
            cx.send(chunk);
        }
        any
    }

    /// All but `left` bytes of what was given have left.
    pub fn sent(&mut self, left: usize, ticket: u64, cx: &mut Context<'_>) {
        self.left = left;
        let sent = self.given.saturating_sub(left as u64);
        let mut last: Option<(LogId, u64, u32)> = None;
        while self.marks.front().is_some_and(|mark| mark.end <= sent) {
            let Some(Mark { log, consumer, count, .. }) = self.marks.pop_front() else { break };
            match &mut last {
                Some((_, same, sum)) if *same == consumer => *sum += count,
                _ => {
                    if let Some((log, consumer, count)) = last.replace((log, consumer, count)) {
                        cx.ask(ticket, Command::Sent { log, consumer, count });
                    }
                }
            }
        }
        if let Some((log, consumer, count)) = last {
            cx.ask(ticket, Command::Sent { log, consumer, count });
        }
    }

    /// Bytes given to the socket that it did not send yet, as far as is known.
    pub fn left(&self) -> usize {
        self.left
    }
}
