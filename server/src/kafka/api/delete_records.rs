//! DeleteRecords: has partitions begin at an offset, or behind everything they hold.

use ringmain_engine::types::{LogId, Offset};

use super::partition::log_of;
use crate::broker::cleaning::is_deleted;
use crate::broker::command::{Command, Event};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled, Pending, Reply};
use crate::kafka::wire::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeletedRecordsPartition,
    DeletedRecordsTopic,
};
use crate::kafka::wire::{Reader, WireError};

/// What stands for everything that can be read.
const HIGH_WATERMARK: i64 = -1;
/// What stands where there is no low watermark.
const NONE: i64 = -1;

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let request = DeleteRecordsRequest::decode(body, call.header.version)?;
    let mut trimming = Trimming::default();
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let error = match place(&topic.name, asked, call) {
                Ok((log, before)) => {
                    call.ask(Command::Trim { log, before });
                    trimming.places.push((trimming.response.topics.len(), partitions.len()));
                    ErrorCode::None
                }
                Err(error) => error,
            };
            let (index, error_code) = (asked.index, error.code());
            partitions.push(DeletedRecordsPartition { index, low_watermark: NONE, error_code });
        }
        trimming.response.topics.push(DeletedRecordsTopic { name: topic.name, partitions });
    }
    trimming.missing = trimming.places.len();
    if trimming.missing > 0 {
        Ok(Handled::Later(Box::new(trimming)))
    } else {
        Ok(Handled::Now(trimming.reply(call)))
    }
}

/// Which log is to begin where.
fn place(
    name: &str,
    asked: &DeleteRecordsPartition,
    call: &Call<'_, '_>,
) -> Result<(LogId, Option<Offset>), ErrorCode> {
    let topic = call.cx.catalog.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let log = log_of(topic, asked.index)?;
    // A topic that is only compacted keeps the last record of each key.
    if !is_deleted(&topic.configs) {
        return Err(ErrorCode::PolicyViolation);
    }
    let before = match asked.offset {
        HIGH_WATERMARK => None,
        offset => Some(u64::try_from(offset).ok().ok_or(ErrorCode::OffsetOutOfRange)?),
    };
    Ok((log, before))
}

/// Waits for trims.
#[derive(Default)]
struct Trimming {
    response: DeleteRecordsResponse,
    /// Topic and partition in the response, by number of the command.
    places: Vec<(usize, usize)>,
    /// Commands not answered.
    missing: usize,
}

impl Trimming {
    fn reply(&self, call: &Call<'_, '_>) -> Reply {
        let mut writer = call.response();
        self.response.encode(&mut writer, call.header.version);
        Reply::Answer(writer)
    }
}

impl Pending for Trimming {
    fn on_event(&mut self, index: u32, event: Event, call: &mut Call<'_, '_>) -> Option<Reply> {
        let Event::Trimmed(result) = event else { return None };
        let (topic, partition) = *self.places.get(index as usize)?;
        let answered = self.response.topics.get_mut(topic)?.partitions.get_mut(partition)?;
        match result {
            Ok(start) => answered.low_watermark = start as i64,
            Err(error) => answered.error_code = ErrorCode::from(&error).code(),
        }
        self.missing -= 1;
        (self.missing == 0).then(|| self.reply(call))
    }
}
