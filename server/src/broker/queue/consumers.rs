//! The consumers of one queue: who may have another record, and whose turn it is.
//!
//! In: subscriptions, limits, what was handed over and what came back. Out: the consumer to serve next. Never:
//! looks at a record.
//!
//! Consumers of equal priority take turns, record by record; higher priority goes first. A consumer that may
//! have none is not in the rings and costs nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};

use ringmain_engine::format::record::Record;

use super::stream::Cursor;
use crate::broker::command::{Consumer, Delivery, SessionId, SubscribeError};

/// Records handed to a session for one consumer that have not left it for the peer.
pub const HANDED_COUNT_MAX: usize = 1024;
/// Bytes of them: one more is handed over while there are fewer.
pub const HANDED_BYTES_MAX: usize = 1 << 20;

/// One consumer.
#[derive(Debug)]
pub struct Member {
    pub session: SessionId,
    pub ticket: u64,
    pub settles: bool,
    pub exclusive: bool,
    pub priority: i32,
    /// Unsettled deliveries it may have; 0: no limit.
    pub limit: u32,
    /// Unsettled deliveries it has.
    pub unsettled: u32,
    handed: Handed,
    in_ring: bool,
    /// What it is given in this turn.
    pub outgoing: Vec<Delivery>,
    /// Present if it reads by offset.
    pub cursor: Option<Box<Cursor>>,
}

#[derive(Debug, Default)]
struct Handed {
    sizes: VecDeque<usize>,
    bytes: usize,
}

impl Member {
    /// Whether it has room for a record.
    pub fn has_room(&self) -> bool {
        let within_limit = !self.settles || self.limit == 0 || self.unsettled < self.limit;
        within_limit && self.handed.sizes.len() < HANDED_COUNT_MAX && self.handed.bytes < HANDED_BYTES_MAX
    }

    /// Gives it a record, to be sent at the end of the turn.
    pub fn give(&mut self, delivery: Delivery) {
        let size = size_of_record(&delivery.record);
        self.handed.sizes.push_back(size);
        self.handed.bytes += size;
        if self.settles {
            self.unsettled += 1;
        }
        self.outgoing.push(delivery);
    }

    /// `count` of its deliveries have left for the peer; more than were handed over means all.
    pub fn sent(&mut self, count: u32) {
        let count = self.handed.sizes.len().min(count as usize);
        self.handed.bytes -= self.handed.sizes.drain(..count).sum::<usize>();
    }
}

/// Bytes a record keeps in memory, near enough.
fn size_of_record(record: &Record) -> usize {
    let headers =
        record.headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, |v| v.len()));
    size_of::<Delivery>()
        + record.key.as_ref().map_or(0, |key| key.len())
        + record.value.as_ref().map_or(0, |value| value.len())
        + headers.sum::<usize>()
}

/// All of them. A serial is in a ring if and only if its member says so; members that read by offset are in none.
#[derive(Debug, Default)]
pub struct Consumers {
    members: BTreeMap<u32, Member>,
    by_ticket: HashMap<(SessionId, u64), u32>,
    /// How many read by offset.
    cursors_count: u32,
    /// By priority, highest first.
    rings: BTreeMap<Reverse<i32>, VecDeque<u32>>,
    /// Those that were given something in this turn.
    served: Vec<u32>,
    last_serial: u32,
    single_active: bool,
    active: Option<u32>,
}

impl Consumers {
    /// None. If `single_active`, only the oldest is served.
    pub fn new(single_active: bool) -> Consumers {
        Consumers { single_active, ..Consumers::default() }
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.members.len() as u32
    }

    /// Adds one and says its serial, which is never 0.
    pub fn add(
        &mut self,
        session: SessionId,
        ticket: u64,
        consumer: &Consumer,
        cursor: Option<Box<Cursor>>,
    ) -> Result<u32, SubscribeError> {
        let refused = consumer.exclusive && !self.members.is_empty();
        if refused || self.members.values().any(|member| member.exclusive) {
            return Err(SubscribeError::ExclusiveConsumer);
        }
        let serial = self.free_serial();
        let by_offset = cursor.is_some();
        let member = Member {
            session,
            ticket,
            settles: consumer.settles,
            exclusive: consumer.exclusive,
            priority: consumer.priority,
            limit: consumer.limit,
            unsettled: 0,
            handed: Handed::default(),
            in_ring: false,
            outgoing: Vec::new(),
            cursor,
        };
        self.members.insert(serial, member);
        self.by_ticket.insert((session, ticket), serial);
        self.cursors_count += u32::from(by_offset);
        if !by_offset && self.active.is_none() {
            self.active = Some(serial);
        }
        self.wake(serial);
        Ok(serial)
    }

    /// Takes one out. Whoever is next becomes the active one.
    pub fn remove(&mut self, serial: u32) -> Option<Member> {
        let member = self.members.remove(&serial)?;
        self.by_ticket.remove(&(member.session, member.ticket));
        self.cursors_count -= u32::from(member.cursor.is_some());
        if let Some(ring) = self.rings.get_mut(&Reverse(member.priority)) {
            ring.retain(|found| *found != serial);
            if ring.is_empty() {
                self.rings.remove(&Reverse(member.priority));
            }
        }
        if self.active == Some(serial) {
            let mut shared = self.members.iter().filter(|(_, member)| member.cursor.is_none());
            self.active = shared.next().map(|(serial, _)| *serial);
            if let Some(active) = self.active {
                self.wake(active);
            }
        }
        Some(member)
    }

    /// The serial of a session's consumer.
    pub fn find(&self, session: SessionId, ticket: u64) -> Option<u32> {
        self.by_ticket.get(&(session, ticket)).copied()
    }

    /// All serials, oldest first.
    pub fn serials(&self) -> Vec<u32> {
        self.members.keys().copied().collect()
    }

    /// The serials of a session's consumers.
    pub fn serials_of(&self, session: SessionId) -> Vec<u32> {
        let of_session = self.members.iter().filter(|(_, member)| member.session == session);
        of_session.map(|(serial, _)| *serial).collect()
    }

    /// One of them.
    pub fn get_mut(&mut self, serial: u32) -> Option<&mut Member> {
        self.members.get_mut(&serial)
    }

    /// Those that read by offset, oldest first. Costs nothing where there are none.
    pub fn cursors_mut(&mut self) -> impl Iterator<Item = (u32, &mut Member)> {
        let members = (self.cursors_count > 0).then(|| self.members.iter_mut());
        let members = members.into_iter().flatten().filter(|(_, member)| member.cursor.is_some());
        members.map(|(serial, member)| (*serial, member))
    }

    /// One of its deliveries is settled or has come back.
    pub fn credit(&mut self, serial: u32) {
        if let Some(member) = self.members.get_mut(&serial) {
            assert!(member.unsettled > 0, "a consumer got more back than it was given");
            member.unsettled -= 1;
            self.wake(serial);
        }
    }

    /// It may have room again: gives it a place in its ring.
    pub fn wake(&mut self, serial: u32) {
        let inactive = self.single_active && self.active != Some(serial);
        let Some(member) = self.members.get_mut(&serial) else { return };
        if !inactive && member.cursor.is_none() && !member.in_ring && member.has_room() {
            member.in_ring = true;
            self.rings.entry(Reverse(member.priority)).or_default().push_back(serial);
        }
    }

    /// Whose turn it is, without taking it.
    pub fn next(&mut self) -> Option<u32> {
        while let Some(mut entry) = self.rings.first_entry() {
            let Some(serial) = entry.get().front().copied() else {
                entry.remove();
                continue;
            };
            match self.members.get_mut(&serial) {
                Some(member) if member.has_room() => return Some(serial),
                Some(member) => member.in_ring = false,
                None => {}
            }
            entry.get_mut().pop_front();
        }
        None
    }

    /// Gives the record to the one whose turn it is; the turn goes on to the next.
    pub fn give(&mut self, serial: u32, delivery: Delivery) {
        let Some(member) = self.members.get_mut(&serial) else { return };
        let priority = Reverse(member.priority);
        if member.outgoing.is_empty() {
            self.served.push(serial);
        }
        member.give(delivery);
        member.in_ring = member.has_room();
        if let Some(ring) = self.rings.get_mut(&priority) {
            assert!(ring.pop_front() == Some(serial), "a consumer was served out of turn");
            if member.in_ring {
                ring.push_back(serial);
            }
        }
    }

    /// A consumer that reads by offset was given something.
    pub fn mark_served(&mut self, serial: u32) {
        self.served.push(serial);
    }

    /// What every consumer was given in this turn.
    pub fn take_outgoing(&mut self) -> impl Iterator<Item = (SessionId, u64, Vec<Delivery>)> + '_ {
        let members = &mut self.members;
        self.served.drain(..).filter_map(|serial| {
            let member = members.get_mut(&serial)?;
            Some((member.session, member.ticket, std::mem::take(&mut member.outgoing)))
        })
    }

    fn free_serial(&mut self) -> u32 {
        loop {
            self.last_serial = self.last_serial.wrapping_add(1);
            if self.last_serial != 0 && !self.members.contains_key(&self.last_serial) {
                return self.last_serial;
            }
        }
    }
}
