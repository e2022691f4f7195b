//! Joining: new members, members that come back with their id, static members that were restarted.
//!
//! In: join requests. Out: replies that need no waiting; the others wait in the member for the rebalance.
//! Never: ends a rebalance itself, except when the last member it waits for has come.

use std::collections::HashSet;

use bytes::Bytes;
use ringmain_engine::types::Now;

use super::group::{Group, Phase, Replies, refuse_waiters};
use super::member::{Member, later};
use super::{
    GroupError, GroupReply, Joined, MEMBERS_PER_GROUP_MAX, PROTOCOLS_PER_MEMBER_MAX, SESSION_TIMEOUT_MS_MAX,
    SESSION_TIMEOUT_MS_MIN, Waiter,
};
use crate::broker::context::Random;

/// A join request, and who waits for its answer.
pub(super) struct Join {
    pub(super) member_id: String,
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout_ms: i32,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) protocol_type: String,
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) member_id_required: bool,
    pub(super) skips_assignment: bool,
    pub(super) waiter: Waiter,
}

/// What a join is judged against besides its group.
pub(super) struct JoinTime {
    pub(super) now: Now,
    pub(super) initial_delay_ms: u64,
}

impl Join {
    /// Answers at once.
    fn answer(&self, result: Result<Joined, GroupError>, replies: &mut Replies) {
        replies.push((self.waiter, GroupReply::Join(result)));
    }

    fn session_timeout_is_valid(&self) -> bool {
        (SESSION_TIMEOUT_MS_MIN..=SESSION_TIMEOUT_MS_MAX).contains(&self.session_timeout_ms)
    }

    /// An id nobody else has, which still shows whose it is.
    fn new_member_id(&self, random: &mut Random) -> String {
        let name = self.instance_id.as_deref().unwrap_or(&self.client_id);
        let hex: String = random.uuid().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut id = format!("{name}-");
        for (place, digit) in hex.chars().enumerate() {
            if [8, 12, 16, 20].contains(&place) {
                id.push('-');
            }
            id.push(digit);
        }
        id
    }

    fn protocols_are(&self, known: &[(String, Bytes)]) -> bool {
        self.protocols == known
    }

    /// The protocols, out of the request's buffer.
    fn own_protocols(&self) -> Vec<(String, Bytes)> {
        let own = |(name, metadata): &(String, Bytes)| (name.clone(), Bytes::copy_from_slice(metadata));
        self.protocols.iter().map(own).collect()
    }

    fn into_member(self) -> Member {
        Member {
            protocols: self.own_protocols(),
            instance_id: self.instance_id,
            client_id: self.client_id,
            client_host: self.client_host,
            session_timeout_ms: u64::try_from(self.session_timeout_ms).unwrap_or(0),
            rebalance_timeout_ms: u64::try_from(self.rebalance_timeout_ms).unwrap_or(0),
            assignment: Bytes::new(),
            joining: Some(self.waiter),
            syncing: None,
            synced: false,
            is_new: true,
            deadline_us: 0,
        }
    }
}

impl Group {
    /// A member joins, for the first time or again.
    pub(super) fn join(&mut self, join: Join, time: &JoinTime, random: &mut Random, replies: &mut Replies) {
        if !join.session_timeout_is_valid() {
            return join.answer(Err(GroupError::InvalidSessionTimeout), replies);
        }
        if !self.has_room_for(&join) {
            return join.answer(Err(GroupError::Full), replies);
        }
        if !self.can_agree_with(&join) {
            return join.answer(Err(GroupError::InconsistentProtocol), replies);
        }
        if !join.member_id.is_empty() {
            return self.join_again(join, time, replies);
        }
        let member_id = join.new_member_id(random);
        match &join.instance_id {
            Some(instance_id) => match self.static_members.get(instance_id).cloned() {
                Some(old_id) => self.replace_static(&old_id, member_id, join, time, replies),
                None => self.add_member(member_id, join, time, replies),
            },
            None if join.member_id_required => {
                let deadline_us = later(time.now, u64::try_from(join.session_timeout_ms).unwrap_or(0));
                self.pending.insert(member_id.clone(), deadline_us);
                self.wake_by(deadline_us);
                join.answer(Err(GroupError::MemberIdRequired(member_id)), replies);
            }
            None => self.add_member(member_id, join, time, replies),
        }
    }

    fn has_room_for(&self, join: &Join) -> bool {
        let known = self.members.contains_key(&join.member_id)
            || self.pending.contains_key(&join.member_id)
            || join.instance_id.as_ref().is_some_and(|id| self.static_members.contains_key(id));
        known || self.members.len() + self.pending.len() < MEMBERS_PER_GROUP_MAX
    }

    /// Whether some protocol would still be spoken by all.
    fn can_agree_with(&self, join: &Join) -> bool {
        if join.protocol_type.is_empty()
            || join.protocols.is_empty()
            || PROTOCOLS_PER_MEMBER_MAX < join.protocols.len()
        {
            return false;
        }
        if self.members.is_empty() {
            return true;
        }
        join.protocol_type == self.protocol_type
            && join.protocols.iter().any(|(name, _)| self.members.values().all(|member| member.speaks(name)))
    }

    /// A member comes with the id it was given.
    fn join_again(&mut self, join: Join, time: &JoinTime, replies: &mut Replies) {
        if join.instance_id.is_none() && self.pending.remove(&join.member_id).is_some() {
            return self.add_member(join.member_id.clone(), join, time, replies);
        }
        if let Err(error) = self.check_member(&join.member_id, join.instance_id.as_deref()) {
            return join.answer(Err(error), replies);
        }
        let same =
            self.members.get(&join.member_id).is_some_and(|known| join.protocols_are(&known.protocols));
        let is_leader = self.leader.as_ref() == Some(&join.member_id);
        let nothing_new = match self.phase {
            // The answer to its first join was lost on the way.
            Phase::Completing { .. } => same,
            // A leader joins again because it wants another assignment.
            Phase::Stable { .. } => same && !is_leader,
            Phase::Preparing { .. } | Phase::Empty { .. } => false,
        };
        if nothing_new {
            self.touch(&join.member_id, time.now);
            return join.answer(Ok(self.joined(&join.member_id)), replies);
        }
        let member_id = join.member_id.clone();
        self.update_member(&member_id, join, time.now, replies);
        self.rebalance_or_complete(time, replies);
    }

    fn add_member(&mut self, member_id: String, join: Join, time: &JoinTime, replies: &mut Replies) {
        if let Phase::Preparing { gathering: Some(gathering), .. } = &mut self.phase {
            gathering.member_added = true;
        }
        if self.members.is_empty() {
            self.protocol_type.clone_from(&join.protocol_type);
        }
        if let Some(instance_id) = &join.instance_id {
            self.static_members.insert(instance_id.clone(), member_id.clone());
        }
        self.leader.get_or_insert_with(|| member_id.clone());
        self.members.insert(member_id.clone(), join.into_member());
        self.touch(&member_id, time.now);
        self.rebalance_or_complete(time, replies);
    }

    /// Takes over what a known member now says of itself, and lets it wait.
    fn update_member(&mut self, member_id: &str, join: Join, now: Now, replies: &mut Replies) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        // An earlier request of it that is still waiting belongs to a connection it has given up.
        refuse_waiters(member, GroupError::RebalanceInProgress, replies);
        member.protocols = join.own_protocols();
        member.session_timeout_ms = u64::try_from(join.session_timeout_ms).unwrap_or(0);
        member.rebalance_timeout_ms = u64::try_from(join.rebalance_timeout_ms).unwrap_or(0);
        member.joining = Some(join.waiter);
        self.touch(member_id, now);
    }

    /// A static member was restarted: it gets a new id and keeps its place, and the old id is fenced off.
    fn replace_static(
        &mut self,
        old_id: &str,
        new_id: String,
        join: Join,
        time: &JoinTime,
        replies: &mut Replies,
    ) {
        let Some(mut member) = self.members.remove(old_id) else { return };
        refuse_waiters(&mut member, GroupError::FencedInstance, replies);
        member.client_id.clone_from(&join.client_id);
        member.client_host.clone_from(&join.client_host);
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), new_id.clone());
        }
        let was_leader = self.leader.as_deref() == Some(old_id);
        if was_leader {
            self.leader = Some(new_id.clone());
        }
        self.members.insert(new_id.clone(), member);
        let skips_assignment = join.skips_assignment;
        self.update_member(&new_id, join, time.now, replies);

        let keeps_protocol = self.protocol_name.is_some() && self.select_protocol() == self.protocol_name;
        if !(matches!(self.phase, Phase::Stable { .. }) && keeps_protocol) {
            return self.rebalance_or_complete(time, replies);
        }
        let waiter = self.members.get_mut(&new_id).and_then(|member| member.joining.take());
        let mut joined = self.joined(&new_id);
        if was_leader && skips_assignment {
            joined.skip_assignment = true;
        } else if was_leader {
            // Told that its old self leads, it makes no assignment.
            joined.leader = old_id.to_string();
            joined.members.clear();
        }
        replies.extend(waiter.map(|waiter| (waiter, GroupReply::Join(Ok(joined)))));
    }

    /// What a member of the current generation is told about it.
    pub(super) fn joined(&self, member_id: &str) -> Joined {
        let protocol_name = self.protocol_name.clone().unwrap_or_default();
        let leader = self.leader.clone().unwrap_or_default();
        let members = if leader == member_id {
            let tell = |(id, member): (&String, &Member)| {
                (id.clone(), member.instance_id.clone(), member.metadata(&protocol_name))
            };
            self.members.iter().map(tell).collect()
        } else {
            Vec::new()
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name,
            leader,
            member_id: member_id.to_string(),
            members,
            skip_assignment: false,
        }
    }

    /// The protocol all members speak that most of them like best; of equals the one named first.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let mut members = self.members.values();
        let mut common: HashSet<&str> =
            members.next()?.protocols.iter().map(|(name, _)| name.as_str()).collect();
        for member in members {
            common.retain(|name| member.speaks(name));
        }
        let mut votes: Vec<(&str, usize)> = Vec::new();
        for member in self.members.values() {
            let Some((choice, _)) = member.protocols.iter().find(|(name, _)| common.contains(name.as_str()))
            else {
                continue;
            };
            match votes.iter_mut().find(|(name, _)| *name == choice.as_str()) {
                Some((_, count)) => *count += 1,
                None => votes.push((choice, 1)),
            }
        }
        let most = votes.iter().map(|(_, count)| *count).max()?;
        votes.iter().find(|(_, count)| *count == most).map(|(name, _)| (*name).to_string())
    }
}
