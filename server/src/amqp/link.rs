//! What all channels of one connection share: output, tickets, and commands gathered over one call.
//!
//! In: what channels ask and write. Out: requests and frames, in the order they were written. Never: lets a
//! question overtake a publish or a verdict that was given before it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ringmain_engine::types::LogId;

use super::outbox::Outbox;
use super::publish::{Publishes, Run};
use super::settle::Settlements;
use super::wire::frame;
use super::wire::method::Method;
use super::wire::primitive::ShortStr;
use super::wire::properties::Properties;
use crate::broker::catalog::{CatalogRequest, Topic};
use crate::broker::command::{Command, SessionId};
use crate::broker::context::Context;

/// The ticket of commands that are never answered.
pub const UNANSWERED: u64 = 0;

/// One opening of one channel number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub struct ChannelKey {
    pub number: u16,
    pub generation: u32,
}

/// What an answer is for.
#[derive(Debug)]
pub enum Purpose {
    /// The step a channel is at.
    Step(ChannelKey),
    /// Publishes, for their confirms.
    Append { runs: Vec<Run>, bytes: usize },
    /// A consumer: the ticket lives as long as it does.
    Consumer(Subscribed),
    /// The end of the consumer with this ticket.
    Cancel { consumer: u64, channel: ChannelKey },
    /// A record for a channel; if the channel is gone meanwhile, it goes back.
    Get { channel: ChannelKey, log: LogId },
    /// Something that goes with the connection.
    Removal,
}

/// A consumer of a queue.
#[derive(Clone, Debug)]
pub struct Subscribed {
    pub channel: ChannelKey,
    pub tag: ShortStr,
    pub log: LogId,
    /// Deliveries wait for a verdict.
    pub settles: bool,
    /// Read by offset.
    pub stream: bool,
    /// Its own limit of unsettled deliveries; 0: none.
    pub prefetch: u32,
}

/// The connection that an exclusive queue belongs to.
pub fn owner(topic: &Topic) -> Option<SessionId> {
    topic.queue.as_ref().and_then(|queue| queue.owner)
}

/// The shared part of a connection.
#[derive(Debug)]
pub struct Link {
    pub outbox: Outbox,
    pub publishes: Publishes,
    pub settlements: Settlements,
    /// Queues that go with the connection.
    pub exclusive_queues: BTreeSet<String>,
    /// Largest frame the peer takes.
    pub frame_bytes_max: u32,
    /// The peer wants to hear when the broker ends a consumer.
    pub hears_cancel: bool,
    /// Bytes of publishes that are not durable yet.
    pub appending_bytes: usize,
    purposes: BTreeMap<u64, Purpose>,
    last_ticket: u64,
}

impl Link {
    /// A connection that asked for nothing yet.
    pub fn new(frame_bytes_max: u32) -> Link {
        Link {
            outbox: Outbox::default(),
            publishes: Publishes::default(),
            settlements: Settlements::default(),
            exclusive_queues: BTreeSet::new(),
            frame_bytes_max,
            hears_cancel: false,
            appending_bytes: 0,
            purposes: BTreeMap::new(),
            last_ticket: UNANSWERED,
        }
    }

    /// Writes a method frame.
    pub fn method(&mut self, channel: u16, method: &Method) {
        frame::put_method(channel, method, self.outbox.tail());
    }

    /// Writes a method with its content.
    pub fn content(&mut self, channel: u16, method: &Method, properties: &Properties, body: &Bytes) {
        self.outbox.content(channel, method, properties, body, self.frame_bytes_max);
    }

    /// Asks, after everything gathered before. Returns the ticket.
    pub fn ask(&mut self, purpose: Purpose, command: Command, cx: &mut Context<'_>) -> u64 {
        self.flush_commands(cx);
        self.ask_at_once(purpose, command, cx)
    }

    /// Asks, before anything that is still gathered. Returns the ticket.
    pub fn ask_at_once(&mut self, purpose: Purpose, command: Command, cx: &mut Context<'_>) -> u64 {
        self.last_ticket += 1;
        self.purposes.insert(self.last_ticket, purpose);
        cx.ask(self.last_ticket, command);
        self.last_ticket
    }

    /// Asks what is never answered, after everything gathered before.
    pub fn tell(&mut self, command: Command, cx: &mut Context<'_>) {
        self.flush_commands(cx);
        cx.ask(UNANSWERED, command);
    }

    /// Removes the queues that go with the connection.
    pub fn remove_exclusive_queues(&mut self, cx: &mut Context<'_>) {
        for name in std::mem::take(&mut self.exclusive_queues) {
            let mine = |topic: &Topic| owner(topic).is_none_or(|owner| owner == cx.session);
            if cx.catalog.topic(&name).is_none_or(mine) {
                self.ask(Purpose::Removal, Command::Catalog(CatalogRequest::DeleteTopic { name }), cx);
            }
        }
    }

    /// Sends the gathered publishes and verdicts on their way.
    pub fn flush_commands(&mut self, cx: &mut Context<'_>) {
        for (log, batch, runs) in self.publishes.take() {
            let bytes = batch.bytes().len();
            self.appending_bytes += bytes;
            self.ask_at_once(Purpose::Append { runs, bytes }, Command::Append { log, batch }, cx);
        }
        self.settlements.flush(UNANSWERED, cx);
    }

    /// What the ticket was for, for the only answer it gets.
    pub fn take_purpose(&mut self, ticket: u64) -> Option<Purpose> {
        self.purposes.remove(&ticket)
    }

    /// The consumer with this ticket.
    pub fn consumer(&self, ticket: u64) -> Option<&Subscribed> {
        match self.purposes.get(&ticket) {
            Some(Purpose::Consumer(consumer)) => Some(consumer),
            _ => None,
        }
    }

    /// Whether every question was answered.
    pub fn is_quiet(&self) -> bool {
        self.purposes.is_empty()
    }
}
