//! Produce: one batch for each partition, checked here, appended by the partition's owner.
//!
//! The batches share the request's memory on their way. The answer is given when all are durable or refused;
//! with acks 0 there is none, but the request keeps its place in the queue so that what is in flight stays bounded.

use bytes::Bytes;
use ringmain_engine::format::batch::{self, BatchHeader, CODEC_MASK, CheckedBatch, TRANSACTIONAL};
use ringmain_engine::types::LogId;

use super::partition::{log_of, topic_of};
use crate::broker::catalog::Topic;
use crate::broker::cleaning::{first_without_key, is_compacted};
use crate::broker::command::{AppendError, Command, Event};
use crate::broker::topic_config::{message_bytes_max, timestamps};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled, Pending, Reply};
use crate::kafka::wire::produce::{
    ProducePartition, ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopicResponse,
    RecordError,
};
use crate::kafka::wire::{Reader, WireError};

/// Batch attributes: the codec's number for zstd, and the version of Produce and of Fetch that knows it.
const ZSTD: i16 = 4;
const ZSTD_VERSION: i16 = 7;
/// Said with the error code to clients that hear it.
const NO_SPACE: &str = "The broker's file system has too little room; nothing was written.";
/// What stands where there is no offset or no time.
const NONE: i64 = -1;

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let request = ProduceRequest::decode(body, call.header.version)?;
    let mut appending = Appending { acks: request.acks, ..Appending::default() };
    let allowed = match request.acks {
        -1..=1 => Ok(()),
        _ => Err(ErrorCode::InvalidRequiredAcks),
    };
    for asked in request.topics {
        let topic = allowed.and_then(|()| topic_of(call.cx.catalog, &asked.name, &asked.id));
        let mut partitions = Vec::with_capacity(asked.partitions.len());
        for partition in asked.partitions {
            let mut answered = unwritten(partition.index);
            let result = topic.map_err(Refusal::from).and_then(|topic| checked(topic, partition, call));
            match result {
                Ok((log, batch)) => {
                    call.ask(Command::Append { log, batch });
                    appending.places.push((appending.response.topics.len(), partitions.len()));
                }
                Err(refusal) => {
                    refusal.tell(&mut answered);
                    appending.refused = true;
                }
            }
            partitions.push(answered);
        }
        let answered = ProduceTopicResponse { name: asked.name, id: asked.id, partitions };
        appending.response.topics.push(answered);
    }
    appending.waiting = appending.places.len();
    if appending.waiting == 0 {
        return Ok(Handled::Now(appending.reply(call)));
    }
    Ok(Handled::Later(Box::new(appending)))
}

/// Why a batch is not appended.
struct Refusal {
    error: ErrorCode,
    /// Said with the code to clients that hear it.
    message: Option<String>,
    /// The record that is at fault, by its place in the batch.
    record: Option<i32>,
}

impl From<ErrorCode> for Refusal {
    fn from(error: ErrorCode) -> Refusal {
        Refusal { error, message: None, record: None }
    }
}

impl Refusal {
    fn tell(self, answered: &mut ProducePartitionResponse) {
        let of_record = |batch_index| RecordError { batch_index, message: self.message.clone() };
        answered.record_errors = self.record.map(of_record).into_iter().collect();
        answered.error_code = self.error.code();
        answered.error_message = self.message;
    }
}

/// The log, and the batch as one that may be appended to it.
fn checked(
    topic: &Topic,
    partition: ProducePartition,
    call: &Call<'_, '_>,
) -> Result<(LogId, CheckedBatch), Refusal> {
    let index = partition.index;
    let log = log_of(topic, partition.index)?;
    let records = partition.records.unwrap_or_default();
    if records.len() > message_bytes_max(&topic.configs, call.cx.settings) as usize {
        return Err(ErrorCode::MessageTooLarge.into());
    }
    if holds_more_than_one(&records) {
        return Err(ErrorCode::InvalidRecord.into());
    }
    let batch = CheckedBatch::from_producer(records).map_err(ErrorCode::from)?;
    if is_compacted(&topic.configs)
        && let Some(record) = first_without_key(batch.bytes())
    {
        let partition = format!("{}-{index}", topic.name);
        let message =
            format!("Compacted topic cannot accept message without key in topic partition {partition}");
        let (error, message, record) = (ErrorCode::InvalidRecord, Some(message), Some(record));
        return Err(Refusal { error, message, record });
    }
    check_times(topic, batch.header(), call.cx.now.wall_ms)?;
    // Offsets are given by the log; a producer counts from 0.
    if batch.header().base_offset.get() != 0 {
        return Err(ErrorCode::InvalidRecord.into());
    }
    let attributes = batch.header().attributes.get();
    if attributes & TRANSACTIONAL != 0 {
        return Err(ErrorCode::InvalidTxnState.into());
    }
    if attributes & CODEC_MASK > ZSTD
        || (attributes & CODEC_MASK == ZSTD && call.header.version < ZSTD_VERSION)
    {
        return Err(ErrorCode::UnsupportedCompressionType.into());
    }
    Ok((log, batch))
}

/// Whether the first record's time and the latest one are within the topic's bounds, if they are given.
fn check_times(topic: &Topic, header: &BatchHeader, now_ms: i64) -> Result<(), Refusal> {
    let allowed = timestamps(&topic.configs, now_ms);
    let times = [header.base_timestamp.get(), header.max_timestamp.get()];
    let Some(time) = times.into_iter().find(|time| *time != NONE && !allowed.contains(time)) else {
        return Ok(());
    };
    let (first, last) = (allowed.start(), allowed.end());
    let message = format!(
        "Timestamp {time} of message is out of range. The timestamp should be within [{first}, {last}]"
    );
    Err(Refusal { error: ErrorCode::InvalidTimestamp, message: Some(message), record: None })
}

fn holds_more_than_one(records: &Bytes) -> bool {
    batch::shape(records).is_ok_and(|header| header.total_bytes() < records.len())
}

fn unwritten(index: i32) -> ProducePartitionResponse {
    ProducePartitionResponse {
        index,
        base_offset: NONE,
        log_append_time_ms: NONE,
        log_start_offset: NONE,
        ..Default::default()
    }
}

/// Waits for batches to be durable.
#[derive(Default)]
struct Appending {
    acks: i16,
    response: ProduceResponse,
    /// Topic and partition in the response, by the index of the command.
    places: Vec<(usize, usize)>,
    waiting: usize,
    /// A batch was not appended.
    refused: bool,
}

impl Appending {
    /// Without an answer the only way to report a failure is to close the connection.
    fn reply(&self, call: &Call<'_, '_>) -> Reply {
        if self.acks == 0 {
            return if self.refused { Reply::Close } else { Reply::Silent };
        }
        let mut writer = call.response();
        self.response.encode(&mut writer, call.header.version);
        Reply::Answer(writer)
    }
}

impl Pending for Appending {
    fn on_event(&mut self, index: u32, event: Event, call: &mut Call<'_, '_>) -> Option<Reply> {
        let Event::Appended(result) = event else { return None };
        let (topic, partition) = *self.places.get(index as usize)?;
        let answered = self.response.topics.get_mut(topic)?.partitions.get_mut(partition)?;
        match result {
            Ok(appended) => {
                answered.base_offset = appended.base_offset as i64;
                answered.log_start_offset = appended.log_start as i64;
            }
            Err(error) => {
                answered.error_code = ErrorCode::from(&error).code();
                if error == AppendError::NoSpace {
                    answered.error_message = Some(NO_SPACE.to_string());
                }
                self.refused = true;
            }
        }
        self.waiting -= 1;
        (self.waiting == 0).then(|| self.reply(call))
    }
}
