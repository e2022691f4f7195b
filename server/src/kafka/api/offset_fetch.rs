//! OffsetFetch: where groups go on reading.

use std::collections::HashMap;

use crate::broker::catalog::Catalog;
use crate::broker::groups::{GroupReply, GroupRequest, OffsetCommit};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled};
use crate::kafka::wire::offset_fetch::{
    FetchGroup, FetchTopic, FetchedGroup, FetchedPartition, FetchedTopic, OffsetFetchRequest,
    OffsetFetchResponse,
};
use crate::kafka::wire::{Reader, WireError};

use super::group_call::ask_groups;

/// From this version on topics are named by id.
const TOPIC_IDS: i16 = 10;

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let version = call.header.version;
    let request = OffsetFetchRequest::decode(body, version)?;
    let by_id = TOPIC_IDS <= version;
    let catalog = call.cx.catalog;
    let plans: Vec<GroupPlan> =
        request.groups.into_iter().map(|group| GroupPlan::of(group, by_id, catalog)).collect();
    let questions = plans.iter().map(GroupPlan::question).collect();
    Ok(ask_groups(call, questions, move |replies, call| {
        let mut groups = Vec::with_capacity(plans.len());
        for (plan, reply) in plans.into_iter().zip(replies) {
            let GroupReply::Committed(offsets) = reply else { return None };
            groups.push(plan.answer(offsets, by_id, call.cx.catalog));
        }
        let mut writer = call.response();
        OffsetFetchResponse { throttle_time_ms: 0, groups }.encode(&mut writer, version);
        Some(writer)
    }))
}

/// What is asked of one group.
struct GroupPlan {
    group_id: String,
    /// `None`: whatever it has.
    topics: Option<Vec<TopicPlan>>,
}

struct TopicPlan {
    asked: FetchTopic,
    /// Its name; `None`: no topic has this id.
    name: Option<String>,
}

impl GroupPlan {
    fn of(group: FetchGroup, by_id: bool, catalog: &Catalog) -> GroupPlan {
        let plan = |asked: FetchTopic| {
            let name = if by_id {
                catalog.topic_by_id(&asked.topic_id).map(|topic| topic.name.clone())
            } else {
                Some(asked.name.clone())
            };
            TopicPlan { asked, name }
        };
        let topics = group.topics.map(|topics| topics.into_iter().map(plan).collect());
        GroupPlan { group_id: group.group_id, topics }
    }

    fn question(&self) -> (String, GroupRequest) {
        let of_topic = |topic: &TopicPlan| -> Vec<(String, i32)> {
            let Some(name) = &topic.name else { return Vec::new() };
            topic.asked.partitions.iter().map(|partition| (name.clone(), *partition)).collect()
        };
        let partitions = self.topics.as_ref().map(|topics| topics.iter().flat_map(of_topic).collect());
        (self.group_id.clone(), GroupRequest::Committed { partitions })
    }

    fn answer(self, offsets: Vec<OffsetCommit>, by_id: bool, catalog: &Catalog) -> FetchedGroup {
        let mut found: HashMap<String, Vec<OffsetCommit>> = HashMap::new();
        for offset in offsets {
            found.entry(offset.topic.clone()).or_default().push(offset);
        }
        let topics = match self.topics {
            Some(topics) => topics.into_iter().map(|topic| topic.answer(&found)).collect(),
            None => all(found, by_id, catalog),
        };
        FetchedGroup { group_id: self.group_id, topics, error_code: ErrorCode::None.code() }
    }
}

impl TopicPlan {
    fn answer(self, found: &HashMap<String, Vec<OffsetCommit>>) -> FetchedTopic {
        let error = if self.name.is_some() { ErrorCode::None } else { ErrorCode::UnknownTopicId };
        let offsets = self.name.and_then(|name| found.get(&name)).map_or(&[][..], Vec::as_slice);
        let by_partition: HashMap<i32, &OffsetCommit> =
            offsets.iter().map(|offset| (offset.partition, offset)).collect();
        let partition = |partition: &i32| match by_partition.get(partition) {
            Some(offset) => fetched(offset),
            None => FetchedPartition {
                partition: *partition,
                offset: -1,
                leader_epoch: -1,
                metadata: Some(String::new()),
                error_code: error.code(),
            },
        };
        FetchedTopic {
            partitions: self.asked.partitions.iter().map(partition).collect(),
            name: self.asked.name,
            topic_id: self.asked.topic_id,
        }
    }
}

/// Everything a group has, by topic. What has no id to be named by is left out.
fn all(found: HashMap<String, Vec<OffsetCommit>>, by_id: bool, catalog: &Catalog) -> Vec<FetchedTopic> {
    let topic = |(name, offsets): (String, Vec<OffsetCommit>)| {
        let known = catalog.topic(&name);
        if by_id && known.is_none() {
            return None;
        }
        let topic_id = known.map_or([0; 16], |topic| topic.id);
        Some(FetchedTopic { name, topic_id, partitions: offsets.iter().map(fetched).collect() })
    };
    let mut topics: Vec<FetchedTopic> = found.into_iter().filter_map(topic).collect();
    topics.sort_by(|one, other| one.name.cmp(&other.name));
    topics
}

fn fetched(offset: &OffsetCommit) -> FetchedPartition {
    FetchedPartition {
        partition: offset.partition,
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: Some(offset.metadata.clone()),
        error_code: ErrorCode::None.code(),
    }
}
