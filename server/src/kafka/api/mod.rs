//! What each request means: one file for each kind, from its message to commands, and from events to its answer.
//!
//! Handlers know messages, the catalog and commands. They know no socket, and keep nothing between requests.

pub mod api_versions;

// Administration of topics and of the broker.
pub mod create_topics;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod clip;
pub mod fetch;
pub mod init_producer_id;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod partition;
pub mod produce;
