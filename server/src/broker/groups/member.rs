//! One member of a group: what it offers, what it was given, and until when it counts as alive.
//!
//! In: its requests, through its group. Out: what the group answers with. Never: decides about the group.

use bytes::Bytes;
use ringmain_engine::types::Now;

use super::{MemberDescription, Waiter};

/// How long a member that was never part of a generation may wait for its first one, in ms. While it waits it
/// sends no heartbeats, so only this bounds how long a vanished one is counted.
pub(super) const FIRST_JOIN_TIMEOUT_MS: u64 = 300_000;

/// One member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout_ms: u64,
    pub(super) rebalance_timeout_ms: u64,
    /// In order of preference: name and metadata. Copies, so that no request's buffer is kept alive.
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) assignment: Bytes,
    /// Waits for the first half of the rebalance to end. Only while the group is preparing.
    pub(super) joining: Option<Waiter>,
    /// Waits for the leader's assignment. Only while the group is completing.
    pub(super) syncing: Option<Waiter>,
    /// It has asked for its assignment in this generation.
    pub(super) synced: bool,
    /// It was never part of a generation.
    pub(super) is_new: bool,
    /// Dead from here on, unless it waits for an answer of ours.
    pub(super) deadline_us: u64,
}

impl Member {
    /// It has given a sign of life.
    pub(super) fn touch(&mut self, now: Now) -> u64 {
        let timeout_ms = if self.is_new { FIRST_JOIN_TIMEOUT_MS } else { self.session_timeout_ms };
        self.deadline_us = later(now, timeout_ms);
        self.deadline_us
    }

    /// When it is to be counted as dead; `None` while it waits for us, for then it cannot be expected to talk.
    pub(super) fn expires_at(&self) -> Option<u64> {
        let waits = self.joining.is_some() || self.syncing.is_some();
        if waits && !self.is_new { None } else { Some(self.deadline_us) }
    }

    /// Whether it speaks this protocol.
    pub(super) fn speaks(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// What it said about itself for this protocol.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|(name, _)| name == protocol)
            .map_or_else(Bytes::new, |(_, metadata)| metadata.clone())
    }

    /// As an administrator sees it; metadata and assignment only while they are agreed on.
    pub(super) fn describe(&self, member_id: &str, stable_protocol: Option<&str>) -> MemberDescription {
        MemberDescription {
            member_id: member_id.to_string(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            metadata: stable_protocol.map_or_else(Bytes::new, |name| self.metadata(name)),
            assignment: stable_protocol.map_or_else(Bytes::new, |_| self.assignment.clone()),
        }
    }
}

/// `now` and so many ms, in us.
pub(super) fn later(now: Now, ms: u64) -> u64 {
    now.monotonic_us.saturating_add(ms.saturating_mul(1000))
}
