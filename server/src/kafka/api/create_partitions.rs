//! CreatePartitions: checks each topic on its own and asks the catalog to let those grow that may.

use std::collections::{HashMap, HashSet};

use crate::broker::authority::PARTITIONS_MAX;
use crate::broker::catalog::CatalogRequest;
use crate::broker::command::{Command, Event};
use crate::kafka::api::create_topics::PLACED_HERE;
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled, Pending, Reply};
use crate::kafka::wire::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, GrowingTopic, GrownTopic,
};
use crate::kafka::wire::{Reader, WireError};

type Refusal = (ErrorCode, String);

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let request = CreatePartitionsRequest::decode(body, call.header.version)?;
    let mut times: HashMap<&str, u32> = HashMap::new();
    for topic in &request.topics {
        *times.entry(&topic.name).or_default() += 1;
    }
    let mut growing = Growing { results: Vec::new(), places: Vec::new(), missing: 0 };
    let mut answered = HashSet::new();
    for topic in &request.topics {
        if !answered.insert(topic.name.as_str()) {
            continue;
        }
        let checked = if times.get(topic.name.as_str()).is_some_and(|times| *times > 1) {
            Err((ErrorCode::InvalidRequest, "Duplicate topic name.".to_string()))
        } else {
            check(topic, call)
        };
        let result = match checked {
            Err((error, message)) => refused(&topic.name, error, Some(message)),
            Ok(total) => {
                if !request.validate_only {
                    growing.ask(&topic.name, total, call);
                }
                GrownTopic { name: topic.name.clone(), ..Default::default() }
            }
        };
        growing.results.push(result);
    }
    if growing.missing > 0 {
        Ok(Handled::Later(Box::new(growing)))
    } else {
        Ok(Handled::Now(growing.reply(call)))
    }
}

/// How many partitions the topic may be given in total.
fn check(topic: &GrowingTopic, call: &Call<'_, '_>) -> Result<u32, Refusal> {
    let missing = || (ErrorCode::UnknownTopicOrPartition, format!("No topic {:?}.", topic.name));
    let found = call.cx.catalog.topic(&topic.name).ok_or_else(missing)?;
    let invalid = |message: String| (ErrorCode::InvalidPartitions, message);
    if found.queue.is_some() {
        let message = format!("{:?} was declared over AMQP and has one partition.", topic.name);
        return Err(invalid(message));
    }
    let have = found.partitions.len();
    let total = u32::try_from(topic.count).ok().filter(|total| *total as usize > have);
    let total = total.ok_or_else(|| {
        invalid(format!("The topic has {have} partition(s); {} would not be an increase.", topic.count))
    })?;
    if total > PARTITIONS_MAX {
        return Err(invalid(format!("A topic has at most {PARTITIONS_MAX} partitions.")));
    }
    if let Some(assignments) = &topic.assignments {
        let nodes = &call.cx.settings.nodes;
        if nodes.are_cores() {
            return Err((ErrorCode::InvalidReplicaAssignment, PLACED_HERE.to_string()));
        }
        let id = nodes.controller().id;
        let here = assignments.iter().all(|broker_ids| *broker_ids == [id]);
        if !here || assignments.len() != total as usize - have {
            let message = format!("Each new partition must be assigned, to broker {id} alone.");
            return Err((ErrorCode::InvalidReplicaAssignment, message));
        }
    }
    Ok(total)
}

fn refused(name: &str, error: ErrorCode, error_message: Option<String>) -> GrownTopic {
    GrownTopic { name: name.to_string(), error_code: error.code(), error_message }
}

/// The answer so far.
struct Growing {
    results: Vec<GrownTopic>,
    /// Place in the results, by number of the command.
    places: Vec<usize>,
    /// Commands not answered.
    missing: usize,
}

impl Growing {
    fn ask(&mut self, name: &str, total: u32, call: &mut Call<'_, '_>) {
        call.ask(Command::Catalog(CatalogRequest::AddPartitions { name: name.to_string(), total }));
        self.places.push(self.results.len());
        self.missing += 1;
    }

    fn reply(&mut self, call: &Call<'_, '_>) -> Reply {
        let results = std::mem::take(&mut self.results);
        let mut writer = call.response();
        CreatePartitionsResponse { throttle_time_ms: 0, results }.encode(&mut writer, call.header.version);
        Reply::Answer(writer)
    }
}

impl Pending for Growing {
    fn on_event(&mut self, index: u32, event: Event, call: &mut Call<'_, '_>) -> Option<Reply> {
        let Event::Catalog(outcome) = event else { return None };
        let place = self.places.get(index as usize)?;
        let result = self.results.get_mut(*place)?;
        if let Err(error) = outcome {
            *result = refused(&result.name, ErrorCode::from(&error), None);
        }
        self.missing -= 1;
        (self.missing == 0).then(|| self.reply(call))
    }
}
