//! One group: its phase, its members, and the requests that need no rebalance.
//!
//! In: requests that the coordinator found this group for, and the time. Out: replies. Never: knows its name,
//! writes a record, or keeps a waiter it has answered.
//!
//! ```text
//!            a member joins                all joined, or time is up          leader's sync
//!   Empty ────────────────▶ Preparing ────────────────────────▶ Completing ─────────────────▶ Stable
//!     ▲                      │  ▲  ▲                                │                            │
//!     └── nobody is left ────┘  │  └── a member comes or goes ───────┘                            │
//!                               └───── a member comes or goes, the leader joins again ───────────┘
//! ```

use std::collections::BTreeMap;

use ringmain_engine::types::Now;

use super::member::{Member, later};
use super::offsets::Offsets;
use super::{GroupDescription, GroupError, GroupReply, Waiter};

/// How long a group without members and offsets is remembered, in ms.
const BLANK_GROUP_KEPT_MS: u64 = 600_000;

/// Where a group is between two generations.
#[derive(Debug)]
pub(super) enum Phase {
    Empty {
        since_us: u64,
    },
    Preparing {
        deadline_us: u64,
        /// The group was empty before: its members are given time to gather.
        gathering: Option<Gathering>,
    },
    Completing {
        /// Members that have not synced by then are removed.
        sync_deadline_us: u64,
    },
    Stable {
        /// `None` once all members have synced.
        sync_deadline_us: Option<u64>,
    },
}

/// The gathering of a new group's members.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gathering {
    /// By how much it is drawn out at a time.
    pub(super) step_ms: u64,
    /// How much longer it may be drawn out.
    pub(super) left_ms: u64,
    /// Somebody came since it was last drawn out.
    pub(super) member_added: bool,
}

/// One group.
///
/// * `Empty` ⇒ no members; `members` ≠ ∅ ⇒ the protocol type is known
/// * a member waits for a join only in `Preparing`, for a sync only in `Completing`
/// * `leader` ∈ `members` ∪ {none}; `static_members[i] = m` ⇔ `members[m].instance_id = i`
/// * `wake_at_us` ≤ every deadline of the group
#[derive(Debug)]
pub(super) struct Group {
    pub(super) phase: Phase,
    pub(super) generation: i32,
    pub(super) protocol_type: String,
    pub(super) protocol_name: Option<String>,
    pub(super) leader: Option<String>,
    pub(super) members: BTreeMap<String, Member>,
    /// Member ids by instance ids.
    pub(super) static_members: BTreeMap<String, String>,
    /// Given an id and told to come back with it: until when.
    pub(super) pending: BTreeMap<String, u64>,
    pub(super) offsets: Offsets,
    /// Look at the group no later than this; `u64::MAX`: never.
    pub(super) wake_at_us: u64,
}

pub(super) type Replies = Vec<(Waiter, GroupReply)>;

impl Group {
    /// A group without members.
    pub(super) fn new(now: Now) -> Group {
        Group {
            phase: Phase::Empty { since_us: now.monotonic_us },
            generation: 0,
            protocol_type: String::new(),
            protocol_name: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending: BTreeMap::new(),
            offsets: Offsets::default(),
            wake_at_us: later(now, BLANK_GROUP_KEPT_MS),
        }
    }

    /// Makes sure the group is looked at by then.
    pub(super) fn wake_by(&mut self, at_us: u64) {
        self.wake_at_us = self.wake_at_us.min(at_us);
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self.phase, Phase::Empty { .. })
    }

    /// It may have become blank.
    pub(super) fn note_offsets_forgotten(&mut self, now: Now) {
        if let Phase::Empty { since_us } = &mut self.phase {
            *since_us = now.monotonic_us.max(*since_us);
        }
        self.wake_by(self.earliest_deadline());
    }

    /// Nothing has ever come of it: it can be forgotten at once.
    pub(super) fn is_unused(&self) -> bool {
        self.generation == 0 && self.is_blank()
    }

    /// Nobody would miss it.
    fn is_blank(&self) -> bool {
        self.is_empty() && self.pending.is_empty() && self.offsets.is_empty()
    }

    /// Blank for so long that it is to be forgotten.
    pub(super) fn is_forgotten(&self, now: Now) -> bool {
        self.is_blank() && self.blank_until().is_some_and(|until_us| until_us <= now.monotonic_us)
    }

    fn blank_until(&self) -> Option<u64> {
        match self.phase {
            Phase::Empty { since_us } if self.is_blank() => {
                Some(since_us.saturating_add(BLANK_GROUP_KEPT_MS * 1000))
            }
            _ => None,
        }
    }

    /// The earliest of all deadlines, counted anew.
    pub(super) fn earliest_deadline(&self) -> u64 {
        let phase_us = match self.phase {
            Phase::Empty { .. } => self.blank_until(),
            Phase::Preparing { deadline_us, .. } => Some(deadline_us),
            Phase::Completing { sync_deadline_us } => Some(sync_deadline_us),
            Phase::Stable { sync_deadline_us } => sync_deadline_us,
        };
        let pending = self.pending.values().copied();
        let members = self.members.values().filter_map(Member::expires_at);
        pending.chain(members).chain(phase_us).min().unwrap_or(u64::MAX)
    }

    pub(super) fn state_name(&self) -> &'static str {
        match self.phase {
            Phase::Empty { .. } => "Empty",
            Phase::Preparing { .. } => "PreparingRebalance",
            Phase::Completing { .. } => "CompletingRebalance",
            Phase::Stable { .. } => "Stable",
        }
    }

    pub(super) fn describe(&self) -> GroupDescription {
        let stable = matches!(self.phase, Phase::Stable { .. });
        let protocol = self.protocol_name.as_deref().filter(|_| stable);
        GroupDescription {
            state: self.state_name(),
            protocol_type: self.protocol_type.clone(),
            protocol_name: protocol.unwrap_or_default().to_string(),
            members: self.members.iter().map(|(id, member)| member.describe(id, protocol)).collect(),
        }
    }

    /// Whether this is a member, and the one that now has its instance id.
    pub(super) fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), GroupError> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(GroupError::UnknownMember),
                Some(current) if current != member_id => return Err(GroupError::FencedInstance),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(GroupError::UnknownMember) }
    }

    /// As [`Group::check_member`], and of the current generation.
    pub(super) fn check_generation(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), GroupError> {
        self.check_member(member_id, instance_id)?;
        if generation == self.generation { Ok(()) } else { Err(GroupError::IllegalGeneration) }
    }

    /// A sign of life.
    pub(super) fn touch(&mut self, member_id: &str, now: Now) {
        if let Some(member) = self.members.get_mut(member_id) {
            let deadline_us = member.touch(now);
            self.wake_by(deadline_us);
        }
    }

    pub(super) fn heartbeat(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        now: Now,
    ) -> Result<(), GroupError> {
        self.check_generation(member_id, instance_id, generation)?;
        self.touch(member_id, now);
        match self.phase {
            Phase::Preparing { .. } => Err(GroupError::RebalanceInProgress),
            // Members may begin to beat before the leader has synced.
            Phase::Empty { .. } | Phase::Completing { .. } | Phase::Stable { .. } => Ok(()),
        }
    }

    /// Takes members out; the others are told by the rebalance that follows.
    pub(super) fn leave(
        &mut self,
        members: &[(String, Option<String>)],
        now: Now,
        replies: &mut Replies,
    ) -> Vec<Result<(), GroupError>> {
        let mut left_any = false;
        let mut results = Vec::new();
        for (member_id, instance_id) in members {
            let result = self.leaving(member_id, instance_id.as_deref()).map(|leaving| {
                if self.pending.remove(&leaving).is_none() {
                    self.remove_member(&leaving, GroupError::UnknownMember, replies);
                }
                left_any = true;
            });
            results.push(result);
        }
        if left_any {
            self.after_loss(now, replies);
        }
        results
    }

    /// Which member that is. An administrator names a static one by its instance id alone.
    fn leaving(&self, member_id: &str, instance_id: Option<&str>) -> Result<String, GroupError> {
        if member_id.is_empty() {
            let found = instance_id.and_then(|id| self.static_members.get(id));
            return found.cloned().ok_or(GroupError::UnknownMember);
        }
        if !self.pending.contains_key(member_id) {
            self.check_member(member_id, instance_id)?;
        }
        Ok(member_id.to_string())
    }

    /// Whether offsets may be committed by this member now, or from outside.
    pub(super) fn check_commit(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), GroupError> {
        if generation < 0 && self.is_empty() {
            return Ok(());
        }
        if generation < 0 && member_id.is_empty() && instance_id.is_none() {
            return Err(GroupError::UnknownMember);
        }
        self.check_generation(member_id, instance_id, generation)?;
        if matches!(self.phase, Phase::Completing { .. }) {
            return Err(GroupError::RebalanceInProgress);
        }
        Ok(())
    }

    /// Forgets a member; whatever it waits for is refused with `why`.
    pub(super) fn remove_member(&mut self, member_id: &str, why: GroupError, replies: &mut Replies) {
        let Some(mut member) = self.members.remove(member_id) else { return };
        refuse_waiters(&mut member, why, replies);
        if let Some(instance_id) = &member.instance_id {
            self.static_members.remove(instance_id);
        }
        if self.leader.as_deref() == Some(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
    }
}

/// Answers what a member waits for with an error.
pub(super) fn refuse_waiters(member: &mut Member, why: GroupError, replies: &mut Replies) {
    if let Some(waiter) = member.joining.take() {
        replies.push((waiter, GroupReply::Join(Err(why.clone()))));
    }
    if let Some(waiter) = member.syncing.take() {
        replies.push((waiter, GroupReply::Sync(Err(why))));
    }
}
