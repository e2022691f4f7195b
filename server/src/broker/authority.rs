//! Who decides on changes of the catalog: one place, on the first core.
//!
//! In: requests of front ends. Out: the changes that carry them out, or why not. It decides on a catalog that
//! already shows every change it has decided, so two requests in flight cannot both take one name.

use ringmain_engine::limits::LOGS_MAX;

use super::catalog::{
    Binding, Catalog, CatalogError, CatalogRequest, Change, Destination, Exchange, FIRST_NUMBER, Topic,
    records_log,
};
use super::command::CatalogReply;
use super::context::Random;
use super::topic_config;

/// Topics and queues there may be.
const TOPICS_MAX: usize = 100_000;
/// Partitions one topic may have.
const PARTITIONS_MAX: u32 = 10_000;
/// Partitions there may be, of all topics.
const PARTITIONS_TOTAL_MAX: u64 = 150_000;
/// One core may have to hold them all, each with its settlements, beside the broker's own logs.
const _: () = assert!(2 * PARTITIONS_TOTAL_MAX + FIRST_NUMBER <= LOGS_MAX as u64);
/// Exchanges there may be.
const EXCHANGES_MAX: usize = 100_000;
/// Bindings one exchange may have.
const BINDINGS_MAX: usize = 100_000;
/// Longest name of a topic, queue or exchange: what a short string of AMQP holds.
const NAME_BYTES_MAX: usize = 255;
/// Producer ids made durable at a time, so that most requests need no write.
const PRODUCER_IDS_AT_A_TIME: i64 = 1000;

/// The catalog as it will be once everything decided is durable.
#[derive(Debug)]
pub struct Authority {
    decided: Catalog,
    next_producer_id: i64,
}

impl Authority {
    /// Decides on top of `catalog`.
    pub fn new(catalog: Catalog) -> Authority {
        // Ids below the limit may have been given out by the last run.
        Authority { next_producer_id: catalog.producer_ids_below(), decided: catalog }
    }

    /// The changes that carry out `request`, in order, and its answer once they hold.
    pub fn decide(
        &mut self,
        request: CatalogRequest,
        random: &mut Random,
    ) -> Result<(Vec<Change>, CatalogReply), CatalogError> {
        let mut changes = Vec::new();
        let mut reply = CatalogReply::Done;
        match request {
            CatalogRequest::CreateTopic { name, partitions, configs, queue } => {
                self.check_new_topic(&name, partitions)?;
                topic_config::check(&configs).map_err(CatalogError::InvalidConfig)?;
                let first = self.decided.next_number();
                let logs = (first..first + u64::from(partitions)).map(records_log).collect();
                let id = random.uuid();
                changes.push(Change::TopicCreated(Topic { name, id, partitions: logs, configs, queue }));
            }
            CatalogRequest::DeleteTopic { name } => {
                self.decided.topic(&name).ok_or(CatalogError::NotFound)?;
                let gone = Destination::Queue(name.clone());
                changes.push(Change::TopicDeleted { name });
                self.delete_unused_exchanges(&gone, &mut changes);
            }
            CatalogRequest::DeclareExchange(exchange) => changes.extend(self.declare(exchange)?),
            CatalogRequest::DeleteExchange { name, if_unused } => {
                self.decided.exchange(&name).ok_or(CatalogError::NotFound)?;
                if if_unused && !self.decided.bindings(&name).is_empty() {
                    return Err(CatalogError::InUse);
                }
                let gone = Destination::Exchange(name.clone());
                changes.push(Change::ExchangeDeleted { name });
                self.delete_unused_exchanges(&gone, &mut changes);
            }
            CatalogRequest::Bind(binding) => {
                self.check_binding(&binding)?;
                if !self.decided.bindings(&binding.source).contains(&binding) {
                    changes.push(Change::Bound(binding));
                }
            }
            CatalogRequest::Unbind(binding) => {
                if self.decided.bindings(&binding.source).contains(&binding) {
                    let was_last = self.decided.bindings(&binding.source).len() == 1;
                    let source = binding.source.clone();
                    changes.push(Change::Unbound(binding));
                    if was_last && self.is_auto_delete(&source) {
                        changes.push(Change::ExchangeDeleted { name: source });
                    }
                }
            }
            CatalogRequest::AllocateProducerId => {
                reply = CatalogReply::ProducerId(self.next_producer_id);
                self.next_producer_id += 1;
                if self.next_producer_id > self.decided.producer_ids_below() {
                    let below = self.decided.producer_ids_below() + PRODUCER_IDS_AT_A_TIME;
                    changes.push(Change::ProducerIds { below });
                }
            }
        }
        for change in &changes {
            self.decided.apply(change);
        }
        Ok((changes, reply))
    }

    /// The catalog that shows everything decided.
    pub fn decided(&self) -> &Catalog {
        &self.decided
    }

    /// What the last run left that does not survive a restart.
    pub fn sweep(&mut self) -> Vec<Change> {
        let gone = self.decided.topics().filter(|topic| {
            topic.queue.as_ref().is_some_and(|queue| !queue.durable || queue.owner.is_some())
        });
        let mut changes: Vec<Change> =
            gone.map(|topic| Change::TopicDeleted { name: topic.name.clone() }).collect();
        let exchanges = self.decided.exchanges().filter(|exchange| !exchange.durable);
        changes.extend(exchanges.map(|exchange| Change::ExchangeDeleted { name: exchange.name.clone() }));
        for change in &changes {
            self.decided.apply(change);
        }
        changes
    }

    fn check_new_topic(&self, name: &str, partitions: u32) -> Result<(), CatalogError> {
        check_name(name)?;
        if self.decided.topic(name).is_some() {
            return Err(CatalogError::Exists);
        }
        if partitions == 0 || partitions > PARTITIONS_MAX {
            return Err(CatalogError::InvalidPartitions);
        }
        let total = self.decided.partitions_count() + u64::from(partitions);
        if self.decided.topics().count() >= TOPICS_MAX || total > PARTITIONS_TOTAL_MAX {
            return Err(CatalogError::TooMany);
        }
        Ok(())
    }

    fn declare(&self, exchange: Exchange) -> Result<Option<Change>, CatalogError> {
        check_name(&exchange.name)?;
        match self.decided.exchange(&exchange.name) {
            Some(found) if *found == exchange => Ok(None),
            Some(_) => Err(CatalogError::Exists),
            None if self.decided.exchanges().count() >= EXCHANGES_MAX => Err(CatalogError::TooMany),
            None => Ok(Some(Change::ExchangeDeclared(exchange))),
        }
    }

    fn check_binding(&self, binding: &Binding) -> Result<(), CatalogError> {
        let destination_exists = match &binding.destination {
            Destination::Queue(name) => self.decided.topic(name).is_some(),
            Destination::Exchange(name) => self.decided.exchange(name).is_some(),
        };
        if !destination_exists || self.decided.exchange(&binding.source).is_none() {
            return Err(CatalogError::NotFound);
        }
        if self.decided.bindings(&binding.source).len() >= BINDINGS_MAX {
            return Err(CatalogError::TooMany);
        }
        Ok(())
    }

    fn is_auto_delete(&self, name: &str) -> bool {
        self.decided.exchange(name).is_some_and(|exchange| exchange.auto_delete)
    }

    /// Exchanges that go with their last binding, when `gone` was where that led.
    fn delete_unused_exchanges(&self, gone: &Destination, changes: &mut Vec<Change>) {
        for exchange in self.decided.exchanges().filter(|exchange| exchange.auto_delete) {
            let bindings = self.decided.bindings(&exchange.name);
            if !bindings.is_empty() && bindings.iter().all(|binding| binding.destination == *gone) {
                changes.push(Change::ExchangeDeleted { name: exchange.name.clone() });
            }
        }
    }
}

fn check_name(name: &str) -> Result<(), CatalogError> {
    let sound = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains('\0');
    if sound { Ok(()) } else { Err(CatalogError::InvalidName) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn create(name: &str) -> CatalogRequest {
        CatalogRequest::CreateTopic {
            name: name.into(),
            partitions: 2,
            configs: BTreeMap::new(),
            queue: None,
        }
    }

    #[test]
    fn a_name_is_taken_as_soon_as_it_is_decided_and_numbers_are_never_given_twice() {
        let (mut authority, mut random) = (Authority::new(Catalog::new()), Random(1));
        let (first, _) = authority.decide(create("a"), &mut random).unwrap();
        assert_eq!(authority.decide(create("a"), &mut random), Err(CatalogError::Exists));
        authority.decide(CatalogRequest::DeleteTopic { name: "a".into() }, &mut random).unwrap();
        let (second, _) = authority.decide(create("a"), &mut random).unwrap();
        assert_ne!(first, second);
        let mut replayed = Catalog::new();
        for change in authority.decided.snapshot() {
            replayed.apply(&change);
        }
        assert_eq!(replayed.next_number(), authority.decided.next_number());
        assert_eq!(replayed.snapshot(), authority.decided.snapshot());
    }

    #[test]
    fn producer_ids_are_new_also_after_a_restart() {
        let (mut authority, mut random) = (Authority::new(Catalog::new()), Random(1));
        let mut catalog = Catalog::new();
        for expected in 0..3 {
            let (changes, reply) = authority.decide(CatalogRequest::AllocateProducerId, &mut random).unwrap();
            assert_eq!(reply, CatalogReply::ProducerId(expected));
            assert_eq!(changes.len(), usize::from(expected == 0));
            changes.iter().for_each(|change| catalog.apply(change));
        }
        let mut restarted = Authority::new(catalog);
        let (_, reply) = restarted.decide(CatalogRequest::AllocateProducerId, &mut random).unwrap();
        assert_eq!(reply, CatalogReply::ProducerId(1000));
    }
}
