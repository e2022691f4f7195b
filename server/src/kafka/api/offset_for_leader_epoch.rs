//! OffsetForLeaderEpoch: where an epoch ended, which for the only epoch there is means the high watermark.

use ringmain_engine::types::LogId;

use super::partition::{LEADER_EPOCH, check_leader_epoch, log_of};
use crate::broker::command::{Command, Event, SeekTo};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled, Pending, Reply};
use crate::kafka::wire::offset_for_leader_epoch::{
    EpochPartition, EpochPartitionResponse, EpochTopicResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
};
use crate::kafka::wire::{Reader, WireError, Writer};

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let request = OffsetForLeaderEpochRequest::decode(body, call.header.version)?;
    let mut seeking = Seeking::default();
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let result = log_to_seek(&topic.name, asked, call);
            if let Ok(Some(log)) = result {
                call.ask(Command::Seek { log, to: SeekTo::HighWatermark });
                seeking.places.push((seeking.response.topics.len(), partitions.len()));
            }
            partitions.push(EpochPartitionResponse {
                error_code: result.err().unwrap_or(ErrorCode::None).code(),
                index: asked.index,
                leader_epoch: -1,
                end_offset: -1,
            });
        }
        seeking.response.topics.push(EpochTopicResponse { name: topic.name, partitions });
    }
    seeking.waiting = seeking.places.len();
    if seeking.waiting == 0 {
        return Ok(Handled::answer(seeking.answer(call)));
    }
    Ok(Handled::Later(Box::new(seeking)))
}

/// The log whose end is the answer; `None` when there never was such an epoch.
fn log_to_seek(name: &str, asked: &EpochPartition, call: &Call<'_, '_>) -> Result<Option<LogId>, ErrorCode> {
    let topic = call.cx.catalog.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let log = log_of(topic, asked.index)?;
    check_leader_epoch(asked.current_leader_epoch)?;
    Ok((asked.leader_epoch == LEADER_EPOCH).then_some(log))
}

/// Waits for high watermarks.
#[derive(Default)]
struct Seeking {
    response: OffsetForLeaderEpochResponse,
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
        match result.map(|sought| sought.offset) {
            Ok(Some(offset)) => {
                answered.leader_epoch = LEADER_EPOCH;
                answered.end_offset = offset as i64;
            }
            Ok(None) => {}
            Err(error) => answered.error_code = ErrorCode::from(&error).code(),
        }
        self.waiting -= 1;
        (self.waiting == 0).then(|| Reply::Answer(self.answer(call)))
    }
}
