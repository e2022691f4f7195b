//! Routing: which queues a message goes to.
//!
//! In: the catalog, an exchange, a routing key, headers. Out: topics, each at most once. Never: a state, or an order
//! that depends on anything but the catalog.
//!
//! One file per type of exchange answers one question: does this binding match? An exchange that matches nothing
//! hands on to its `alternate-exchange`. Exchanges lead to exchanges; each is entered once, so cycles end.

pub mod cache;
pub mod default;
pub mod direct;
pub mod fanout;
pub mod headers;
pub mod topic;

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use super::wire::table::{Fields, Value};
use crate::broker::catalog::{Binding, Catalog, Destination, Exchange, Topic};

/// Argument of an exchange: where messages go that it cannot route.
pub const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

/// The types of exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Direct,
    Fanout,
    Topic,
    Headers,
}

impl Kind {
    /// The type with this name, as in `exchange.declare`.
    pub fn of(name: &str) -> Option<Kind> {
        match name {
            "direct" => Some(Kind::Direct),
            "fanout" => Some(Kind::Fanout),
            "topic" => Some(Kind::Topic),
            "headers" => Some(Kind::Headers),
            _ => None,
        }
    }

    fn matches(self, binding: &Binding, routing_key: &[u8], headers: Fields<'_>) -> bool {
        match self {
            Kind::Direct => direct::matches(&binding.routing_key, routing_key),
            Kind::Fanout => fanout::matches(),
            Kind::Topic => topic::matches(&binding.routing_key, routing_key),
            Kind::Headers => headers::matches(Fields::new(&binding.arguments), headers),
        }
    }
}

/// The queues and other topics that a message published to `exchange` goes to. Besides `routing_key`, the keys in
/// the headers `CC` and `BCC` count. Unknown exchanges lead nowhere.
pub fn route<'a>(
    catalog: &'a Catalog,
    exchange: &str,
    routing_key: &[u8],
    headers: Fields<'_>,
) -> Vec<&'a Topic> {
    Route::through(catalog, exchange, routing_key, headers).found
}

/// The routing key and those in `CC` and `BCC`.
pub fn keys<'a>(routing_key: &'a [u8], headers: Fields<'a>) -> impl Iterator<Item = &'a [u8]> {
    std::iter::once(routing_key).chain(copies(headers, "CC")).chain(copies(headers, "BCC"))
}

/// The keys in the header `name`, an array of long strings.
pub fn copies<'a>(headers: Fields<'a>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let items = match headers.get(name) {
        Some(Value::Array(items)) => items,
        _ => Default::default(),
    };
    items.iter().filter_map(|item| match item {
        Value::LongStr(key) => Some(key),
        _ => None,
    })
}

/// The exchange for what `exchange` cannot route.
pub fn alternate(exchange: &Exchange) -> Option<&str> {
    Fields::new(&exchange.arguments).get(ALTERNATE_EXCHANGE).and_then(Value::as_str)
}

/// Topics found until a search through them all costs more than remembering them by id.
const SEARCHED_MAX: usize = 16;

/// One message on its way. An exchange is in `entered` at most once, a topic in `found` at most once.
struct Route<'a, 'm> {
    catalog: &'a Catalog,
    routing_key: &'m [u8],
    message: Fields<'m>,
    entered: Vec<&'a Exchange>,
    found: Vec<&'a Topic>,
    /// The ids of all that are in `found`, or nothing while those are few.
    found_ids: HashSet<[u8; 16]>,
    /// Whether an exchange on the way looked at headers, so that the key alone does not say where it leads.
    asked_headers: bool,
}

impl<'a, 'm> Route<'a, 'm> {
    fn through(catalog: &'a Catalog, exchange: &str, routing_key: &'m [u8], message: Fields<'m>) -> Self {
        let (entered, found, found_ids) = (Vec::new(), Vec::new(), HashSet::new());
        let mut route =
            Route { catalog, routing_key, message, entered, found, found_ids, asked_headers: false };
        if let Some(first) = catalog.exchange(exchange) {
            route.pass(first);
        }
        // The first is not in `entered`, to spare most messages that allocation; a cycle passes it a second time.
        let mut next = 0;
        while let Some(exchange) = route.entered.get(next).copied() {
            route.pass(exchange);
            next += 1;
        }
        route
    }

    fn pass(&mut self, exchange: &'a Exchange) {
        let matched = match Kind::of(&exchange.kind) {
            _ if exchange.name.is_empty() => self.pass_default(),
            Some(kind) => self.pass_bindings(kind, self.catalog.bindings(&exchange.name)),
            None => false,
        };
        if !matched && let Some(name) = alternate(exchange) {
            self.enter(name);
        }
    }

    fn pass_default(&mut self) -> bool {
        let mut matched = false;
        for key in keys(self.routing_key, self.message) {
            if let Some(topic) = default::queue(self.catalog, key) {
                matched = true;
                self.add(topic);
            }
        }
        matched
    }

    fn pass_bindings(&mut self, kind: Kind, bindings: &'a [Binding]) -> bool {
        self.asked_headers |= kind == Kind::Headers;
        let mut matched = false;
        for binding in bindings {
            let mut keys = keys(self.routing_key, self.message);
            if keys.any(|key| kind.matches(binding, key, self.message)) {
                matched = true;
                self.follow(&binding.destination);
            }
        }
        matched
    }

    fn follow(&mut self, destination: &'a Destination) {
        match destination {
            Destination::Exchange(name) => self.enter(name),
            Destination::Queue(name) => {
                if let Some(topic) = self.catalog.topic(name) {
                    self.add(topic);
                }
            }
        }
    }

    fn enter(&mut self, name: &str) {
        if let Some(exchange) = self.catalog.exchange(name)
            && !self.entered.iter().any(|entered| std::ptr::eq(*entered, exchange))
        {
            self.entered.push(exchange);
        }
    }

    fn add(&mut self, topic: &'a Topic) {
        let known = if self.found.len() < SEARCHED_MAX {
            self.found.iter().any(|known| std::ptr::eq(*known, topic))
        } else {
            if self.found_ids.is_empty() {
                self.found_ids.extend(self.found.iter().map(|topic| topic.id));
            }
            !self.found_ids.insert(topic.id)
        };
        if !known {
            self.found.push(topic);
        }
    }
}
