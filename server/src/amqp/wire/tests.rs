//! Round trips, golden bytes, and bytes that are no AMQP.
