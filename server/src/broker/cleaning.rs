//! Compaction: which logs are compacted when, by the settings of their topics, or because a queue has settled what stands
//! behind a record that it has not.
//!
//! In: the settings of each topic, what queues have settled, the time. Out: compactions begun on the logs of this core,
//! one after the other in turn, and how large their segments become. Never: compacts what a queue reads by key: those
//! are routing keys.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringmain_engine::format::record;
use ringmain_engine::shard::{Codecs, Compaction, Dropping};
use ringmain_engine::types::{LogId, Now};

use super::catalog::{Topic, shard_of};
use super::{Broker, compression, topic_config};

/// How compressed batches are looked at and written again.
const CODECS: Codecs =
    Codecs { unpack: |batch| compression::records_of(batch).ok(), pack: compression::compressed };

/// Segments of a topic are not made smaller than this, whatever it asks for: each takes at least two files' entries and
/// some blocks of its own.
const SEGMENT_BYTES_MIN: u64 = 1 << 20;

/// The same for queues, so that what is not settled keeps little else from going.
const QUEUE_SEGMENT_BYTES: u64 = 32 << 20;

/// A queue's segment is written anew when this share of it is settled: no more is written than is given back.
const SETTLED_SHARE_MIN: f64 = 0.5;

/// Why a log is compacted.
enum Cleaning {
    ByKey(Compaction),
    Settled,
}

/// Which word of `cleanup.policy` a topic has.
fn policy(configs: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    let policy = configs.get(topic_config::CLEANUP_POLICY).map_or("delete", String::as_str);
    policy.split(',').map(str::trim)
}

/// Whether the topic keeps the last record of each key.
pub fn is_compacted(configs: &BTreeMap<String, String>) -> bool {
    policy(configs).any(|word| word == "compact")
}

/// Whether old records of the topic go.
pub fn is_deleted(configs: &BTreeMap<String, String>) -> bool {
    policy(configs).any(|word| word == "delete")
}

/// How a topic with these settings is compacted.
fn rules(configs: &BTreeMap<String, String>) -> Compaction {
    Compaction {
        dirty_ratio_min: topic_config::number(configs, "min.cleanable.dirty.ratio"),
        lag_ms_min: topic_config::number(configs, "min.compaction.lag.ms"),
        lag_ms_max: topic_config::number(configs, "max.compaction.lag.ms"),
        sealed_after_ms: topic_config::number(configs, "segment.ms"),
        deletions_kept_ms: topic_config::number(configs, "delete.retention.ms"),
        codecs: CODECS,
    }
}

/// The first record of a batch that has no key, by its place; such records may not go to a compacted topic. What
/// cannot be looked at has none that can be found.
pub fn first_without_key(batch: &Bytes) -> Option<i32> {
    let mut records = compression::records_of(batch).ok()?;
    let mut index = 0;
    while !records.is_empty() {
        if record::take(&mut records).ok()?.key.is_none() {
            return Some(index);
        }
        index += 1;
    }
    None
}

impl Broker {
    /// Segments of a compacted topic become no larger than it asks for, and those of a queue not large: only what is
    /// sealed can be compacted.
    pub(super) fn limit_segments(&mut self, topic: &Topic) {
        let asked = topic.configs.get("segment.bytes").and_then(|value| value.parse::<u64>().ok());
        let bytes = match (&topic.queue, asked) {
            (Some(queue), _) if !queue.stream => QUEUE_SEGMENT_BYTES,
            (None, Some(asked)) if is_compacted(&topic.configs) => asked.max(SEGMENT_BYTES_MIN),
            _ => u64::MAX,
        };
        for log in topic.partitions.iter().filter(|log| shard_of(**log, self.settings.cores) == self.core) {
            self.shard.limit_segments(*log, bytes);
        }
    }

    fn uncleaned_logs(&self) -> Vec<(LogId, Cleaning)> {
        let compacted = |topic: &&Topic| topic.queue.is_none() && is_compacted(&topic.configs);
        let mut logs: Vec<_> = self.queues.unclean().map(|log| (log, Cleaning::Settled)).collect();
        for topic in self.catalog.topics().filter(compacted) {
            for log in topic.partitions.iter().filter(|log| shard_of(**log, self.settings.cores) == self.core)
            {
                logs.push((*log, Cleaning::ByKey(rules(&topic.configs))));
            }
        }
        logs.sort_by_key(|(log, _)| *log);
        logs
    }

    /// Begins to compact the next log for which that is worth while, unless one is being compacted.
    pub(super) fn compact_next(&mut self, now: Now) {
        if self.shard.is_compacting() {
            return;
        }
        // What was settled since the last flush is to be told before it is dropped.
        self.flush_queues(now);
        let mut logs = self.uncleaned_logs();
        let after = logs.partition_point(|(log, _)| *log <= self.compacted_last);
        logs.rotate_left(after);
        for (log, cleaning) in logs {
            let begun = match cleaning {
                Cleaning::ByKey(rules) => self.shard.compact(log, rules, now),
                Cleaning::Settled => {
                    let ranges = self.queues.take_unclean(log);
                    let dropping = Dropping { ranges, share_min: SETTLED_SHARE_MIN, codecs: CODECS };
                    self.shard.drop_records(log, dropping, now)
                }
            };
            if begun {
                self.compacted_last = log;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmain_engine::format::record::BatchBuilder;

    fn configs(settings: &[(&str, &str)]) -> BTreeMap<String, String> {
        settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn a_topic_is_cleaned_as_its_settings_say() {
        let of = |policy| {
            let configs = configs(&[("cleanup.policy", policy)]);
            (is_compacted(&configs), is_deleted(&configs))
        };
        assert_eq!((is_compacted(&configs(&[])), is_deleted(&configs(&[]))), (false, true));
        assert_eq!(of("compact"), (true, false));
        assert_eq!(of("delete, compact"), (true, true));
        let rules = rules(&configs(&[("min.compaction.lag.ms", "7"), ("min.cleanable.dirty.ratio", "0.25")]));
        assert_eq!((rules.lag_ms_min, rules.dirty_ratio_min), (7, 0.25));
        assert_eq!((rules.deletions_kept_ms, rules.lag_ms_max), (86_400_000, i64::MAX as u64));
        assert_eq!(rules.sealed_after_ms, 604_800_000);
    }

    #[test]
    fn a_record_without_a_key_is_found() {
        let mut builder = BatchBuilder::new(0);
        builder.push(0, Some(b""), Some(b"v"), &[]);
        builder.push(0, Some(b"key"), None, &[]);
        assert_eq!(first_without_key(builder.finish().bytes()), None);
        let mut builder = BatchBuilder::new(0);
        builder.push(0, Some(b"key"), Some(b"v"), &[]);
        builder.push(0, None, Some(b"v"), &[]);
        assert_eq!(first_without_key(builder.finish().bytes()), Some(1));
    }
}
