//! Syncing: the leader brings the assignment, everybody gets a part of it.
//!
//! In: sync requests. Out: assignments. Never: looks inside one.

use bytes::Bytes;
use ringmain_engine::types::Now;

use super::group::{Group, Phase, Replies};
use super::member::Member;
use super::{GroupError, GroupReply, Synced, Waiter};

/// A sync request, and who waits for its answer.
pub(super) struct Sync {
    pub(super) member_id: String,
    pub(super) instance_id: Option<String>,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol_name: Option<String>,
    pub(super) assignments: Vec<(String, Bytes)>,
    pub(super) waiter: Waiter,
}

impl Group {
    /// A member asks for its assignment; the leader brings all of them.
    pub(super) fn sync(&mut self, sync: Sync, now: Now, replies: &mut Replies) {
        if let Err(error) = self.check_sync(&sync) {
            return replies.push((sync.waiter, GroupReply::Sync(Err(error))));
        }
        let Some(member) = self.members.get_mut(&sync.member_id) else { return };
        member.synced = true;
        match self.phase {
            Phase::Completing { .. } => {
                if let Some(earlier) = member.syncing.replace(sync.waiter) {
                    // It belongs to a connection the member has given up.
                    replies.push((earlier, GroupReply::Sync(Err(GroupError::RebalanceInProgress))));
                }
                if self.leader.as_ref() == Some(&sync.member_id) {
                    self.distribute(&sync.assignments, now, replies);
                }
            }
            Phase::Empty { .. } | Phase::Preparing { .. } | Phase::Stable { .. } => {
                let assignment = member.assignment.clone();
                let synced = self.synced(assignment);
                replies.push((sync.waiter, GroupReply::Sync(Ok(synced))));
                self.touch(&sync.member_id, now);
                self.note_all_synced();
            }
        }
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), GroupError> {
        self.check_generation(&sync.member_id, sync.instance_id.as_deref(), sync.generation)?;
        let other_type = sync.protocol_type.as_ref().is_some_and(|name| *name != self.protocol_type);
        let other_name =
            sync.protocol_name.as_ref().is_some_and(|name| Some(name) != self.protocol_name.as_ref());
        if other_type || other_name {
            return Err(GroupError::InconsistentProtocol);
        }
        match self.phase {
            Phase::Empty { .. } => Err(GroupError::UnknownMember),
            Phase::Preparing { .. } => Err(GroupError::RebalanceInProgress),
            Phase::Completing { .. } | Phase::Stable { .. } => Ok(()),
        }
    }

    /// The leader has spoken: the group is stable. Whom the leader forgot gets an empty assignment.
    fn distribute(&mut self, assignments: &[(String, Bytes)], now: Now, replies: &mut Replies) {
        let Phase::Completing { sync_deadline_us } = self.phase else { return };
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        for (member_id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(member_id) {
                member.assignment = Bytes::copy_from_slice(assignment);
            }
        }
        self.phase = Phase::Stable { sync_deadline_us: Some(sync_deadline_us) };
        let mut answers = Vec::new();
        let mut wake_at_us = u64::MAX;
        for member in self.members.values_mut() {
            if let Some(waiter) = member.syncing.take() {
                answers.push((waiter, member.assignment.clone()));
                wake_at_us = wake_at_us.min(member.touch(now));
            }
        }
        self.wake_by(wake_at_us);
        for (waiter, assignment) in answers {
            replies.push((waiter, GroupReply::Sync(Ok(self.synced(assignment)))));
        }
        self.note_all_synced();
    }

    fn note_all_synced(&mut self) {
        if let Phase::Stable { sync_deadline_us } = &mut self.phase
            && self.members.values().all(|member: &Member| member.synced)
        {
            *sync_deadline_us = None;
        }
    }

    fn synced(&self, assignment: Bytes) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone().unwrap_or_default(),
            assignment,
        }
    }
}
