//! Topology, publishing and consuming on an open channel.

use std::ops::Range;

use super::super::wire::properties::View;
use super::*;

/// Whether `offsets` is this one range.
fn is(offsets: &[Range<u64>], expected: Range<u64>) -> bool {
    matches!(offsets, [only] if *only == expected)
}

// -- topology -------------------------------------------------------------------------------------------

#[test]
fn pipelined_methods_are_answered_in_order() {
    let mut client = Client::open();
    let qos = Method::BasicQos { prefetch_size: 0, prefetch_count: 1, global: false };
    client.send_all(&[(1, declare("a", false)), (1, declare_exchange("x", "topic")), (1, qos)]);
    let (ticket, command) = client.asked_once();
    assert!(
        matches!(&command, Command::Catalog(CatalogRequest::CreateTopic { name, partitions: 1, queue: Some(_), .. }) if name == "a")
    );
    assert!(client.heard().is_empty());
    client.answer(ticket, done());
    assert_eq!(client.heard_names(), ["queue.declare-ok"]);
    let (ticket, command) = client.asked_once();
    assert!(matches!(command, Command::Catalog(CatalogRequest::DeclareExchange(_))));
    client.answer(ticket, done());
    assert_eq!(client.heard_names(), ["exchange.declare-ok", "basic.qos-ok"]);
}

#[test]
fn what_is_there_already_is_not_asked_for() {
    let mut client = Client::open();
    client.send(1, declare_exchange("amq.topic", "topic"));
    // The predeclared exchanges are durable.
    assert_eq!(client.closed(), (406, false));
    let mut client = Client::open();
    client.send(1, declare("jobs", false));
    let (ticket, command) = client.asked_once();
    assert!(matches!(command, Command::QueueStatus { log: JOBS }));
    client.answer(ticket, Event::QueueStatus(Ok(QueueCounts { ready: 7, unsettled: 1, consumers: 2 })));
    let [Heard::Method(1, Method::QueueDeclareOk { queue, message_count, consumer_count })] =
        &client.heard()[..]
    else {
        panic!("expected declare-ok")
    };
    assert_eq!((&**queue, *message_count, *consumer_count), ("jobs", 7, 2));
}

#[test]
fn a_lost_race_for_a_name_is_a_declaration_again() {
    let mut client = Client::open();
    client.send(1, declare("a", false));
    let (ticket, _) = client.asked_once();
    client.answer(ticket, Event::Catalog(Err(CatalogError::Exists)));
    let (ticket, _) = client.asked_once();
    let settings = Some(QueueSettings { durable: true, ..QueueSettings::default() });
    client.catalog.apply(&Change::TopicCreated(topic("a", LogId(600), settings)));
    client.answer(ticket, Event::Catalog(Err(CatalogError::Exists)));
    assert_eq!(client.closed(), (406, false), "the winner's queue is durable");
}

#[test]
fn a_queue_is_deleted_only_as_asked() {
    for (if_unused, if_empty, deleted) in [(true, false, false), (false, true, false), (false, false, true)] {
        let mut client = Client::open();
        client.send(1, Method::QueueDelete { queue: "jobs".into(), if_unused, if_empty, nowait: false });
        let (ticket, _) = client.asked_once();
        client.answer(ticket, Event::QueueStatus(Ok(QueueCounts { ready: 3, unsettled: 0, consumers: 1 })));
        if !deleted {
            assert_eq!(client.closed(), (406, false));
            continue;
        }
        let (ticket, command) = client.asked_once();
        assert!(matches!(command, Command::Catalog(CatalogRequest::DeleteTopic { .. })));
        client.answer(ticket, done());
        let reply = Heard::Method(1, Method::QueueDeleteOk { message_count: 3 });
        assert_eq!(client.heard(), [reply]);
    }
}

// -- publishing -----------------------------------------------------------------------------------------

#[test]
fn publishes_of_one_call_are_one_batch_and_one_confirm() {
    let mut client = Client::open();
    client.send(1, Method::ConfirmSelect { nowait: true });
    let mut bytes = BytesMut::new();
    for body in [&b"one"[..], b"two", b"three"] {
        publish(1, "jobs", body, &mut bytes);
    }
    client.bytes(&bytes);
    let (ticket, command) = client.asked_once();
    let Command::Append { log: JOBS, batch } = command else { panic!("{command:?}") };
    assert_eq!(batch.header().records_count.get(), 3);
    let mut records = batch.bytes().slice(HEADER_BYTES..);
    let record = record::take(&mut records).unwrap();
    assert_eq!((record.key.unwrap(), record.value.unwrap()), (Bytes::from("jobs"), Bytes::from("one")));
    assert!(client.heard().is_empty(), "nothing is confirmed before it is durable");
    client.answer(ticket, appended());
    let confirm = Heard::Method(1, Method::BasicAck { delivery_tag: 3, multiple: true });
    assert_eq!(client.heard(), [confirm]);
}

#[test]
fn a_publisher_is_held_while_there_is_no_room_and_goes_on_where_it_stopped() {
    let mut client = Client::open();
    client.send(1, Method::ConfirmSelect { nowait: true });
    client.short_of_room = true;
    let mut bytes = BytesMut::new();
    frame::put_method(
        1,
        &Method::BasicQos { prefetch_size: 0, prefetch_count: 5, global: false },
        &mut bytes,
    );
    publish(1, "jobs", b"one", &mut bytes);
    client.bytes(&bytes);
    let blocked = Method::ConnectionBlocked { reason: "low on disk".into() };
    assert_eq!(client.heard(), [Heard::Method(1, Method::BasicQosOk {}), Heard::Method(0, blocked)]);
    assert!(client.asked().is_empty() && !client.session.wants_input());
    // Silent for long: its signs of life are not read.
    client.now.monotonic_us += 60_000_000;
    client.call(|session, _, cx| session.on_time(cx));
    assert_eq!(client.heard(), [Heard::Heartbeat]);
    client.short_of_room = false;
    client.call(|session, _, cx| session.on_time(cx));
    assert_eq!(client.heard(), [Heard::Method(0, Method::ConnectionUnblocked {})]);
    assert!(client.session.wants_input());
    client.bytes(&[]);
    let (ticket, command) = client.asked_once();
    assert!(matches!(command, Command::Append { log: JOBS, .. }), "{command:?}");
    client.answer(ticket, appended());
    assert_eq!(client.heard(), [Heard::Method(1, Method::BasicAck { delivery_tag: 1, multiple: false })]);
}

#[test]
fn a_publish_refused_for_room_is_nacked_or_ends_the_connection_that_does_not_confirm() {
    for confirms in [true, false] {
        let mut client = Client::open();
        if confirms {
            client.send(1, Method::ConfirmSelect { nowait: true });
        }
        let mut bytes = BytesMut::new();
        publish(1, "jobs", b"one", &mut bytes);
        client.bytes(&bytes);
        let (ticket, _) = client.asked_once();
        client.answer(ticket, Event::Appended(Err(AppendError::NoSpace)));
        let heard = client.heard();
        let nack = Method::BasicNack { delivery_tag: 1, multiple: false, requeue: false };
        match confirms {
            true => assert_eq!(heard, [Heard::Method(1, nack)]),
            false => assert!(
                matches!(&heard[..], [Heard::Method(0, Method::ConnectionClose { reply_code: 506, .. })]),
                "{heard:?}"
            ),
        }
    }
}

#[test]
fn a_message_nobody_gets_is_returned_before_it_is_confirmed() {
    let mut client = Client::open();
    client.send(1, Method::ConfirmSelect { nowait: true });
    let mut bytes = BytesMut::new();
    publish(1, "nowhere", b"x", &mut bytes);
    client.bytes(&bytes);
    let heard = client.heard();
    assert_eq!(heard.iter().map(name).collect::<Vec<_>>(), ["basic.return", "header", "body", "basic.ack"]);
    assert!(matches!(heard[0], Heard::Method(1, Method::BasicReturn { reply_code: 312, .. })));
    assert!(client.asked().is_empty());
}

#[test]
fn a_message_that_may_not_be_published_closes_the_channel() {
    let expires = View { expiration: Some(b"soon"), ..View::default() }.encode();
    let another = View { user_id: Some(b"somebody"), ..View::default() }.encode();
    for (exchange, properties, code) in [
        ("missing", Properties::default(), 404),
        ("hidden", Properties::default(), 403),
        ("", expires, 406),
        ("", another, 406),
    ] {
        let mut client = Client::open();
        let exchange_of = |name: &str, internal| Exchange {
            name: name.into(),
            kind: "direct".into(),
            durable: false,
            auto_delete: false,
            internal,
            arguments: Bytes::new(),
        };
        client.catalog.apply(&Change::ExchangeDeclared(exchange_of("hidden", true)));
        let mut bytes = BytesMut::new();
        let method = publish_method(exchange, "jobs", false);
        let mut large = |_| panic!("this body is small");
        frame::put_content(1, &method, &properties, &Bytes::from("x"), 4096, &mut bytes, &mut large);
        client.bytes(&bytes);
        assert_eq!(client.closed(), (code, false));
        assert!(client.asked().is_empty());
    }
}

#[test]
fn a_batch_is_long_only_if_one_message_is() {
    let mut client = Client::open();
    client.settings.amqp_message_bytes_max = 1 << 20;
    let mut bytes = BytesMut::new();
    let method = publish_method("", "jobs", false);
    for size in [200_000, 50_000, 20_000, 900_000, 10] {
        let body = Bytes::from(vec![7; size]);
        let mut out = BytesMut::new();
        let mut send = |chunk: Bytes| bytes.extend_from_slice(&chunk);
        frame::put_content(1, &method, &Properties::default(), &body, 131_072, &mut out, &mut send);
        bytes.extend_from_slice(&out);
    }
    client.bytes(&bytes);
    let counts: Vec<i32> = client
        .asked()
        .iter()
        .map(|(_, command)| match command {
            Command::Append { batch, .. } => batch.header().records_count.get(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(counts, [2, 1, 1, 1]);
}

#[test]
fn a_full_queue_is_a_nack_and_a_deleted_one_is_not() {
    for (error, nacked) in
        [(AppendError::QueueFull, true), (AppendError::Storage, true), (AppendError::UnknownLog, false)]
    {
        let mut client = Client::open();
        client.send(1, Method::ConfirmSelect { nowait: true });
        let mut bytes = BytesMut::new();
        publish(1, "jobs", b"x", &mut bytes);
        client.bytes(&bytes);
        let (ticket, _) = client.asked_once();
        client.answer(ticket, Event::Appended(Err(error.clone())));
        let expected = if nacked { "basic.nack" } else { "basic.ack" };
        assert_eq!(client.heard_names(), [expected], "{error:?}");
    }
}

#[test]
fn a_get_sees_what_its_channel_published() {
    let mut client = Client::open();
    let mut bytes = BytesMut::new();
    publish(1, "jobs", b"x", &mut bytes);
    frame::put_method(1, &Method::BasicGet { queue: "jobs".into(), no_ack: false }, &mut bytes);
    client.bytes(&bytes);
    let (ticket, command) = client.asked_once();
    assert!(matches!(command, Command::Append { .. }));
    client.answer(ticket, appended());
    let (ticket, command) = client.asked_once();
    assert!(matches!(command, Command::Get { log: JOBS, settle: false }));
    client.answer(ticket, Event::Got(Ok(Some((delivery(5), 0)))));
    assert_eq!(client.heard_names(), ["basic.get-ok", "header", "body"]);
    client.send(1, Method::BasicAck { delivery_tag: 1, multiple: false });
    let (_, command) = client.asked_once();
    assert!(
        matches!(command, Command::Settle { log: JOBS, outcome: Outcome::Accept, offsets } if is(&offsets, 5..6))
    );
}

#[test]
fn a_connection_is_closed_when_what_it_published_is_durable() {
    let mut client = Client::open();
    let mut bytes = BytesMut::new();
    publish(1, "jobs", b"x", &mut bytes);
    let close = Method::ConnectionClose { reply_code: 200, reply_text: "".into(), class_id: 0, method_id: 0 };
    frame::put_method(0, &close, &mut bytes);
    client.bytes(&bytes);
    assert!(client.heard().is_empty() && !client.output.close);
    let (ticket, _) = client.asked_once();
    client.answer(ticket, appended());
    assert_eq!(client.heard_names(), ["connection.close-ok"]);
}

#[test]
fn a_peer_that_said_goodbye_hangs_up_itself() {
    let close =
        || Method::ConnectionClose { reply_code: 200, reply_text: "".into(), class_id: 0, method_id: 0 };
    let mut client = Client::open();
    client.send(0, close());
    assert_eq!(client.heard_names(), ["connection.close-ok"]);
    let mut late = BytesMut::new();
    publish(1, "jobs", b"x", &mut late);
    late.extend_from_slice(b"no frame at all");
    client.bytes(&late);
    client.send(0, close());
    assert!(client.heard().is_empty() && client.asked().is_empty(), "what is late is not read");
    assert!(!client.output.close);
    client.now.monotonic_us += 9_999_999;
    client.call(|session, _, cx| session.on_time(cx));
    assert!(client.heard().is_empty() && !client.output.close, "no heartbeat any more");
    client.now.monotonic_us += 1;
    client.call(|session, _, cx| session.on_time(cx));
    assert!(client.output.close, "patience is over");
}

// -- consuming ------------------------------------------------------------------------------------------

#[test]
fn deliveries_are_tagged_reported_when_sent_and_settled_in_ranges() {
    let mut client = Client::open();
    let ticket = client.consume(1, "tag");
    client.answer(ticket, Event::Deliver((10..13).map(delivery).collect()));
    let heard = client.heard();
    let tags: Vec<u64> = heard
        .iter()
        .filter_map(|heard| match heard {
            Heard::Method(1, Method::BasicDeliver { delivery_tag, .. }) => Some(*delivery_tag),
            _ => None,
        })
        .collect();
    assert_eq!(tags, [1, 2, 3]);
    client.call(|session, _, cx| session.on_sent(1, cx));
    assert!(client.asked().is_empty(), "the last byte has not left");
    client.call(|session, _, cx| session.on_sent(0, cx));
    let (_, command) = client.asked_once();
    assert!(matches!(command, Command::Sent { log: JOBS, consumer, count: 3 } if consumer == ticket));
    client.send(1, Method::BasicAck { delivery_tag: 2, multiple: true });
    let (unanswered, command) = client.asked_once();
    assert_eq!(unanswered, UNANSWERED);
    assert!(
        matches!(command, Command::Settle { outcome: Outcome::Accept, offsets, .. } if is(&offsets, 10..12))
    );
    client.send(1, Method::BasicNack { delivery_tag: 3, multiple: false, requeue: false });
    assert!(matches!(client.asked_once().1, Command::Settle { outcome: Outcome::Discard, .. }));
}

#[test]
fn a_closing_channel_ends_its_consumers_and_then_gives_back() {
    let mut client = Client::open();
    let ticket = client.consume(1, "tag");
    client.answer(ticket, Event::Deliver(vec![delivery(10), delivery(11)]));
    client.heard();
    let close = Method::ChannelClose { reply_code: 200, reply_text: "".into(), class_id: 0, method_id: 0 };
    client.send(1, close);
    assert_eq!(client.heard_names(), ["channel.close-ok"]);
    let asked = client.asked();
    assert!(matches!(asked[0].1, Command::Cancel { consumer, .. } if consumer == ticket));
    let Command::Settle { offsets, outcome, .. } = &asked[1].1 else { panic!("{asked:?}") };
    assert!(is(offsets, 10..12) && *outcome == Outcome::Requeue);
    // What was on its way meanwhile goes back too.
    client.answer(ticket, Event::Deliver(vec![delivery(12)]));
    assert!(client.heard().is_empty());
    assert!(matches!(client.asked_once().1, Command::Settle { outcome: Outcome::Requeue, .. }));
    client.answer(asked[0].0, Event::Cancelled);
}

#[test]
fn a_lost_connection_gives_back_and_deletes_what_was_its_own() {
    let mut client = Client::open();
    client.send(1, declare("mine", true));
    let (ticket, command) = client.asked_once();
    let Command::Catalog(CatalogRequest::CreateTopic { queue: Some(settings), .. }) = command else {
        panic!("{command:?}")
    };
    assert_eq!(settings.owner, Some(ME));
    client.catalog.apply(&Change::TopicCreated(topic("mine", LogId(700), Some(settings))));
    client.answer(ticket, done());
    client.heard();
    let ticket = client.consume(1, "tag");
    client.answer(ticket, Event::Deliver(vec![delivery(10)]));
    client.call(|session, _, cx| session.on_close(cx));
    let asked: Vec<Command> = client.asked().into_iter().map(|(_, command)| command).collect();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(matches!(asked[0], Command::Cancel { .. }));
    assert!(matches!(asked[1], Command::Settle { outcome: Outcome::Requeue, .. }));
    assert!(matches!(&asked[2], Command::Catalog(CatalogRequest::DeleteTopic { name }) if name == "mine"));
}

#[test]
fn a_consumer_whose_queue_goes_hears_of_it() {
    let mut client = Client::open();
    let ticket = client.consume(1, "tag");
    client.answer(ticket, Event::ConsumerGone);
    assert_eq!(client.heard_names(), ["basic.cancel"]);
    client.send(1, Method::BasicCancel { consumer_tag: "tag".into(), nowait: false });
    assert_eq!(client.heard_names(), ["basic.cancel-ok"]);
}

fn qos(prefetch_count: u16, global: bool) -> Method {
    Method::BasicQos { prefetch_size: 0, prefetch_count, global }
}

fn tags_heard(client: &mut Client) -> Vec<u64> {
    let heard = client.heard().into_iter();
    let tags = heard.filter_map(|heard| match heard {
        Heard::Method(1, Method::BasicDeliver { delivery_tag, .. }) => Some(delivery_tag),
        _ => None,
    });
    tags.collect()
}

#[test]
fn a_limit_for_the_channel_spans_its_consumers() {
    let mut client = Client::open();
    client.send(1, qos(5, false));
    client.send(1, qos(2, true));
    client.heard();
    client.send(1, consume("one", false));
    let (one, command) = client.asked_once();
    let Command::Subscribe { consumer, .. } = command else { panic!("{command:?}") };
    assert_eq!(consumer.limit, 2, "no consumer alone may have more than the channel");
    client.answer(one, Event::Subscribed(Ok(())));
    client.heard();
    let two = client.consume(1, "two");
    client.answer(one, Event::Deliver(vec![delivery(1), delivery(2)]));
    client.answer(two, Event::Deliver(vec![delivery(3), delivery(4)]));
    assert_eq!(tags_heard(&mut client), [1, 2]);
    client.asked();
    client.send(1, Method::BasicAck { delivery_tag: 1, multiple: false });
    assert_eq!(tags_heard(&mut client), [3]);
    client.asked();
    client.send(1, Method::BasicCancel { consumer_tag: "two".into(), nowait: true });
    let (ticket, _) = client.asked_once();
    client.answer(ticket, Event::Cancelled);
    let (_, command) = client.asked_once();
    let Command::Settle { offsets, outcome: Outcome::Requeue, .. } = command else { panic!("{command:?}") };
    assert!(is(&offsets, 4..5), "what was held back goes back");
    client.send(1, qos(0, true));
    let (_, command) = client.asked_once();
    assert!(
        matches!(command, Command::SetLimit { consumer, limit: 5, .. } if consumer == one),
        "{command:?}"
    );
}

#[test]
fn what_a_get_took_does_not_count_and_what_was_held_back_is_not_lost() {
    let mut client = Client::open();
    client.send(1, qos(1, true));
    client.send(1, Method::BasicGet { queue: "jobs".into(), no_ack: false });
    let (ticket, _) = client.asked_once();
    client.answer(ticket, Event::Got(Ok(Some((delivery(1), 0)))));
    client.heard();
    let one = client.consume(1, "one");
    client.answer(one, Event::Deliver(vec![delivery(2), delivery(3)]));
    assert_eq!(tags_heard(&mut client), [2]);
    client.asked();
    client.send(1, qos(0, true));
    assert_eq!(tags_heard(&mut client), [3]);
    client.send(1, qos(1, true));
    client.answer(one, Event::Deliver(vec![delivery(4)]));
    assert!(tags_heard(&mut client).is_empty());
    client.asked();
    client.call(|session, _, cx| session.on_close(cx));
    let requeued = client.asked().into_iter().find_map(|(_, command)| match command {
        Command::Settle { offsets, outcome: Outcome::Requeue, .. } => Some(offsets),
        _ => None,
    });
    assert!(is(&requeued.unwrap(), 1..5));
}

#[test]
fn who_deletes_the_queue_it_consumes_hears_of_the_deletion_first() {
    let mut client = Client::open();
    let consumer = client.consume(1, "tag");
    let delete =
        Method::QueueDelete { queue: "jobs".into(), if_unused: false, if_empty: false, nowait: false };
    client.send(1, delete);
    let (ticket, _) = client.asked_once();
    client.answer(ticket, Event::QueueStatus(Ok(QueueCounts::default())));
    let (ticket, _) = client.asked_once();
    client.answer(consumer, Event::ConsumerGone);
    assert!(client.heard().is_empty());
    client.answer(ticket, done());
    assert_eq!(client.heard_names(), ["queue.delete-ok", "basic.cancel"]);
}

#[test]
fn keys_for_copies_are_a_list() {
    for name in ["CC", "BCC"] {
        let mut client = Client::open();
        let mut headers = TableBuilder::new();
        headers.put(name, Value::I32(0));
        let properties = View { headers: Some(headers.fields()), ..View::default() }.encode();
        let mut bytes = BytesMut::new();
        let mut large = |_| panic!("these bodies are small");
        let (method, body) = (publish_method("", "jobs", true), Bytes::new());
        frame::put_content(1, &method, &properties, &body, 131_072, &mut bytes, &mut large);
        client.bytes(&bytes);
        assert_eq!(client.closed(), (406, false));
    }
}

#[test]
fn a_cancelled_consumer_is_told_so_behind_its_last_delivery() {
    let mut client = Client::open();
    let ticket = client.consume(1, "tag");
    client.send(1, Method::BasicCancel { consumer_tag: "tag".into(), nowait: false });
    let (cancel, _) = client.asked_once();
    client.answer(ticket, Event::Deliver(vec![delivery(1)]));
    client.answer(cancel, Event::Cancelled);
    assert_eq!(client.heard_names(), ["basic.deliver", "header", "body", "basic.cancel-ok"]);
}

#[test]
fn a_stream_is_read_from_where_the_consumer_says_and_says_where_it_is() {
    let mut client = Client::open();
    client.catalog.apply(&Change::TopicCreated(topic("log", LogId(500), None)));
    let mut arguments = TableBuilder::new();
    arguments.put("x-stream-offset", Value::I32(7));
    let qos = Method::BasicQos { prefetch_size: 0, prefetch_count: 100, global: false };
    let consume = Method::BasicConsume {
        queue: "log".into(),
        consumer_tag: "tag".into(),
        no_local: false,
        no_ack: false,
        exclusive: false,
        nowait: false,
        arguments: arguments.finish(),
    };
    client.send_all(&[(1, qos), (1, consume)]);
    let (ticket, command) = client.asked_once();
    let Command::Subscribe { consumer, .. } = command else { panic!("{command:?}") };
    assert_eq!((consumer.start, consumer.limit), (crate::broker::command::Start::Offset(7), 100));
    client.answer(ticket, Event::Subscribed(Ok(())));
    client.answer(ticket, Event::Deliver(vec![delivery(7)]));
    let heard = client.heard();
    let Some(Heard::Header(header)) = heard.get(3) else { panic!("{heard:?}") };
    assert_eq!(header.properties.headers().get("x-stream-offset"), Some(Value::I64(7)));
}
