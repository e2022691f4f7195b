//! Routes that were found before: most publishers send to few exchanges with few keys.
//!
//! In: what [`super::route`] takes. Out: the logs it leads to. Never: outlives a change of the catalog, or remembers
//! a route that depends on a message's headers.

use std::collections::HashMap;

use ringmain_engine::types::LogId;

use super::{Route, copies};
use crate::amqp::message::log_for;
use crate::amqp::wire::table::Fields;
use crate::broker::catalog::Catalog;

/// Routes one cache remembers; then it begins anew, so a publisher whose keys never repeat costs no more than this.
pub const ROUTES_MAX: usize = 1024;

/// One publisher's routes, all of one version of the catalog.
#[derive(Debug, Default)]
pub struct RouteCache {
    version: u64,
    /// Places in `routes`, by exchange, by routing key. Each place is there once.
    places: HashMap<String, HashMap<Vec<u8>, usize>>,
    /// At most [`ROUTES_MAX`].
    routes: Vec<Vec<LogId>>,
    /// The last route that is not to be remembered.
    unremembered: Vec<LogId>,
}

impl RouteCache {
    /// Nothing found yet.
    pub fn new() -> RouteCache {
        RouteCache::default()
    }

    /// Routes it remembers.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether it remembers none.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// The logs that a message goes to, one for each topic that [`super::route`] finds.
    pub fn route(
        &mut self,
        catalog: &Catalog,
        exchange: &str,
        routing_key: &[u8],
        headers: Fields<'_>,
    ) -> &[LogId] {
        if self.version != catalog.version() {
            self.version = catalog.version();
            self.forget();
        }
        let copied = ["CC", "BCC"].into_iter().any(|name| copies(headers, name).next().is_some());
        let place = self.places.get(exchange).and_then(|places| places.get(routing_key));
        if let Some(place) = place.copied().filter(|_| !copied) {
            return self.routes.get(place).map_or(&[], Vec::as_slice);
        }
        let route = Route::through(catalog, exchange, routing_key, headers);
        let logs = route.found.iter().filter_map(|topic| log_for(topic, routing_key)).collect();
        if copied || route.asked_headers {
            self.unremembered = logs;
            return &self.unremembered;
        }
        if self.routes.len() == ROUTES_MAX {
            self.forget();
        }
        self.places.entry(exchange.to_string()).or_default().insert(routing_key.to_vec(), self.routes.len());
        self.routes.push(logs);
        self.routes.last().map_or(&[], Vec::as_slice)
    }

    fn forget(&mut self) {
        self.places.clear();
        self.routes.clear();
    }
}
