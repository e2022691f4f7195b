//! ListOffsets: where a partition begins, where it ends, and where a time is.

use ringmain_engine::types::LogId;

use super::partition::{check_leader_epoch, log_of};
use crate::broker::command::{Command, Event, SeekTo};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled, Pending, Reply};
use crate::kafka::wire::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use crate::kafka::wire::{Reader, WireError, Writer};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// What stands where there is no offset, no timestamp or no epoch.
const NONE: i64 = -1;

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let request = ListOffsetsRequest::decode(body, call.header.version)?;
    let mut seeking = Seeking::default();
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let result = match place(&topic.name, asked, call) {
                Ok(Some((log, to))) => {
                    call.ask(Command::Seek { log, to });
                    seeking.places.push((seeking.response.topics.len(), partitions.len()));
                    Ok(())
                }
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            partitions.push(nowhere(asked.index, result.err().unwrap_or(ErrorCode::None)));
        }
        seeking.response.topics.push(ListOffsetsTopicResponse { name: topic.name, partitions });
    }
    seeking.waiting = seeking.places.len();
    if seeking.waiting == 0 {
        return Ok(Handled::answer(seeking.answer(call)));
    }
    Ok(Handled::Later(Box::new(seeking)))
}

/// Where to look; `None` when it is known that nothing is there.
fn place(
    name: &str,
    asked: &ListOffsetsPartition,
    call: &Call<'_, '_>,
) -> Result<Option<(LogId, SeekTo)>, ErrorCode> {
    let topic = call.cx.catalog.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let log = log_of(topic, asked.index)?;
    check_leader_epoch(asked.current_leader_epoch)?;
    if call.header.version < known_from(asked.timestamp) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let to = match asked.timestamp {
        LATEST => SeekTo::HighWatermark,
        EARLIEST | EARLIEST_LOCAL => SeekTo::Start,
        MAX_TIMESTAMP => SeekTo::MaxTimestamp,
        // Nothing is tiered, and nothing waits to be.
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => return Ok(None),
        time => SeekTo::Time(time),
    };
    Ok(Some((log, to)))
}

/// The first version of the request in which this stands for a place.
fn known_from(timestamp: i64) -> i16 {
    match timestamp {
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        EARLIEST_PENDING_UPLOAD => 11,
        unknown if unknown < EARLIEST_PENDING_UPLOAD => i16::MAX,
        _ => 0,
    }
}

fn nowhere(index: i32, error: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse {
        index,
        error_code: error.code(),
        timestamp: NONE,
        offset: NONE,
        leader_epoch: NONE as i32,
    }
}

/// Waits for seeks.
#[derive(Default)]
struct Seeking {
    response: ListOffsetsResponse,
    /// Topic and partition in the response, by the index of the command.
    places: Vec<(usize, usize)>,
    waiting: usize,
}

impl Seeking {
    fn answer(&self, call: &Call<'_, '_>) -> Writer {
        let mut writer = call.response();
        self.response.encode(&mut writer, call.header.version);
        writer
    }
}

impl Pending for Seeking {
    fn on_event(&mut self, index: u32, event: Event, call: &mut Call<'_, '_>) -> Option<Reply> {
        let Event::Sought(result) = event else { return None };
        let (topic, partition) = *self.places.get(index as usize)?;
        let answered = self.response.topics.get_mut(topic)?.partitions.get_mut(partition)?;
        match result {
            Ok(sought) => {
                if let Some(offset) = sought.offset {
                    answered.offset = offset as i64;
                    answered.timestamp = sought.timestamp_ms.unwrap_or(NONE);
                    answered.leader_epoch = sought.leader_epoch;
                }
            }
            Err(error) => answered.error_code = ErrorCode::from(&error).code(),
        }
        self.waiting -= 1;
        (self.waiting == 0).then(|| Reply::Answer(self.answer(call)))
    }
}
