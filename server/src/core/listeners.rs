//! Where connections come in: the sockets one core listens on, and which core serves what they accept.
//!
//! In: accepted connections. Out: each to the core that serves it: this one, or all cores in turn. Never: has two
//! accepts in flight for one socket.
//!
//! ```text
//!   first core   AMQP, admin, and Kafka's only port ──> every core in turn
//!   each core    a Kafka port of its own ──> itself
//! ```

use bytes::BytesMut;
use ringmain_engine::io::{Descriptor, Done, Op, Token};
use ringmain_engine::types::Now;

use super::connection::Protocol;
use super::mail::Mail;
use super::{ACCEPT, Core, SIGNAL, run};

/// A refused accept (too many open files) is tried again after so long.
const ACCEPT_AGAIN_US: u64 = 100_000;

/// One socket that listens.
pub struct Listener {
    pub socket: Descriptor,
    pub protocol: Protocol,
    /// What comes in is served by this core, not dealt out.
    pub keeps: bool,
}

/// What one core listens on.
#[derive(Default)]
pub struct Listeners {
    sockets: Vec<Listener>,
    /// Readable when a signal came; on the first core only.
    signals: Option<Descriptor>,
    /// The core that gets the next connection that is dealt out.
    next_core: u16,
    /// Sockets whose accept was refused, and when to try again.
    again: Vec<(u64, u64)>,
}

impl Listeners {
    /// These sockets, and what says that a signal came.
    pub fn new(sockets: Vec<Listener>, signals: Option<Descriptor>) -> Listeners {
        Listeners { sockets, signals, ..Listeners::default() }
    }

    /// When a refused accept is to be tried again.
    pub fn next_deadline_us(&self) -> Option<u64> {
        self.again.iter().map(|(at, _)| *at).min()
    }

    /// Takes no further connections.
    pub fn close(&mut self) {
        self.sockets.clear();
    }

    fn pop_due(&mut self, now_us: u64) -> Option<u64> {
        let place = self.again.iter().position(|(at, _)| *at <= now_us)?;
        Some(self.again.swap_remove(place).1)
    }

    fn deal(&mut self, cores: u16) -> u16 {
        let core = self.next_core;
        self.next_core = (self.next_core + 1) % cores;
        core
    }
}

impl Core {
    /// The first operations: accepts, and the wait for a signal.
    pub(super) fn listen(&mut self) {
        (0..self.listeners.sockets.len() as u64).for_each(|index| self.accept(index));
        self.wait_for_signal();
    }

    /// Tries refused accepts again whose time has come.
    pub(super) fn accept_again(&mut self, now: Now) {
        while let Some(index) = self.listeners.pop_due(now.monotonic_us) {
            self.accept(index);
        }
    }

    /// Waits for the next connection of a listener.
    fn accept(&mut self, index: u64) {
        if let Some(listener) = self.listeners.sockets.get(index as usize) {
            let op = Op::Accept { listener: listener.socket.clone() };
            self.wanted.push((Token { space: ACCEPT, index }, op));
        }
    }

    pub(super) fn accepted(&mut self, index: u64, accepted: Option<Done>, now: Now) {
        let Some(listener) = self.listeners.sockets.get(index as usize) else { return };
        let (protocol, keeps) = (listener.protocol, listener.keeps);
        let Some(Done::Accepted(socket, peer)) = accepted else {
            // Most likely too many open files; there is no use in trying again at once.
            return self.listeners.again.push((now.monotonic_us + ACCEPT_AGAIN_US, index));
        };
        let core = if keeps { self.index } else { self.listeners.deal(self.cores) };
        if core == self.index {
            self.connections.adopt(socket, peer, protocol, self.broker.metrics());
        } else {
            self.post.send(core, Mail::Connection { socket, peer, protocol });
        }
        self.accept(index);
    }

    fn wait_for_signal(&mut self) {
        if let Some(signals) = &self.listeners.signals {
            let (socket, buffer) = (signals.clone(), BytesMut::with_capacity(16));
            self.wanted.push((Token { space: SIGNAL, index: 0 }, Op::Receive { socket, buffer }));
        }
    }

    pub(super) fn signalled(&mut self, received: Option<Done>, now: Now) {
        let Some(Done::Received(_)) = received else { return };
        if self.drain.has_begun() {
            run::log(self.index, "a second signal: leaving at once");
            std::process::exit(1);
        }
        run::log(self.index, "stopping: finishing what is in flight");
        for core in (0..self.cores).filter(|core| *core != self.index) {
            self.post.send(core, Mail::Drain);
        }
        self.wait_for_signal();
        self.begin_drain(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_core_gets_a_connection_in_turn() {
        let mut listeners = Listeners::default();
        let dealt: Vec<u16> = (0..5).map(|_| listeners.deal(3)).collect();
        assert_eq!(dealt, [0, 1, 2, 0, 1]);
    }

    #[test]
    fn a_refused_accept_comes_again_once_its_time_has_come() {
        let mut listeners = Listeners { again: vec![(300, 7), (100, 2), (200, 3)], ..Listeners::default() };
        assert_eq!(listeners.next_deadline_us(), Some(100));
        assert_eq!(listeners.pop_due(99), None);
        let mut due: Vec<u64> = std::iter::from_fn(|| listeners.pop_due(200)).collect();
        due.sort_unstable();
        assert_eq!((due, listeners.next_deadline_us()), (vec![2, 3], Some(300)));
    }
}
