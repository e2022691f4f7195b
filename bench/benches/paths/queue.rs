//! The subscription's path: a hundred records become durable, are read, delivered and settled one by one.
//!
//! In: batches of one record. Out: a path. Never: a log; what the queue asks to read is given from memory.

use bytes::Bytes;
use ringmain::broker::catalog::QueueSettings;
use ringmain::broker::command::{Command, Consumer, Event, Outcome, ReadData, SessionId, Start};
use ringmain::broker::queue::{Queue, QueueOutput};
use ringmain_engine::format::batch;
use ringmain_engine::types::{LogId, Now, Offset};

use super::Path;
use super::log;

const LOG: LogId = LogId(256);
const RECORDS_COUNT: u64 = 100;
const SESSION: SessionId = SessionId { core: 0, slot: 1, generation: 1 };
const NOW: Now = Now { monotonic_us: 1_000_000, wall_ms: 1_000_000 };
const TICKET: u64 = 7;

pub fn paths() -> Vec<Path> {
    let record = log::batch(1).bytes().to_vec();
    let mut scene = Scene { queue: Queue::new(LOG, QueueSettings::default(), 0, 0), record, end: 0 };
    let mut out = QueueOutput::default();
    let consumer =
        Consumer { limit: 200, settles: true, exclusive: false, priority: 0, start: Start::Shared };
    scene.queue.handle(SESSION, TICKET, Command::Subscribe { log: LOG, consumer }, NOW, &mut out);
    vec![Path::new("subscription-x100", move || scene.round())]
}

/// A queue with one consumer, and the log below it.
struct Scene {
    queue: Queue,
    record: Vec<u8>,
    end: Offset,
}

impl Scene {
    /// Gives how many were delivered and settled.
    fn round(&mut self) -> usize {
        let (from, mut settled) = (self.end, 0);
        self.end += RECORDS_COUNT;
        self.queue.on_durable(self.end);
        let mut out = QueueOutput::default();
        self.queue.flush(NOW, &mut out);
        while out.read.take().is_some() {
            let data = ReadData {
                batches: (from..self.end).map(|offset| self.at(offset)).collect(),
                log_start: from,
                high_watermark: self.end,
            };
            self.queue.on_read(Ok(data), NOW, &mut out);
            self.queue.flush(NOW, &mut out);
        }
        for answer in std::mem::take(&mut out.answers) {
            let Event::Deliver(deliveries) = answer.event else { continue };
            let count = deliveries.len() as u32;
            let sent = Command::Sent { log: LOG, consumer: TICKET, count };
            self.queue.handle(SESSION, 0, sent, NOW, &mut out);
            for delivery in deliveries {
                let offsets = std::iter::once(delivery.offset..delivery.offset + 1).collect();
                let settle = Command::Settle { log: LOG, offsets, outcome: Outcome::Accept };
                self.queue.handle(SESSION, 0, settle, NOW, &mut out);
                settled += 1;
            }
        }
        out.settlements.clear();
        self.queue.flush(NOW, &mut out);
        settled
    }

    fn at(&self, offset: Offset) -> Bytes {
        let mut record = self.record.clone();
        batch::stamp(&mut record, offset, 0);
        Bytes::from(record)
    }
}
