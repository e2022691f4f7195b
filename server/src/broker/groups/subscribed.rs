//! Which topics the members of a group read, as far as they say so.
//!
//! In: a group, and the front end's way to read what its members say. Out: the topics whose offsets must stay. Never:
//! looks inside what members say by itself.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::GroupError;
use super::group::Group;

/// How a front end reads what members say they read: to the group it is opaque.
#[derive(Clone, Copy, Debug)]
pub struct Subscriptions {
    /// Of the groups whose members say it.
    pub protocol_type: &'static str,
    /// The topics that a member's metadata names; `None`: it cannot be read.
    pub topics_of: fn(&Bytes) -> Option<Vec<String>>,
}

/// What the members of a group read.
pub(super) enum Subscribed {
    To(BTreeSet<String>),
    /// They have not agreed on a protocol yet, or one of them cannot be understood: it may be any topic.
    Unknown,
}

impl Subscribed {
    pub(super) fn holds(&self, topic: &str) -> bool {
        match self {
            Subscribed::To(topics) => topics.contains(topic),
            Subscribed::Unknown => true,
        }
    }
}

impl Group {
    /// What the members read; an error when they are of a type that does not say.
    pub(super) fn subscribed(&self, how: &Subscriptions) -> Result<Subscribed, GroupError> {
        if self.is_empty() {
            return Ok(Subscribed::To(BTreeSet::new()));
        }
        if self.protocol_type != how.protocol_type {
            return Err(GroupError::NotEmpty);
        }
        let Some(protocol) = &self.protocol_name else { return Ok(Subscribed::Unknown) };
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            match (how.topics_of)(&member.metadata(protocol)) {
                Some(named) => topics.extend(named),
                None => return Ok(Subscribed::Unknown),
            }
        }
        Ok(Subscribed::To(topics))
    }
}
