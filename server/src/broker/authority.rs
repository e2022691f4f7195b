//! Who decides on changes of the catalog: one place, on the first core.
//!
//! In: requests of front ends. Out: the changes that carry them out, or why not. It decides on a catalog that
//! already shows every change it has decided, so two requests in flight cannot both take one name.

use std::collections::BTreeMap;

use ringmain_engine::limits::LOGS_MAX;
use ringmain_engine::types::LogId;

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
pub const PARTITIONS_MAX: u32 = 10_000;
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

/// Why a queue's settings cannot be set.
const DECLARED_SETTINGS: &str = "a queue has the settings it was declared with";

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
                let (logs, id) = (self.new_logs(partitions), random.uuid());
                changes.push(Change::TopicCreated(Topic { name, id, partitions: logs, configs, queue }));
            }
            CatalogRequest::DeleteTopic { name } => {
                self.decided.topic(&name).ok_or(CatalogError::NotFound)?;
                let gone = Destination::Queue(name.clone());
                changes.push(Change::TopicDeleted { name });
                self.delete_unused_exchanges(gone, &mut changes);
            }
            CatalogRequest::AddPartitions { name, total } => {
                let partitions = self.new_logs(self.check_added_partitions(&name, total)?);
                changes.push(Change::PartitionsAdded { name, partitions });
            }
            CatalogRequest::SetConfigs { name, configs } => changes.extend(self.set_configs(name, configs)?),
            CatalogRequest::ChangeConfigs { name, changes: asked } => {
                let topic = self.decided.topic(&name).ok_or(CatalogError::NotFound)?;
                let configs = topic_config::merged(&topic.configs, &asked);
                changes.extend(self.set_configs(name, configs)?);
            }
            CatalogRequest::DeclareExchange(exchange) => changes.extend(self.declare(exchange)?),
            CatalogRequest::DeleteExchange { name, if_unused } => {
                self.decided.exchange(&name).ok_or(CatalogError::NotFound)?;
                if if_unused && !self.decided.bindings(&name).is_empty() {
                    return Err(CatalogError::InUse);
                }
                let gone = Destination::Exchange(name.clone());
                changes.push(Change::ExchangeDeleted { name });
                self.delete_unused_exchanges(gone, &mut changes);
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
                        changes.push(Change::ExchangeDeleted { name: source.clone() });
                        self.delete_unused_exchanges(Destination::Exchange(source), &mut changes);
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

    /// How many partitions are missing to `total`.
    fn check_added_partitions(&self, name: &str, total: u32) -> Result<u32, CatalogError> {
        let topic = self.decided.topic(name).ok_or(CatalogError::NotFound)?;
        let have = topic.partitions.len() as u32;
        if topic.queue.is_some() || total <= have || total > PARTITIONS_MAX {
            return Err(CatalogError::InvalidPartitions);
        }
        let added = total - have;
        if self.decided.partitions_count() + u64::from(added) > PARTITIONS_TOTAL_MAX {
            return Err(CatalogError::TooMany);
        }
        Ok(added)
    }

    fn set_configs(
        &self,
        name: String,
        configs: BTreeMap<String, String>,
    ) -> Result<Option<Change>, CatalogError> {
        let topic = self.decided.topic(&name).ok_or(CatalogError::NotFound)?;
        if topic.is_settled() {
            return Err(CatalogError::InvalidConfig(DECLARED_SETTINGS.to_string()));
        }
        topic_config::check(&configs).map_err(CatalogError::InvalidConfig)?;
        Ok((topic.configs != configs).then_some(Change::ConfigsSet { name, configs }))
    }

    /// Logs that no partition ever had.
    fn new_logs(&self, count: u32) -> Vec<LogId> {
        let first = self.decided.next_number();
        (first..first + u64::from(count)).map(records_log).collect()
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

    /// Exchanges that go with their last binding, when `gone` was where that led; and those that led to them.
    fn delete_unused_exchanges(&self, gone: Destination, changes: &mut Vec<Change>) {
        let mut gone = vec![gone];
        let mut next = 0;
        while next < gone.len() {
            for exchange in self.decided.exchanges().filter(|exchange| exchange.auto_delete) {
                let bindings = self.decided.bindings(&exchange.name);
                let leads_there = bindings.iter().any(|binding| binding.destination == gone[next]);
                let unused = bindings.iter().all(|binding| gone.contains(&binding.destination));
                let this = Destination::Exchange(exchange.name.clone());
                if leads_there && unused && !gone.contains(&this) {
                    changes.push(Change::ExchangeDeleted { name: exchange.name.clone() });
                    gone.push(this);
                }
            }
            next += 1;
        }
    }
}

fn check_name(name: &str) -> Result<(), CatalogError> {
    let sound = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains('\0');
    if sound { Ok(()) } else { Err(CatalogError::InvalidName) }
}

#[cfg(test)]
mod tests {
    use super::super::catalog::QueueSettings;
    use super::*;

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

    fn with(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_string(), value.to_string())])
    }

    #[test]
    fn partitions_are_added_behind_the_others_and_never_taken_away() {
        let (mut authority, mut random) = (Authority::new(Catalog::new()), Random(1));
        let mut add = |authority: &mut Authority, name: &str, total| {
            let name = name.to_string();
            authority.decide(CatalogRequest::AddPartitions { name, total }, &mut random)
        };
        assert_eq!(add(&mut authority, "a", 3), Err(CatalogError::NotFound));
        authority.decide(create("a"), &mut Random(1)).unwrap();
        authority.decide(create("b"), &mut Random(2)).unwrap();
        for total in [0, 1, 2, PARTITIONS_MAX + 1] {
            assert_eq!(add(&mut authority, "a", total), Err(CatalogError::InvalidPartitions), "{total}");
        }
        add(&mut authority, "a", 4).unwrap();
        let logs: Vec<LogId> = [64, 65, 68, 69].map(records_log).to_vec();
        assert_eq!(authority.decided.topic("a").unwrap().partitions, logs);
        assert_eq!(authority.decided.topic_of(records_log(69)).unwrap().name, "a");
        let mut replayed = Catalog::new();
        for change in authority.decided.snapshot() {
            replayed.apply(&change);
        }
        assert_eq!(replayed.topic("a"), authority.decided.topic("a"));
        assert_eq!(replayed.next_number(), 70);

        for (name, stream) in [("queue", false), ("stream", true)] {
            let queue = Some(QueueSettings { stream, ..QueueSettings::default() });
            let (name, configs) = (name.to_string(), BTreeMap::new());
            let request = CatalogRequest::CreateTopic { name: name.clone(), partitions: 1, configs, queue };
            authority.decide(request, &mut Random(3)).unwrap();
            assert_eq!(add(&mut authority, &name, 2), Err(CatalogError::InvalidPartitions));
        }
    }

    #[test]
    fn settings_are_replaced_as_a_whole_and_a_queue_keeps_its_own() {
        let (mut authority, mut random) = (Authority::new(Catalog::new()), Random(1));
        let mut set = |authority: &mut Authority, name: &str, configs| {
            let request = CatalogRequest::SetConfigs { name: name.to_string(), configs };
            authority.decide(request, &mut random).map(|(changes, _)| changes.len())
        };
        assert_eq!(set(&mut authority, "a", BTreeMap::new()), Err(CatalogError::NotFound));
        authority.decide(create("a"), &mut Random(1)).unwrap();
        assert_eq!(set(&mut authority, "a", with("retention.ms", "5")), Ok(1));
        assert_eq!(set(&mut authority, "a", with("retention.ms", "5")), Ok(0));
        assert_eq!(set(&mut authority, "a", with("retention.bytes", "6")), Ok(1));
        assert_eq!(authority.decided.topic("a").unwrap().configs, with("retention.bytes", "6"));
        let refused = set(&mut authority, "a", with("retention.ms", "-7"));
        assert!(matches!(refused, Err(CatalogError::InvalidConfig(_))), "{refused:?}");
        for (name, stream, accepted) in [("queue", false, false), ("stream", true, true)] {
            let queue = Some(QueueSettings { stream, ..QueueSettings::default() });
            let (name, configs) = (name.to_string(), BTreeMap::new());
            let request = CatalogRequest::CreateTopic { name: name.clone(), partitions: 1, configs, queue };
            authority.decide(request, &mut Random(3)).unwrap();
            assert_eq!(set(&mut authority, &name, with("retention.ms", "5")).is_ok(), accepted, "{name}");
        }
    }

    #[test]
    fn two_changes_of_settings_in_flight_do_not_undo_each_other() {
        let (mut authority, mut random) = (Authority::new(Catalog::new()), Random(1));
        authority.decide(create("a"), &mut random).unwrap();
        let mut change = |config: &str, value: Option<&str>| {
            let changes = BTreeMap::from([(config.to_string(), value.map(str::to_string))]);
            let request = CatalogRequest::ChangeConfigs { name: "a".into(), changes };
            authority.decide(request, &mut random).map(|(changes, _)| changes).unwrap()
        };
        change("retention.ms", Some("5"));
        let both = BTreeMap::from([
            ("retention.bytes".to_string(), "6".to_string()),
            ("retention.ms".to_string(), "5".to_string()),
        ]);
        let set = |configs| vec![Change::ConfigsSet { name: "a".into(), configs }];
        assert_eq!(change("retention.bytes", Some("6")), set(both));
        assert_eq!(change("retention.ms", None), set(with("retention.bytes", "6")));
        assert_eq!(change("retention.ms", None), []);
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
    #[test]
    fn an_auto_delete_exchange_takes_those_along_that_led_only_to_it() {
        let exchange = |name: &str| Destination::Exchange(name.into());
        let bind = |source: &str, destination: &str| Binding {
            source: source.into(),
            destination: exchange(destination),
            routing_key: Vec::new(),
            arguments: Default::default(),
        };
        let left = |bindings: &[(&str, &str)], last: CatalogRequest| {
            let (mut authority, mut random) = (Authority::new(Catalog::new()), Random(1));
            for name in ["a", "b", "c", "keeps"] {
                let declared = Exchange {
                    name: name.into(),
                    kind: "fanout".into(),
                    durable: false,
                    auto_delete: name != "keeps",
                    internal: false,
                    arguments: Default::default(),
                };
                authority.decide(CatalogRequest::DeclareExchange(declared), &mut random).unwrap();
            }
            for (source, destination) in bindings {
                authority.decide(CatalogRequest::Bind(bind(source, destination)), &mut random).unwrap();
            }
            authority.decide(last, &mut random).unwrap();
            let there = |name: &&str| authority.decided.exchange(name).is_some();
            ["a", "b", "c", "keeps"].into_iter().filter(there).collect::<Vec<_>>()
        };
        let delete = |name: &str| CatalogRequest::DeleteExchange { name: name.into(), if_unused: false };
        let unbind = |source, destination| CatalogRequest::Unbind(bind(source, destination));
        assert_eq!(left(&[("a", "b"), ("b", "c"), ("a", "c")], delete("c")), ["keeps"]);
        assert_eq!(left(&[("a", "b"), ("b", "a")], unbind("b", "a")), ["c", "keeps"]);
        assert_eq!(left(&[("a", "b"), ("a", "keeps"), ("b", "c")], delete("c")), ["a", "keeps"]);
        assert_eq!(left(&[("keeps", "a"), ("a", "b")], delete("b")), ["c", "keeps"]);
        assert_eq!(left(&[("a", "b")], delete("a")), ["b", "c", "keeps"]);
    }
}
