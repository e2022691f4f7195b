//! OffsetCommit: answered when the offsets are durable.

use std::collections::VecDeque;

use crate::broker::catalog::Catalog;
use crate::broker::groups::{GroupError, GroupReply, GroupRequest, OffsetCommit};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled};
use crate::kafka::wire::offset_commit::{
    CommitTopic, CommittedTopic, OffsetCommitRequest, OffsetCommitResponse,
};
use crate::kafka::wire::{Reader, WireError, Writer};

use super::group_call::ask_group;

/// From this version on topics are named by id.
const TOPIC_IDS: i16 = 10;
/// Before this version a member of a group that is not there is told that its generation is over.
const TELLS_UNKNOWN_GROUP: i16 = 9;

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let version = call.header.version;
    let request = OffsetCommitRequest::decode(body, version)?;
    let mut offsets = Vec::new();
    let topics: Vec<TopicPlan> = request
        .topics
        .into_iter()
        .map(|topic| TopicPlan::of(topic, version, call.cx.catalog, &mut offsets))
        .collect();
    if offsets.is_empty() {
        return Ok(Handled::answer(respond(topics, VecDeque::new(), version, call)));
    }
    let commit = GroupRequest::Commit {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id,
        offsets,
    };
    Ok(ask_group(call, request.group_id, commit, move |reply, call| {
        let GroupReply::Commit(results) = reply else { return None };
        Some(respond(topics, results.into(), version, call))
    }))
}

/// One topic of the response, before the group has replied.
struct TopicPlan {
    name: String,
    topic_id: [u8; 16],
    /// With what is wrong with it; `None`: the group decides.
    partitions: Vec<(i32, Option<ErrorCode>)>,
}

impl TopicPlan {
    /// Appends to `offsets` what the group is to decide on.
    fn of(asked: CommitTopic, version: i16, catalog: &Catalog, offsets: &mut Vec<OffsetCommit>) -> TopicPlan {
        let by_id = TOPIC_IDS <= version;
        let topic = if by_id { catalog.topic_by_id(&asked.topic_id) } else { catalog.topic(&asked.name) };
        let unknown = if by_id && topic.is_none() {
            ErrorCode::UnknownTopicId
        } else {
            ErrorCode::UnknownTopicOrPartition
        };
        let mut partitions = Vec::with_capacity(asked.partitions.len());
        for asked in asked.partitions {
            let place = usize::try_from(asked.partition).ok();
            let found = topic.filter(|topic| place.is_some_and(|place| place < topic.partitions.len()));
            partitions.push((asked.partition, found.is_none().then_some(unknown)));
            offsets.extend(found.map(|topic| OffsetCommit {
                topic: topic.name.clone(),
                partition: asked.partition,
                offset: asked.offset,
                leader_epoch: asked.leader_epoch,
                metadata: asked.metadata.unwrap_or_default(),
            }));
        }
        TopicPlan { name: asked.name, topic_id: asked.topic_id, partitions }
    }
}

fn respond(
    topics: Vec<TopicPlan>,
    mut results: VecDeque<Result<(), GroupError>>,
    version: i16,
    call: &Call<'_, '_>,
) -> Writer {
    let mut decide = |(partition, wrong): (i32, Option<ErrorCode>)| {
        let error = match wrong {
            Some(wrong) => wrong,
            None => match results.pop_front() {
                Some(Ok(())) => ErrorCode::None,
                Some(Err(GroupError::NotFound)) if version < TELLS_UNKNOWN_GROUP => {
                    ErrorCode::IllegalGeneration
                }
                Some(Err(error)) => ErrorCode::from(&error),
                None => ErrorCode::UnknownServerError,
            },
        };
        (partition, error.code())
    };
    let mut committed = |plan: TopicPlan| CommittedTopic {
        name: plan.name,
        topic_id: plan.topic_id,
        partitions: plan.partitions.into_iter().map(&mut decide).collect(),
    };
    let topics = topics.into_iter().map(&mut committed).collect();
    let mut writer = call.response();
    OffsetCommitResponse { throttle_time_ms: 0, topics }.encode(&mut writer, version);
    writer
}
