//! The dead-letter agent of one core: a session without a socket that sends discarded records where their queue
//! says.
//!
//! In: [`Event::DeadLetters`] of the core's queues, and the answers to its own appends. Out: appends to the target
//! queues, settlements of the sources. Never: settles a source as done before every copy is durable.
//!
//! ```text
//!   DeadLetters ──> routed to nothing ───────────────────────────> Settle Accept
//!        └────────> one copy per target ──> all durable ─────────> Settle Accept
//!                                      └──> one was refused ─ 1 s > Settle Requeue, and it comes again
//! ```
//!
//! A copy that can never arrive does not hold its source back: its queue was deleted meanwhile, or it is too large
//! for its topic. A full target or failing storage is waited out instead: the source goes back to its queue after a
//! pause, where it expires again, is too many again or is given to a consumer again. So nothing is lost, and targets
//! that had their copy may get another. The pause keeps a full target from being asked in a tight loop.

use std::collections::{HashMap, VecDeque};

use ringmain_engine::format::batch::HEADER_BYTES;
use ringmain_engine::format::record::BatchBuilder;
use ringmain_engine::types::{LogId, Offset};

use super::exchange;
use super::message::{self, Message};
use super::wire::primitive::{ShortBytes, ShortStr};
use super::wire::table::{ArrayBuilder, Fields, Table, TableBuilder, Value};
use crate::broker::catalog::{Catalog, Topic};
use crate::broker::command::{AppendError, Command, DeathReason, Delivery, Event, Outcome};
use crate::broker::context::Context;

/// Argument of a queue: the exchange its dead letters go to.
pub const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";
/// Argument of a queue: the routing key they get; without it they keep theirs.
pub const DEAD_LETTER_ROUTING_KEY: &str = "x-dead-letter-routing-key";

const X_DEATH: &str = "x-death";
const X_FIRST_DEATH: [&str; 3] = ["x-first-death-queue", "x-first-death-reason", "x-first-death-exchange"];
const X_LAST_DEATH: [&str; 3] = ["x-last-death-queue", "x-last-death-reason", "x-last-death-exchange"];

/// Pause before a record whose copy was refused goes back to its queue.
const REQUEUE_AFTER_US: u64 = 1_000_000;

/// A batch for one target is sent off when it is this long, however many records are still to come.
const BATCH_BYTES: usize = 1 << 20;

/// The agent. Every record it was given and has not settled is in `sources` or in `refused`, once.
#[derive(Debug, Default)]
pub struct DeadLetters {
    sources: HashMap<u64, Source>,
    /// By ticket: the queue the sources came from, and who has a copy in the batch.
    appends: HashMap<u64, Append>,
    /// In the order of their times.
    refused: VecDeque<Refused>,
    /// Tickets and sources are numbered alike; never again in the agent's life.
    next_number: u64,
}

/// A dead record with copies on their way. `copies` > 0.
#[derive(Debug)]
struct Source {
    offset: Offset,
    copies: u32,
    refused: bool,
}

#[derive(Debug)]
struct Append {
    from: LogId,
    sources: Vec<u64>,
}

#[derive(Debug)]
struct Refused {
    requeue_at_us: u64,
    log: LogId,
    offsets: Vec<Offset>,
}

/// Copies for one target, not yet asked to be appended.
struct Copies {
    target: LogId,
    builder: BatchBuilder,
    sources: Vec<u64>,
}

impl DeadLetters {
    /// An agent with nothing to do.
    pub fn new() -> DeadLetters {
        DeadLetters::default()
    }

    /// Records died, or a copy is durable or refused. Other events are not the agent's.
    pub fn on_event(&mut self, ticket: u64, event: Event, cx: &mut Context<'_>) {
        match event {
            Event::DeadLetters { log, reason, records } => self.bury(log, reason, &records, cx),
            Event::Appended(result) => self.appended(ticket, result.err(), cx),
            _ => {}
        }
        self.on_time(cx);
    }

    /// Gives refused records back to their queues once their pause is over, and wishes to be called for the next.
    pub fn on_time(&mut self, cx: &mut Context<'_>) {
        while let Some(first) = self.refused.front() {
            if cx.now.monotonic_us < first.requeue_at_us {
                cx.wake_at(first.requeue_at_us);
                break;
            }
            if let Some(Refused { log, offsets, .. }) = self.refused.pop_front() {
                settle(log, offsets, Outcome::Requeue, cx);
            }
        }
    }

    /// Records that are neither settled nor given back yet.
    pub fn pending_count(&self) -> usize {
        self.sources.len() + self.refused.iter().map(|refused| refused.offsets.len()).sum::<usize>()
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn bury(&mut self, log: LogId, reason: DeathReason, records: &[Delivery], cx: &mut Context<'_>) {
        // A queue that was deleted has no dead letters, and nobody to settle them with.
        let Some(topic) = cx.catalog.topic_of(log) else { return };
        let catalog = cx.catalog;
        let way = Way::of(topic);
        let mut batches: Vec<Copies> = Vec::new();
        let mut done = Vec::new();
        for delivery in records {
            let dead = Message::of_record(&delivery.record, delivery.timestamp_ms);
            let (letter, targets) = match &way {
                Some(way) => way.send(catalog, &dead, reason, cx.now.wall_ms),
                None => (dead, Vec::new()),
            };
            if targets.is_empty() || !letter.fits(HEADER_BYTES) {
                done.push(delivery.offset);
                continue;
            }
            let source = self.number();
            let copies = targets.len() as u32;
            self.sources.insert(source, Source { offset: delivery.offset, copies, refused: false });
            for target in targets {
                self.copy(log, target, source, &letter, &mut batches, cx);
            }
        }
        for copies in batches {
            self.append(log, copies, cx);
        }
        settle(log, done, Outcome::Accept, cx);
    }

    fn copy(
        &mut self,
        from: LogId,
        target: LogId,
        source: u64,
        letter: &Message,
        batches: &mut Vec<Copies>,
        cx: &mut Context<'_>,
    ) {
        let now_ms = cx.now.wall_ms;
        let open = batches.iter().position(|copies| copies.target == target);
        let at = open.unwrap_or_else(|| {
            batches.push(Copies { target, builder: BatchBuilder::new(now_ms), sources: Vec::new() });
            batches.len() - 1
        });
        let Some(copies) = batches.get_mut(at) else { return };
        if !copies.builder.is_empty()
            && (copies.builder.len() >= BATCH_BYTES || !letter.fits(copies.builder.len()))
        {
            let empty = Copies { target, builder: BatchBuilder::new(now_ms), sources: Vec::new() };
            let full = std::mem::replace(copies, empty);
            self.append(from, full, cx);
        }
        if let Some(copies) = batches.get_mut(at) {
            letter.push_to(&mut copies.builder, now_ms);
            copies.sources.push(source);
        }
    }

    fn append(&mut self, from: LogId, copies: Copies, cx: &mut Context<'_>) {
        let ticket = self.number();
        self.appends.insert(ticket, Append { from, sources: copies.sources });
        cx.ask(ticket, Command::Append { log: copies.target, batch: copies.builder.finish() });
    }

    fn appended(&mut self, ticket: u64, error: Option<AppendError>, cx: &mut Context<'_>) {
        let Some(append) = self.appends.remove(&ticket) else { return };
        let refused = !matches!(error, None | Some(AppendError::UnknownLog | AppendError::TooLarge));
        let (mut done, mut again) = (Vec::new(), Vec::new());
        for number in append.sources {
            let Some(source) = self.sources.get_mut(&number) else { continue };
            source.copies -= 1;
            source.refused |= refused;
            if source.copies == 0 {
                let list = if source.refused { &mut again } else { &mut done };
                list.push(source.offset);
                self.sources.remove(&number);
            }
        }
        settle(append.from, done, Outcome::Accept, cx);
        if !again.is_empty() {
            let requeue_at_us = cx.now.monotonic_us + REQUEUE_AFTER_US;
            self.refused.push_back(Refused { requeue_at_us, log: append.from, offsets: again });
        }
    }
}

/// Where the dead letters of one queue go.
struct Way<'a> {
    queue: &'a str,
    exchange: ShortStr,
    routing_key: Option<ShortBytes>,
}

impl<'a> Way<'a> {
    /// `None`: the queue's dead letters go nowhere.
    fn of(topic: &'a Topic) -> Option<Way<'a>> {
        let arguments = Fields::new(&topic.queue.as_ref()?.arguments);
        let text = |name| arguments.get(name).and_then(Value::as_str).map(ShortStr::from);
        Some(Way {
            queue: &topic.name,
            exchange: text(DEAD_LETTER_EXCHANGE)?,
            routing_key: text(DEAD_LETTER_ROUTING_KEY).map(ShortBytes::from),
        })
    }

    /// The letter that `dead` becomes, and the logs it is for. An exchange that is gone leads nowhere.
    fn send(
        &self,
        catalog: &Catalog,
        dead: &Message,
        reason: DeathReason,
        now_ms: i64,
    ) -> (Message, Vec<LogId>) {
        let letter = self.letter(dead, reason, now_ms);
        let headers = letter.properties.headers();
        let targets = exchange::route(catalog, &letter.exchange, &letter.routing_key, headers)
            .into_iter()
            .filter(|topic| reason == DeathReason::Rejected || !is_cycle(&topic.name, headers))
            .filter_map(|topic| message::log_for(topic, &letter.routing_key))
            .collect();
        (letter, targets)
    }

    fn letter(&self, dead: &Message, reason: DeathReason, now_ms: i64) -> Message {
        let mut view = dead.properties.view();
        let headers = self.headers(dead, view.expiration, name_of(reason), now_ms);
        view.headers = Some(headers.fields());
        // Otherwise it would expire again where it is kept for inspection.
        view.expiration = None;
        Message {
            exchange: self.exchange.clone(),
            routing_key: self.routing_key.clone().unwrap_or_else(|| dead.routing_key.clone()),
            properties: view.encode(),
            body: dead.body.clone(),
        }
    }

    fn headers(&self, dead: &Message, expiration: Option<&[u8]>, reason: &str, now_ms: i64) -> Table {
        let old = dead.properties.headers();
        let mut without = vec![X_DEATH, "BCC"];
        without.extend(X_LAST_DEATH);
        if self.routing_key.is_some() {
            without.push("CC");
        }
        let mut headers = message::copy_without(old, &without);
        headers.put(X_DEATH, Value::Array(self.deaths(dead, expiration, reason, now_ms).items()));
        let last = [self.queue, reason, &dead.exchange];
        let first_known = old.get("x-first-death-reason").is_some();
        for (name, text) in X_FIRST_DEATH.into_iter().zip(last).filter(|_| !first_known) {
            headers.put_str(name, text);
        }
        for (name, text) in X_LAST_DEATH.into_iter().zip(last) {
            headers.put_str(name, text);
        }
        headers.finish()
    }

    /// The history with this death at its front: a death of the same queue and reason is counted, not repeated.
    fn deaths(&self, dead: &Message, expiration: Option<&[u8]>, reason: &str, now_ms: i64) -> ArrayBuilder {
        let same = |death: &Fields<'_>| is(*death, "queue", self.queue) && is(*death, "reason", reason);
        let known = deaths(dead.properties.headers()).find(same);
        let mut newest = TableBuilder::new();
        match known {
            Some(known) => {
                let count = known.get("count").and_then(Value::as_i64).unwrap_or_default();
                for (name, value) in known.iter() {
                    let counted = Value::I64(count.saturating_add(1));
                    newest.put_raw(name, if name == b"count" { counted } else { value });
                }
            }
            None => self.first_death(dead, expiration, reason, now_ms, &mut newest),
        }
        let mut all = ArrayBuilder::new();
        all.push(Value::Table(newest.fields()));
        for death in deaths(dead.properties.headers()).filter(|death| !same(death)) {
            all.push(Value::Table(death));
        }
        all
    }

    fn first_death(
        &self,
        dead: &Message,
        expiration: Option<&[u8]>,
        reason: &str,
        now_ms: i64,
        death: &mut TableBuilder,
    ) {
        let mut keys = ArrayBuilder::new();
        keys.push(Value::LongStr(&dead.routing_key));
        for key in exchange::copies(dead.properties.headers(), "CC") {
            keys.push(Value::LongStr(key));
        }
        death
            .put("count", Value::I64(1))
            .put_str("reason", reason)
            .put_str("queue", self.queue)
            .put("time", Value::Timestamp(u64::try_from(now_ms / 1000).unwrap_or_default()))
            .put_str("exchange", &dead.exchange)
            .put("routing-keys", Value::Array(keys.items()));
        if let Some(expiration) = expiration {
            death.put("original-expiration", Value::LongStr(expiration));
        }
    }
}

/// The deaths in `headers`, newest first.
fn deaths<'a>(headers: Fields<'a>) -> impl Iterator<Item = Fields<'a>> {
    let items = match headers.get(X_DEATH) {
        Some(Value::Array(items)) => items,
        _ => Default::default(),
    };
    items.iter().filter_map(|item| match item {
        Value::Table(death) => Some(death),
        _ => None,
    })
}

/// Whether the message died in `queue` before and nobody rejected it since: it would go round for ever.
fn is_cycle(queue: &str, headers: Fields<'_>) -> bool {
    for death in deaths(headers) {
        if is(death, "reason", name_of(DeathReason::Rejected)) {
            return false;
        }
        if is(death, "queue", queue) {
            return true;
        }
    }
    false
}

fn is(death: Fields<'_>, name: &str, text: &str) -> bool {
    death.get(name).and_then(Value::as_str) == Some(text)
}

fn name_of(reason: DeathReason) -> &'static str {
    match reason {
        DeathReason::Rejected => "rejected",
        DeathReason::DeliveryLimit => "delivery_limit",
        DeathReason::Expired => "expired",
        DeathReason::MaxLength => "maxlen",
    }
}

/// Asks for the settlement of `offsets`, neighbours as one range.
fn settle(log: LogId, mut offsets: Vec<Offset>, outcome: Outcome, cx: &mut Context<'_>) {
    offsets.sort_unstable();
    let mut ranges: Vec<std::ops::Range<Offset>> = Vec::new();
    for offset in offsets {
        match ranges.last_mut() {
            Some(last) if last.end == offset => last.end += 1,
            _ => ranges.push(offset..offset + 1),
        }
    }
    if !ranges.is_empty() {
        cx.ask(0, Command::Settle { log, offsets: ranges, outcome });
    }
}

#[cfg(test)]
mod tests;
