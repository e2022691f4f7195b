//! Round trips, golden bytes, and bytes that are no AMQP.
//!
//! The golden bytes are what pika 1.4.4 puts on the wire.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};

use super::frame::{self, Frame, Kind};
use super::method::{METHODS, Method};
use super::primitive::{LongBytes, SHORT_BYTES_MAX, ShortBytes, ShortStr};
use super::properties::{ContentHeader, Properties, View};
use super::table::{ArrayBuilder, DEPTH_MAX, Fields, Table, TableBuilder, Value};
use super::*;
use crate::broker::context::Random;

const FRAME_MAX: u32 = 131_072;

fn hex(text: &str) -> BytesMut {
    let digits: Vec<u8> = text.bytes().map(|digit| (digit as char).to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn short(text: &str) -> ShortStr {
    ShortStr::from(text)
}

fn key(text: &str) -> ShortBytes {
    short(text).into()
}

fn long(text: &str) -> LongBytes {
    LongBytes(Bytes::copy_from_slice(text.as_bytes()))
}

fn table() -> Table {
    let mut builder = TableBuilder::new();
    builder.put("x-max-length", Value::I32(10));
    builder.finish()
}

/// One of each method, every argument unlike its default.
fn every_method() -> Vec<Method> {
    use Method::*;
    let name = || short("name");
    vec![
        ConnectionStart {
            version_major: 1,
            version_minor: 9,
            server_properties: table(),
            mechanisms: long("PLAIN AMQPLAIN"),
            locales: long("en_US"),
        },
        ConnectionStartOk {
            client_properties: table(),
            mechanism: name(),
            response: long("\0a\0b"),
            locale: name(),
        },
        ConnectionSecure { challenge: long("c") },
        ConnectionSecureOk { response: long("r") },
        ConnectionTune { channel_max: 1, frame_max: 2, heartbeat: 3 },
        ConnectionTuneOk { channel_max: 1, frame_max: 2, heartbeat: 3 },
        ConnectionOpen { virtual_host: name() },
        ConnectionOpenOk {},
        ConnectionClose { reply_code: 320, reply_text: name(), class_id: 60, method_id: 40 },
        ConnectionCloseOk {},
        ConnectionBlocked { reason: name() },
        ConnectionUnblocked {},
        ConnectionUpdateSecret { new_secret: long("s"), reason: name() },
        ConnectionUpdateSecretOk {},
        ChannelOpen {},
        ChannelOpenOk {},
        ChannelFlow { active: true },
        ChannelFlowOk { active: true },
        ChannelClose { reply_code: 404, reply_text: name(), class_id: 50, method_id: 10 },
        ChannelCloseOk {},
        AccessRequest {
            realm: name(),
            exclusive: true,
            passive: false,
            active: true,
            write: false,
            read: true,
        },
        AccessRequestOk { ticket: 1 },
        ExchangeDeclare {
            exchange: name(),
            kind: short("topic"),
            passive: true,
            durable: false,
            auto_delete: true,
            internal: false,
            nowait: true,
            arguments: table(),
        },
        ExchangeDeclareOk {},
        ExchangeDelete { exchange: name(), if_unused: true, nowait: true },
        ExchangeDeleteOk {},
        ExchangeBind {
            destination: short("to"),
            source: short("from"),
            routing_key: key("k"),
            nowait: true,
            arguments: table(),
        },
        ExchangeBindOk {},
        ExchangeUnbind {
            destination: short("to"),
            source: short("from"),
            routing_key: key("k"),
            nowait: true,
            arguments: table(),
        },
        ExchangeUnbindOk {},
        QueueDeclare {
            queue: name(),
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: true,
            nowait: false,
            arguments: table(),
        },
        QueueDeclareOk { queue: name(), message_count: 7, consumer_count: 8 },
        QueueBind {
            queue: name(),
            exchange: short("x"),
            routing_key: key("a.*"),
            nowait: true,
            arguments: table(),
        },
        QueueBindOk {},
        QueuePurge { queue: name(), nowait: true },
        QueuePurgeOk { message_count: 9 },
        QueueDelete { queue: name(), if_unused: true, if_empty: false, nowait: true },
        QueueDeleteOk { message_count: 9 },
        QueueUnbind { queue: name(), exchange: short("x"), routing_key: key("k"), arguments: table() },
        QueueUnbindOk {},
        BasicQos { prefetch_size: 1, prefetch_count: 2, global: true },
        BasicQosOk {},
        BasicConsume {
            queue: name(),
            consumer_tag: short("tag"),
            no_local: true,
            no_ack: false,
            exclusive: true,
            nowait: true,
            arguments: table(),
        },
        BasicConsumeOk { consumer_tag: short("tag") },
        BasicCancel { consumer_tag: short("tag"), nowait: true },
        BasicCancelOk { consumer_tag: short("tag") },
        BasicPublish { exchange: short("x"), routing_key: key("k"), mandatory: false, immediate: true },
        BasicReturn {
            reply_code: 312,
            reply_text: short("NO_ROUTE"),
            exchange: short("x"),
            routing_key: key("k"),
        },
        BasicDeliver {
            consumer_tag: short("tag"),
            delivery_tag: u64::MAX - 1,
            redelivered: true,
            exchange: short("x"),
            routing_key: key("k"),
        },
        BasicGet { queue: name(), no_ack: true },
        BasicGetOk {
            delivery_tag: 3,
            redelivered: true,
            exchange: short("x"),
            routing_key: key("k"),
            message_count: 4,
        },
        BasicGetEmpty {},
        BasicAck { delivery_tag: 3, multiple: true },
        BasicReject { delivery_tag: 3, requeue: true },
        BasicRecoverAsync { requeue: true },
        BasicRecover { requeue: true },
        BasicRecoverOk {},
        BasicNack { delivery_tag: 3, multiple: false, requeue: true },
        ConfirmSelect { nowait: true },
        ConfirmSelectOk {},
        TxSelect {},
        TxSelectOk {},
        TxCommit {},
        TxCommitOk {},
        TxRollback {},
        TxRollbackOk {},
    ]
}

#[test]
fn every_method_survives_a_round_trip_and_no_prefix_does() {
    let mut seen = BTreeSet::new();
    for method in every_method() {
        let mut payload = BytesMut::new();
        method.encode(&mut payload);
        let payload = payload.freeze();
        assert_eq!(Method::decode(payload.clone()), Ok(method.clone()));
        for cut in 0..payload.len() {
            assert!(Method::decode(payload.slice(..cut)).is_err(), "{} cut at {cut}", method.name());
        }
        let (class, number) = method.id();
        seen.insert((class, number, method.name()));
    }
    assert_eq!(seen, METHODS.iter().copied().collect());
}

#[test]
fn methods_are_what_a_stock_client_writes() {
    let mut alternate = TableBuilder::new();
    alternate.put_str("alternate-exchange", "a");
    let mut priority = TableBuilder::new();
    priority.put("x-priority", Value::I32(-1));
    let golden = [
        (
            0,
            "0100000000000c000a001f07ff00020000003cce",
            Method::ConnectionTuneOk { channel_max: 2047, frame_max: FRAME_MAX, heartbeat: 60 },
        ),
        (0, "01000000000008000a0028012f0000ce", Method::ConnectionOpen { virtual_host: short("/") }),
        (
            0,
            "0100000000001a000a003200c80f4e6f726d616c2073687574646f776e00000000ce",
            Method::ConnectionClose {
                reply_code: 200,
                reply_text: short("Normal shutdown"),
                class_id: 0,
                method_id: 0,
            },
        ),
        (1, "010001000000050014000a00ce", Method::ChannelOpen {}),
        (1, "010001000000080014000b00000000ce", Method::ChannelOpenOk {}),
        (
            1,
            "0100010000002c0028000a0000017805746f7069630a0000001912616c7465726e6174652d6578\
             6368616e6765530000000161ce",
            Method::ExchangeDeclare {
                exchange: short("x"),
                kind: short("topic"),
                passive: false,
                durable: true,
                auto_delete: false,
                internal: true,
                nowait: false,
                arguments: alternate.finish(),
            },
        ),
        (1, "0100010000000400280033ce", Method::ExchangeUnbindOk {}),
        (
            1,
            "0100010000001f0032000a000001710a000000120c782d6d61782d6c656e677468490000000ace",
            Method::QueueDeclare {
                queue: short("q"),
                passive: false,
                durable: true,
                exclusive: false,
                auto_delete: true,
                nowait: false,
                arguments: table(),
            },
        ),
        (
            1,
            "010001000000130032001400000171017803612e2a0000000000ce",
            Method::QueueBind {
                queue: short("q"),
                exchange: short("x"),
                routing_key: key("a.*"),
                nowait: false,
                arguments: Table::default(),
            },
        ),
        (
            1,
            "01000100000009003200280000017106ce",
            Method::QueueDelete { queue: short("q"), if_unused: false, if_empty: true, nowait: true },
        ),
        (
            1,
            "0100010000000b003c000a0000000000fa01ce",
            Method::BasicQos { prefetch_size: 0, prefetch_count: 250, global: true },
        ),
        (
            1,
            "0100010000001f003c001400000171016302000000100a782d7072696f7269747949ffffffffce",
            Method::BasicConsume {
                queue: short("q"),
                consumer_tag: short("c"),
                no_local: false,
                no_ack: true,
                exclusive: false,
                nowait: false,
                arguments: priority.finish(),
            },
        ),
        (
            1,
            "0100010000000b003c002800000178016b01ce",
            Method::BasicPublish {
                exchange: short("x"),
                routing_key: key("k"),
                mandatory: true,
                immediate: false,
            },
        ),
        (
            1,
            "01000100000013003c003c01630000000000000102010178016bce",
            Method::BasicDeliver {
                consumer_tag: short("c"),
                delivery_tag: 258,
                redelivered: true,
                exchange: short("x"),
                routing_key: key("k"),
            },
        ),
        (1, "01000100000005003c004800ce", Method::BasicGetEmpty {}),
        (
            7,
            "0100070000000d003c0078000000000000000503ce",
            Method::BasicNack { delivery_tag: 5, multiple: true, requeue: true },
        ),
    ];
    for (channel, text, method) in golden {
        let mut out = BytesMut::new();
        frame::put_method(channel, &method, &mut out);
        assert_eq!(out, hex(text), "{}", method.name());
        let found = frame::take_frame(&mut out, FRAME_MAX).unwrap().unwrap();
        assert_eq!((found.kind, found.channel), (Kind::Method, channel));
        assert_eq!(Method::decode(found.payload), Ok(method));
    }
}

#[test]
fn the_client_properties_of_a_stock_client_are_read() {
    let mut input =
        hex("01000000000051000a000b0000002d0770726f647563745300000001700c6361706162696c697469657346\
         0000000d0a62617369632e6e61636b740105504c41494e0000000c00677565737400677565737405656e5f5553ce");
    let found = frame::take_frame(&mut input, FRAME_MAX).unwrap().unwrap();
    let Method::ConnectionStartOk { client_properties, mechanism, response, locale } =
        Method::decode(found.payload).unwrap()
    else {
        panic!("another method");
    };
    assert_eq!((&*mechanism, &*response, &*locale), ("PLAIN", &b"\0guest\0guest"[..], "en_US"));
    assert_eq!(client_properties.get("product").and_then(Value::as_str), Some("p"));
    let Some(Value::Table(capabilities)) = client_properties.get("capabilities") else { panic!("no table") };
    assert_eq!(capabilities.get("basic.nack").and_then(Value::as_bool), Some(true));
    assert_eq!(capabilities.get("basic"), None);
}

const ALL_PROPERTIES: &str = "02000100000078003c00000000000000000005bffc0a746578742f706c61696e00000035016149000000010162\
    530000000374776f016356016441000000087401780000000178016e460000000b01696c0000010000000000020302\
    63690272740431303030016d000000006553f10001740567756573740361707002636cce";

#[test]
fn properties_are_what_a_stock_client_writes() {
    let found = frame::take_frame(&mut hex(ALL_PROPERTIES), FRAME_MAX).unwrap().unwrap();
    let header = ContentHeader::decode(found.payload.clone()).unwrap();
    assert_eq!(header.body_size, 5);
    let mut inner = TableBuilder::new();
    inner.put("i", Value::I64(1 << 40));
    let mut items = ArrayBuilder::new();
    items.push(Value::Bool(true)).push(Value::Bytes(b"x"));
    let mut headers = TableBuilder::new();
    headers
        .put("a", Value::I32(1))
        .put_str("b", "two")
        .put("c", Value::Void)
        .put("d", Value::Array(items.items()))
        .put("n", Value::Table(inner.fields()));
    let expected = View {
        content_type: Some(b"text/plain"),
        content_encoding: None,
        headers: Some(headers.fields()),
        delivery_mode: Some(2),
        priority: Some(3),
        correlation_id: Some(b"ci"),
        reply_to: Some(b"rt"),
        expiration: Some(b"1000"),
        message_id: Some(b"m"),
        timestamp: Some(1_700_000_000),
        kind: Some(b"t"),
        user_id: Some(b"guest"),
        app_id: Some(b"app"),
        cluster_id: Some(b"cl"),
    };
    assert_eq!(header.properties.view(), expected);
    assert_eq!(header.properties.headers(), headers.fields());
    assert_eq!(expected.encode(), header.properties);
    let mut out = BytesMut::new();
    header.encode(&mut out);
    assert_eq!(out, found.payload);
    for cut in 0..found.payload.len() {
        assert!(ContentHeader::decode(found.payload.slice(..cut)).is_err(), "cut at {cut}");
    }
    let longer = [&found.payload[..], &[0]].concat();
    assert!(ContentHeader::decode(longer.into()).is_err());
}

#[test]
fn each_property_alone_and_none() {
    let one = |set: fn(&mut View<'static>)| {
        let mut view = View::default();
        set(&mut view);
        let encoded = view.encode();
        assert_eq!(encoded.view(), view);
        assert!(Properties::checked(encoded.raw().clone()).is_ok());
        u16::from_be_bytes([encoded.raw()[0], encoded.raw()[1]])
    };
    let flags = [
        one(|view| view.content_type = Some(b"a")),
        one(|view| view.content_encoding = Some(b"")),
        one(|view| view.headers = Some(Fields::default())),
        one(|view| view.delivery_mode = Some(1)),
        one(|view| view.priority = Some(0)),
        one(|view| view.correlation_id = Some(b"a")),
        one(|view| view.reply_to = Some(b"a")),
        one(|view| view.expiration = Some(b"a")),
        one(|view| view.message_id = Some(b"a")),
        one(|view| view.timestamp = Some(1)),
        one(|view| view.kind = Some(b"a")),
        one(|view| view.user_id = Some(b"a")),
        one(|view| view.app_id = Some(b"a")),
        one(|view| view.cluster_id = Some(b"a")),
    ];
    let bits: Vec<u16> = (2..16).rev().map(|bit| 1 << bit).collect();
    assert_eq!(flags.to_vec(), bits);
    assert_eq!(View::default().encode(), Properties::default());
    for unknown in [1u16, 2, 3] {
        assert!(Properties::checked(Bytes::copy_from_slice(&unknown.to_be_bytes())).is_err());
    }
    let other_class = Bytes::from_static(&[0, 50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert!(ContentHeader::decode(other_class).is_err());
}

#[test]
fn frames_arrive_in_any_pieces() {
    let mut whole = BytesMut::new();
    frame::put_method(1, &Method::BasicAck { delivery_tag: 1, multiple: false }, &mut whole);
    frame::put_header(1, 3, &Properties::default(), &mut whole);
    frame::put_heartbeat(&mut whole);
    assert!(whole.ends_with(&hex("08000000000000ce")));
    let mut input = BytesMut::new();
    let mut kinds = Vec::new();
    for byte in whole.clone() {
        input.extend_from_slice(&[byte]);
        let needed = frame::bytes_needed(&input, FRAME_MAX);
        let length = input.len();
        match frame::take_frame(&mut input, FRAME_MAX).unwrap() {
            Some(frame) => {
                assert_eq!(needed, length);
                assert!(input.is_empty());
                kinds.push(frame.kind);
            }
            None => assert!(if length < 7 { needed == 0 } else { needed > length }),
        }
    }
    assert_eq!(kinds, [Kind::Method, Kind::Header, Kind::Heartbeat]);
    let payload_place = whole.as_ptr();
    let first = frame::take_frame(&mut whole, FRAME_MAX).unwrap().unwrap();
    assert_eq!(first.payload.as_ptr(), payload_place.wrapping_add(7), "the payload is not copied");
}

#[test]
fn frames_that_break_the_rules_are_refused() {
    let sound = "0300010000000568656c6c6f";
    let take = |text: &str, limit| frame::take_frame(&mut hex(text), limit);
    let body = Frame { kind: Kind::Body, channel: 1, payload: Bytes::from_static(b"hello") };
    assert_eq!(take(&format!("{sound}ce"), 13), Ok(Some(body)));
    assert_eq!(take(&format!("{sound}cd"), 13), Err(WireError::FrameEnd(0xcd)));
    assert_eq!(take(sound, 12), Err(WireError::FrameTooLarge { size: 13, limit: 12 }));
    assert_eq!(take("030001ffffffff", FRAME_MAX).unwrap_err().reply_code(), 501);
    assert_eq!(frame::bytes_needed(&hex("030001ffffffff"), u32::MAX), 0);
    for kind in ["00", "04", "05", "07", "09", "ff"] {
        assert!(matches!(take(kind, FRAME_MAX), Err(WireError::FrameType(_))), "{kind}");
    }
    let unknown = Method::decode(Bytes::from_static(&[0, 60, 0, 41]));
    assert_eq!(unknown, Err(WireError::UnknownMethod { class: 60, method: 41 }));
    let header = ContentHeader::decode(Bytes::from_static(&[0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(header.map(|_| ()), Err(WireError::UnexpectedClass(10)));
}

#[test]
fn the_protocol_header_is_recognised_byte_by_byte() {
    for length in 0..8 {
        let mut input = BytesMut::from(&frame::PROTOCOL_HEADER[..length]);
        assert_eq!(frame::take_protocol_header(&mut input), Ok(false));
        assert_eq!(input.len(), length);
    }
    let mut input = BytesMut::from(&b"AMQP\x00\x00\x09\x01rest"[..]);
    assert_eq!(frame::take_protocol_header(&mut input), Ok(true));
    assert_eq!(input, "rest");
    for other in [&b"AMQP\x00\x01\x00\x00"[..], b"AMQP\x01\x01\x00\x09", b"GET /", b"\x16\x03"] {
        let refused = frame::take_protocol_header(&mut BytesMut::from(other));
        assert_eq!(refused, Err(WireError::ProtocolHeader));
    }
}

/// What [`frame::put_content`] makes of a body: the frames, and the pieces as they were sent.
fn content(body: &Bytes, frame_max: u32) -> (Vec<Frame>, Vec<Bytes>) {
    let (mut out, mut sent) = (BytesMut::new(), Vec::new());
    let method = Method::BasicDeliver {
        consumer_tag: short("c"),
        delivery_tag: 1,
        redelivered: false,
        exchange: short(""),
        routing_key: key("q"),
    };
    let mut send = |piece: Bytes| sent.push(piece);
    frame::put_content(3, &method, &Properties::default(), body, frame_max, &mut out, &mut send);
    sent.push(out.freeze());
    let mut wire = BytesMut::from(&sent.concat()[..]);
    let mut frames = Vec::new();
    while let Some(frame) = frame::take_frame(&mut wire, frame_max).unwrap() {
        frames.push(frame);
    }
    assert!(wire.is_empty());
    (frames, sent)
}

#[test]
fn content_is_cut_into_frames_and_large_bodies_are_shared() {
    for length in [0, 1, 4087, 4088, 4089, 8176, 8177, 20_000] {
        let body = Bytes::from((0..length).map(|n| n as u8).collect::<Vec<u8>>());
        let (frames, _) = content(&body, 4096);
        let kinds: Vec<Kind> = frames.iter().map(|frame| frame.kind).collect();
        assert_eq!(kinds[..2], [Kind::Method, Kind::Header]);
        assert_eq!(kinds.len() - 2, usize::div_ceil(length, 4088), "{length}");
        let header = ContentHeader::decode(frames[1].payload.clone()).unwrap();
        assert_eq!(header.body_size, length as u64);
        let joined: Vec<u8> = frames[2..].iter().flat_map(|frame| frame.payload.to_vec()).collect();
        assert_eq!(joined, body);
    }
    let large = Bytes::from(vec![7; 100_000]);
    let (frames, sent) = content(&large, FRAME_MAX);
    assert_eq!(frames.len(), 3);
    assert!(sent.iter().any(|piece| piece.as_ptr() == large.as_ptr()));
    let (_, sent) = content(&Bytes::from_static(b"small"), FRAME_MAX);
    assert_eq!(sent.len(), 1);
}

#[test]
fn a_table_keeps_order_duplicates_and_every_type() {
    let mut items = ArrayBuilder::new();
    items.push(Value::I8(-1)).push(Value::Void);
    let values = [
        Value::Bool(true),
        Value::I8(-2),
        Value::U8(200),
        Value::I16(-300),
        Value::U16(60_000),
        Value::I32(-70_000),
        Value::U32(4_000_000_000),
        Value::I64(i64::MIN),
        Value::F32(1.5),
        Value::F64(-2.25),
        Value::Decimal { scale: 2, value: 314 },
        Value::LongStr("text \u{e9}".as_bytes()),
        Value::Bytes(&[0, 255]),
        Value::Timestamp(u64::MAX),
        Value::Array(items.items()),
        Value::Void,
    ];
    let mut builder = TableBuilder::new();
    for value in values {
        builder.put("same", value);
    }
    let nested = builder.clone();
    builder.put("inner", Value::Table(nested.fields()));
    let table = Table::checked(builder.finish().raw().clone()).unwrap();
    let found: Vec<Value<'_>> = table.fields().iter().map(|(_, value)| value).collect();
    assert_eq!(found[..values.len()], values);
    assert_eq!(table.get("same"), Some(Value::Bool(true)));
    assert_eq!(table.get("inner"), Some(Value::Table(nested.fields())));
    for cut in 1..table.raw().len() {
        let whole: usize = table.fields().iter().count();
        let prefix = table.raw().slice(..cut);
        if Table::checked(prefix.clone()).is_ok() {
            assert!(Fields::new(&prefix).iter().count() < whole);
        }
    }
    let capital_l = Bytes::from_static(b"\x01nL\0\0\0\0\0\0\0\x05");
    assert_eq!(Table::checked(capital_l).unwrap().get("n"), Some(Value::I64(5)));
    assert!(Table::checked(Bytes::from_static(b"\x01nZ")).is_err());
    assert!(Table::checked(Bytes::from_static(b"\x01nS\xff\xff\xff\xffx")).is_err());
}

#[test]
fn tables_may_be_deep_but_not_bottomless() {
    let nested = |depth: usize| {
        (0..depth).fold(TableBuilder::new(), |inner, level| {
            let mut outer = TableBuilder::new();
            let mut items = ArrayBuilder::new();
            items.push(Value::Void);
            match level {
                0 => outer.put("end", Value::Array(items.items())),
                _ => outer.put("t", Value::Table(inner.fields())),
            };
            outer
        })
    };
    assert!(Table::checked(nested(DEPTH_MAX - 1).finish().raw().clone()).is_ok());
    assert!(Table::checked(nested(DEPTH_MAX + 1).finish().raw().clone()).is_err());
    assert!(Table::checked(nested(10_000).finish().raw().clone()).is_err());
}

#[test]
fn short_strings_are_cut_between_characters() {
    let long = "\u{e9}".repeat(200);
    let cut = ShortStr::from(long.as_str());
    assert_eq!(cut.len(), SHORT_BYTES_MAX - 1);
    assert_eq!(ShortStr::from(long), cut);
    assert!(ShortBytes::new(Bytes::from(vec![0; SHORT_BYTES_MAX])).is_some());
    assert!(ShortBytes::new(Bytes::from(vec![0; SHORT_BYTES_MAX + 1])).is_none());
    let not_text = Bytes::from_static(&[0, 10, 0, 60, 1, 0xff]);
    assert_eq!(Method::decode(not_text).unwrap_err().reply_code(), 502);
}

#[test]
fn random_bytes_are_read_or_refused() {
    let mut random = Random(0x5eed);
    let mut accepted = 0;
    for round in 0..20_000 {
        let length = (random.next_u64() % 64) as usize;
        let mut noise: Vec<u8> = (0..length).map(|_| random.next_u64() as u8).collect();
        let bytes = Bytes::from(noise.clone());
        accepted += usize::from(Properties::checked(bytes.clone()).is_ok());
        if let Ok(table) = Table::checked(bytes.clone()) {
            let _ = format!("{table:?}");
        }
        let _ = format!("{:?}", Fields::new(&bytes));
        let (class, number, _) = METHODS[round % METHODS.len()];
        let payload = [&class.to_be_bytes(), &number.to_be_bytes(), &noise[..]].concat();
        if let Ok(method) = Method::decode(payload.into()) {
            let mut again = BytesMut::new();
            method.encode(&mut again);
            assert_eq!(Method::decode(again.freeze()), Ok(method));
            accepted += 1;
        }
        if let Some(kind) = noise.first_mut() {
            *kind = [1, 2, 3, 8][round % 4];
        }
        if let Some(size) = noise.get_mut(3..7) {
            size.copy_from_slice(&[0, 0, 0, length.saturating_sub(8) as u8]);
        }
        let _ = frame::take_frame(&mut BytesMut::from(&noise[..]), FRAME_MAX);
    }
    assert!(accepted > 1000, "the noise reaches beyond the first check: {accepted}");
}
