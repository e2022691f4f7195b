//! One kind of work on one server, done once a round.
//!
//! In: a server, a load. Out: rate, latencies and processor time of each run, under its name. Never: counts the warm-up;
//! leaves its connections to the server's last moments.

use std::rc::Rc;
use std::time::Duration;

use super::clients::{Client, Figures};
use super::seen::Seen;
use super::server::Server;
use super::setting::Setting;
use crate::failure::Failure;
use crate::load::tally::Tally;
use crate::load::work::{Load, Place, Protocol};

/// Before each run, so that buffers and the device are as they are in the middle of one.
const WARM_UP: Duration = Duration::from_millis(300);

/// What a load is but for its server.
pub fn load(connections: u64, in_flight: u64, batch_bytes: u64, partitions: u64, seconds: u64) -> Load {
    Load {
        protocol: Protocol::Kafka,
        target: String::new(),
        connections,
        in_flight,
        batch_bytes,
        record_bytes: 1024,
        partitions,
        seconds,
        warm_up: Duration::ZERO,
        rate: None,
        follow_leaders: false,
        topic: None,
        queue_kind: None,
        ack_every: 1,
    }
}

/// Bulk as every broker is judged by: 16 KiB batches, 4 connections with 8 in flight, 4 partitions.
pub fn bulk(seconds: u64) -> Load {
    load(4, 8, 16 << 10, 4, seconds)
}

/// A place on a server, and what is done there.
pub struct Contender {
    pub name: String,
    pub load: Load,
    pub server: Rc<Server>,
    place: Option<Place>,
}

impl Contender {
    /// Makes the topic with these settings, or the queue.
    pub fn new(
        name: &str,
        server: &Rc<Server>,
        load: Load,
        settings: &[(&str, &str)],
    ) -> Result<Contender, Failure> {
        let load = Load { target: server.target(load.protocol), ..load };
        let place = Place::prepare_with(&load, settings).map_err(|failure| server.explain(failure))?;
        Ok(Contender { name: name.to_owned(), load, server: server.clone(), place: Some(place) })
    }

    /// Works on the place by hand.
    pub fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Place, &Load) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some(place) = &mut self.place else { unreachable!("it is there until the end") };
        work(place, &self.load).map_err(|failure| self.server.explain(failure))
    }

    /// The place, for those who read it beside another.
    pub fn place(&self) -> &Place {
        let Some(place) = &self.place else { unreachable!("it is there until the end") };
        place
    }

    /// Produces for the time of the load.
    pub fn produce(&mut self, seen: &mut Seen, setting: &Setting<'_>) -> Result<(), Failure> {
        self.measure(
            seen,
            |place, load| {
                let warm = Load { seconds: 0, warm_up: WARM_UP, ..load.clone() };
                place.produce(&warm, setting.interrupt)?;
                Ok(())
            },
            |place, load| place.produce(load, setting.interrupt),
        )
    }

    /// Reads for the time of the load.
    pub fn consume(&mut self, seen: &mut Seen, setting: &Setting<'_>) -> Result<(), Failure> {
        self.measure(seen, |_, _| Ok(()), |place, load| place.consume(load, setting.interrupt))
    }

    /// Takes the topic or queue away again.
    pub fn clear(mut self) {
        drop(self.place.take());
    }

    /// Has a client of another make produce there.
    pub fn client(&self, client: &Client, records: u64, setting: &Setting<'_>) -> Result<Figures, Failure> {
        let produced = client.produce(&self.load.target, self.place().topic(), records, setting);
        produced.map_err(|failure| self.server.explain(failure))
    }

    /// Does `before`, which does not count, then `work`, and notes what came of it under this contender's name.
    pub fn measure(
        &mut self,
        seen: &mut Seen,
        before: impl FnOnce(&mut Place, &Load) -> Result<(), Failure>,
        work: impl FnOnce(&mut Place, &Load) -> Result<Tally, Failure>,
    ) -> Result<(), Failure> {
        self.with(before)?;
        let spent = self.server.time();
        let tally = self.with(work)?;
        let spent = self.server.time().saturating_sub(spent);
        tally.check(&self.load.target)?;
        let mut note = |what: &str, value: f64| seen.push(&format!("{} {what}", self.name), value);
        note("rate", tally.records as f64 / tally.seconds());
        note("bytes", tally.bytes as f64 / tally.seconds());
        note("p50", tally.response.percentile_us(50.0));
        note("p99", tally.response.percentile_us(99.0));
        note("cpu", spent.as_secs_f64() * 1e6 / tally.records.max(1) as f64);
        Ok(())
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // The server goes with all it holds; deleting first would only cost time.
        self.place.take().into_iter().for_each(Place::abandon);
    }
}
