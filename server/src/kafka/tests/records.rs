//! Requests for records: appended as they came, read as they lie, refused with Kafka's codes.

use bytes::Bytes;
use ringmain_engine::format::batch;
use ringmain_engine::format::record::BatchBuilder;

use super::{ORDERS, World, appended, batch_of, read};
use crate::broker::catalog::Catalog;
use crate::broker::command::{AppendError, CatalogReply, Command, Event, ReadError, SeekTo, Sought};
use crate::kafka::wire::api_versions::*;
use crate::kafka::wire::fetch::*;
use crate::kafka::wire::init_producer_id::*;
use crate::kafka::wire::list_offsets::*;
use crate::kafka::wire::offset_for_leader_epoch::*;
use crate::kafka::wire::produce::RecordError;

/// A patient fetch of both partitions from 0.
fn fetch_request() -> FetchRequest {
    let partition = |index| FetchPartition {
        index,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        partition_max_bytes: 1000,
        ..Default::default()
    };
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic {
            name: "orders".to_string(),
            id: ORDERS,
            partitions: vec![partition(0), partition(1)],
        }],
        ..Default::default()
    }
}

/// The batch with these attributes and a checksum that fits.
fn with_attributes(records: &Bytes, attributes: i16) -> Bytes {
    let mut bytes = records.to_vec();
    bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
    let crc = ringmain_engine::format::crc::crc32c(&bytes[batch::CRC_START..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(bytes)
}

#[test]
fn a_batch_is_appended_as_it_came_and_answered_when_durable() {
    for version in 3..=13 {
        let mut world = World::new();
        let records = batch_of(3, 0);
        world.produce(version, -1, "orders", records.clone());
        let [(ticket, Command::Append { log, batch })] = &world.commands()[..] else { panic!("one append") };
        assert_eq!((*log, batch.bytes()), (world.log(1), &records));
        assert!(world.produced(version).is_none());
        world.event(*ticket, appended(41));
        let response = world.produced(version).unwrap();
        let answered = &response.topics[0].partitions[0];
        assert_eq!((answered.index, answered.error_code, answered.base_offset), (1, 0, 41));
        assert_eq!(answered.log_append_time_ms, -1);
        assert_eq!(answered.log_start_offset, if version >= 5 { 3 } else { 0 });
        let id = if version >= 13 { ORDERS } else { [0; 16] };
        assert_eq!(response.topics[0].id, id);
    }
}

#[test]
fn what_cannot_be_appended_is_refused_with_kafkas_codes() {
    let sound = batch_of(1, 0);
    let changed = |place: usize, value: u8| {
        let mut bytes = sound.to_vec();
        bytes[place] = value;
        Bytes::from(bytes)
    };
    let two = Bytes::from([&sound[..], &sound[..]].concat());
    let cases = [
        (9, "orders", changed(sound.len() - 1, 0xee), 2),
        (9, "orders", sound.slice(..sound.len() - 1), 87),
        (9, "orders", Bytes::new(), 87),
        (9, "orders", batch_of(1, 7), 87),
        (9, "orders", changed(16, 1), 87),
        (9, "orders", two, 87),
        (9, "orders", with_attributes(&sound, 0x20), 87),
        (9, "orders", with_attributes(&sound, 0x10), 48),
        (9, "orders", with_attributes(&sound, 5), 76),
        (6, "orders", with_attributes(&sound, 4), 76),
        (9, "orders", Bytes::from(vec![0; (1 << 20) + 1]), 10),
        (9, "nothing", sound.clone(), 3),
    ];
    for (version, name, records, code) in cases {
        let mut world = World::new();
        world.produce(version, -1, name, records);
        let response = world.produced(version).unwrap();
        assert_eq!(response.topics[0].partitions[0].error_code, code);
        assert!(world.commands().is_empty());
    }
    let mut world = World::new();
    world.produce(9, 2, "orders", sound.clone());
    assert_eq!(world.produced(9).unwrap().topics[0].partitions[0].error_code, 21);
    world.catalog = Catalog::new();
    world.produce(13, 1, "", sound.clone());
    assert_eq!(world.produced(13).unwrap().topics[0].partitions[0].error_code, 100);
}

#[test]
fn a_record_without_a_key_is_named_where_the_topic_is_compacted() {
    let mut builder = BatchBuilder::new(1000);
    builder.push(1000, Some(b"key"), Some(b"value"), &[]);
    builder.push(1000, None, Some(b"value"), &[]);
    let records = builder.finish().bytes().clone();
    for version in 3..=13 {
        let mut world = World::new();
        world.set("orders", "cleanup.policy", "compact");
        world.produce(version, 1, "orders", records.clone());
        assert!(world.commands().is_empty());
        let answered = world.produced(version).unwrap().topics[0].partitions[0].clone();
        assert_eq!((answered.error_code, answered.base_offset), (87, -1));
        let message = "Compacted topic cannot accept message without key in topic partition orders-1";
        let (said, named) = match version {
            ..8 => (None, Vec::new()),
            _ => {
                let error = RecordError { batch_index: 1, message: Some(message.to_string()) };
                (Some(message.to_string()), vec![error])
            }
        };
        assert_eq!((answered.error_message, answered.record_errors), (said, named));
    }
}

#[test]
fn times_out_of_a_topics_bounds_are_refused() {
    let batch = |times: &[i64]| {
        let mut builder = BatchBuilder::new(times[0]);
        times.iter().for_each(|time| builder.push(*time, None, Some(b"value"), &[]));
        builder.finish().bytes().clone()
    };
    let within = "[9000, 15000]";
    for (times, said) in [
        (&[9_000, 15_000][..], None),
        (&[-1, -1][..], None),
        (&[8_999, 10_000][..], Some("8999")),
        (&[10_000, 15_001, 9_000][..], Some("15001")),
        (&[15_001][..], Some("15001")),
    ] {
        let mut world = World::new();
        world.now.wall_ms = 10_000;
        world.produce(9, 1, "orders", batch(times));
        assert_eq!(world.commands().len(), 1, "there are no bounds unless they are given");
        let mut world = World::new();
        world.now.wall_ms = 10_000;
        world.set("orders", "message.timestamp.before.max.ms", "1000");
        world.set("orders", "message.timestamp.after.max.ms", "5000");
        world.produce(9, 1, "orders", batch(times));
        assert_eq!(world.commands().is_empty(), said.is_some(), "{times:?}");
        let Some(said) = said else { continue };
        let answered = world.produced(9).unwrap().topics[0].partitions[0].clone();
        assert_eq!((answered.error_code, answered.base_offset), (32, -1));
        let message = answered.error_message.unwrap();
        assert!(message.contains(&format!("Timestamp {said} ")) && message.ends_with(within), "{message}");
    }
}

#[test]
fn what_the_log_refuses_is_told() {
    for (error, code) in [
        (AppendError::UnknownLog, 3),
        (AppendError::OutOfOrderSequence, 45),
        (AppendError::FencedProducer, 47),
        (AppendError::TooLarge, 10),
        (AppendError::QueueFull, 44),
        (AppendError::NoSpace, 56),
        (AppendError::Storage, 56),
    ] {
        let mut world = World::new();
        world.produce(9, 1, "orders", batch_of(1, 0));
        let ticket = world.commands()[0].0;
        world.event(ticket, Event::Appended(Err(error)));
        let answered = world.produced(9).unwrap().topics[0].partitions[0].clone();
        assert_eq!((answered.error_code, answered.base_offset), (code, -1));
    }
}

#[test]
fn without_acks_there_is_no_answer_and_a_failure_closes() {
    let mut world = World::new();
    world.produce(9, 0, "orders", batch_of(1, 0));
    world.ask(18, 0, |writer, version| ApiVersionsRequest::default().encode(writer, version));
    let ticket = world.commands()[0].0;
    assert!(world.response(18, 0).is_none());
    world.event(ticket, appended(0));
    assert_eq!(world.response(18, 0).unwrap().0, 2);
    assert!(!world.output.close);
    world.produce(9, 0, "nothing", batch_of(1, 0));
    assert!(world.output.close && world.response(0, 9).is_none() && !world.session.wants_input());
}

#[test]
fn a_fetch_is_answered_with_the_bytes_that_were_read() {
    for version in 4..=18 {
        let mut world = World::new();
        world.fetch(version, &fetch_request());
        let commands = world.commands();
        assert!(matches!(
            commands[..],
            [
                (_, Command::Read { from: 0, bytes_max: 1000, watch: true, .. }),
                (_, Command::Read { from: 0, bytes_max: 1000, watch: true, .. })
            ]
        ));
        let found = batch_of(2, 0);
        world.event(commands[1].0, read(vec![found.clone()]));
        assert!(world.output.chunks.is_empty());
        world.event(commands[0].0, read(Vec::new()));
        let shared = |chunk: &Bytes| chunk.as_ptr() == found.as_ptr() && chunk.len() == found.len();
        assert!(world.output.chunks.iter().any(shared), "the records were copied");
        let response = world.fetched(version).unwrap();
        assert_eq!((response.error_code, response.session_id), (0, 0));
        let partitions = &response.topics[0].partitions;
        assert_eq!((partitions[0].index, partitions[0].records.len()), (0, 0));
        assert_eq!((partitions[1].index, &partitions[1].records[0]), (1, &found));
        assert_eq!((partitions[1].high_watermark, partitions[1].last_stable_offset), (100, 100));
        assert!(partitions[1].aborted_transactions.is_none());
        let log = world.log(0);
        let [(ticket, Command::Unwatch { log: unwatched })] = world.commands()[..] else { panic!("unwatch") };
        assert_eq!((ticket, unwatched), (commands[0].0, log));
    }
}

#[test]
fn a_fetch_waits_for_something_to_read() {
    let mut world = World::new();
    world.fetch(12, &fetch_request());
    let commands = world.commands();
    for (ticket, _) in &commands {
        world.event(*ticket, read(Vec::new()));
    }
    assert!(world.fetched(12).is_none());
    assert_eq!(world.output.wake_at_us, Some(1_500_000));
    world.event(commands[1].0, Event::Readable);
    let again = world.commands();
    assert!(matches!(again[..], [(ticket, Command::Read { watch: true, .. })] if ticket == commands[1].0));
    world.event(commands[1].0, read(vec![batch_of(1, 0)]));
    assert_eq!(world.fetched(12).unwrap().topics[0].partitions[1].records.len(), 1);
    assert!(matches!(world.commands()[..], [(_, Command::Unwatch { .. })]));
}

#[test]
fn a_fetch_ends_at_its_deadline_with_what_there_is() {
    let mut world = World::new();
    let mut request = fetch_request();
    request.min_bytes = 1000;
    world.fetch(12, &request);
    let commands = world.commands();
    let found = batch_of(2, 5);
    world.event(commands[0].0, read(vec![found.clone()]));
    world.event(commands[1].0, read(Vec::new()));
    let again = world.commands();
    let [(ticket, Command::Read { from: 7, watch: true, .. })] = again[..] else { panic!("reads on") };
    world.now.monotonic_us += 499_999;
    world.call(|session, cx| session.on_time(cx));
    world.event(ticket, read(Vec::new()));
    assert!(world.fetched(12).is_none());
    world.now.monotonic_us += 1;
    world.output.wake_at_us = None;
    world.call(|session, cx| session.on_time(cx));
    let response = world.fetched(12).unwrap();
    assert_eq!(response.topics[0].partitions[0].records, [found]);
    assert_eq!(world.commands().len(), 2, "both watches end");
    assert_eq!(world.output.wake_at_us, None);
}

#[test]
fn a_deadline_during_a_read_ends_with_that_read() {
    let mut world = World::new();
    world.fetch(12, &fetch_request());
    let commands = world.commands();
    world.now.monotonic_us += 600_000;
    world.output.wake_at_us = None;
    world.call(|session, cx| session.on_time(cx));
    assert!(world.fetched(12).is_none() && world.output.wake_at_us.is_none());
    world.event(commands[0].0, read(Vec::new()));
    world.event(commands[1].0, read(Vec::new()));
    assert!(world.fetched(12).is_some());
}

#[test]
fn a_fetch_keeps_to_the_bytes_it_was_allowed() {
    let mut world = World::new();
    let mut request = fetch_request();
    let one = batch_of(1, 0).len();
    request.max_bytes = one as i32 + 1;
    request.topics[0].partitions[1].partition_max_bytes = 1 << 20;
    world.fetch(12, &request);
    // All that is allowed may go to the first partition, so the second has to wait for it.
    let commands = world.commands();
    assert_eq!(commands.len(), 1);
    world.event(commands[0].0, read(Vec::new()));
    let second = world.commands();
    assert!(matches!(second[..], [(_, Command::Read { bytes_max, .. })] if bytes_max as usize == one + 1));
    let three = Bytes::from([batch_of(1, 0), batch_of(1, 1), batch_of(1, 2)].concat());
    world.event(second[0].0, read(vec![three]));
    let response = world.fetched(12).unwrap();
    assert_eq!(response.topics[0].partitions[1].records, [batch_of(1, 0)]);
    world.commands();

    // The first batch goes however large it is, and nothing is read behind it.
    request.max_bytes = 1;
    world.fetch(12, &request);
    let commands = world.commands();
    world.event(commands[0].0, read(vec![batch_of(9, 0)]));
    let [(ticket, Command::Seek { to: SeekTo::HighWatermark, .. })] = world.commands()[..] else {
        panic!("only the end of the second")
    };
    let end = Sought { offset: Some(44), timestamp_ms: None, leader_epoch: 0 };
    world.event(ticket, Event::Sought(Ok(end)));
    let partitions = world.fetched(12).unwrap().topics[0].partitions.clone();
    assert_eq!(partitions[0].records, [batch_of(9, 0)]);
    assert_eq!((partitions[1].high_watermark, partitions[1].records.len()), (44, 0));
}

#[test]
fn a_fetch_that_cannot_be_served_says_why() {
    let mut world = World::new();
    let answered = |request: &FetchRequest, version| {
        let mut world = World::new();
        world.fetch(version, request);
        for (ticket, _) in world.commands() {
            world.event(ticket, read(Vec::new()));
        }
        world.fetched(version).unwrap().topics[0].partitions[0].error_code
    };
    let mut request = fetch_request();
    request.max_wait_ms = 0;
    assert_eq!(answered(&request, 12), 0);
    for (epoch, code) in [(0, 0), (1, 75), (-2, 74)] {
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        assert_eq!(answered(&request, 12), code);
    }
    request.topics[0].partitions[0].current_leader_epoch = -1;
    request.topics[0].partitions[0].fetch_offset = -1;
    assert_eq!(answered(&request, 12), 1);
    request.topics[0].partitions[0] = FetchPartition { index: 2, ..request.topics[0].partitions[1].clone() };
    assert_eq!(answered(&request, 12), 3);
    request.topics[0].id = [1; 16];
    assert_eq!(answered(&request, 13), 100);

    world.fetch(12, &fetch_request());
    let commands = world.commands();
    let error = ReadError::OutOfRange { log_start: 5, high_watermark: 9 };
    world.event(commands[0].0, Event::Read(Err(error)));
    world.event(commands[1].0, read(Vec::new()));
    assert_eq!(world.fetched(12).unwrap().topics[0].partitions[0].error_code, 1);

    world.fetch(12, &FetchRequest { session_id: 4, session_epoch: 2, ..fetch_request() });
    assert_eq!(world.fetched(12).unwrap().error_code, 70);
}

#[test]
fn an_old_consumer_is_not_sent_what_it_cannot_decompress() {
    for (version, code) in [(9, 76), (10, 0)] {
        let mut world = World::new();
        world.fetch(version, &FetchRequest { isolation_level: 1, ..fetch_request() });
        let commands = world.commands();
        world.event(commands[0].0, read(vec![with_attributes(&batch_of(1, 0), 4)]));
        world.event(commands[1].0, read(Vec::new()));
        let partition = world.fetched(version).unwrap().topics[0].partitions[0].clone();
        assert_eq!((partition.error_code, partition.records.len()), (code, usize::from(code == 0)));
        assert_eq!(partition.aborted_transactions, Some(Vec::new()));
    }
}

#[test]
fn a_closed_connection_ends_its_watches() {
    let mut world = World::new();
    world.fetch(12, &fetch_request());
    let commands = world.commands();
    world.event(commands[0].0, read(Vec::new()));
    world.call(|session, cx| session.on_close(cx));
    let ended = world.commands();
    assert!(ended.iter().all(|(_, command)| matches!(command, Command::Unwatch { .. })));
    assert_eq!(ended.len(), 2);
    world.event(commands[0].0, Event::Readable);
    assert!(world.commands().is_empty() && world.output.chunks.is_empty());
}

#[test]
fn offsets_are_found_by_end_and_by_time() {
    let mut world = World::new();
    // With the first version that knows the time.
    let seeks = [
        (-1, 1, Some(SeekTo::HighWatermark)),
        (-2, 1, Some(SeekTo::Start)),
        (-3, 7, Some(SeekTo::MaxTimestamp)),
        (-4, 8, Some(SeekTo::Start)),
        (-5, 9, None),
        (-6, 11, None),
        (-7, i16::MAX, None),
        (1234, 1, Some(SeekTo::Time(1234))),
    ];
    for version in 1..=11 {
        for (timestamp, known_from, seek) in &seeks {
            let seek = if *known_from <= version { seek } else { &None };
            let partition =
                ListOffsetsPartition { index: 1, current_leader_epoch: -1, timestamp: *timestamp };
            let topics = vec![ListOffsetsTopic { name: "orders".to_string(), partitions: vec![partition] }];
            let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
            world.ask(2, version, |writer, version| request.encode(writer, version));
            let commands = world.commands();
            assert_eq!(commands.len(), usize::from(seek.is_some()));
            for (ticket, command) in commands {
                assert!(matches!(command, Command::Seek { to, .. } if Some(to) == *seek));
                let found = Sought { offset: Some(8), timestamp_ms: Some(1240), leader_epoch: 0 };
                world.event(ticket, Event::Sought(Ok(found)));
            }
            let (_, mut reader) = world.response(2, version).unwrap();
            let response = ListOffsetsResponse::decode(&mut reader, version).unwrap();
            let partition = &response.topics[0].partitions[0];
            let expected = match seek {
                Some(_) => (0, 8, 1240),
                None if *known_from <= version => (0, -1, -1),
                None => (35, -1, -1),
            };
            assert_eq!((partition.error_code, partition.offset, partition.timestamp), expected);
        }
    }
}

#[test]
fn the_only_epoch_ends_at_the_high_watermark() {
    let mut world = World::new();
    for (leader_epoch, expected) in [(0, (0, 0, 50)), (3, (0, -1, -1))] {
        let partition = EpochPartition { index: 0, current_leader_epoch: 0, leader_epoch };
        let topics = vec![EpochTopic { name: "orders".to_string(), partitions: vec![partition] }];
        let request = OffsetForLeaderEpochRequest { replica_id: -1, topics };
        world.ask(23, 4, |writer, version| request.encode(writer, version));
        for (ticket, _) in world.commands() {
            let end = Sought { offset: Some(50), timestamp_ms: None, leader_epoch: 0 };
            world.event(ticket, Event::Sought(Ok(end)));
        }
        let (_, mut reader) = world.response(23, 4).unwrap();
        let response = OffsetForLeaderEpochResponse::decode(&mut reader, 4).unwrap();
        let partition = &response.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.leader_epoch, partition.end_offset), expected);
    }
}

#[test]
fn a_producer_gets_an_id_but_no_transactions() {
    let mut world = World::new();
    for (transactional_id, expected) in
        [(None, (0, 4000, 0)), (Some("t"), (53, -1, -1)), (Some(""), (42, -1, -1))]
    {
        let transactional_id = transactional_id.map(str::to_string);
        let request = InitProducerIdRequest { transactional_id, ..Default::default() };
        world.ask(22, 4, |writer, version| request.encode(writer, version));
        for (ticket, _) in world.commands() {
            world.event(ticket, Event::Catalog(Ok(CatalogReply::ProducerId(4000))));
        }
        let (_, mut reader) = world.response(22, 4).unwrap();
        let response = InitProducerIdResponse::decode(&mut reader, 4).unwrap();
        assert_eq!((response.error_code, response.producer_id, response.producer_epoch), expected);
    }
    let half = InitProducerIdRequest { producer_id: 7, producer_epoch: -1, ..Default::default() };
    world.ask(22, 4, |writer, version| half.encode(writer, version));
    assert!(world.commands().is_empty());
    let (_, mut reader) = world.response(22, 4).unwrap();
    assert_eq!(InitProducerIdResponse::decode(&mut reader, 4).unwrap().error_code, 42);
}
