//! All connections of one core, by slot.
//!
//! In: sockets, completions, events by session id. Out: operations. Never: gives an event to a session that has
//! taken the slot of the one it was meant for: generations tell them apart.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bytes::BytesMut;
use ringmain_engine::io::{Descriptor, Op, Token};
use ringmain_engine::types::Now;

use super::connection::{Connection, Protocol};
use super::{Core, PLAIN, RECEIVE, SEND};
use crate::broker::SOCKET_SLOTS_MAX;
use crate::broker::command::SessionId;
use crate::broker::context::Context;
use crate::broker::metrics::Metrics;

/// The connections.
pub struct Connections {
    core: u16,
    slots: Vec<Option<Box<Connection>>>,
    free: Vec<u32>,
    open_max: u32,
    next_generation: u32,
    /// `(time, slot)` of each session that wants to be called.
    timers: BTreeSet<(u64, u32)>,
    /// Sessions that were called since the last collection: only they may want something new.
    touched: Vec<u32>,
    /// Sessions from which no input was taken because the core had too much to do.
    held_back: bool,
    removals: Vec<(Token, Op)>,
}

impl Connections {
    /// None yet.
    pub fn new(core: u16, open_max: u32) -> Connections {
        Connections {
            core,
            slots: Vec::new(),
            free: Vec::new(),
            open_max: open_max.min(SOCKET_SLOTS_MAX),
            next_generation: 0,
            timers: BTreeSet::new(),
            touched: Vec::new(),
            held_back: false,
            removals: Vec::new(),
        }
    }

    /// Takes a connection in, or closes it when there are too many.
    pub fn adopt(&mut self, socket: Descriptor, peer: SocketAddr, protocol: Protocol, metrics: &mut Metrics) {
        metrics.connection_accepted(protocol.name());
        if self.slots.len() - self.free.len() >= self.open_max as usize {
            super::run::log(self.core, &format!("{peer} refused: {} connections are open", self.open_max));
            metrics.connection_closed(protocol.name());
            return;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.next_generation = (self.next_generation + 1) % SessionId::GENERATIONS;
        let connection = Connection::new(protocol, socket, peer, self.next_generation);
        self.slots[slot as usize] = Some(Box::new(connection));
        self.touched.push(slot);
    }

    /// When the next session wants to be called.
    pub fn next_wake_us(&self) -> Option<u64> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A session whose time has come.
    pub fn pop_due(&mut self, now_us: u64) -> Option<SessionId> {
        loop {
            let (_, slot) = self.timers.first().filter(|(at, _)| *at <= now_us).copied()?;
            self.timers.pop_first();
            if let Some(connection) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) {
                connection.wake_at_us = None;
                return Some(SessionId { core: self.core, slot, generation: connection.generation });
            }
        }
    }

    fn get_mut(&mut self, id: SessionId) -> Option<&mut Connection> {
        let connection = self.slots.get_mut(id.slot as usize)?.as_mut()?;
        (connection.generation == id.generation).then_some(connection)
    }

    fn take(&mut self, id: SessionId) -> Option<Box<Connection>> {
        self.get_mut(id)?;
        self.slots.get_mut(id.slot as usize)?.take()
    }

    fn put_back(&mut self, id: SessionId, connection: Box<Connection>) {
        self.slots[id.slot as usize] = Some(connection);
        self.touched.push(id.slot);
    }

    /// Every open session.
    pub fn ids(&self) -> Vec<SessionId> {
        let open = self.slots.iter().zip(0..).filter_map(|(connection, slot)| {
            let generation = connection.as_ref()?.generation;
            Some(SessionId { core: self.core, slot, generation })
        });
        open.collect()
    }

    /// Whether everything was sent to everybody.
    pub fn are_drained(&self) -> bool {
        self.slots.iter().flatten().all(|connection| connection.is_drained())
    }

    fn note_wake(&mut self, slot: u32) {
        let Some(connection) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let Some(wished) = connection.output.wake_at_us.take() else { return };
        if connection.wake_at_us.is_some_and(|at| at <= wished) {
            return;
        }
        if let Some(old) = connection.wake_at_us.replace(wished) {
            self.timers.remove(&(old, slot));
        }
        self.timers.insert((wished, slot));
    }

    fn remove(&mut self, id: SessionId, metrics: &mut Metrics) -> Option<Box<Connection>> {
        self.get_mut(id)?;
        let connection = self.slots[id.slot as usize].take()?;
        if let Some(at) = connection.wake_at_us {
            self.timers.remove(&(at, id.slot));
        }
        self.free.push(id.slot);
        metrics.connection_closed(connection.protocol.name());
        // Operations in flight keep the socket open; a shutdown ends them.
        if connection.is_busy() {
            let op = Op::Shutdown { socket: connection.socket.clone() };
            self.removals.push((Token { space: PLAIN, index: 0 }, op));
        }
        Some(connection)
    }

    /// The sends and receives that are possible now.
    pub fn collect(&mut self, intake: Intake, wanted: &mut Vec<(Token, Op)>) {
        if intake == Intake::All && self.held_back {
            self.held_back = false;
            self.touched = (0..self.slots.len() as u32).collect();
        }
        for slot in std::mem::take(&mut self.touched) {
            self.note_wake(slot);
            let Some(connection) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else {
                continue;
            };
            let index = SessionId { core: self.core, slot, generation: connection.generation }.pack();
            if let Some(op) = connection.next_send() {
                wanted.push((Token { space: SEND, index }, op));
            }
            let is_taken = match intake {
                Intake::All => true,
                Intake::Operators => connection.protocol == Protocol::Admin,
                Intake::Nothing => false,
            };
            if !is_taken {
                self.held_back = true;
            } else if let Some(op) = connection.next_receive() {
                wanted.push((Token { space: RECEIVE, index }, op));
            }
        }
        wanted.append(&mut self.removals);
    }
}

/// Whose input a core takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intake {
    All,
    /// Too much waits for memory or for another core. Whoever looks after the broker must be able to ask why.
    Operators,
    Nothing,
}

impl Core {
    /// Calls a session, if it is still there, and takes what it asks.
    pub(super) fn with_session<R>(
        &mut self,
        id: SessionId,
        now: Now,
        call: impl FnOnce(&mut Connection, &mut Context<'_>) -> R,
    ) -> Option<R> {
        // Taken out of its slot for the call, so that the rest of the core can be lent to its context.
        let mut connection = self.connections.take(id)?;
        let result = self.in_context(id, now, &mut connection, |connection, cx| {
            let result = call(connection, cx);
            connection.offer_input(cx);
            result
        });
        let finished = connection.is_finished();
        self.connections.put_back(id, connection);
        if finished {
            self.lost(id, now);
        }
        Some(result)
    }

    fn in_context<R>(
        &mut self,
        id: SessionId,
        now: Now,
        connection: &mut Connection,
        call: impl FnOnce(&mut Connection, &mut Context<'_>) -> R,
    ) -> R {
        let mut requests = Vec::new();
        let result = connection.with_output(|connection, output| {
            let mut cx = Context {
                now,
                session: id,
                catalog: self.broker.catalog(),
                settings: self.broker.settings(),
                short_of_room: self.broker.is_short_of_room(),
                requests: &mut requests,
                output,
                random: &mut self.random,
            };
            call(connection, &mut cx)
        });
        self.requests.extend(requests);
        result
    }

    pub(super) fn received(&mut self, index: u64, buffer: BytesMut, now: Now) {
        let id = SessionId::unpack(index);
        let open = self.with_session(id, now, |connection, cx| connection.received(buffer, cx));
        if open == Some(false) {
            self.lost(id, now);
        }
    }

    pub(super) fn sent(&mut self, id: SessionId, count: usize, now: Now) {
        self.with_session(id, now, |connection, cx| connection.sent(count, cx));
    }

    /// The connection is gone, or is to go: gives back what it held.
    pub(super) fn lost(&mut self, id: SessionId, now: Now) {
        let Some(mut connection) = self.connections.remove(id, self.broker.metrics()) else { return };
        self.in_context(id, now, &mut connection, |connection, cx| connection.closed(cx));
        if connection.protocol == Protocol::Amqp {
            self.gone.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::OwnedFd;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn whoever_looks_after_a_full_core_is_heard() {
        let mut connections = Connections::new(0, 10);
        let mut metrics = Metrics::default();
        let peer = "127.0.0.1:1".parse().unwrap();
        for protocol in [Protocol::Kafka, Protocol::Amqp, Protocol::Admin] {
            let socket: OwnedFd = UdpSocket::bind("127.0.0.1:0").unwrap().into();
            let socket = Descriptor::Kernel(Arc::new(socket.into()));
            connections.adopt(socket, peer, protocol, &mut metrics);
        }
        for (intake, count) in [(Intake::Operators, 1), (Intake::All, 2)] {
            let mut wanted = Vec::new();
            connections.collect(intake, &mut wanted);
            let receives = wanted.iter().filter(|(_, op)| matches!(op, Op::Receive { .. })).count();
            assert_eq!(receives, count, "{intake:?}");
        }
    }
}
