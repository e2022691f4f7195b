//! Bytes of Kafka's protocol to structs and back, for the server and for clients of it.
//!
//! Each message has a file with a struct for the request and one for the response, each with `decode` and
//! `encode` for every version that is served. Nothing here knows a session, a topic or a log.

pub mod frame;
pub mod header;
pub mod primitives;

pub use header::RequestHeader;
pub use primitives::{Reader, WireError, Writer};

pub mod api_versions;
pub mod consumer_group_heartbeat;
pub mod delete_groups;
pub mod describe_groups;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
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
mod group_tests;
#[cfg(test)]
mod message_tests;
#[cfg(test)]
mod tests;
