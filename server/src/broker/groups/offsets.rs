//! How far one group has read: by topic and partition.
//!
//! In: commits that were accepted, or replayed. Out: what is committed. Never: judges who may commit.

use std::collections::BTreeMap;

use super::OffsetCommit;

/// The offset of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) metadata: String,
}

/// The offsets of one group. No topic without partitions; `count` is the number of partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offsets {
    topics: BTreeMap<String, BTreeMap<i32, Committed>>,
    count: usize,
}

impl Offsets {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Partitions that have an offset.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn contains(&self, topic: &str, partition: i32) -> bool {
        self.topics.get(topic).is_some_and(|partitions| partitions.contains_key(&partition))
    }

    pub(super) fn set(&mut self, commit: OffsetCommit) {
        let OffsetCommit { topic, partition, offset, leader_epoch, metadata } = commit;
        let committed = Committed { offset, leader_epoch, metadata };
        if self.topics.entry(topic).or_default().insert(partition, committed).is_none() {
            self.count += 1;
        }
    }

    /// Forgets a partition, if it has an offset.
    pub(super) fn remove(&mut self, topic: &str, partition: i32) {
        let Some(partitions) = self.topics.get_mut(topic) else { return };
        self.count -= usize::from(partitions.remove(&partition).is_some());
        if partitions.is_empty() {
            self.topics.remove(topic);
        }
    }

    /// Forgets a topic, if it has offsets.
    pub(super) fn forget(&mut self, topic: &str) {
        if let Some(partitions) = self.topics.remove(topic) {
            self.count -= partitions.len();
        }
    }

    /// Topics that have offsets but do not exist.
    pub(super) fn topics_without(&self, exists: impl Fn(&str) -> bool) -> Vec<String> {
        self.topics.keys().filter(|topic| !exists(topic)).cloned().collect()
    }

    /// Everything, by topic and partition.
    pub(super) fn all(&self) -> impl Iterator<Item = OffsetCommit> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, committed)| committed.of(topic, *partition))
        })
    }

    /// Those of `wanted` that have one, in their order.
    pub(super) fn of(&self, wanted: &[(String, i32)]) -> Vec<OffsetCommit> {
        let find = |(topic, partition): &(String, i32)| {
            let committed = self.topics.get(topic)?.get(partition)?;
            Some(committed.of(topic, *partition))
        };
        wanted.iter().filter_map(find).collect()
    }
}

impl Committed {
    fn of(&self, topic: &str, partition: i32) -> OffsetCommit {
        OffsetCommit {
            topic: topic.to_string(),
            partition,
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: self.metadata.clone(),
        }
    }
}
