//! Records die, and are found again where they should be.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringmain_engine::format::record::{self, Record};
use ringmain_engine::types::Now;

use super::*;
use crate::amqp::wire::properties::View;
use crate::broker::catalog::{Binding, Change, Destination, QueueSettings};
use crate::broker::command::{Appended, Request, SessionId};
use crate::broker::context::{Output, Random};
use crate::broker::nodes::Nodes;
use crate::broker::settings::Settings;

const WORK: LogId = LogId(400);
const DEAD: LogId = LogId(404);
const OTHER: LogId = LogId(408);

/// An agent and the world around it.
struct World {
    agent: DeadLetters,
    catalog: Catalog,
    settings: Settings,
    monotonic_us: u64,
    output: Output,
}

impl World {
    /// Queues work, dead and other; `arguments` are those of work.
    fn new(arguments: &[(&str, &str)]) -> World {
        let mut catalog = Catalog::new();
        let mut table = TableBuilder::new();
        for (name, text) in arguments {
            table.put_str(name, text);
        }
        let arguments = table.finish().raw().clone();
        for (name, log, arguments) in
            [("work", WORK, arguments), ("dead", DEAD, Bytes::new()), ("other", OTHER, Bytes::new())]
        {
            let queue = QueueSettings { arguments, dead_letters: true, ..QueueSettings::default() };
            catalog.apply(&Change::TopicCreated(Topic {
                name: name.to_string(),
                id: [log.0 as u8; 16],
                partitions: vec![log],
                configs: BTreeMap::new(),
                queue: Some(queue),
            }));
        }
        let settings = Settings {
            cluster_id: String::new(),
            nodes: Nodes::new(1, String::new(), vec![0]),
            cores: 1,
            data_dir: "/data".to_string(),
            auto_create_topics: false,
            default_partitions: 1,
            message_bytes_max: 1 << 20,
            request_bytes_max: 1 << 20,
            amqp_message_bytes_max: 1 << 20,
            amqp_frame_bytes_max: 131_072,
            amqp_heartbeat_s: 60,
            amqp_channels_max: 2047,
            group_initial_rebalance_delay_ms: 0,
            version: "0",
        };
        World { agent: DeadLetters::new(), catalog, settings, monotonic_us: 5, output: Output::default() }
    }

    fn bind(&mut self, source: &str, queue: &str, key: &str) {
        self.catalog.apply(&Change::Bound(Binding {
            source: source.to_string(),
            destination: Destination::Queue(queue.to_string()),
            routing_key: key.as_bytes().to_vec(),
            arguments: Bytes::new(),
        }));
    }

    /// Calls the agent; what it asked for.
    fn call(&mut self, call: impl FnOnce(&mut DeadLetters, &mut Context<'_>)) -> Vec<Request> {
        let mut requests = Vec::new();
        self.output.wake_at_us = None;
        let mut context = Context {
            short_of_room: false,
            now: Now { monotonic_us: self.monotonic_us, wall_ms: 1_700_000_000_000 },
            session: SessionId { core: 0, slot: 0, generation: 0 },
            catalog: &self.catalog,
            settings: &self.settings,
            requests: &mut requests,
            output: &mut self.output,
            random: &mut Random(1),
        };
        call(&mut self.agent, &mut context);
        requests
    }

    fn bury(&mut self, reason: DeathReason, messages: &[(Offset, Message)]) -> Vec<Request> {
        let records = messages
            .iter()
            .map(|(offset, message)| Delivery {
                offset: *offset,
                timestamp_ms: 0,
                redelivered: false,
                returns: 0,
                record: records(message.batch(0).unwrap().bytes()).remove(0),
            })
            .collect();
        let event = Event::DeadLetters { log: WORK, reason, records };
        self.call(|agent, cx| agent.on_event(0, event, cx))
    }

    fn answer(&mut self, ticket: u64, error: Option<AppendError>) -> Vec<Request> {
        let appended = Appended { base_offset: 0, log_start: 0, duplicate: false };
        let event = Event::Appended(error.map_or(Ok(appended), Err));
        self.call(|agent, cx| agent.on_event(ticket, event, cx))
    }

    /// The message that the first letter of a death becomes, if there is one.
    fn letter(&mut self, reason: DeathReason, dead: &Message) -> Option<Message> {
        let requests = self.bury(reason, &[(0, dead.clone())]);
        requests.iter().find_map(appended).map(|(_, mut letters)| letters.remove(0))
    }
}

fn records(batch: &Bytes) -> Vec<Record> {
    let mut rest = batch.slice(HEADER_BYTES..);
    let mut records = Vec::new();
    while !rest.is_empty() {
        records.push(record::take(&mut rest).unwrap());
    }
    records
}

/// Target and messages of an append.
fn appended(request: &Request) -> Option<(LogId, Vec<Message>)> {
    match &request.command {
        Command::Append { log, batch } => {
            let letters = records(batch.bytes());
            Some((*log, letters.iter().map(|record| Message::of_record(record, 0)).collect()))
        }
        _ => None,
    }
}

/// First offset, end and outcome of every range that is settled.
fn settled(requests: &[Request]) -> Vec<(Offset, Offset, Outcome)> {
    let mut ranges = Vec::new();
    for request in requests {
        if let Command::Settle { log: WORK, offsets, outcome } = &request.command {
            ranges.extend(offsets.iter().map(|range| (range.start, range.end, *outcome)));
        }
    }
    ranges
}

fn message(body: &'static str, view: View<'_>) -> Message {
    Message {
        exchange: "x".into(),
        routing_key: ShortStr::from("key").into(),
        properties: view.encode(),
        body: Bytes::from_static(body.as_bytes()),
    }
}

/// To the queue dead, by the default exchange.
fn to_dead() -> World {
    World::new(&[(DEAD_LETTER_EXCHANGE, ""), (DEAD_LETTER_ROUTING_KEY, "dead")])
}

#[test]
fn a_rejected_record_is_settled_once_its_copy_is_durable() {
    let mut world = to_dead();
    let plain = |body| message(body, View::default());
    let asked = world.bury(DeathReason::Rejected, &[(3, plain("a")), (4, plain("b")), (9, plain("c"))]);
    let (target, letters) = appended(&asked[0]).unwrap();
    assert_eq!((asked.len(), target), (1, DEAD));
    let bodies: Vec<&[u8]> = letters.iter().map(|letter| &letter.body[..]).collect();
    assert_eq!(bodies, [b"a", b"b", b"c"]);
    assert_eq!(world.agent.pending_count(), 3);
    let asked = world.answer(asked[0].ticket, None);
    assert_eq!(settled(&asked), [(3, 5, Outcome::Accept), (9, 10, Outcome::Accept)]);
    assert_eq!(world.agent.pending_count(), 0);
}

#[test]
fn the_letter_tells_its_history() {
    let mut world = to_dead();
    let mut keys = ArrayBuilder::new();
    keys.push(Value::LongStr(b"copy"));
    let mut headers = TableBuilder::new();
    headers.put_str("mine", "kept").put("CC", Value::Array(keys.items()));
    let view = View { headers: Some(headers.fields()), expiration: Some(b"300"), ..View::default() };
    let letter = world.letter(DeathReason::Expired, &message("m", view)).unwrap();
    assert_eq!((&*letter.exchange, &*letter.routing_key), ("", &b"dead"[..]));
    assert_eq!(letter.properties.view().expiration, None);
    let headers = letter.properties.headers();
    assert_eq!(headers.get("mine").and_then(Value::as_str), Some("kept"));
    assert_eq!(headers.get("CC"), None);
    let text = |name| headers.get(name).and_then(Value::as_str).unwrap();
    assert_eq!(X_FIRST_DEATH.map(text), ["work", "expired", "x"]);
    assert_eq!(X_LAST_DEATH.map(text), ["work", "expired", "x"]);
    let all: Vec<Fields<'_>> = deaths(headers).collect();
    let mut keys = ArrayBuilder::new();
    keys.push(Value::LongStr(b"key")).push(Value::LongStr(b"copy"));
    let mut expected = TableBuilder::new();
    expected
        .put("count", Value::I64(1))
        .put_str("reason", "expired")
        .put_str("queue", "work")
        .put("time", Value::Timestamp(1_700_000_000))
        .put_str("exchange", "x")
        .put("routing-keys", Value::Array(keys.items()))
        .put_str("original-expiration", "300");
    assert_eq!(all, [expected.fields()]);
}

#[test]
fn a_second_death_of_the_same_kind_is_counted_and_another_put_in_front() {
    let mut world = to_dead();
    let first = world.letter(DeathReason::Rejected, &message("m", View::default())).unwrap();
    let second = world.letter(DeathReason::Rejected, &first).unwrap();
    let third = world.letter(DeathReason::MaxLength, &second).unwrap();
    let fourth = world.letter(DeathReason::Rejected, &third).unwrap();
    let history = |message: &Message| -> Vec<(String, i64)> {
        let of = |death: Fields<'_>| {
            let reason = death.get("reason").and_then(Value::as_str)?.to_string();
            Some((reason, death.get("count").and_then(Value::as_i64)?))
        };
        deaths(message.properties.headers()).filter_map(of).collect()
    };
    let entry = |reason: &str, count| (reason.to_string(), count);
    assert_eq!(history(&second), [entry("rejected", 2)]);
    assert_eq!(history(&third), [entry("maxlen", 1), entry("rejected", 2)]);
    assert_eq!(history(&fourth), [entry("rejected", 3), entry("maxlen", 1)]);
    let headers = third.properties.headers();
    assert_eq!(headers.get("x-first-death-reason").and_then(Value::as_str), Some("rejected"));
    assert_eq!(headers.get("x-last-death-reason").and_then(Value::as_str), Some("maxlen"));
}

#[test]
fn nowhere_to_go_is_done() {
    let plain = [(7, message("m", View::default()))];
    let accepted = [(7, 8, Outcome::Accept)];
    let mut gone = World::new(&[(DEAD_LETTER_EXCHANGE, "no such exchange")]);
    assert_eq!(settled(&gone.bury(DeathReason::Rejected, &plain)), accepted);
    let mut unbound = World::new(&[(DEAD_LETTER_EXCHANGE, "amq.direct")]);
    assert_eq!(settled(&unbound.bury(DeathReason::Rejected, &plain)), accepted);
    let mut without = World::new(&[]);
    assert_eq!(settled(&without.bury(DeathReason::Rejected, &plain)), accepted);
    without.catalog.apply(&Change::TopicDeleted { name: "work".to_string() });
    assert!(without.bury(DeathReason::Rejected, &plain).is_empty());
}

#[test]
fn without_a_key_of_its_own_a_letter_keeps_its_keys() {
    let mut world = World::new(&[(DEAD_LETTER_EXCHANGE, "amq.direct")]);
    world.bind("amq.direct", "dead", "key");
    world.bind("amq.direct", "other", "copy");
    let mut keys = ArrayBuilder::new();
    keys.push(Value::LongStr(b"copy"));
    let mut headers = TableBuilder::new();
    headers.put("CC", Value::Array(keys.items()));
    let copied = message("m", View { headers: Some(headers.fields()), ..View::default() });
    let asked = world.bury(DeathReason::Rejected, &[(1, copied)]);
    let targets: Vec<LogId> = asked.iter().filter_map(appended).map(|(target, _)| target).collect();
    assert_eq!(targets, [DEAD, OTHER]);
    assert!(settled(&world.answer(asked[1].ticket, None)).is_empty(), "one copy is not durable yet");
    assert_eq!(settled(&world.answer(asked[0].ticket, None)), [(1, 2, Outcome::Accept)]);
    assert!(world.answer(asked[0].ticket, None).is_empty(), "a ticket is answered once");
}

#[test]
fn a_cycle_goes_on_only_while_somebody_rejects() {
    let mut world = World::new(&[(DEAD_LETTER_EXCHANGE, ""), (DEAD_LETTER_ROUTING_KEY, "work")]);
    let plain = message("m", View::default());
    assert_eq!(world.letter(DeathReason::Expired, &plain), None);
    assert_eq!(world.letter(DeathReason::MaxLength, &plain), None);
    let rejected = world.letter(DeathReason::Rejected, &plain).unwrap();
    assert_eq!(world.letter(DeathReason::Expired, &rejected), None, "expired in work, to work, untouched");
    let mut retry = to_dead();
    let once = retry.letter(DeathReason::Rejected, &plain).unwrap();
    let again = world.letter(DeathReason::Rejected, &once);
    assert!(again.is_some(), "a consumer's rejections may go round for ever");
}

#[test]
fn what_a_target_refuses_goes_back_after_a_pause() {
    for error in [AppendError::QueueFull, AppendError::Storage] {
        let mut world = to_dead();
        let asked = world.bury(DeathReason::Rejected, &[(1, message("m", View::default()))]);
        assert!(world.answer(asked[0].ticket, Some(error)).is_empty());
        let due = 5 + REQUEUE_AFTER_US;
        assert_eq!(world.output.wake_at_us, Some(due));
        world.monotonic_us = due - 1;
        assert!(world.call(DeadLetters::on_time).is_empty());
        assert_eq!(world.agent.pending_count(), 1);
        world.monotonic_us = due;
        let asked = world.call(DeadLetters::on_time);
        assert_eq!(settled(&asked), [(1, 2, Outcome::Requeue)]);
        assert_eq!(world.agent.pending_count(), 0);
    }
}

#[test]
fn what_can_never_arrive_is_done() {
    for error in [AppendError::UnknownLog, AppendError::TooLarge] {
        let mut world = to_dead();
        let asked = world.bury(DeathReason::Rejected, &[(1, message("m", View::default()))]);
        let asked = world.answer(asked[0].ticket, Some(error));
        assert_eq!(settled(&asked), [(1, 2, Outcome::Accept)]);
    }
}

#[test]
fn many_large_letters_become_several_batches() {
    let mut world = to_dead();
    let mut large = message("", View::default());
    large.body = vec![1; 6 << 20].into();
    let asked = world.bury(DeathReason::Rejected, &[(0, large.clone()), (1, large.clone()), (2, large)]);
    assert_eq!(asked.iter().filter_map(appended).map(|(_, letters)| letters.len()).sum::<usize>(), 3);
    assert!(asked.len() > 1);
    for request in &asked {
        world.answer(request.ticket, None);
    }
    assert_eq!(world.agent.pending_count(), 0);
}
