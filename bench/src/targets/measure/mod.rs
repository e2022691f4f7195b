//! One file for each target: what takes turns, and which lines follow.
//!
//! In: a setting. Out: findings. Never: a goal anywhere else.

pub mod amqp;
pub mod cost;
pub mod engine_append;
pub mod growth;
pub mod idempotent;
pub mod interference;
pub mod kafka_bulk;
pub mod kafka_single;
mod keeping;
pub mod librdkafka;
mod loopback;
pub mod many_partitions;
