//! The broker: two protocols on one durable log.

#![forbid(unsafe_code)]

pub mod admin;
pub mod amqp;
pub mod broker;
pub mod cli;
pub mod config;
pub mod core;
pub mod kafka;
