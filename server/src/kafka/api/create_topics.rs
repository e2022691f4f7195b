//! CreateTopics: checks each new topic on its own and asks the catalog for those that may be.

use std::collections::{BTreeMap, HashSet};

use crate::broker::authority::PARTITIONS_MAX;
use crate::broker::catalog::CatalogRequest;
use crate::broker::command::{Command, Event};
use crate::broker::nodes::Nodes;
use crate::broker::topic_config;
use crate::kafka::api::describe_configs::{DYNAMIC_TOPIC, STATIC_BROKER};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled, Pending, Reply};
use crate::kafka::wire::create_topics::{
    CreateTopicsRequest, CreateTopicsResponse, CreatedConfig, CreatedTopic, NewTopic,
};
use crate::kafka::wire::{Reader, WireError};

type Refusal = (ErrorCode, String);

/// Said to those who choose brokers where each core is one.
pub const PLACED_HERE: &str = "The brokers are cores of one process, which places partitions itself.";

/// A topic that may be created.
struct Sound {
    partitions: u32,
    configs: BTreeMap<String, String>,
}

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let request = CreateTopicsRequest::decode(body, call.header.version)?;
    let mut waiting = Waiting { results: Vec::new(), places: Vec::new(), missing: 0 };
    let mut seen = HashSet::new();
    let repeated: HashSet<&str> =
        request.topics.iter().map(|topic| topic.name.as_str()).filter(|name| !seen.insert(*name)).collect();
    let mut answered = HashSet::new();
    for topic in &request.topics {
        let sound = if repeated.contains(topic.name.as_str()) {
            if !answered.insert(topic.name.as_str()) {
                continue;
            }
            Err((ErrorCode::InvalidRequest, "Duplicate topic name.".to_string()))
        } else {
            check(topic, call)
        };
        let result = match sound {
            Err((error, message)) => refused(&topic.name, error, Some(message)),
            Ok(sound) => {
                let result = created(&topic.name, &sound, call);
                if !request.validate_only {
                    waiting.create(&topic.name, sound, call);
                }
                result
            }
        };
        waiting.results.push(result);
    }
    if waiting.missing > 0 {
        Ok(Handled::Later(Box::new(waiting)))
    } else {
        Ok(Handled::Now(waiting.reply(call)))
    }
}

fn check(topic: &NewTopic, call: &Call<'_, '_>) -> Result<Sound, Refusal> {
    topic_config::check_name(&topic.name).map_err(|reason| (ErrorCode::InvalidTopic, reason.to_string()))?;
    if call.cx.catalog.topic(&topic.name).is_some() {
        return Err((ErrorCode::TopicAlreadyExists, format!("Topic '{}' already exists.", topic.name)));
    }
    let partitions = if topic.assignments.is_empty() {
        partitions_wanted(topic, call.cx.settings.default_partitions)?
    } else {
        partitions_assigned(topic, &call.cx.settings.nodes)?
    };
    let mut configs = BTreeMap::new();
    for (name, value) in &topic.configs {
        let value = value.clone().ok_or_else(|| {
            (ErrorCode::InvalidConfig, format!("Null value not supported for topic config {name}"))
        })?;
        configs.insert(name.clone(), value);
    }
    topic_config::check(&configs).map_err(|reason| (ErrorCode::InvalidConfig, reason))?;
    Ok(Sound { partitions, configs })
}

fn partitions_wanted(topic: &NewTopic, default_partitions: u32) -> Result<u32, Refusal> {
    if topic.replication_factor != -1 && topic.replication_factor != 1 {
        let message = format!("Replication factor {}; every record is kept once.", topic.replication_factor);
        return Err((ErrorCode::InvalidReplicationFactor, message));
    }
    if topic.num_partitions == -1 {
        return Ok(default_partitions);
    }
    let wanted =
        u32::try_from(topic.num_partitions).ok().filter(|count| (1..=PARTITIONS_MAX).contains(count));
    wanted.ok_or_else(|| {
        let message = format!("Number of partitions must be from 1 to {PARTITIONS_MAX}.");
        (ErrorCode::InvalidPartitions, message)
    })
}

/// Partitions 0, 1, 2 ... each on the only broker. Where each core is a broker, which of them gets a partition follows
/// from its number, and another start may have other cores: nothing is promised that would not be kept.
fn partitions_assigned(topic: &NewTopic, nodes: &Nodes) -> Result<u32, Refusal> {
    let invalid = |message: String| (ErrorCode::InvalidReplicaAssignment, message);
    if nodes.are_cores() {
        return Err(invalid(PLACED_HERE.to_string()));
    }
    let id = nodes.controller().id;
    if topic.num_partitions != -1 || topic.replication_factor != -1 {
        let message = "Partition count and replication factor must be -1 beside an assignment.";
        return Err((ErrorCode::InvalidRequest, message.to_string()));
    }
    let mut indexes: Vec<i32> =
        topic.assignments.iter().map(|assignment| assignment.partition_index).collect();
    indexes.sort_unstable();
    let dense = indexes.iter().zip(0..).all(|(index, expected)| *index == expected);
    let here = topic.assignments.iter().all(|assignment| assignment.broker_ids == [id]);
    let count = u32::try_from(indexes.len()).ok().filter(|count| *count <= PARTITIONS_MAX);
    count
        .filter(|_| dense && here)
        .ok_or_else(|| invalid(format!("Partitions must be numbered from 0 and be on broker {id} alone.")))
}

fn refused(name: &str, error: ErrorCode, error_message: Option<String>) -> CreatedTopic {
    CreatedTopic {
        name: name.to_string(),
        error_code: error.code(),
        error_message,
        num_partitions: -1,
        replication_factor: -1,
        ..Default::default()
    }
}

fn created(name: &str, sound: &Sound, call: &Call<'_, '_>) -> CreatedTopic {
    let configs = topic_config::TOPIC_CONFIGS.iter().map(|config| {
        let given = sound.configs.get(config.name);
        CreatedConfig {
            name: config.name.to_string(),
            value: Some(given.cloned().unwrap_or_else(|| config.default_of(call.cx.settings))),
            read_only: false,
            source: if given.is_some() { DYNAMIC_TOPIC } else { STATIC_BROKER },
            sensitive: false,
        }
    });
    CreatedTopic {
        name: name.to_string(),
        num_partitions: sound.partitions as i32,
        replication_factor: 1,
        configs: Some(configs.collect()),
        ..Default::default()
    }
}

/// The answer so far.
struct Waiting {
    results: Vec<CreatedTopic>,
    /// Place in the results, by number of the command.
    places: Vec<usize>,
    /// Commands not answered.
    missing: usize,
}

impl Waiting {
    fn create(&mut self, name: &str, sound: Sound, call: &mut Call<'_, '_>) {
        call.ask(Command::Catalog(CatalogRequest::CreateTopic {
            name: name.to_string(),
            partitions: sound.partitions,
            configs: sound.configs,
            queue: None,
        }));
        self.places.push(self.results.len());
        self.missing += 1;
    }

    fn reply(&mut self, call: &Call<'_, '_>) -> Reply {
        let topics = std::mem::take(&mut self.results);
        let mut writer = call.response();
        CreateTopicsResponse { throttle_time_ms: 0, topics }.encode(&mut writer, call.header.version);
        Reply::Answer(writer)
    }
}

impl Pending for Waiting {
    fn on_event(&mut self, index: u32, event: Event, call: &mut Call<'_, '_>) -> Option<Reply> {
        let Event::Catalog(outcome) = event else { return None };
        let place = self.places.get(index as usize)?;
        let result = self.results.get_mut(*place)?;
        match outcome {
            Ok(_) => result.topic_id = call.cx.catalog.topic(&result.name).map_or([0; 16], |topic| topic.id),
            Err(error) => *result = refused(&result.name, ErrorCode::from(&error), None),
        }
        self.missing -= 1;
        (self.missing == 0).then(|| self.reply(call))
    }
}
