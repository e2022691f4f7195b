//! Scenarios, a model, and the world they play in: a log of real batches, sessions that remember what they got.

mod model;
mod scenarios;

use bytes::Bytes;
use ringmain_engine::format::batch;
use ringmain_engine::format::record::BatchBuilder;
use ringmain_engine::types::{LogId, Now, Offset};

use super::{Queue, QueueOutput};
use crate::broker::catalog::QueueSettings;
use crate::broker::command::{
    Answer, Command, Consumer, Delivery, EXPIRES_AT_HEADER, Event, Outcome, ReadData, SessionId, Start,
};

const LOG: LogId = LogId(256);

/// A session of that number.
fn session(slot: u32) -> SessionId {
    SessionId { core: 0, slot, generation: 1 }
}

/// A consumer of the shared cursor that settles.
fn shared(limit: u32) -> Consumer {
    Consumer { limit, settles: true, exclusive: false, priority: 0, start: Start::Shared }
}

/// A queue and the log below it. Reads are answered when the test says so.
struct World {
    queue: Queue,
    settings: QueueSettings,
    batches: Vec<(Offset, Bytes)>,
    log_start: Offset,
    end: Offset,
    now: Now,
    read: Option<Offset>,
    /// The log of settlements.
    settlements: Vec<Vec<u8>>,
    out: QueueOutput,
}

impl World {
    fn new(settings: QueueSettings) -> World {
        World {
            queue: Queue::new(LOG, settings.clone(), 0, 0),
            settings,
            batches: Vec::new(),
            log_start: 0,
            end: 0,
            now: Now { monotonic_us: 1_000_000, wall_ms: 1_000_000 },
            read: None,
            settlements: Vec::new(),
            out: QueueOutput::default(),
        }
    }

    /// Appends one batch of records with these values; an expiry is a header.
    fn append(&mut self, values: &[&str], expires_at_ms: Option<i64>) {
        let mut builder = BatchBuilder::new(self.now.wall_ms);
        let expires = expires_at_ms.map(i64::to_be_bytes);
        for value in values {
            let header = expires.as_ref().map(|bytes| (EXPIRES_AT_HEADER, &bytes[..]));
            builder.push(self.now.wall_ms, None, Some(value.as_bytes()), header.as_slice());
        }
        let mut bytes = builder.finish().bytes().to_vec();
        batch::stamp(&mut bytes, self.end, 0);
        self.batches.push((self.end, Bytes::from(bytes)));
        self.end += values.len() as u64;
        self.queue.on_durable(self.end);
    }

    /// `count` records in batches of one.
    fn append_many(&mut self, count: usize) {
        (0..count).for_each(|_| self.append(&["x"], None));
    }

    fn ask(&mut self, slot: u32, ticket: u64, command: Command) {
        self.queue.handle(session(slot), ticket, command, self.now, &mut self.out);
    }

    fn subscribe(&mut self, slot: u32, ticket: u64, consumer: Consumer) {
        self.ask(slot, ticket, Command::Subscribe { log: LOG, consumer });
    }

    fn settle(&mut self, slot: u32, offset: Offset, outcome: Outcome) {
        let offsets = std::iter::once(offset..offset + 1).collect();
        self.ask(slot, 0, Command::Settle { log: LOG, offsets, outcome });
    }

    fn wait(&mut self, ms: u64) {
        self.now.monotonic_us += ms * 1000;
        self.now.wall_ms += ms as i64;
        self.queue.expire(self.now, &mut self.out);
    }

    /// One flush; keeps the settlement, honours trims, remembers the read.
    fn flush(&mut self) {
        self.queue.flush(self.now, &mut self.out);
        self.settlements.append(&mut self.out.settlements);
        if std::mem::take(&mut self.out.snapshot) {
            self.settlements = self.queue.snapshot();
        }
        if let Some(start) = self.out.trim_before.take() {
            assert!(start > self.log_start && start <= self.end);
            self.log_start = start;
        }
        if let Some((from, bytes_max)) = self.out.read.take() {
            assert!(bytes_max > 0 && self.read.replace(from).is_none(), "two reads at once");
        }
    }

    /// Answers the read under way with at most `batches_max` batches.
    fn answer_read(&mut self, batches_max: usize) {
        let Some(from) = self.read.take() else { return };
        let holds = |(base, bytes): &&(Offset, Bytes)| {
            batch::shape(bytes).is_ok_and(|header| base + header.offsets_count() > from)
        };
        let batches = self.batches.iter().filter(holds).take(batches_max);
        let data = ReadData {
            batches: batches.map(|(_, bytes)| bytes.clone()).collect(),
            log_start: self.log_start,
            high_watermark: self.end,
        };
        self.queue.on_read(Ok(data), self.now, &mut self.out);
    }

    /// Flushes and reads until nothing more happens.
    fn settle_down(&mut self) -> Vec<Answer> {
        self.flush();
        while self.read.is_some() {
            self.answer_read(3);
            self.flush();
        }
        std::mem::take(&mut self.out.answers)
    }

    /// A new queue from what is durable.
    fn restart(&mut self) {
        self.queue = Queue::new(LOG, self.settings.clone(), self.log_start, self.end);
        for record in &self.settlements {
            self.queue.restore(record).unwrap();
        }
        self.queue.restored();
        self.read = None;
        self.out = QueueOutput::default();
    }
}

/// Deliveries among answers: session, ticket, delivery.
fn deliveries(answers: &[Answer]) -> Vec<(u32, u64, Delivery)> {
    let mut all = Vec::new();
    for answer in answers {
        if let Event::Deliver(given) = &answer.event {
            all.extend(given.iter().map(|delivery| (answer.to.slot, answer.ticket, delivery.clone())));
        }
    }
    all
}

/// Offsets delivered.
fn offsets(answers: &[Answer]) -> Vec<Offset> {
    deliveries(answers).into_iter().map(|(_, _, delivery)| delivery.offset).collect()
}

/// What gets were answered: offset and how many are ready after it.
fn got(answers: &[Answer]) -> Vec<Option<(Offset, u64)>> {
    let mut all = Vec::new();
    for answer in answers {
        if let Event::Got(Ok(found)) = &answer.event {
            all.push(found.as_ref().map(|(delivery, ready)| (delivery.offset, *ready)));
        }
    }
    all
}
