//! The default exchange "": every queue is bound to it by its name.

use crate::broker::catalog::{Catalog, Topic};

/// The queue or other topic called `routing_key`.
pub fn queue<'a>(catalog: &'a Catalog, routing_key: &[u8]) -> Option<&'a Topic> {
    std::str::from_utf8(routing_key).ok().and_then(|name| catalog.topic(name))
}
