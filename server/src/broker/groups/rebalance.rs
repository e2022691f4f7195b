//! How a group gets from one generation to the next, and what happens when time runs out.
//!
//! In: that a member came or went, and the time. Out: the answers members wait for. Never: adds a member.

use ringmain_engine::types::Now;

use super::group::{Gathering, Group, Phase, Replies};
use super::join::JoinTime;
use super::member::{Member, later};
use super::{GroupError, GroupReply};

/// A rebalance that nobody has joined is looked at again after this long at the earliest.
const POSTPONED_MS_MIN: u64 = 1_000;

impl Group {
    /// Somebody joined: begins a rebalance, or ends the one under way if it waited for nobody else.
    pub(super) fn rebalance_or_complete(&mut self, time: &JoinTime, replies: &mut Replies) {
        match self.phase {
            Phase::Empty { .. } => self.gather(time),
            Phase::Preparing { .. } => self.complete_if_all_joined(time.now, replies),
            Phase::Completing { .. } | Phase::Stable { .. } => self.prepare(time.now, replies),
        }
    }

    /// Somebody is gone.
    pub(super) fn after_loss(&mut self, now: Now, replies: &mut Replies) {
        match self.phase {
            Phase::Empty { .. } => self.wake_by(self.earliest_deadline()),
            Phase::Preparing { .. } => self.complete_if_all_joined(now, replies),
            Phase::Completing { .. } | Phase::Stable { .. } => self.prepare(now, replies),
        }
    }

    /// The first member of an empty group: others are given time to come before the first generation.
    fn gather(&mut self, time: &JoinTime) {
        let left_ms = self.rebalance_timeout_ms().saturating_sub(time.initial_delay_ms);
        let deadline_us = later(time.now, time.initial_delay_ms);
        let gathering = Some(Gathering { step_ms: time.initial_delay_ms, left_ms, member_added: false });
        self.phase = Phase::Preparing { deadline_us, gathering };
        self.wake_by(deadline_us);
    }

    /// Ends the generation: all members have to join again.
    fn prepare(&mut self, now: Now, replies: &mut Replies) {
        if matches!(self.phase, Phase::Completing { .. }) {
            for member in self.members.values_mut() {
                member.assignment.clear();
                if let Some(waiter) = member.syncing.take() {
                    replies.push((waiter, GroupReply::Sync(Err(GroupError::RebalanceInProgress))));
                    member.touch(now);
                }
            }
        }
        let deadline_us = later(now, self.rebalance_timeout_ms());
        self.phase = Phase::Preparing { deadline_us, gathering: None };
        // Members that no longer wait for a sync have a deadline again.
        self.wake_by(self.earliest_deadline());
        self.complete_if_all_joined(now, replies);
    }

    /// As long as the most patient member allows.
    fn rebalance_timeout_ms(&self) -> u64 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0)
    }

    fn complete_if_all_joined(&mut self, now: Now, replies: &mut Replies) {
        if let Phase::Preparing { gathering: None, .. } = self.phase
            && self.pending.is_empty()
            && self.members.values().all(|member| member.joining.is_some())
        {
            self.complete(now, replies);
        }
    }

    /// The first half is over: who has not joined is out, unless static, and the rest is told who leads.
    fn complete(&mut self, now: Now, replies: &mut Replies) {
        let late = |(id, member): (&String, &Member)| {
            (member.joining.is_none() && member.instance_id.is_none()).then(|| id.clone())
        };
        for member_id in self.members.iter().filter_map(late).collect::<Vec<_>>() {
            self.remove_member(&member_id, GroupError::UnknownMember, replies);
        }
        if self.members.is_empty() {
            return self.become_empty(now);
        }
        if !self.elect_joined_leader() {
            // Only static members are left, and none of them is back: their session timeouts decide.
            let deadline_us = later(now, self.rebalance_timeout_ms().max(POSTPONED_MS_MIN));
            self.phase = Phase::Preparing { deadline_us, gathering: None };
            return self.wake_by(deadline_us);
        }
        self.generation = next_generation(self.generation);
        self.protocol_name = self.select_protocol();
        // Every join was checked to leave at least one protocol that all members speak.
        assert!(self.protocol_name.is_some());
        self.answer_joins(now, replies);
        let sync_deadline_us = later(now, self.rebalance_timeout_ms());
        self.phase = Phase::Completing { sync_deadline_us };
        self.wake_by(self.earliest_deadline());
    }

    fn answer_joins(&mut self, now: Now, replies: &mut Replies) {
        let mut waiting = Vec::new();
        for (member_id, member) in &mut self.members {
            member.is_new = false;
            member.synced = false;
            member.touch(now);
            waiting.extend(member.joining.take().map(|waiter| (waiter, member_id.clone())));
        }
        for (waiter, member_id) in waiting {
            replies.push((waiter, GroupReply::Join(Ok(self.joined(&member_id)))));
        }
    }

    fn become_empty(&mut self, now: Now) {
        self.generation = next_generation(self.generation);
        self.protocol_name = None;
        self.leader = None;
        self.phase = Phase::Empty { since_us: now.monotonic_us };
        self.wake_by(self.earliest_deadline());
    }

    /// The leader stays if it has joined, else the first that has joined leads. False: nobody has.
    fn elect_joined_leader(&mut self) -> bool {
        let has_joined = |member: &Member| member.joining.is_some();
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        if leader.is_some_and(has_joined) {
            return true;
        }
        let Some((id, _)) = self.members.iter().find(|(_, member)| has_joined(member)) else { return false };
        self.leader = Some(id.clone());
        true
    }

    /// Does what is due. Afterwards `wake_at_us` is exact.
    pub(super) fn expire(&mut self, now: Now, replies: &mut Replies) {
        self.expire_pending(now, replies);
        self.expire_members(now, replies);
        self.expire_phase(now, replies);
        self.wake_at_us = self.earliest_deadline();
    }

    fn expire_pending(&mut self, now: Now, replies: &mut Replies) {
        let count_before = self.pending.len();
        self.pending.retain(|_, deadline_us| now.monotonic_us < *deadline_us);
        if self.pending.len() < count_before && matches!(self.phase, Phase::Preparing { .. }) {
            self.complete_if_all_joined(now, replies);
        }
    }

    fn expire_members(&mut self, now: Now, replies: &mut Replies) {
        let dead = |(id, member): (&String, &Member)| {
            let expired = member.expires_at().is_some_and(|at_us| at_us <= now.monotonic_us);
            expired.then(|| id.clone())
        };
        let dead: Vec<String> = self.members.iter().filter_map(dead).collect();
        if dead.is_empty() {
            return;
        }
        for member_id in dead {
            self.remove_member(&member_id, GroupError::UnknownMember, replies);
        }
        self.after_loss(now, replies);
    }

    fn expire_phase(&mut self, now: Now, replies: &mut Replies) {
        match &mut self.phase {
            Phase::Preparing { deadline_us, gathering } if *deadline_us <= now.monotonic_us => {
                if let Some(gathering) = gathering
                    && gathering.member_added
                    && 0 < gathering.left_ms
                {
                    gathering.member_added = false;
                    let extra_ms = gathering.left_ms.min(gathering.step_ms);
                    gathering.left_ms -= extra_ms;
                    *deadline_us = later(now, extra_ms);
                    return;
                }
                self.complete(now, replies);
            }
            Phase::Completing { sync_deadline_us }
            | Phase::Stable { sync_deadline_us: Some(sync_deadline_us) }
                if *sync_deadline_us <= now.monotonic_us =>
            {
                self.remove_unsynced(now, replies);
            }
            _ => {}
        }
    }

    /// Who joined but never asked for its assignment is out.
    fn remove_unsynced(&mut self, now: Now, replies: &mut Replies) {
        let late = |(id, member): (&String, &Member)| (!member.synced).then(|| id.clone());
        for member_id in self.members.iter().filter_map(late).collect::<Vec<_>>() {
            self.remove_member(&member_id, GroupError::UnknownMember, replies);
        }
        self.prepare(now, replies);
    }
}

/// Generations count up and never become negative: a negative one means "from outside the group".
fn next_generation(generation: i32) -> i32 {
    generation.checked_add(1).unwrap_or(1)
}
