//! Changes of the catalog as bytes: one record of the catalog's log each.
//!
//! In: changes, or records. Out: the other. Never: accepts a record it does not understand whole.
//!
//! Little-endian. A record is `version u8 (1), kind u8, fields`. Text and bytes are a `u32` length and as many
//! bytes; a list is a `u32` count and its items; an option is a `u8` 0 or 1 and the value.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringmain_engine::types::LogId;

use super::catalog::{Binding, Change, Destination, Exchange, QueueSettings, Topic};
use super::command::SessionId;

const VERSION: u8 = 1;

/// The record of a change.
pub fn encode(change: &Change) -> Vec<u8> {
    let mut out = Writer(vec![VERSION]);
    match change {
        Change::TopicCreated(topic) => out.kind(1).topic(topic),
        Change::TopicDeleted { name } => out.kind(2).text(name),
        Change::ExchangeDeclared(exchange) => out.kind(3).exchange(exchange),
        Change::ExchangeDeleted { name } => out.kind(4).text(name),
        Change::Bound(binding) => out.kind(5).binding(binding),
        Change::Unbound(binding) => out.kind(6).binding(binding),
        Change::ProducerIds { below } => out.kind(7).number(*below as u64),
        Change::Numbers { below } => out.kind(8).number(*below),
        Change::PartitionsAdded { name, partitions } => out.kind(9).text(name).logs(partitions),
        Change::ConfigsSet { name, configs } => out.kind(10).text(name).configs(configs),
    };
    out.0
}

/// The change in a record; `None` if it is not one that this version understands.
pub fn decode(record: &[u8]) -> Option<Change> {
    let mut input = Reader(record);
    if input.byte()? != VERSION {
        return None;
    }
    let change = match input.byte()? {
        1 => Change::TopicCreated(input.topic()?),
        2 => Change::TopicDeleted { name: input.text()? },
        3 => Change::ExchangeDeclared(input.exchange()?),
        4 => Change::ExchangeDeleted { name: input.text()? },
        5 => Change::Bound(input.binding()?),
        6 => Change::Unbound(input.binding()?),
        7 => Change::ProducerIds { below: input.number()? as i64 },
        8 => Change::Numbers { below: input.number()? },
        9 => Change::PartitionsAdded { name: input.text()?, partitions: input.logs()? },
        10 => Change::ConfigsSet { name: input.text()?, configs: input.configs()? },
        _ => return None,
    };
    input.0.is_empty().then_some(change)
}

struct Writer(Vec<u8>);

impl Writer {
    fn kind(&mut self, kind: u8) -> &mut Writer {
        self.0.push(kind);
        self
    }

    fn flag(&mut self, flag: bool) -> &mut Writer {
        self.0.push(u8::from(flag));
        self
    }

    fn number(&mut self, number: u64) -> &mut Writer {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn option(&mut self, number: Option<u64>) -> &mut Writer {
        match number {
            Some(number) => self.flag(true).number(number),
            None => self.flag(false),
        }
    }

    fn count(&mut self, count: usize) -> &mut Writer {
        self.0.extend((count as u32).to_le_bytes());
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Writer {
        self.count(bytes.len());
        self.0.extend(bytes);
        self
    }

    fn text(&mut self, text: &str) -> &mut Writer {
        self.bytes(text.as_bytes())
    }

    fn logs(&mut self, logs: &[LogId]) -> &mut Writer {
        self.count(logs.len());
        for log in logs {
            self.number(log.0);
        }
        self
    }

    fn configs(&mut self, configs: &BTreeMap<String, String>) -> &mut Writer {
        self.count(configs.len());
        for (name, value) in configs {
            self.text(name).text(value);
        }
        self
    }

    fn topic(&mut self, topic: &Topic) -> &mut Writer {
        self.text(&topic.name);
        self.0.extend(topic.id);
        self.logs(&topic.partitions).configs(&topic.configs);
        self.flag(topic.queue.is_some());
        if let Some(queue) = &topic.queue {
            self.queue(queue);
        }
        self
    }

    fn queue(&mut self, queue: &QueueSettings) -> &mut Writer {
        self.flag(queue.durable).flag(queue.auto_delete).flag(queue.stream);
        self.option(queue.owner.map(SessionId::pack));
        self.option(queue.message_ttl_ms).option(queue.expires_ms);
        self.option(queue.length_max).option(queue.length_bytes_max);
        self.flag(queue.reject_when_full).flag(queue.dead_letters).flag(queue.single_active_consumer);
        self.option(queue.delivery_limit.map(u64::from)).bytes(&queue.arguments)
    }

    fn exchange(&mut self, exchange: &Exchange) -> &mut Writer {
        self.text(&exchange.name).text(&exchange.kind);
        self.flag(exchange.durable).flag(exchange.auto_delete).flag(exchange.internal);
        self.bytes(&exchange.arguments)
    }

    fn binding(&mut self, binding: &Binding) -> &mut Writer {
        self.text(&binding.source);
        match &binding.destination {
            Destination::Queue(name) => self.kind(0).text(name),
            Destination::Exchange(name) => self.kind(1).text(name),
        };
        self.bytes(&binding.routing_key).bytes(&binding.arguments)
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*front)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn option(&mut self) -> Option<Option<u64>> {
        if self.flag()? { self.number().map(Some) } else { Some(None) }
    }

    /// A count of items, each of at least `bytes_each`, that can be there.
    fn count(&mut self, bytes_each: usize) -> Option<usize> {
        let count = u32::from_le_bytes(self.array()?) as usize;
        (count <= self.0.len() / bytes_each).then_some(count)
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let length = self.count(1)?;
        let (front, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(front.to_vec())
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?).ok()
    }

    fn logs(&mut self) -> Option<Vec<LogId>> {
        let count = self.count(8)?;
        let mut logs = Vec::with_capacity(count);
        for _ in 0..count {
            logs.push(LogId(self.number()?));
        }
        Some(logs)
    }

    fn configs(&mut self) -> Option<BTreeMap<String, String>> {
        let mut configs = BTreeMap::new();
        for _ in 0..self.count(8)? {
            configs.insert(self.text()?, self.text()?);
        }
        Some(configs)
    }

    fn topic(&mut self) -> Option<Topic> {
        let (name, id) = (self.text()?, self.array()?);
        let (partitions, configs) = (self.logs()?, self.configs()?);
        let queue = if self.flag()? { Some(self.queue()?) } else { None };
        Some(Topic { name, id, partitions, configs, queue })
    }

    fn queue(&mut self) -> Option<QueueSettings> {
        Some(QueueSettings {
            durable: self.flag()?,
            auto_delete: self.flag()?,
            stream: self.flag()?,
            owner: self.option()?.map(SessionId::unpack),
            message_ttl_ms: self.option()?,
            expires_ms: self.option()?,
            length_max: self.option()?,
            length_bytes_max: self.option()?,
            reject_when_full: self.flag()?,
            dead_letters: self.flag()?,
            single_active_consumer: self.flag()?,
            delivery_limit: match self.option()? {
                Some(limit) => Some(u32::try_from(limit).ok()?),
                None => None,
            },
            arguments: Bytes::from(self.bytes()?),
        })
    }

    fn exchange(&mut self) -> Option<Exchange> {
        Some(Exchange {
            name: self.text()?,
            kind: self.text()?,
            durable: self.flag()?,
            auto_delete: self.flag()?,
            internal: self.flag()?,
            arguments: Bytes::from(self.bytes()?),
        })
    }

    fn binding(&mut self) -> Option<Binding> {
        let source = self.text()?;
        let destination = match self.byte()? {
            0 => Destination::Queue(self.text()?),
            1 => Destination::Exchange(self.text()?),
            _ => return None,
        };
        Some(Binding {
            source,
            destination,
            routing_key: self.bytes()?,
            arguments: Bytes::from(self.bytes()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes() -> Vec<Change> {
        let owner = Some(SessionId { core: 1, slot: 7, generation: 3 });
        let queue = QueueSettings {
            durable: true,
            owner,
            message_ttl_ms: Some(300),
            delivery_limit: Some(20),
            arguments: Bytes::from_static(b"table"),
            ..QueueSettings::default()
        };
        let configs = BTreeMap::from([("retention.ms".to_string(), "1".to_string())]);
        let topic = Topic {
            name: "jobs".into(),
            id: [5; 16],
            partitions: vec![LogId(256), LogId(260)],
            configs: configs.clone(),
            queue: Some(queue),
        };
        let exchange = Exchange {
            name: "orders".into(),
            kind: "topic".into(),
            durable: true,
            auto_delete: false,
            internal: true,
            arguments: Bytes::new(),
        };
        let binding = Binding {
            source: "orders".into(),
            destination: Destination::Queue("jobs".into()),
            routing_key: b"a.#".to_vec(),
            arguments: Bytes::from_static(b"x"),
        };
        vec![
            Change::TopicCreated(topic),
            Change::TopicDeleted { name: "jobs".into() },
            Change::ExchangeDeclared(exchange),
            Change::ExchangeDeleted { name: "orders".into() },
            Change::Bound(binding.clone()),
            Change::Unbound(binding),
            Change::ProducerIds { below: 1000 },
            Change::Numbers { below: 77 },
            Change::PartitionsAdded { name: "jobs".into(), partitions: vec![LogId(264), LogId(272)] },
            Change::ConfigsSet { name: "jobs".into(), configs },
        ]
    }

    #[test]
    fn every_change_is_read_as_written_and_no_prefix_of_it() {
        for change in changes() {
            let bytes = encode(&change);
            assert_eq!(decode(&bytes), Some(change));
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes[..cut]), None);
            }
        }
    }
}
