//! All groups one core coordinates: finds the group, keeps the deadlines, turns changes into state records.
//!
//! In: requests, the time, state records at start. Out: replies, and state records with the replies that must
//! wait for them. Never: lets the reply to a change leave before the change.
//!
//! Only committed offsets outlive the process. Members find their coordinator without memory of them and join
//! again. An offset can be read back before its record is durable: a crash in between takes the group back to
//! an older offset, which is what at-least-once reading allows for anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringmain_engine::types::Now;

use super::group::Group;
use super::join::{Join, JoinTime};
use super::record::{self, BadState, StateRecord};
use super::sync::Sync;
use super::{
    GROUP_NAME_BYTES_MAX, GROUPS_PER_CORE_MAX, GroupError, GroupReply, GroupRequest, METADATA_BYTES_MAX,
    OFFSETS_PER_GROUP_MAX, OffsetCommit, Subscriptions,
};
use crate::broker::catalog::GROUP_LOGS;
use crate::broker::command::SessionId;
use crate::broker::context::Random;

/// Who waits for a reply. One whose session is gone is harmless: the reply is dropped on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    pub session: SessionId,
    pub ticket: u64,
}

/// What came of a call.
#[derive(Debug, Default)]
pub struct GroupOutput {
    /// May leave now.
    pub replies: Vec<(Waiter, GroupReply)>,
    /// To be appended in this order.
    pub writes: Vec<StateWrite>,
}

/// A state record to be made durable.
#[derive(Debug)]
pub struct StateWrite {
    /// Which of the [`GROUP_LOGS`] state logs it belongs to.
    pub log_index: u64,
    pub record: Vec<u8>,
    /// Leaves only once this record is durable. If it cannot be made so: [`StateWrite::refusal`].
    pub reply: Option<(Waiter, GroupReply)>,
}

impl StateWrite {
    /// The reply to send instead when the record could not be written.
    pub fn refusal(self) -> Option<(Waiter, GroupReply)> {
        let (waiter, reply) = self.reply?;
        let refused = match reply {
            GroupReply::Commit(results) => {
                let refuse = |result: Result<(), GroupError>| result.and(Err(GroupError::Storage));
                GroupReply::Commit(results.into_iter().map(refuse).collect())
            }
            GroupReply::Delete(_) => GroupReply::Delete(Err(GroupError::Storage)),
            GroupReply::DeleteOffsets(_) => GroupReply::DeleteOffsets(Err(GroupError::Storage)),
            other => other,
        };
        Some((waiter, refused))
    }
}

/// The state log of a group, for ever: FNV-1a of its name modulo [`GROUP_LOGS`].
pub fn log_index_of(group: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    group.bytes().fold(0xcbf2_9ce4_8422_2325, step) % GROUP_LOGS
}

/// All groups of one core.
///
/// `deadlines` holds `(wake_at_us, name)` of each group that wants to be woken, and nothing else.
#[derive(Debug, Default)]
pub struct Groups {
    groups: BTreeMap<Arc<str>, Entry>,
    deadlines: BTreeSet<(u64, Arc<str>)>,
    initial_rebalance_delay_ms: u64,
}

#[derive(Debug)]
struct Entry {
    group: Group,
    /// As it stands in `deadlines`; `u64::MAX`: it does not.
    scheduled_us: u64,
}

impl Groups {
    /// No groups. New groups gather members for so long before their first generation.
    pub fn new(initial_rebalance_delay_ms: u32) -> Groups {
        Groups { initial_rebalance_delay_ms: u64::from(initial_rebalance_delay_ms), ..Groups::default() }
    }

    /// One request. Its reply is in `out` now, in one of the writes, or comes with a later call.
    pub fn handle(
        &mut self,
        group: &str,
        request: GroupRequest,
        waiter: Waiter,
        now: Now,
        random: &mut Random,
        out: &mut GroupOutput,
    ) {
        if let Some(error) = self.refuses(group, &request) {
            return out.replies.push((waiter, refusal_of(&request, error)));
        }
        match &request {
            GroupRequest::Describe => {
                let described = self.groups.get(group).map(|entry| entry.group.describe());
                return out.replies.push((waiter, GroupReply::Describe(described)));
            }
            GroupRequest::Committed { partitions } => {
                let committed = self.committed(group, partitions.as_deref());
                return out.replies.push((waiter, GroupReply::Committed(committed)));
            }
            GroupRequest::Delete => return self.delete(group, waiter, out),
            GroupRequest::DeleteOffsets { partitions, subscriptions } => {
                return self.delete_offsets(group, partitions, subscriptions, waiter, now, out);
            }
            _ => {}
        }
        let name = self.find_or_create(group, now);
        let Some(entry) = self.groups.get_mut(&name) else { return };
        let initial_delay_ms = self.initial_rebalance_delay_ms;
        act(&mut entry.group, &name, request, waiter, &JoinTime { now, initial_delay_ms }, random, out);
        if entry.group.wake_at_us <= now.monotonic_us {
            entry.group.expire(now, &mut out.replies);
        }
        if entry.group.is_unused() {
            self.remove(&name);
        } else {
            self.schedule(&name);
        }
    }

    /// Why a request cannot even be taken to its group; `None`: it can, and the group may be created for it.
    fn refuses(&self, group: &str, request: &GroupRequest) -> Option<GroupError> {
        // Offsets kept from outside may belong to the group without a name; members may not.
        let needs_name = matches!(
            request,
            GroupRequest::Join { .. }
                | GroupRequest::Sync { .. }
                | GroupRequest::Heartbeat { .. }
                | GroupRequest::Leave { .. }
        );
        if (needs_name && group.is_empty()) || GROUP_NAME_BYTES_MAX < group.len() {
            return Some(GroupError::InvalidGroupId);
        }
        if self.groups.contains_key(group) {
            return None;
        }
        let full = (GROUPS_PER_CORE_MAX <= self.groups.len()).then_some(GroupError::Full);
        match request {
            GroupRequest::Join { member_id, .. } if member_id.is_empty() => full,
            GroupRequest::Commit { generation, .. } if *generation < 0 => full,
            GroupRequest::Commit { .. } => Some(GroupError::NotFound),
            GroupRequest::Join { .. }
            | GroupRequest::Sync { .. }
            | GroupRequest::Heartbeat { .. }
            | GroupRequest::Leave { .. } => Some(GroupError::UnknownMember),
            GroupRequest::Delete | GroupRequest::DeleteOffsets { .. } => Some(GroupError::NotFound),
            GroupRequest::Committed { .. } | GroupRequest::Describe => None,
        }
    }

    fn find_or_create(&mut self, group: &str, now: Now) -> Arc<str> {
        if let Some((name, _)) = self.groups.get_key_value(group) {
            return Arc::clone(name);
        }
        let name: Arc<str> = Arc::from(group);
        let entry = Entry { group: Group::new(now), scheduled_us: u64::MAX };
        self.groups.insert(Arc::clone(&name), entry);
        name
    }

    fn committed(&self, group: &str, partitions: Option<&[(String, i32)]>) -> Vec<OffsetCommit> {
        let Some(entry) = self.groups.get(group) else { return Vec::new() };
        match partitions {
            Some(wanted) => entry.group.offsets.of(wanted),
            None => entry.group.offsets.all().collect(),
        }
    }

    fn delete(&mut self, group: &str, waiter: Waiter, out: &mut GroupOutput) {
        let Some((name, entry)) = self.groups.get_key_value(group) else { return };
        if !entry.group.is_empty() {
            return out.replies.push((waiter, GroupReply::Delete(Err(GroupError::NotEmpty))));
        }
        let name = Arc::clone(name);
        self.remove(&name);
        out.writes.push(StateWrite {
            log_index: log_index_of(group),
            record: record::encode_group_deleted(group),
            reply: Some((waiter, GroupReply::Delete(Ok(())))),
        });
    }

    /// Forgets offsets of a group; the reply leaves with the last of the records of that.
    fn delete_offsets(
        &mut self,
        group: &str,
        partitions: &[(String, i32)],
        subscriptions: &Subscriptions,
        waiter: Waiter,
        now: Now,
        out: &mut GroupOutput,
    ) {
        let Some((name, entry)) = self.groups.get_key_value(group) else { return };
        let name = Arc::clone(name);
        let subscribed = match entry.group.subscribed(subscriptions) {
            Ok(subscribed) => subscribed,
            Err(error) => return out.replies.push((waiter, GroupReply::DeleteOffsets(Err(error)))),
        };
        let Some(entry) = self.groups.get_mut(&name) else { return };
        let mut results = Vec::with_capacity(partitions.len());
        let mut forgotten = Vec::new();
        for (topic, partition) in partitions {
            if subscribed.holds(topic) {
                results.push(Err(GroupError::Subscribed));
                continue;
            }
            results.push(Ok(()));
            // Written down even if there is none: an earlier request may have taken it and not be durable yet.
            entry.group.offsets.remove(topic, *partition);
            forgotten.push((topic.clone(), *partition));
        }
        let reply = (waiter, GroupReply::DeleteOffsets(Ok(results)));
        if forgotten.is_empty() {
            return out.replies.push(reply);
        }
        entry.group.note_offsets_forgotten(now);
        self.schedule(&name);
        let records = record::encode_offsets_forgotten(&name, forgotten.into_iter());
        write_all(&name, records, reply, out);
    }

    /// Does what is due.
    pub fn expire(&mut self, now: Now, out: &mut GroupOutput) {
        // Each group at most once, so that one that is due again at once cannot hold up the core.
        let mut due = Vec::new();
        while let Some((at_us, _)) = self.deadlines.first()
            && *at_us <= now.monotonic_us
        {
            due.extend(self.deadlines.pop_first());
        }
        for (_, name) in due {
            let Some(entry) = self.groups.get_mut(&name) else { continue };
            entry.scheduled_us = u64::MAX;
            entry.group.expire(now, &mut out.replies);
            if entry.group.is_forgotten(now) {
                self.remove(&name);
            } else {
                self.schedule(&name);
            }
        }
    }

    /// When [`Groups::expire`] is to be called next.
    pub fn next_deadline_us(&self) -> Option<u64> {
        self.deadlines.first().map(|(at_us, _)| *at_us)
    }

    fn schedule(&mut self, name: &Arc<str>) {
        let Some(entry) = self.groups.get_mut(name) else { return };
        let wake_at_us = entry.group.wake_at_us;
        if wake_at_us == entry.scheduled_us {
            return;
        }
        if entry.scheduled_us != u64::MAX {
            self.deadlines.remove(&(entry.scheduled_us, Arc::clone(name)));
        }
        entry.scheduled_us = wake_at_us;
        if wake_at_us != u64::MAX {
            self.deadlines.insert((wake_at_us, Arc::clone(name)));
        }
    }

    fn remove(&mut self, name: &Arc<str>) {
        if let Some(entry) = self.groups.remove(name) {
            self.deadlines.remove(&(entry.scheduled_us, Arc::clone(name)));
        }
    }

    /// Name, protocol type and state of each group.
    pub fn list(&self) -> Vec<(String, String, &'static str)> {
        let row = |(name, entry): (&Arc<str>, &Entry)| {
            (name.to_string(), entry.group.protocol_type.clone(), entry.group.state_name())
        };
        self.groups.iter().map(row).collect()
    }

    /// Forgets the offsets of a topic that is gone, in all groups.
    pub fn topic_deleted(&mut self, topic: &str, now: Now, out: &mut GroupOutput) {
        self.retain_topics(|name| name != topic, now, out);
    }

    /// Forgets the offsets of all topics but those that exist: after a start, for a topic may have been deleted
    /// durably without every group's offsets having followed it.
    pub fn retain_topics(&mut self, exists: impl Fn(&str) -> bool, now: Now, out: &mut GroupOutput) {
        let mut changed = Vec::new();
        for (name, entry) in &mut self.groups {
            let gone = entry.group.offsets.topics_without(&exists);
            for topic in &gone {
                entry.group.offsets.forget(topic);
                let record = record::encode_topic_forgotten(name, topic);
                out.writes.push(StateWrite { log_index: log_index_of(name), record, reply: None });
            }
            if !gone.is_empty() {
                entry.group.note_offsets_forgotten(now);
                changed.push(Arc::clone(name));
            }
        }
        for name in changed {
            self.schedule(&name);
        }
    }

    /// Replays a state record, at start, in the order they were written.
    pub fn restore(&mut self, record: &[u8]) -> Result<(), BadState> {
        match record::decode(record)? {
            StateRecord::Offsets { group, offsets } => {
                let name = self.find_or_create(&group, Now::default());
                if let Some(entry) = self.groups.get_mut(&name) {
                    offsets.into_iter().for_each(|commit| entry.group.offsets.set(commit));
                }
                self.keep_if_it_has_offsets(&name);
            }
            StateRecord::GroupDeleted { group } => self.remove(&Arc::from(group)),
            StateRecord::TopicForgotten { group, topic } => {
                let name: Arc<str> = Arc::from(group);
                if let Some(entry) = self.groups.get_mut(&name) {
                    entry.group.offsets.forget(&topic);
                }
                self.keep_if_it_has_offsets(&name);
            }
            StateRecord::OffsetsForgotten { group, partitions } => {
                let name: Arc<str> = Arc::from(group);
                if let Some(entry) = self.groups.get_mut(&name) {
                    for (topic, partition) in partitions {
                        entry.group.offsets.remove(&topic, partition);
                    }
                }
                self.keep_if_it_has_offsets(&name);
            }
        }
        Ok(())
    }

    fn keep_if_it_has_offsets(&mut self, name: &Arc<str>) {
        if self.groups.get(name).is_some_and(|entry| entry.group.offsets.is_empty()) {
            self.remove(name);
        }
    }

    /// Records that rebuild what is kept of the groups of one state log.
    pub fn snapshot(&self, log_index: u64) -> Vec<Vec<u8>> {
        let of_log = |(name, entry): &(&Arc<str>, &Entry)| {
            log_index_of(name) == log_index && !entry.group.offsets.is_empty()
        };
        let records =
            |(name, entry): (&Arc<str>, &Entry)| record::encode_offsets(name, entry.group.offsets.all());
        self.groups.iter().filter(of_log).flat_map(records).collect()
    }
}

/// Takes a request to its group.
fn act(
    group: &mut Group,
    name: &str,
    request: GroupRequest,
    waiter: Waiter,
    time: &JoinTime,
    random: &mut Random,
    out: &mut GroupOutput,
) {
    let now = time.now;
    match request {
        GroupRequest::Join {
            member_id,
            instance_id,
            client_id,
            client_host,
            session_timeout_ms,
            rebalance_timeout_ms,
            protocol_type,
            protocols,
            member_id_required,
            skips_assignment,
        } => {
            let join = Join {
                member_id,
                instance_id,
                client_id,
                client_host,
                session_timeout_ms,
                rebalance_timeout_ms,
                protocol_type,
                protocols,
                member_id_required,
                skips_assignment,
                waiter,
            };
            group.join(join, time, random, &mut out.replies);
        }
        GroupRequest::Sync {
            member_id,
            instance_id,
            generation,
            protocol_type,
            protocol_name,
            assignments,
        } => {
            let sync = Sync {
                member_id,
                instance_id,
                generation,
                protocol_type,
                protocol_name,
                assignments,
                waiter,
            };
            group.sync(sync, now, &mut out.replies);
        }
        GroupRequest::Heartbeat { member_id, instance_id, generation } => {
            let result = group.heartbeat(&member_id, instance_id.as_deref(), generation, now);
            out.replies.push((waiter, GroupReply::Heartbeat(result)));
        }
        GroupRequest::Leave { members } => {
            let results = group.leave(&members, now, &mut out.replies);
            out.replies.push((waiter, GroupReply::Leave(results)));
        }
        GroupRequest::Commit { member_id, instance_id, generation, offsets } => {
            match group.check_commit(&member_id, instance_id.as_deref(), generation) {
                Ok(()) => {
                    group.touch(&member_id, now);
                    commit(group, name, offsets, waiter, out);
                }
                Err(error) => {
                    let results = offsets.iter().map(|_| Err(error.clone())).collect();
                    out.replies.push((waiter, GroupReply::Commit(results)));
                }
            }
        }
        // Answered before a group is looked for.
        GroupRequest::Committed { .. }
        | GroupRequest::DeleteOffsets { .. }
        | GroupRequest::Describe
        | GroupRequest::Delete => {}
    }
}

/// Takes over the offsets that fit; the reply leaves with the last of their records.
fn commit(group: &mut Group, name: &str, offsets: Vec<OffsetCommit>, waiter: Waiter, out: &mut GroupOutput) {
    let mut results = Vec::with_capacity(offsets.len());
    let mut accepted = Vec::with_capacity(offsets.len());
    for offset in offsets {
        let fits = group.offsets.count() < OFFSETS_PER_GROUP_MAX
            || group.offsets.contains(&offset.topic, offset.partition);
        if METADATA_BYTES_MAX < offset.metadata.len() {
            results.push(Err(GroupError::MetadataTooLarge));
        } else if !fits {
            results.push(Err(GroupError::Full));
        } else {
            results.push(Ok(()));
            group.offsets.set(offset.clone());
            accepted.push(offset);
        }
    }
    let reply = (waiter, GroupReply::Commit(results));
    if accepted.is_empty() {
        return out.replies.push(reply);
    }
    write_all(name, record::encode_offsets(name, accepted.into_iter()), reply, out);
}

/// Has the records of a group written; the reply leaves with the last of them, of which there must be one.
fn write_all(name: &str, records: Vec<Vec<u8>>, reply: (Waiter, GroupReply), out: &mut GroupOutput) {
    let mut reply = Some(reply);
    let last = records.len() - 1;
    for (place, record) in records.into_iter().enumerate() {
        let reply = if place == last { reply.take() } else { None };
        out.writes.push(StateWrite { log_index: log_index_of(name), record, reply });
    }
}

/// The reply, in the kind of the request, that refuses all of it.
fn refusal_of(request: &GroupRequest, error: GroupError) -> GroupReply {
    match request {
        GroupRequest::Join { .. } => GroupReply::Join(Err(error)),
        GroupRequest::Sync { .. } => GroupReply::Sync(Err(error)),
        GroupRequest::Heartbeat { .. } => GroupReply::Heartbeat(Err(error)),
        GroupRequest::Leave { members } => {
            GroupReply::Leave(members.iter().map(|_| Err(error.clone())).collect())
        }
        GroupRequest::Commit { offsets, .. } => {
            GroupReply::Commit(offsets.iter().map(|_| Err(error.clone())).collect())
        }
        GroupRequest::Committed { .. } => GroupReply::Committed(Vec::new()),
        GroupRequest::DeleteOffsets { .. } => GroupReply::DeleteOffsets(Err(error)),
        GroupRequest::Describe => GroupReply::Describe(None),
        GroupRequest::Delete => GroupReply::Delete(Err(error)),
    }
}
