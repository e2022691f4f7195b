//! What each request means: one file for each kind, from its message to commands, and from events to its answer.
//!
//! Handlers know messages, the catalog and commands. They know no socket, and keep nothing between requests.

pub mod api_versions;

// Records, and where they are.
pub mod clip;
pub mod fetch;
pub mod init_producer_id;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod partition;
pub mod produce;

// Consumer groups.
pub mod consumer_group_heartbeat;
pub mod delete_groups;
pub mod describe_groups;
pub mod find_coordinator;
mod group_call;
pub mod heartbeat;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod sync_group;

// Administration of topics and of the broker.
pub mod acls;
pub mod alter_configs;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_log_dirs;
pub mod incremental_alter_configs;

#[cfg(test)]
mod administration_tests;
#[cfg(test)]
mod alteration_tests;
#[cfg(test)]
mod group_tests;
