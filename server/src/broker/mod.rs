//! The neutral nouns both protocols are made of: topics, queues, exchanges, groups, settlement.
//!
//! No protocol is named below this folder, and no socket.

pub mod catalog;
pub mod command;
pub mod compression;
pub mod context;
pub mod groups;
pub mod metrics;
pub mod queue;
pub mod settings;
pub mod topic_config;
