//! OffsetDelete: forgets committed offsets of topics that no member reads. Answered when that is durable.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::broker::catalog::Catalog;
use crate::broker::groups::{GroupError, GroupReply, GroupRequest, Subscriptions};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled};
use crate::kafka::wire::offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};
use crate::kafka::wire::{Reader, WireError, Writer};

use super::group_call::ask_group;
use super::partition::log_of;

/// What consumers say of themselves when they join (Kafka's ConsumerProtocolSubscription).
const SUBSCRIPTIONS: Subscriptions =
    Subscriptions { protocol_type: "consumer", topics_of: subscribed_topics };

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let OffsetDeleteRequest { group_id, topics } = OffsetDeleteRequest::decode(body, call.header.version)?;
    let mut partitions = Vec::new();
    let plans: Vec<TopicPlan> =
        topics.into_iter().map(|topic| TopicPlan::of(topic, call.cx.catalog, &mut partitions)).collect();
    if partitions.is_empty() {
        let topics = decided(plans, VecDeque::new());
        return Ok(Handled::answer(respond(&OffsetDeleteResponse { topics, ..Default::default() }, call)));
    }
    let request = GroupRequest::DeleteOffsets { partitions, subscriptions: SUBSCRIPTIONS };
    Ok(ask_group(call, group_id, request, move |reply, call| {
        let GroupReply::DeleteOffsets(result) = reply else { return None };
        let response = match result {
            Ok(results) => {
                OffsetDeleteResponse { topics: decided(plans, results.into()), ..Default::default() }
            }
            Err(error) => {
                OffsetDeleteResponse { error_code: ErrorCode::from(&error).code(), ..Default::default() }
            }
        };
        Some(respond(&response, call))
    }))
}

/// The topics of a subscription. Later versions only add fields behind those of version 0, which is: version, topics,
/// what the assignor is to know.
fn subscribed_topics(metadata: &Bytes) -> Option<Vec<String>> {
    let mut reader = Reader::new(metadata.clone(), false);
    if reader.i16().ok()? < 0 {
        return None;
    }
    let topics = reader.array(Reader::string).ok()?;
    reader.nullable_bytes().ok()?;
    Some(topics)
}

/// One topic of the response, before the group has replied.
struct TopicPlan {
    name: String,
    /// With what is wrong with it; `None`: the group decides.
    partitions: Vec<(i32, Option<ErrorCode>)>,
}

impl TopicPlan {
    /// Appends to `partitions` what the group is to decide on.
    fn of(
        (name, asked): (String, Vec<i32>),
        catalog: &Catalog,
        partitions: &mut Vec<(String, i32)>,
    ) -> TopicPlan {
        let topic = catalog.topic(&name).ok_or(ErrorCode::UnknownTopicOrPartition);
        let plan = |index| {
            let wrong = topic.and_then(|topic| log_of(topic, index)).err();
            if wrong.is_none() {
                partitions.push((name.clone(), index));
            }
            (index, wrong)
        };
        let planned = asked.into_iter().map(plan).collect();
        TopicPlan { name, partitions: planned }
    }
}

/// The topics of the response, once the group has decided on what was left to it.
fn decided(
    plans: Vec<TopicPlan>,
    mut results: VecDeque<Result<(), GroupError>>,
) -> Vec<(String, Vec<(i32, i16)>)> {
    let mut decide = |(partition, wrong): (i32, Option<ErrorCode>)| {
        let error = wrong.unwrap_or_else(|| match results.pop_front() {
            Some(Ok(())) => ErrorCode::None,
            Some(Err(error)) => ErrorCode::from(&error),
            None => ErrorCode::UnknownServerError,
        });
        (partition, error.code())
    };
    let mut topic = |plan: TopicPlan| (plan.name, plan.partitions.into_iter().map(&mut decide).collect());
    plans.into_iter().map(&mut topic).collect()
}

fn respond(response: &OffsetDeleteResponse, call: &Call<'_, '_>) -> Writer {
    let mut writer = call.response();
    response.encode(&mut writer, call.header.version);
    writer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topics_of_a_subscription_are_read_in_every_version() {
        let read = |bytes: &'static [u8]| subscribed_topics(&Bytes::from_static(bytes));
        let names = |names: &[&str]| Some(names.iter().map(|name| name.to_string()).collect::<Vec<_>>());
        // Version, two topics, no data for the assignor.
        let first = b"\0\0\0\0\0\x02\0\x01t\0\x02uv\xff\xff\xff\xff";
        assert_eq!(read(first), names(&["t", "uv"]));
        for cut in 0..first.len() {
            assert_eq!(read(&first[..cut]), None);
        }
        // Version 1 adds owned partitions, here none.
        assert_eq!(read(b"\0\x01\0\0\0\x01\0\x01t\0\0\0\0\0\0\0\0"), names(&["t"]));
        assert_eq!(read(b"\xff\xff\0\0\0\0\xff\xff\xff\xff"), None);
    }
}
