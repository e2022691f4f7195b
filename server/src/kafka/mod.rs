//! The Kafka front end: bytes of one connection to commands, events to bytes.
