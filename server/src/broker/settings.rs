//! The numbers and names that sessions and the broker act on, fixed at start. No file below reads the config.

use super::nodes::Nodes;

/// Fixed for the life of the process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Text form of the cluster id, as clients show it.
    pub cluster_id: String,
    pub cores: u16,
    /// Where the logs are, as it was configured.
    pub data_dir: String,
    /// Who Kafka clients are told to connect to.
    pub nodes: Nodes,
    /// Whether a topic comes into being when it is first asked for.
    pub auto_create_topics: bool,
    pub default_partitions: u32,
    /// Largest record batch accepted from a Kafka producer.
    pub message_bytes_max: u32,
    /// Largest Kafka request, size field excluded.
    pub request_bytes_max: u32,
    /// Largest AMQP message body.
    pub amqp_message_bytes_max: u32,
    /// Largest AMQP frame offered, and the heartbeat offered in seconds (0: none), and channels a connection.
    pub amqp_frame_bytes_max: u32,
    pub amqp_heartbeat_s: u16,
    pub amqp_channels_max: u16,
    /// Delay before a new group's first rebalance, so that its members may gather.
    pub group_initial_rebalance_delay_ms: u32,
    /// Version text told to clients.
    pub version: &'static str,
}
