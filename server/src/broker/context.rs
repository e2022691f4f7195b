//! What a session is given whenever it is called, and the only things it can do to the world.
//!
//! A session is a state machine without I/O: bytes, events and the time come in as arguments; requests and
//! bytes go out through the [`Context`].

use std::collections::VecDeque;

use bytes::Bytes;
use ringmain_engine::types::Now;

use super::catalog::Catalog;
use super::command::{Command, Request, SessionId};
use super::settings::Settings;

/// One call's view of the world.
pub struct Context<'a> {
    pub now: Now,
    pub session: SessionId,
    /// This core's copy of the catalog; changed only between calls.
    pub catalog: &'a Catalog,
    pub settings: &'a Settings,
    /// New records are refused for want of room: whoever publishes is to be held.
    pub short_of_room: bool,
    pub requests: &'a mut Vec<Request>,
    pub output: &'a mut Output,
    pub random: &'a mut Random,
}

impl Context<'_> {
    /// Asks; the answer comes to this session under `ticket`.
    pub fn ask(&mut self, ticket: u64, command: Command) {
        self.requests.push(Request { from: self.session, ticket, command });
    }

    /// Sends bytes to the peer, after everything sent before.
    pub fn send(&mut self, bytes: Bytes) {
        self.output.push(bytes);
    }

    /// Closes the connection once everything sent so far has left.
    pub fn close(&mut self) {
        self.output.close = true;
    }

    /// Asks to be called with the time no later than `monotonic_us`. The earliest such wish counts; it is gone
    /// once it was granted.
    pub fn wake_at(&mut self, monotonic_us: u64) {
        let earliest = self.output.wake_at_us.map_or(monotonic_us, |at| at.min(monotonic_us));
        self.output.wake_at_us = Some(earliest);
    }
}

/// Bytes of one connection on their way out.
#[derive(Debug, Default)]
pub struct Output {
    pub chunks: VecDeque<Bytes>,
    /// Sum of the chunks' lengths.
    pub bytes_count: usize,
    /// Close when the chunks have left.
    pub close: bool,
    pub wake_at_us: Option<u64>,
}

impl Output {
    /// Appends bytes.
    pub fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.bytes_count += bytes.len();
            self.chunks.push_back(bytes);
        }
    }
}

/// Random numbers for names and ids, not for secrets (SplitMix64). Seeded by whoever owns the core's loop.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A version 4 UUID.
    pub fn uuid(&mut self) -> [u8; 16] {
        let mut bytes = (u128::from(self.next_u64()) << 64 | u128::from(self.next_u64())).to_be_bytes();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        bytes
    }
}
