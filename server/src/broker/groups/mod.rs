//! Consumer groups: who is a member, who reads what, and how far each group has read.
//!
//! In: requests with their waiter, and the time. Out: replies, and state records that must be durable before
//! the replies that depend on them leave. Never: reads a clock, looks inside a subscription or an assignment.

//!
//! | file | owns |
//! |---|---|
//! | `coordinator` | all groups of one core: look-up, deadlines, state records in and out |
//! | `group` | one group's phase and members |
//! | `join`, `sync` | the two halves of a rebalance as members ask for them |
//! | `rebalance` | the two halves of a rebalance as the group goes through them |
//! | `member` | one member |
//! | `offsets` | how far one group has read |
//! | `subscribed` | which topics the members of one group read |
//! | `record` | state records as bytes |

mod coordinator;
mod group;
mod join;
mod member;
#[cfg(test)]
mod offset_tests;
mod offsets;
mod rebalance;
mod record;
#[cfg(test)]
mod scene;
mod subscribed;
mod sync;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use coordinator::{GroupOutput, Groups, StateWrite, Waiter, log_index_of};
pub use record::BadState;
pub use subscribed::Subscriptions;

/// Shortest and longest time a member may ask to be given between two signs of life.
pub const SESSION_TIMEOUT_MS_MIN: i32 = 6_000;
pub const SESSION_TIMEOUT_MS_MAX: i32 = 1_800_000;
/// Members of one group, those still to come back with their id included.
pub const MEMBERS_PER_GROUP_MAX: usize = 10_000;
/// Protocols one member may offer.
pub const PROTOCOLS_PER_MEMBER_MAX: usize = 64;
/// Groups of one core.
pub const GROUPS_PER_CORE_MAX: usize = 100_000;
/// Partitions one group may have offsets of.
pub const OFFSETS_PER_GROUP_MAX: usize = 1_000_000;
/// Bytes of the metadata of one committed offset.
pub const METADATA_BYTES_MAX: usize = 4096;
/// Bytes of a group's name.
pub const GROUP_NAME_BYTES_MAX: usize = 1024;

/// What a member, or an administrator, asks of a group.
#[derive(Clone, Debug)]
pub enum GroupRequest {
    Join {
        /// Empty: a new member.
        member_id: String,
        instance_id: Option<String>,
        client_id: String,
        client_host: String,
        session_timeout_ms: i32,
        rebalance_timeout_ms: i32,
        protocol_type: String,
        /// In the member's order of preference: name and opaque metadata.
        protocols: Vec<(String, Bytes)>,
        /// Refuse a new member once with an id to come back with (KIP-394).
        member_id_required: bool,
        /// The member understands [`Joined::skip_assignment`] (KIP-814).
        skips_assignment: bool,
    },
    Sync {
        member_id: String,
        instance_id: Option<String>,
        generation: i32,
        protocol_type: Option<String>,
        protocol_name: Option<String>,
        /// From the leader only: member id and opaque assignment.
        assignments: Vec<(String, Bytes)>,
    },
    Heartbeat {
        member_id: String,
        instance_id: Option<String>,
        generation: i32,
    },
    /// Member ids with instance ids; a static member may leave by instance id alone.
    Leave {
        members: Vec<(String, Option<String>)>,
    },
    Commit {
        /// Empty with generation -1: from outside the group protocol, allowed while the group has no members.
        member_id: String,
        instance_id: Option<String>,
        generation: i32,
        offsets: Vec<OffsetCommit>,
    },
    /// Committed offsets of these partitions, or of all that have one.
    Committed {
        partitions: Option<Vec<(String, i32)>>,
    },
    /// Forgets the committed offsets of these partitions.
    DeleteOffsets {
        partitions: Vec<(String, i32)>,
        subscriptions: Subscriptions,
    },
    Describe,
    Delete,
}

/// How far a group has read one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommit {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub leader_epoch: i32,
    /// At most 4096 bytes, kept as it came.
    pub metadata: String,
}

/// What a group answers, in the kind of the request.
#[derive(Clone, Debug)]
pub enum GroupReply {
    Join(Result<Joined, GroupError>),
    Sync(Result<Synced, GroupError>),
    Heartbeat(Result<(), GroupError>),
    /// One result for each member that was to leave, in the order of the request.
    Leave(Vec<Result<(), GroupError>>),
    /// One result for each offset, in the order of the request.
    Commit(Vec<Result<(), GroupError>>),
    /// Only partitions that have a committed offset.
    Committed(Vec<OffsetCommit>),
    /// One result for each partition, in the order of the request.
    DeleteOffsets(Result<Vec<Result<(), GroupError>>, GroupError>),
    Describe(Option<GroupDescription>),
    Delete(Result<(), GroupError>),
}

/// A rebalance's first half is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    pub generation: i32,
    pub protocol_type: String,
    pub protocol_name: String,
    pub leader: String,
    pub member_id: String,
    /// For the leader only: member id, instance id, metadata.
    pub members: Vec<(String, Option<String>, Bytes)>,
    /// To a leader that came back under its instance id: the assignment stands, make no new one.
    pub skip_assignment: bool,
}

/// A rebalance's second half is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    pub protocol_type: String,
    pub protocol_name: String,
    pub assignment: Bytes,
}

/// Why a group said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupError {
    /// Come back with this id.
    MemberIdRequired(String),
    UnknownMember,
    IllegalGeneration,
    RebalanceInProgress,
    /// No protocol that all members speak, or another protocol type.
    InconsistentProtocol,
    InvalidSessionTimeout,
    /// Another member now has this instance id.
    FencedInstance,
    InvalidGroupId,
    NotFound,
    NotEmpty,
    /// A member reads the topic.
    Subscribed,
    /// There are as many members as there may be.
    Full,
    MetadataTooLarge,
    Storage,
}

/// A group as an administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// "Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead".
    pub state: &'static str,
    pub protocol_type: String,
    pub protocol_name: String,
    pub members: Vec<MemberDescription>,
}

/// A member as an administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub metadata: Bytes,
    pub assignment: Bytes,
}
