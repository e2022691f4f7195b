//! The narrow waist: everything a front end may ask, and everything it may hear, as data.
//!
//! A front end never touches a log, a group or a queue: it asks with a [`Command`] under a ticket of its own
//! choosing and hears one [`Event`] with that ticket, from whichever core owns the thing. Commands that are
//! heard of more than once, or never, say so.

use bytes::Bytes;
use ringmain_engine::format::batch::CheckedBatch;
use ringmain_engine::types::{LogId, Offset};

use super::catalog::{CatalogError, CatalogRequest, QueueSettings};
use super::groups::{GroupReply, GroupRequest};
use super::metrics::CoreStatus;

/// Which session of which core, as an address for answers. A slot is used again, a generation is not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct SessionId {
    pub core: u16,
    pub slot: u32,
    pub generation: u32,
}

impl SessionId {
    const SLOT_BITS: u32 = 20;
    const GENERATION_BITS: u32 = 28;

    /// Largest slot + 1: sessions one core can hold.
    pub const SLOTS_MAX: u32 = 1 << Self::SLOT_BITS;
    /// Generations before they start again.
    pub const GENERATIONS: u32 = 1 << Self::GENERATION_BITS;

    /// The id as one number: core, slot, generation from the top.
    pub fn pack(self) -> u64 {
        u64::from(self.core) << 48
            | u64::from(self.slot) << Self::GENERATION_BITS
            | u64::from(self.generation)
    }

    /// The inverse of [`SessionId::pack`].
    pub fn unpack(packed: u64) -> SessionId {
        SessionId {
            core: (packed >> 48) as u16,
            slot: (packed >> Self::GENERATION_BITS) as u32 & (Self::SLOTS_MAX - 1),
            generation: packed as u32 & (Self::GENERATIONS - 1),
        }
    }
}

/// A command on its way to the core that owns what it names.
#[derive(Debug)]
pub struct Request {
    pub from: SessionId,
    pub ticket: u64,
    pub command: Command,
}

/// An event on its way to the session that asked.
#[derive(Debug)]
pub struct Answer {
    pub to: SessionId,
    pub ticket: u64,
    pub event: Event,
}

/// Everything a front end may ask.
#[derive(Debug)]
pub enum Command {
    // -- logs -------------------------------------------------------------------------------------------
    /// Appends one batch. [`Event::Appended`] when it is durable, or when it is refused.
    Append { log: LogId, batch: CheckedBatch },
    /// Reads whole batches from the one that holds `from`, at most `bytes_max` unless the first alone is
    /// larger. [`Event::Read`] soon. With `watch`, and if nothing was readable, also [`Event::Readable`]
    /// once, as soon as something is.
    Read { log: LogId, from: Offset, bytes_max: u32, watch: bool },
    /// Takes back the watch of an earlier [`Command::Read`] with this ticket. Never answered.
    Unwatch { log: LogId },
    /// Where in the log is ...? [`Event::Sought`].
    Seek { log: LogId, to: SeekTo },

    /// Moves the log's start up to `before`, or to the high watermark. [`Event::Trimmed`] when that is durable;
    /// readers see the new start at once. A queue is refused: what it holds goes by settlement.
    Trim { log: LogId, before: Option<Offset> },

    // -- catalog ----------------------------------------------------------------------------------------
    /// Changes topics, queues, exchanges, bindings. [`Event::Catalog`] when the change is durable *and every
    /// core's catalog shows it*.
    Catalog(CatalogRequest),

    // -- groups -----------------------------------------------------------------------------------------
    /// Membership and committed offsets. [`Event::Group`]; for a join or a sync only when the group is ready,
    /// for a commit only when it is durable.
    Group { group: String, request: GroupRequest },
    /// The groups one core coordinates. [`Event::Groups`].
    ListGroups { core: u16 },

    // -- queues: a log with a shared cursor and settlement per record -----------------------------------
    /// Adds a consumer. [`Event::Subscribed`], then [`Event::Deliver`] again and again under the same ticket,
    /// until [`Event::ConsumerGone`] or an answered [`Command::Cancel`].
    Subscribe { log: LogId, consumer: Consumer },
    /// How many unsettled deliveries the consumer subscribed under `consumer` may have; 0: no limit.
    SetLimit { log: LogId, consumer: u64, limit: u32 },
    /// `count` deliveries have left for the peer, so as many may follow. Never answered.
    Sent { log: LogId, consumer: u64, count: u32 },
    /// Ends the consumer subscribed under ticket `consumer`. Its unsettled deliveries stay its session's.
    /// [`Event::Cancelled`]; where the queue goes with its last consumer [`Event::Catalog`] instead, when it is gone.
    Cancel { log: LogId, consumer: u64 },
    /// Takes one record. [`Event::Got`].
    Get { log: LogId, settle: bool },
    /// Settles deliveries of this session, in ranges of offsets. Never answered: it is made durable with
    /// whatever else the turn writes, and a crash before that delivers again.
    Settle { log: LogId, offsets: Vec<std::ops::Range<Offset>>, outcome: Outcome },
    /// Settles everything that is ready. [`Event::Purged`].
    Purge { log: LogId },
    /// Counts. [`Event::QueueStatus`].
    QueueStatus { log: LogId },

    // -- watching ---------------------------------------------------------------------------------------
    /// What logs of one core hold on the device. [`Event::Sizes`].
    Sizes { core: u16, logs: Vec<LogId> },
    /// How one core is. [`Event::Status`].
    Status { core: u16 },
}

/// Where a [`Command::Seek`] looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SeekTo {
    /// The log start offset.
    Start,
    /// The high watermark.
    HighWatermark,
    /// The record with the largest timestamp.
    MaxTimestamp,
    /// The first record at or after this time, in ms since the Unix epoch.
    Time(i64),
}

/// A new consumer of a queue, or of a log by offset.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Unsettled deliveries it may have at a time; 0: no limit.
    pub limit: u32,
    /// Whether deliveries are settled by the consumer; otherwise they count as settled when handed over.
    pub settles: bool,
    /// No other consumer beside this one.
    pub exclusive: bool,
    /// Higher is served first.
    pub priority: i32,
    pub start: Start,
}

/// What a consumer reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// The queue's shared cursor.
    Shared,
    /// A cursor of its own, beginning at this offset. Nothing it settles is remembered.
    Offset(Offset),
    /// A cursor of its own, beginning at the first record.
    First,
    /// A cursor of its own, beginning at the last batch.
    Last,
    /// A cursor of its own, beginning behind the last record.
    Next,
    /// A cursor of its own, beginning at the first record at or after this time in ms.
    Time(i64),
}

/// What became of a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Done with: never delivered again.
    Accept,
    /// Back to its place in the queue, marked as redelivered.
    Requeue,
    /// Done with, and to the dead letters if the queue has any.
    Discard,
}

/// Everything a front end may hear.
#[derive(Debug)]
pub enum Event {
    Appended(Result<Appended, AppendError>),
    Read(Result<ReadData, ReadError>),
    /// The log now holds something at the offset that was read for.
    Readable,
    Sought(Result<Sought, ReadError>),
    /// Where the log begins now.
    Trimmed(Result<Offset, ReadError>),
    Catalog(Result<CatalogReply, CatalogError>),
    Group(GroupReply),
    /// Names and protocol types of the groups of one core, with their states' names.
    Groups(Vec<(String, String, &'static str)>),
    Subscribed(Result<(), SubscribeError>),
    Deliver(Vec<Delivery>),
    /// The consumer ended without being asked to: its queue is gone.
    ConsumerGone,
    Cancelled,
    /// The record, and how many are ready after it.
    Got(Result<Option<(Delivery, u64)>, SubscribeError>),
    Purged(Result<u64, SubscribeError>),
    QueueStatus(Result<QueueCounts, SubscribeError>),
    Sizes(Sizes),
    Status(Box<CoreStatus>),
    /// To the dead-letter agent of the queue's core only: records to be routed to where the queue's dead
    /// letters go. Each must be settled with [`Outcome::Accept`] once its copies are durable.
    DeadLetters {
        log: LogId,
        reason: DeathReason,
        records: Vec<Delivery>,
    },
}

/// A batch is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    pub base_offset: Offset,
    pub log_start: Offset,
    /// It had been appended before; `base_offset` is where.
    pub duplicate: bool,
}

/// Why a batch was not appended. Unless it says so, nothing was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AppendError {
    UnknownLog,
    /// The producer's sequence leaves a gap.
    OutOfOrderSequence,
    /// The producer's epoch is older than one already seen.
    FencedProducer,
    /// Larger than the topic allows.
    TooLarge,
    /// The queue is full and refuses.
    QueueFull,
    /// The file system has too little room for new records. It may have some later.
    NoSpace,
    /// The journal could not be written; whether the batch survives is unknown.
    Storage,
}

/// What a read found.
#[derive(Clone, Debug)]
pub struct ReadData {
    /// Whole batches, back to back, possibly in several pieces; a piece holds whole batches.
    pub batches: Vec<Bytes>,
    pub log_start: Offset,
    pub high_watermark: Offset,
}

/// Why a read found nothing, or a log was not trimmed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadError {
    UnknownLog,
    OutOfRange {
        log_start: Offset,
        high_watermark: Offset,
    },
    /// The bytes on the device are not what was written there.
    Damaged(String),
    Storage,
    /// It is a queue's, and where that begins is for its settlements to say.
    SettledLog,
}

/// Where a seek ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sought {
    /// `None`: no such record.
    pub offset: Option<Offset>,
    /// Of the record, in ms; `None` when the seek was not by time.
    pub timestamp_ms: Option<i64>,
    pub leader_epoch: i32,
}

/// What a catalog request came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CatalogReply {
    Done,
    /// A producer id nobody had before; its epoch is 0.
    ProducerId(i64),
}

/// One record on its way to a consumer.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub offset: Offset,
    pub timestamp_ms: i64,
    /// It was delivered before, or may have been.
    pub redelivered: bool,
    /// How often it came back to its queue, if that counts it.
    pub returns: u32,
    pub record: ringmain_engine::format::record::Record,
}

/// Why a queue did not do what it was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SubscribeError {
    UnknownQueue,
    /// Another consumer is exclusive, or this one wanted to be and is not alone.
    ExclusiveConsumer,
    Storage,
    Damaged(String),
}

/// Counts of one queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QueueCounts {
    pub ready: u64,
    pub unsettled: u64,
    pub consumers: u32,
}

/// Why a record became a dead letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeathReason {
    Rejected,
    /// It came back more often than its queue allows.
    DeliveryLimit,
    Expired,
    MaxLength,
}

/// What logs hold on the device.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sizes {
    /// Bytes in segments, those below the log start that are still there included, and of batches that only the journal has, by
    /// the order of the command; `None`: there is no such log any more.
    pub bytes: Vec<Option<u64>>,
    /// What the file system had left when it was asked last.
    pub free_bytes: Option<u64>,
}

/// Name of the record header that holds when the record expires: ms since the Unix epoch, 8 bytes, big-endian.
pub const EXPIRES_AT_HEADER: &[u8] = b"_expires_at";

/// The settings a queue's owner acts on, by log.
pub type QueueOf<'a> = (&'a str, &'a QueueSettings);
