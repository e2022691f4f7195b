//! Direct exchanges: the routing key is the binding's.

/// Whether a binding with the key `bound` takes a message with `routing_key`.
pub fn matches(bound: &[u8], routing_key: &[u8]) -> bool {
    bound == routing_key
}
