//! The AMQP 0-9-1 front end: bytes of one connection to commands, events to bytes.
