//! Retention: topics that keep their records for a time, or up to a size; and when to look after what is to be
//! compacted.
//!
//! In: the settings `retention.ms` and `retention.bytes` of each topic, the time. Out: trims of the logs of this
//! core, as often as [`LOOK_EVERY_US`] while any topic asks for it. Never: trims a queue, whose settlements say what it
//! keeps.

use std::collections::BTreeMap;

use ringmain_engine::shard::Keep;
use ringmain_engine::types::{LogId, Now};

use super::catalog::{Topic, shard_of};
use super::command::Sizes;
use super::metrics::RetainedBytes;
use super::{Broker, cleaning};

/// How often logs are looked at.
const LOOK_EVERY_US: u64 = 10_000_000;
/// The same while one of them is being compacted, so that the next one follows soon.
const LOOK_WHILE_COMPACTING_US: u64 = 1_000_000;

/// When to look next; `None`: nothing asks for it.
#[derive(Debug, Default)]
pub struct Retention {
    look_at_us: Option<u64>,
}

impl Retention {
    /// When [`Broker::expire_retention`] has something to do.
    pub fn next_deadline_us(&self) -> Option<u64> {
        self.look_at_us
    }

    /// There is something to look at.
    pub fn wake(&mut self, now: Now) {
        self.look_at_us.get_or_insert(now.monotonic_us + LOOK_EVERY_US);
    }
}

/// What a topic with these settings keeps; `None`: everything.
fn keep_of(configs: &BTreeMap<String, String>, now: Now) -> Option<Keep> {
    if !cleaning::is_deleted(configs) {
        return None;
    }
    // -1, or no such setting: no bound.
    let bound = |name: &str| configs.get(name)?.parse::<u64>().ok();
    let since_ms = bound("retention.ms").map(|age_ms| now.wall_ms.saturating_sub_unsigned(age_ms));
    let bytes_max = bound("retention.bytes");
    (since_ms.is_some() || bytes_max.is_some()).then_some(Keep { since_ms, bytes_max })
}

fn is_cleaned(topic: &Topic) -> bool {
    is_bounded(topic) || (topic.queue.is_none() && cleaning::is_compacted(&topic.configs))
}

fn is_bounded(topic: &Topic) -> bool {
    topic.queue.as_ref().is_none_or(|queue| queue.stream) && keep_of(&topic.configs, Now::default()).is_some()
}

impl Broker {
    /// Why each byte of this core's logs is still on the device.
    pub(super) fn retained_bytes(&self) -> RetainedBytes {
        let all = self.shard.retained();
        let (mut topic_records, mut queue_unsettled) = (0, 0);
        for topic in self.catalog.topics() {
            let mine =
                topic.partitions.iter().filter(|log| shard_of(**log, self.settings.cores) == self.core);
            let bytes: u64 = mine.map(|log| self.shard.retained_by(*log).records_bytes).sum();
            match topic.queue.as_ref().is_none_or(|queue| queue.stream) {
                true => topic_records += bytes,
                false => queue_unsettled += bytes,
            }
        }
        RetainedBytes {
            topic_records,
            queue_unsettled,
            own_state: all.records_bytes.saturating_sub(topic_records + queue_unsettled),
            trimmed_in_segment: all.trimmed_bytes,
            journal_needed: all.journal_needed_bytes,
            journal_spare: all.journal_spare_bytes,
        }
    }

    /// What these logs hold on the device; of the journal, what no segment has yet.
    pub(super) fn sizes(&self, logs: &[LogId]) -> Sizes {
        let bytes = |log: &LogId| {
            let retained = self.shard.contains(*log).then(|| self.shard.retained_by(*log))?;
            Some(retained.records_bytes + retained.trimmed_bytes + retained.journal_needed_bytes)
        };
        Sizes { bytes: logs.iter().map(bytes).collect(), free_bytes: self.shard.free_bytes() }
    }

    /// A topic was made or its settings changed: it may be the first that asks for retention.
    pub(super) fn note_retention(&mut self, topic: &Topic) {
        self.limit_segments(topic);
        if is_cleaned(topic) {
            self.retention.wake(self.now);
        }
    }

    /// Drops what the topics no longer keep, when it is time to look.
    pub(super) fn expire_retention(&mut self, now: Now) {
        if self.retention.look_at_us.is_none_or(|at| now.monotonic_us < at) {
            return;
        }
        let mut any = false;
        for topic in self.catalog.topics().filter(|topic| is_bounded(topic)) {
            any = true;
            let Some(keep) = keep_of(&topic.configs, now) else { continue };
            for log in topic.partitions.iter().filter(|log| shard_of(**log, self.settings.cores) == self.core)
            {
                self.shard.trim_to_fit(*log, keep);
            }
        }
        self.compact_next(now);
        any |= self.queues.unclean().next().is_some() || self.catalog.topics().any(is_cleaned);
        let every_us = if self.shard.is_compacting() { LOOK_WHILE_COMPACTING_US } else { LOOK_EVERY_US };
        self.retention.look_at_us = any.then_some(now.monotonic_us + every_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_keeps_what_its_settings_say() {
        let now = Now { monotonic_us: 0, wall_ms: 10_000 };
        let keep = |settings: &[(&str, &str)]| {
            let settings = settings.iter().map(|(name, value)| (name.to_string(), value.to_string()));
            keep_of(&settings.collect(), now)
        };
        assert_eq!(keep(&[]), None);
        assert_eq!(keep(&[("retention.ms", "-1"), ("retention.bytes", "-1")]), None);
        assert_eq!(keep(&[("retention.ms", "1000")]), Some(Keep { since_ms: Some(9000), bytes_max: None }));
        assert_eq!(keep(&[("cleanup.policy", "compact"), ("retention.ms", "1000")]), None);
        let both = keep(&[("retention.ms", "99999"), ("retention.bytes", "5")]);
        assert_eq!(both, Some(Keep { since_ms: Some(-89_999), bytes_max: Some(5) }));
    }
}
