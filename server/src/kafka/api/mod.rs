//! What each request means: one file for each kind, from its message to commands, and from events to its answer.
//!
//! Handlers know messages, the catalog and commands. They know no socket, and keep nothing between requests.

pub mod api_versions;
pub mod delete_groups;
pub mod describe_groups;
pub mod find_coordinator;
pub mod heartbeat;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod offset_commit;
pub mod offset_fetch;
pub mod sync_group;

mod group_call;
#[cfg(test)]
mod group_tests;
