//! Partitions as requests name them, to the logs that hold them.

use ringmain_engine::types::LogId;

use crate::broker::catalog::{Catalog, Topic};
use crate::kafka::error::ErrorCode;

/// The one leader epoch there is: a single broker never hands leadership over, and never truncates below the
/// high watermark when it starts again.
pub const LEADER_EPOCH: i32 = 0;

/// What stands for "the client does not know the epoch".
const EPOCH_UNKNOWN: i32 = -1;

/// The topic of this name, or of this id where the version of the request has no name.
pub fn topic_of<'a>(catalog: &'a Catalog, name: &str, id: &[u8; 16]) -> Result<&'a Topic, ErrorCode> {
    if name.is_empty() {
        return catalog.topic_by_id(id).ok_or(ErrorCode::UnknownTopicId);
    }
    catalog.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)
}

/// The log of the topic's partition.
pub fn log_of(topic: &Topic, index: i32) -> Result<LogId, ErrorCode> {
    let place = usize::try_from(index).ok();
    let log = place.and_then(|place| topic.partitions.get(place));
    log.copied().ok_or(ErrorCode::UnknownTopicOrPartition)
}

/// Whether the client's idea of who leads is the right one.
pub fn check_leader_epoch(current_leader_epoch: i32) -> Result<(), ErrorCode> {
    match current_leader_epoch {
        EPOCH_UNKNOWN | LEADER_EPOCH => Ok(()),
        later if later > LEADER_EPOCH => Err(ErrorCode::UnknownLeaderEpoch),
        _ => Err(ErrorCode::FencedLeaderEpoch),
    }
}
