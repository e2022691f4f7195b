//! A session as a client meets it: bytes in, frames out, and the broker's part answered by hand.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use ringmain_engine::format::batch::HEADER_BYTES;
use ringmain_engine::format::record::{self, Record};
use ringmain_engine::types::{LogId, Now};

mod traffic;

use super::Session;
use super::link::UNANSWERED;
use super::wire::frame::{self, Kind};
use super::wire::method::{METHODS, Method};
use super::wire::primitive::{LongBytes, ShortBytes};
use super::wire::properties::{ContentHeader, Properties};
use super::wire::table::{Table, TableBuilder, Value};
use crate::broker::catalog::{Catalog, CatalogError, CatalogRequest, Change, Exchange, QueueSettings, Topic};
use crate::broker::command::{
    AppendError, Appended, CatalogReply, Command, Delivery, Event, Outcome, QueueCounts, Request, SessionId,
};
use crate::broker::context::{Context, Output, Random};
use crate::broker::nodes::Nodes;
use crate::broker::settings::Settings;

const ME: SessionId = SessionId { core: 0, slot: 1, generation: 1 };
const OTHER: SessionId = SessionId { core: 0, slot: 2, generation: 1 };
const JOBS: LogId = LogId(400);
const MORE: LogId = LogId(404);

/// A client of one session, and the world the session lives in.
struct Client {
    session: Session,
    catalog: Catalog,
    settings: Settings,
    now: Now,
    random: Random,
    input: BytesMut,
    requests: Vec<Request>,
    output: Output,
    short_of_room: bool,
}

/// A frame the session wrote.
#[derive(Debug, PartialEq)]
enum Heard {
    Method(u16, Method),
    Header(ContentHeader),
    Body(Bytes),
    Heartbeat,
}

impl Client {
    fn from(address: &str) -> Client {
        let settings = Settings {
            cluster_id: "cluster".into(),
            nodes: Nodes::new(0, "localhost".to_string(), vec![9092]),
            cores: 1,
            data_dir: "/data".to_string(),
            auto_create_topics: true,
            default_partitions: 4,
            message_bytes_max: 1 << 20,
            request_bytes_max: 1 << 20,
            amqp_message_bytes_max: 10_000,
            amqp_frame_bytes_max: 131_072,
            amqp_heartbeat_s: 60,
            amqp_channels_max: 100,
            group_initial_rebalance_delay_ms: 0,
            version: "1",
        };
        let mut catalog = Catalog::new();
        for (name, log) in [("jobs", JOBS), ("more", MORE)] {
            let queue = Some(QueueSettings::default());
            catalog.apply(&Change::TopicCreated(topic(name, log, queue)));
        }
        Client {
            session: Session::new(address.parse().unwrap()),
            catalog,
            settings,
            now: Now { monotonic_us: 1_000_000, wall_ms: 1_700_000_000_000 },
            random: Random(1),
            input: BytesMut::new(),
            requests: Vec::new(),
            output: Output::default(),
            short_of_room: false,
        }
    }

    /// A client whose connection and channel 1 are open.
    fn open() -> Client {
        let mut client = Client::from("127.0.0.1:40000");
        client.bytes(&frame::PROTOCOL_HEADER);
        client.send(0, start_ok(b"\0guest\0guest", true));
        client.send(0, Method::ConnectionTuneOk { channel_max: 100, frame_max: 131_072, heartbeat: 10 });
        client.send(0, Method::ConnectionOpen { virtual_host: "/".into() });
        client.send(1, Method::ChannelOpen {});
        let names: Vec<&str> = client.heard().iter().map(name).collect();
        let expected = ["connection.start", "connection.tune", "connection.open-ok", "channel.open-ok"];
        assert_eq!(names, expected);
        client
    }

    fn call(&mut self, call: impl FnOnce(&mut Session, &mut BytesMut, &mut Context<'_>)) {
        let mut cx = Context {
            short_of_room: self.short_of_room,
            now: self.now,
            session: ME,
            catalog: &self.catalog,
            settings: &self.settings,
            requests: &mut self.requests,
            output: &mut self.output,
            random: &mut self.random,
        };
        call(&mut self.session, &mut self.input, &mut cx);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.call(|session, input, cx| session.on_bytes(input, cx));
    }

    fn send(&mut self, channel: u16, method: Method) {
        self.send_all(&[(channel, method)]);
    }

    fn send_all(&mut self, methods: &[(u16, Method)]) {
        let mut bytes = BytesMut::new();
        methods.iter().for_each(|(channel, method)| frame::put_method(*channel, method, &mut bytes));
        self.bytes(&bytes);
    }

    fn answer(&mut self, ticket: u64, event: Event) {
        self.call(|session, _, cx| session.on_event(ticket, event, cx));
    }

    /// What was asked since the last time.
    fn asked(&mut self) -> Vec<(u64, Command)> {
        self.requests.drain(..).map(|request| (request.ticket, request.command)).collect()
    }

    fn asked_once(&mut self) -> (u64, Command) {
        let mut asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked.remove(0)
    }

    /// What was written since the last time.
    fn heard(&mut self) -> Vec<Heard> {
        let mut bytes = BytesMut::new();
        self.output.chunks.drain(..).for_each(|chunk| bytes.extend_from_slice(&chunk));
        self.output.bytes_count = 0;
        let mut heard = Vec::new();
        while let Some(frame) = frame::take_frame(&mut bytes, 131_072).unwrap() {
            heard.push(match frame.kind {
                Kind::Method => Heard::Method(frame.channel, Method::decode(frame.payload).unwrap()),
                Kind::Header => Heard::Header(ContentHeader::decode(frame.payload).unwrap()),
                Kind::Body => Heard::Body(frame.payload),
                Kind::Heartbeat => Heard::Heartbeat,
            });
        }
        assert!(bytes.is_empty(), "the output ends inside a frame");
        heard
    }

    fn heard_names(&mut self) -> Vec<&'static str> {
        self.heard().iter().map(name).collect()
    }

    /// Consumes from `jobs` and returns the consumer's ticket.
    fn consume(&mut self, channel: u16, tag: &str) -> u64 {
        self.send(channel, consume(tag, false));
        let (ticket, command) = self.asked_once();
        assert!(matches!(command, Command::Subscribe { log: JOBS, .. }), "{command:?}");
        self.answer(ticket, Event::Subscribed(Ok(())));
        assert_eq!(self.heard_names(), ["basic.consume-ok"]);
        ticket
    }

    /// The code of the one close that was heard, and whether it was the connection's.
    fn closed(&mut self) -> (u16, bool) {
        match self.heard().as_slice() {
            [Heard::Method(0, Method::ConnectionClose { reply_code, .. })] => (*reply_code, true),
            [Heard::Method(_, Method::ChannelClose { reply_code, .. })] => (*reply_code, false),
            other => panic!("expected one close: {other:?}"),
        }
    }
}

fn name(heard: &Heard) -> &'static str {
    match heard {
        Heard::Method(_, method) => method.name(),
        Heard::Header(_) => "header",
        Heard::Body(_) => "body",
        Heard::Heartbeat => "heartbeat",
    }
}

fn topic(name: &str, log: LogId, queue: Option<QueueSettings>) -> Topic {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&log.0.to_be_bytes());
    Topic { name: name.into(), id, partitions: vec![log], configs: BTreeMap::new(), queue }
}

fn start_ok(response: &'static [u8], capable: bool) -> Method {
    let mut capabilities = TableBuilder::new();
    capabilities.put("authentication_failure_close", Value::Bool(capable));
    capabilities.put("consumer_cancel_notify", Value::Bool(capable));
    capabilities.put("connection.blocked", Value::Bool(capable));
    let mut properties = TableBuilder::new();
    properties.put("capabilities", Value::Table(capabilities.fields()));
    Method::ConnectionStartOk {
        client_properties: properties.finish(),
        mechanism: "PLAIN".into(),
        response: LongBytes(Bytes::from_static(response)),
        locale: "en_US".into(),
    }
}

fn declare(queue: &str, exclusive: bool) -> Method {
    Method::QueueDeclare {
        queue: queue.into(),
        passive: false,
        durable: false,
        exclusive,
        auto_delete: false,
        nowait: false,
        arguments: Table::default(),
    }
}

fn passive(queue: &str) -> Method {
    Method::QueueDeclare {
        queue: queue.into(),
        passive: true,
        durable: false,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments: Table::default(),
    }
}

fn declare_exchange(exchange: &str, kind: &str) -> Method {
    Method::ExchangeDeclare {
        exchange: exchange.into(),
        kind: kind.into(),
        passive: false,
        durable: false,
        auto_delete: false,
        internal: false,
        nowait: false,
        arguments: Table::default(),
    }
}

fn consume(tag: &str, no_ack: bool) -> Method {
    Method::BasicConsume {
        queue: "jobs".into(),
        consumer_tag: tag.into(),
        no_local: false,
        no_ack,
        exclusive: false,
        nowait: false,
        arguments: Table::default(),
    }
}

fn key(text: &'static str) -> ShortBytes {
    ShortBytes::new(Bytes::from_static(text.as_bytes())).unwrap()
}

fn publish_method(exchange: &str, routing_key: &'static str, mandatory: bool) -> Method {
    Method::BasicPublish {
        exchange: exchange.into(),
        routing_key: key(routing_key),
        mandatory,
        immediate: false,
    }
}

/// The frames of a message for the default exchange.
fn publish(channel: u16, queue: &'static str, body: &'static [u8], out: &mut BytesMut) {
    let method = publish_method("", queue, true);
    let body = Bytes::from_static(body);
    let mut large = |_| panic!("these bodies are small");
    frame::put_content(channel, &method, &Properties::default(), &body, 131_072, out, &mut large);
}

fn delivery(offset: u64) -> Delivery {
    let record = Record {
        offset_delta: 0,
        timestamp_delta_ms: 0,
        key: Some(Bytes::from_static(b"jobs")),
        value: Some(Bytes::from_static(b"body")),
        headers: Vec::new(),
    };
    Delivery { offset, timestamp_ms: 1000, redelivered: false, returns: 0, record }
}

fn appended() -> Event {
    Event::Appended(Ok(Appended { base_offset: 0, log_start: 0, duplicate: false }))
}

fn done() -> Event {
    Event::Catalog(Ok(CatalogReply::Done))
}

// -- the connection -------------------------------------------------------------------------------------

#[test]
fn a_wrong_protocol_header_is_answered_with_the_right_one() {
    let mut client = Client::from("127.0.0.1:1");
    client.bytes(b"GET / HTTP/1.1\r\n\r\n");
    assert!(client.output.close);
    assert_eq!(client.output.chunks.pop_front().unwrap(), &frame::PROTOCOL_HEADER[..]);
    assert!(client.output.chunks.is_empty());
}

#[test]
fn who_may_not_come_in_hears_why_if_it_can_take_it() {
    for (address, response) in [("127.0.0.1:1", &b"\0guest\0no"[..]), ("10.1.1.1:1", b"\0guest\0guest")] {
        for capable in [true, false] {
            let mut client = Client::from(address);
            client.bytes(&frame::PROTOCOL_HEADER);
            client.heard();
            client.send(0, start_ok(response, capable));
            assert_eq!(client.output.close, !capable);
            if capable {
                assert_eq!(client.closed(), (403, true));
                client.send(0, Method::ConnectionCloseOk {});
                assert!(client.output.close);
            }
            assert!(client.heard().is_empty());
        }
    }
}

#[test]
fn limits_and_virtual_hosts_that_were_not_offered_are_refused() {
    let tune = |channel_max, frame_max| Method::ConnectionTuneOk { channel_max, frame_max, heartbeat: 0 };
    for method in [tune(100, 0), tune(100, 131_073), tune(100, 4095), tune(0, 8192), tune(101, 8192)] {
        let mut client = Client::from("127.0.0.1:1");
        client.bytes(&frame::PROTOCOL_HEADER);
        client.send(0, start_ok(b"\0guest\0guest", true));
        client.heard();
        client.send(0, method.clone());
        assert_eq!(client.closed(), (530, true), "{method:?}");
    }
    let mut client = Client::from("127.0.0.1:1");
    client.bytes(&frame::PROTOCOL_HEADER);
    client.send(0, start_ok(b"\0guest\0guest", true));
    client.send(0, tune(100, 4096));
    client.heard();
    client.send(0, Method::ConnectionOpen { virtual_host: "other".into() });
    assert_eq!(client.closed(), (530, true));
}

#[test]
fn heartbeats_are_sent_and_missed() {
    let mut client = Client::open();
    assert_eq!(client.output.wake_at_us, Some(6_000_000));
    client.now.monotonic_us = 6_000_000;
    client.call(|session, _, cx| session.on_time(cx));
    assert_eq!(client.heard(), [Heard::Heartbeat]);
    client.now.monotonic_us = 7_000_000;
    client.bytes(&[8, 0]);
    client.now.monotonic_us = 20_000_000;
    client.bytes(&[]);
    client.call(|session, _, cx| session.on_time(cx));
    assert!(!client.output.close, "half a frame is a sign of life");
    client.now.monotonic_us = 27_000_000;
    client.call(|session, _, cx| session.on_time(cx));
    assert!(client.output.close, "the same half again is none");
}

#[test]
fn a_conversation_is_the_same_however_its_bytes_arrive() {
    let mut bytes = BytesMut::from(&frame::PROTOCOL_HEADER[..]);
    frame::put_method(0, &start_ok(b"\0guest\0guest", true), &mut bytes);
    let tune = Method::ConnectionTuneOk { channel_max: 9, frame_max: 8192, heartbeat: 0 };
    frame::put_method(0, &tune, &mut bytes);
    frame::put_method(0, &Method::ConnectionOpen { virtual_host: "/".into() }, &mut bytes);
    frame::put_method(1, &Method::ChannelOpen {}, &mut bytes);
    frame::put_method(1, &Method::ConfirmSelect { nowait: false }, &mut bytes);
    publish(1, "nowhere", b"x", &mut bytes);
    publish(1, "jobs", b"y", &mut bytes);
    frame::put_method(1, &passive("missing"), &mut bytes);
    let mut whole = Client::from("127.0.0.1:1");
    whole.bytes(&bytes);
    let mut pieces = Client::from("127.0.0.1:1");
    bytes.iter().for_each(|byte| pieces.bytes(&[*byte]));
    for client in [&mut whole, &mut pieces] {
        let (ticket, _) = client.asked_once();
        client.answer(ticket, appended());
    }
    let expected = [
        "connection.start",
        "connection.tune",
        "connection.open-ok",
        "channel.open-ok",
        "confirm.select-ok",
        "basic.return",
        "header",
        "body",
        "basic.ack",
        "basic.ack",
        "channel.close",
    ];
    let heard = whole.heard();
    assert_eq!(heard.iter().map(name).collect::<Vec<_>>(), expected);
    assert_eq!(heard, pieces.heard());
}

#[test]
fn no_bytes_make_a_session_panic() {
    let mut random = Random(42);
    for _ in 0..2000 {
        let mut client = Client::open();
        let mut bytes = BytesMut::new();
        for _ in 0..4 {
            let row = METHODS[random.next_u64() as usize % METHODS.len()];
            let mut payload = Vec::from(row.0.to_be_bytes());
            payload.extend(row.1.to_be_bytes());
            payload.extend((0..40).map(|_| (random.next_u64() % 7) as u8));
            let kind = if random.next_u64().is_multiple_of(4) { 2 } else { 1 };
            bytes.extend_from_slice(&[kind, 0, (random.next_u64() % 3) as u8]);
            bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
            bytes.extend_from_slice(&payload);
            bytes.extend_from_slice(&[0xce]);
        }
        client.bytes(&bytes);
        for (ticket, _) in client.asked() {
            client.answer(ticket, done());
            client.answer(ticket, Event::Cancelled);
        }
        client.call(|session, _, cx| session.on_close(cx));
    }
}

// -- errors ---------------------------------------------------------------------------------------------

#[test]
fn each_error_has_its_code_and_closes_what_it_should() {
    let stream = || {
        let mut table = TableBuilder::new();
        table.put_str("x-queue-type", "stream");
        table.finish()
    };
    let get = |queue: &str| Method::BasicGet { queue: queue.into(), no_ack: true };
    let bind = |queue: &str, exchange: &str| Method::QueueBind {
        queue: queue.into(),
        exchange: exchange.into(),
        routing_key: key("k"),
        nowait: false,
        arguments: Table::default(),
    };
    let unused = |exchange: &str| Method::ExchangeDelete {
        exchange: exchange.into(),
        if_unused: false,
        nowait: false,
    };
    let qos = Method::BasicQos { prefetch_size: 1, prefetch_count: 1, global: false };
    let of_stream = Method::BasicConsume {
        queue: "log".into(),
        consumer_tag: "".into(),
        no_local: false,
        no_ack: false,
        exclusive: false,
        nowait: false,
        arguments: stream(),
    };
    for (method, code, hard) in [
        (passive("missing"), 404, false),
        (passive(""), 404, false),
        (passive("hers"), 405, false),
        (get("hers"), 405, false),
        (get("missing"), 404, false),
        (get("log"), 540, true),
        (bind("jobs", "missing"), 404, false),
        (bind("missing", "amq.direct"), 404, false),
        (bind("jobs", ""), 403, false),
        (declare("amq.mine", false), 403, false),
        (declare("log", false), 406, false),
        (declare("jobs", true), 405, false),
        (declare_exchange("amq.mine", "direct"), 403, false),
        (declare_exchange("", "direct"), 403, false),
        (declare_exchange("amq.direct", "fanout"), 406, false),
        (declare_exchange("new", "x-weird"), 406, false),
        (unused("amq.direct"), 403, false),
        (Method::BasicAck { delivery_tag: 1, multiple: false }, 406, false),
        (Method::BasicReject { delivery_tag: 0, requeue: true }, 406, false),
        (Method::BasicRecover { requeue: false }, 540, true),
        (Method::ChannelFlow { active: false }, 540, true),
        (qos, 540, true),
        (of_stream, 406, false),
        (Method::ChannelOpen {}, 504, true),
        (Method::ConnectionOpen { virtual_host: "/".into() }, 503, true),
        (Method::BasicGetEmpty {}, 503, true),
    ] {
        let mut client = Client::open();
        client.catalog.apply(&Change::TopicCreated(topic("log", LogId(500), None)));
        let hers = QueueSettings { owner: Some(OTHER), ..QueueSettings::default() };
        client.catalog.apply(&Change::TopicCreated(topic("hers", LogId(504), Some(hers))));
        client.send(1, method.clone());
        assert_eq!(client.closed(), (code, hard), "{method:?}");
        assert!(client.asked().is_empty(), "{method:?}");
    }
}

#[test]
fn content_out_of_order_ends_the_connection() {
    let header = ContentHeader { body_size: 3, properties: Properties::default() };
    let method = publish_method("", "jobs", false);
    let parts = |which: &str, out: &mut BytesMut| match which {
        "method" => frame::put_method(1, &method, out),
        "header" => frame::put_header(1, header.body_size, &header.properties, out),
        _ => out.extend_from_slice(&[3, 0, 1, 0, 0, 0, 4, b'l', b'o', b'n', b'g', 0xce]),
    };
    for wrong in [
        &["header"][..],
        &["body"],
        &["method", "body"],
        &["method", "method"],
        &["method", "header", "body"],
    ] {
        let mut client = Client::open();
        let mut bytes = BytesMut::new();
        wrong.iter().for_each(|part| parts(part, &mut bytes));
        client.bytes(&bytes);
        assert_eq!(client.closed(), (505, true), "{wrong:?}");
    }
    let mut client = Client::open();
    client.bytes(&[1, 0, 1, 0, 0, 0, 0, 0]);
    assert_eq!(client.closed(), (501, true), "a frame without its end");
    client.bytes(&[0xff; 100]);
    assert!(client.heard().is_empty());
}

#[test]
fn a_closed_channel_ignores_everything_until_its_peer_agrees() {
    let mut client = Client::open();
    let mut bytes = BytesMut::new();
    frame::put_method(1, &publish_method("", "jobs", false), &mut bytes);
    frame::put_header(1, 10_001, &Properties::default(), &mut bytes);
    bytes.extend_from_slice(&[3, 0, 1, 0, 0, 0, 1, b'x', 0xce]);
    frame::put_method(1, &passive("missing"), &mut bytes);
    client.bytes(&bytes);
    assert_eq!(client.closed(), (406, false));
    client.send_all(&[(1, Method::ChannelCloseOk {}), (1, Method::ChannelOpen {})]);
    assert_eq!(client.heard_names(), ["channel.open-ok"]);
}

#[test]
fn a_consumer_tag_is_used_once_on_a_channel() {
    let mut client = Client::open();
    client.consume(1, "tag");
    client.send(1, consume("tag", false));
    assert_eq!(client.closed(), (530, true));
}

// -- the documentation ----------------------------------------------------------------------------------

/// Each method as docs/AMQP.md lists it, against what the dispatch does with one whose arguments are all zero.
#[test]
fn the_table_of_methods_is_what_the_dispatch_does() {
    let text = include_str!("../../../docs/AMQP.md");
    for (class, method, name) in METHODS {
        let row = text.lines().find(|line| line.starts_with(&format!("| {name} |")));
        let row = row.unwrap_or_else(|| panic!("{name} is not in docs/AMQP.md"));
        let support = row.split('|').nth(3).unwrap_or_default().trim();
        let mut client = Client::open();
        let mut bytes = BytesMut::new();
        let channel = u8::from(*class != 10);
        let mut payload = Vec::from(class.to_be_bytes());
        payload.extend(method.to_be_bytes());
        // These two are refused with their only argument false.
        payload.push(u8::from(matches!(*name, "channel.flow" | "basic.recover" | "basic.recover-async")));
        payload.resize(64, 0);
        bytes.extend_from_slice(&[1, 0, channel, 0, 0, 0, 64]);
        bytes.extend_from_slice(&payload);
        bytes.extend_from_slice(&[0xce]);
        client.bytes(&bytes);
        let refused = client.heard().into_iter().find_map(|heard| match heard {
            Heard::Method(0, Method::ConnectionClose { reply_code, .. }) => Some(reply_code),
            _ => None,
        });
        let expected: &[Option<u16>] = match support {
            "yes" => &[None, Some(504)],
            "at the start" | "server" => &[Some(503)],
            "no: 540" => &[Some(540)],
            other => panic!("{name}: '{other}' is not a kind of support"),
        };
        let found = if matches!(*name, "channel.open") { Some(504) } else { refused };
        assert!(expected.contains(&found), "{name}: {support}, but {refused:?}");
    }
}

#[test]
fn every_argument_of_a_queue_is_documented() {
    let text = include_str!("../../../docs/AMQP.md");
    for (name, _, treatment) in super::queue_arguments::ARGUMENTS {
        let word = match treatment {
            super::queue_arguments::Treatment::Honoured => "honoured",
            super::queue_arguments::Treatment::Ignored => "accepted, ignored",
            super::queue_arguments::Treatment::Refused => "refused (406)",
        };
        let row = text.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        assert!(row.is_some_and(|row| row.contains(word)), "{name} is not listed as {word}");
    }
}
