//! The Kafka codec's paths: a produce as it comes, its answer, the answer to a fetch.
//!
//! In: frames as clients send them. Out: paths. Never: a socket.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use ringmain::kafka::is_flexible;
use ringmain::kafka::wire::fetch::{FetchPartitionResponse, FetchResponse, FetchTopicResponse};
use ringmain::kafka::wire::frame::{self, Front};
use ringmain::kafka::wire::produce::{
    ProducePartition, ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopic,
    ProduceTopicResponse,
};
use ringmain::kafka::wire::{Reader, RequestHeader};

use super::Path;
use super::log::batch;

const REQUEST_BYTES_MAX: u32 = 100 << 20;
const PRODUCE: (i16, i16) = (0, 9);
const FETCH: (i16, i16) = (1, 12);

pub fn paths() -> Vec<Path> {
    let request: BytesMut = frame_of(&produce()).iter().flat_map(|piece| piece.iter().copied()).collect();
    let (produced, fetched) = (produce_answer(), fetch_answer());
    vec![
        Path::new("kafka-produce-decode", move || {
            let mut input = black_box(request.clone());
            let Ok(Front::Frame(frame)) = frame::take(&mut input, REQUEST_BYTES_MAX) else { return 0 };
            let mut reader = Reader::new(frame, false);
            let Ok(header) = RequestHeader::decode(&mut reader, is_flexible) else { return 0 };
            let request = ProduceRequest::decode(&mut reader, header.version);
            request.map_or(0, |request| request.topics.len() + header.correlation_id as usize)
        }),
        Path::new("kafka-produce-answer", move || {
            let mut writer = frame::begin_response(&header(PRODUCE));
            black_box(&produced).encode(&mut writer, PRODUCE.1);
            frame::finish(writer).iter().map(Bytes::len).sum()
        }),
        Path::new("kafka-fetch-answer", move || {
            let mut writer = frame::begin_response(&header(FETCH));
            black_box(&fetched).encode(&mut writer, FETCH.1);
            frame::finish(writer).iter().map(Bytes::len).sum()
        }),
    ]
}

fn header((key, version): (i16, i16)) -> RequestHeader {
    let client_id = Some("producer-1".to_owned());
    RequestHeader { key, version, correlation_id: 77, client_id, flexible: is_flexible(key, version) }
}

fn produce() -> ProduceRequest {
    // Small, so that copying the input for the next run does not hide the codec.
    let partition = |index| ProducePartition { index, records: Some(batch(1).bytes().clone()) };
    let topic =
        ProduceTopic { name: "clicks".to_owned(), id: [0; 16], partitions: (0..4).map(partition).collect() };
    ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 30_000, topics: vec![topic] }
}

fn frame_of(request: &ProduceRequest) -> Vec<Bytes> {
    let mut writer = frame::begin_request(&header(PRODUCE));
    request.encode(&mut writer, PRODUCE.1);
    frame::finish(writer)
}

fn produce_answer() -> ProduceResponse {
    let partition = |index| ProducePartitionResponse {
        index,
        error_code: 0,
        base_offset: 123_456,
        log_append_time_ms: -1,
        log_start_offset: 0,
        record_errors: Vec::new(),
        error_message: None,
    };
    let partitions = (0..4).map(partition).collect();
    let topic = ProduceTopicResponse { name: "clicks".to_owned(), id: [0; 16], partitions };
    ProduceResponse { topics: vec![topic], throttle_time_ms: 0 }
}

fn fetch_answer() -> FetchResponse {
    let partition = |index| FetchPartitionResponse {
        index,
        error_code: 0,
        high_watermark: 123_456,
        last_stable_offset: 123_456,
        log_start_offset: 0,
        aborted_transactions: None,
        preferred_read_replica: -1,
        records: vec![batch(16).bytes().clone(); 4],
    };
    let partitions = (0..4).map(partition).collect();
    let topic = FetchTopicResponse { name: "clicks".to_owned(), id: [0; 16], partitions };
    FetchResponse { throttle_time_ms: 0, error_code: 0, session_id: 0, topics: vec![topic] }
}
