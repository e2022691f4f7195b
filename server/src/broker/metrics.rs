//! What a core counts, and what each number is called.
//!
//! In: each core adds to its own plain numbers; nothing is shared. Out: copies of them, on request, and one
//! table from which they are shown. Never: measures anything itself, or reads a clock.

use std::collections::BTreeMap;

use super::command::Command;

/// How one core is.
#[derive(Clone, Debug, Default)]
pub struct CoreStatus {
    /// Why the core can no longer do its work, if so.
    pub failure: Option<String>,
    /// Why the core refuses new records for now, if so. All else goes on.
    pub shortage: Option<String>,
    pub metrics: Metrics,
}

/// One core's numbers. Those that only grow begin with zero at the start of the process.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// By protocol, as the listener names it.
    pub connections: BTreeMap<&'static str, Connections>,
    /// By [`CommandClass`].
    pub commands: [u64; CommandClass::ALL.len()],
    pub letters: Letters,
    pub appended: Appended,
    pub journal: Journal,
    pub settled_bytes: u64,
    /// Of those, the bytes that no journal frame held.
    pub placed_bytes: u64,
    /// Logs compacted, and bytes of segments that this gave back.
    pub compactions: u64,
    pub compacted_bytes: u64,
    /// 1 while new records are refused for want of room; bytes that were left when it was looked last; batches refused.
    pub short_of_room: u64,
    pub free_bytes: u64,
    pub refused_for_room: u64,
    pub retained: RetainedBytes,
    pub read_bytes_memory: u64,
    pub read_bytes_device: u64,
    pub logs: u64,
    pub queues: Queues,
    /// Held for records and connections.
    pub memory_bytes: u64,
    /// Of the whole catalog, the same on every core: topics that are no queues, and queues.
    pub topics_count: u64,
    pub queues_count: u64,
    /// Of the whole process; any one core may say it.
    pub resident_bytes: u64,
}

/// Connections of one protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// `closed <= accepted`; the difference is open.
    pub accepted: u64,
    pub closed: u64,
}

/// What this core wrote to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Letters {
    /// Commands for what another core owns, and what came of such.
    pub requests: u64,
    pub answers: u64,
    /// What a broker tells the brokers of other cores.
    pub notices: u64,
    /// Connections dealt out.
    pub connections: u64,
}

/// What producers sent and the log took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    pub batches: u64,
    pub records: u64,
    pub bytes: u64,
}

/// What went to the journal.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    pub frames: u64,
    /// As written, with headers and padding.
    pub bytes: u64,
    pub write: Histogram,
}

/// Bytes on the device, by why they are still there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetainedBytes {
    /// Within the retention of their topic.
    pub topic_records: u64,
    /// Of a queue: not settled, or in one run with one that is not.
    pub queue_unsettled: u64,
    /// The catalog, groups' offsets, settlements.
    pub own_state: u64,
    /// Below the start of their log, but in one segment with records that are not.
    pub trimmed_in_segment: u64,
    /// In journal files that no checkpoint covers yet.
    pub journal_needed: u64,
    /// Journal files kept to be written again.
    pub journal_spare: u64,
}

/// What the queues of the core hold and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    pub ready: u64,
    pub unsettled: u64,
    pub deliveries: u64,
}

impl Metrics {
    /// A connection was accepted by the listener of `protocol`.
    pub fn connection_accepted(&mut self, protocol: &'static str) {
        self.connections.entry(protocol).or_default().accepted += 1;
    }

    /// It is gone.
    pub fn connection_closed(&mut self, protocol: &'static str) {
        self.connections.entry(protocol).or_default().closed += 1;
    }

    /// This core was given a command to carry out.
    pub fn command(&mut self, command: &Command) {
        self.commands[CommandClass::of(command) as usize] += 1;
    }
}

/// Kinds of commands, as they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandClass {
    Append,
    Read,
    Seek,
    Trim,
    Catalog,
    Group,
    Queue,
    Settle,
    Status,
}

impl CommandClass {
    /// All, in the order of their numbers.
    pub const ALL: [(CommandClass, &'static str); 9] = [
        (CommandClass::Append, "append"),
        (CommandClass::Read, "read"),
        (CommandClass::Seek, "seek"),
        (CommandClass::Trim, "trim"),
        (CommandClass::Catalog, "catalog"),
        (CommandClass::Group, "group"),
        (CommandClass::Queue, "queue"),
        (CommandClass::Settle, "settle"),
        (CommandClass::Status, "status"),
    ];

    /// The class of a command.
    pub fn of(command: &Command) -> CommandClass {
        match command {
            Command::Append { .. } => CommandClass::Append,
            Command::Read { .. } | Command::Unwatch { .. } => CommandClass::Read,
            Command::Seek { .. } => CommandClass::Seek,
            Command::Trim { .. } => CommandClass::Trim,
            Command::Catalog(_) => CommandClass::Catalog,
            Command::Group { .. } | Command::ListGroups { .. } => CommandClass::Group,
            Command::Settle { .. } => CommandClass::Settle,
            Command::Status { .. } | Command::Sizes { .. } => CommandClass::Status,
            _ => CommandClass::Queue,
        }
    }
}

/// Upper ends of the histogram's buckets, inclusive: doubling, because a device's good and bad times are that
/// far apart.
pub const BUCKETS_US: [u64; 15] =
    [25, 50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 102_400, 409_600, 1_638_400];

/// How often something took how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How often in each bucket alone; the last is for everything above.
    pub counts: [u64; BUCKETS_US.len() + 1],
    pub sum_us: u64,
}

impl Histogram {
    /// It took so long once.
    pub fn observe(&mut self, us: u64) {
        self.counts[BUCKETS_US.partition_point(|end| *end < us)] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }
}

/// Some metrics under one name.
pub struct Family {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub source: Source,
}

/// How a metric behaves, and how those of several cores make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows. Summed.
    Counter,
    /// Goes up and down. Summed.
    Gauge,
    /// A gauge that every core knows of the whole. The largest counts.
    Whole,
}

/// Numbers by the value of a label.
pub type Labelled = Vec<(&'static str, u64)>;

/// Where a family's values are.
pub enum Source {
    Number(fn(&Metrics) -> u64),
    Labelled { label: &'static str, values: fn(&Metrics) -> Labelled },
    Histogram(fn(&Metrics) -> &Histogram),
}

/// Everything that is shown, in this order.
pub static FAMILIES: &[Family] = &[
    Family {
        name: "ringmain_connections",
        help: "Open connections.",
        kind: Kind::Gauge,
        source: Source::Labelled {
            label: "protocol",
            values: |of| {
                of.connections.iter().map(|(name, n)| (*name, n.accepted.saturating_sub(n.closed))).collect()
            },
        },
    },
    Family {
        name: "ringmain_connections_accepted_total",
        help: "Connections accepted.",
        kind: Kind::Counter,
        source: Source::Labelled {
            label: "protocol",
            values: |of| of.connections.iter().map(|(name, n)| (*name, n.accepted)).collect(),
        },
    },
    Family {
        name: "ringmain_commands_total",
        help: "Commands carried out for connections, by what they were about.",
        kind: Kind::Counter,
        source: Source::Labelled {
            label: "class",
            values: |of| CommandClass::ALL.iter().zip(of.commands).map(|((_, name), n)| (*name, n)).collect(),
        },
    },
    Family {
        name: "ringmain_mail_letters_total",
        help: "Letters from one core to another, by what they hold.",
        kind: Kind::Counter,
        source: Source::Labelled {
            label: "kind",
            values: |of| {
                vec![
                    ("request", of.letters.requests),
                    ("answer", of.letters.answers),
                    ("notice", of.letters.notices),
                    ("connection", of.letters.connections),
                ]
            },
        },
    },
    number("ringmain_appended_batches_total", "Record batches appended.", Kind::Counter, |of| {
        of.appended.batches
    }),
    number("ringmain_appended_records_total", "Records appended.", Kind::Counter, |of| of.appended.records),
    number("ringmain_appended_bytes_total", "Bytes of batches appended.", Kind::Counter, |of| {
        of.appended.bytes
    }),
    number("ringmain_journal_frames_total", "Frames made durable, one write each.", Kind::Counter, |of| {
        of.journal.frames
    }),
    number("ringmain_journal_bytes_total", "Bytes written to the journal.", Kind::Counter, |of| {
        of.journal.bytes
    }),
    Family {
        name: "ringmain_journal_write_seconds",
        help: "Time from submitting a frame until it is durable.",
        kind: Kind::Counter,
        source: Source::Histogram(|of| &of.journal.write),
    },
    number("ringmain_settled_bytes_total", "Bytes written to segments.", Kind::Counter, |of| {
        of.settled_bytes
    }),
    number(
        "ringmain_placed_bytes_total",
        "Of the bytes written to segments, those that were written nowhere before: large commits.",
        Kind::Counter,
        |of| of.placed_bytes,
    ),
    number(
        "ringmain_writes_refused",
        "1 while new records are refused for want of room.",
        Kind::Whole,
        |of| of.short_of_room,
    ),
    number("ringmain_compactions_total", "Logs compacted.", Kind::Counter, |of| of.compactions),
    number("ringmain_compacted_bytes_total", "Bytes given back by compaction.", Kind::Counter, |of| {
        of.compacted_bytes
    }),
    Family {
        name: "ringmain_retained_bytes",
        help: "Bytes on the device, by why they are still there.",
        kind: Kind::Gauge,
        source: Source::Labelled {
            label: "reason",
            values: |of| {
                vec![
                    ("topic_records", of.retained.topic_records),
                    ("queue_unsettled", of.retained.queue_unsettled),
                    ("own_state", of.retained.own_state),
                    ("trimmed_in_segment", of.retained.trimmed_in_segment),
                    ("journal_needed", of.retained.journal_needed),
                    ("journal_spare", of.retained.journal_spare),
                ]
            },
        },
    },
    number("ringmain_refused_for_room_total", "Batches refused for want of room.", Kind::Counter, |of| {
        of.refused_for_room
    }),
    number("ringmain_free_bytes", "Room left on the file system, as last seen.", Kind::Whole, |of| {
        of.free_bytes
    }),
    Family {
        name: "ringmain_read_bytes_total",
        help: "Bytes of batches read, by where they were.",
        kind: Kind::Counter,
        source: Source::Labelled {
            label: "from",
            values: |of| vec![("memory", of.read_bytes_memory), ("device", of.read_bytes_device)],
        },
    },
    number("ringmain_logs", "Logs open.", Kind::Gauge, |of| of.logs),
    number("ringmain_topics", "Topics, queues not counted.", Kind::Whole, |of| of.topics_count),
    number("ringmain_queues", "Queues.", Kind::Whole, |of| of.queues_count),
    number("ringmain_queue_records_ready", "Records in queues waiting for a consumer.", Kind::Gauge, |of| {
        of.queues.ready
    }),
    number("ringmain_queue_records_unsettled", "Records delivered and not settled.", Kind::Gauge, |of| {
        of.queues.unsettled
    }),
    number("ringmain_queue_deliveries_total", "Records delivered to consumers.", Kind::Counter, |of| {
        of.queues.deliveries
    }),
    number(
        "ringmain_memory_bytes",
        "Memory in use for records: on their way, recent, or read from the device.",
        Kind::Gauge,
        |of| of.memory_bytes,
    ),
    number("process_resident_memory_bytes", "Resident memory of the process.", Kind::Whole, |of| {
        of.resident_bytes
    }),
];

const fn number(name: &'static str, help: &'static str, kind: Kind, value: fn(&Metrics) -> u64) -> Family {
    Family { name, help, kind, source: Source::Number(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        for us in [0, 25, 26, 1_638_400, 1_638_401, u64::MAX] {
            histogram.observe(us);
        }
        assert_eq!((histogram.counts[0], histogram.counts[1]), (2, 1));
        assert_eq!((histogram.counts[14], histogram.counts[15]), (1, 2));
        assert!(BUCKETS_US.is_sorted_by(|left, right| left < right));
    }

    #[test]
    fn classes_are_numbered_as_they_are_listed_and_names_are_unique() {
        for (index, (class, _)) in CommandClass::ALL.iter().enumerate() {
            assert_eq!(*class as usize, index);
        }
        let mut metrics = Metrics::default();
        metrics.command(&Command::Status { core: 0 });
        assert_eq!(metrics.commands[8], 1);
        let mut names: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FAMILIES.len());
    }
}
