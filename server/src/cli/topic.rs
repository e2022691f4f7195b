//! `ringmain topic`: creates, lists, describes, alters and deletes topics of a running server.
//!
//! In: what is wanted. Out: lines on standard output. Never: touches a data directory.

use std::io::Write;

use super::client::{Client, ClientError, EARLIEST, Kind, LATEST, accepted};
use crate::kafka::wire::alter_configs::AlterConfigsResponse;
use crate::kafka::wire::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, GrowingTopic,
};
use crate::kafka::wire::create_topics::{CreateTopicsRequest, CreateTopicsResponse, NewTopic};
use crate::kafka::wire::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse, DoomedTopic};
use crate::kafka::wire::describe_configs::{DescribeConfigsRequest, DescribeConfigsResponse, Resource};
use crate::kafka::wire::incremental_alter_configs::{
    ChangedConfig, ChangedConfigs, IncrementalAlterConfigsRequest,
};

const CREATE: Kind = Kind { key: 19, version: 5 };
const DELETE: Kind = Kind { key: 20, version: 5 };
const DESCRIBE_CONFIGS: Kind = Kind { key: 32, version: 4 };
const CREATE_PARTITIONS: Kind = Kind { key: 37, version: 2 };
const ALTER_CONFIGS: Kind = Kind { key: 44, version: 1 };
const TIMEOUT_MS: i32 = 30_000;
/// Resource type of topics.
const TOPIC: i8 = 2;
/// Source of a setting that was given to the topic itself.
const GIVEN: i8 = 1;
/// Operations on a setting.
const SET: i8 = 0;
const TAKE_BACK: i8 = 1;

/// What to do with topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicCommand {
    Create {
        name: String,
        partitions: Option<i32>,
        configs: Vec<(String, String)>,
    },
    List,
    Describe {
        name: String,
    },
    Delete {
        name: String,
    },
    /// `partitions` in total; a setting with an empty value is taken back.
    Alter {
        name: String,
        partitions: Option<i32>,
        configs: Vec<(String, String)>,
    },
}

/// Does it, at the server at `bootstrap`.
pub fn run(command: TopicCommand, bootstrap: &str, out: &mut impl Write) -> Result<(), ClientError> {
    let mut client = Client::connect(bootstrap)?;
    match command {
        TopicCommand::Create { name, partitions, configs } => create(&mut client, name, partitions, configs),
        TopicCommand::List => list(&mut client, out),
        TopicCommand::Describe { name } => describe(&mut client, &name, out),
        TopicCommand::Delete { name } => delete(&mut client, name),
        TopicCommand::Alter { name, partitions, configs } => {
            if !configs.is_empty() {
                alter_configs(&mut client, &name, configs)?;
            }
            partitions.map_or(Ok(()), |count| add_partitions(&mut client, &name, count))
        }
    }
}

fn create(
    client: &mut Client,
    name: String,
    partitions: Option<i32>,
    configs: Vec<(String, String)>,
) -> Result<(), ClientError> {
    let topic = NewTopic {
        name: name.clone(),
        num_partitions: partitions.unwrap_or(-1),
        replication_factor: -1,
        assignments: Vec::new(),
        configs: configs.into_iter().map(|(name, value)| (name, Some(value))).collect(),
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: TIMEOUT_MS, validate_only: false };
    let response = client.ask(
        CREATE,
        |writer, version| request.encode(writer, version),
        CreateTopicsResponse::decode,
    )?;
    let created = response.topics.into_iter().next().ok_or(ClientError::Unexpected("it has no topic"))?;
    accepted(&name, created.error_code, created.error_message)
}

fn delete(client: &mut Client, name: String) -> Result<(), ClientError> {
    let topics = vec![DoomedTopic { name: Some(name.clone()), ..Default::default() }];
    let request = DeleteTopicsRequest { topics, timeout_ms: TIMEOUT_MS };
    let response = client.ask(
        DELETE,
        |writer, version| request.encode(writer, version),
        DeleteTopicsResponse::decode,
    )?;
    let deleted = response.responses.into_iter().next().ok_or(ClientError::Unexpected("it has no topic"))?;
    accepted(&name, deleted.error_code, deleted.error_message)
}

fn alter_configs(client: &mut Client, name: &str, configs: Vec<(String, String)>) -> Result<(), ClientError> {
    let configs = configs.into_iter().map(|(name, value)| match value.as_str() {
        "" => ChangedConfig { name, operation: TAKE_BACK, value: None },
        _ => ChangedConfig { name, operation: SET, value: Some(value) },
    });
    let (resource_name, configs) = (name.to_string(), configs.collect());
    let resources = vec![ChangedConfigs { resource_type: TOPIC, resource_name, configs }];
    let request = IncrementalAlterConfigsRequest { resources, validate_only: false };
    let encode = |writer: &mut _, version| request.encode(writer, version);
    let response = client.ask(ALTER_CONFIGS, encode, AlterConfigsResponse::decode)?;
    let altered = response.resources.into_iter().next().ok_or(ClientError::Unexpected("it has no topic"))?;
    accepted(name, altered.error_code, altered.error_message)
}

fn add_partitions(client: &mut Client, name: &str, count: i32) -> Result<(), ClientError> {
    let topics = vec![GrowingTopic { name: name.to_string(), count, assignments: None }];
    let request = CreatePartitionsRequest { topics, timeout_ms: TIMEOUT_MS, validate_only: false };
    let encode = |writer: &mut _, version| request.encode(writer, version);
    let response = client.ask(CREATE_PARTITIONS, encode, CreatePartitionsResponse::decode)?;
    let grown = response.results.into_iter().next().ok_or(ClientError::Unexpected("it has no topic"))?;
    accepted(name, grown.error_code, grown.error_message)
}

fn list(client: &mut Client, out: &mut impl Write) -> Result<(), ClientError> {
    let mut names: Vec<String> = client.topics()?.into_iter().filter_map(|topic| topic.name).collect();
    names.sort_unstable();
    for name in names {
        writeln!(out, "{name}").map_err(ClientError::Local)?;
    }
    Ok(())
}

fn describe(client: &mut Client, name: &str, out: &mut impl Write) -> Result<(), ClientError> {
    let topic = client.topic(name, false)?;
    let mut indexes: Vec<i32> = topic.partitions.iter().map(|partition| partition.index).collect();
    indexes.sort_unstable();
    let starts = client.offsets(name, &indexes, EARLIEST)?;
    let ends = client.offsets(name, &indexes, LATEST)?;
    let mut text = format!("topic {name}\npartitions {}\n", indexes.len());
    for (name, value) in given(client, name)? {
        text.push_str(&format!("config {name}={value}\n"));
    }
    for ((index, start), end) in indexes.iter().zip(starts).zip(ends) {
        text.push_str(&format!("partition {index} offsets {start}..{end}\n"));
    }
    out.write_all(text.as_bytes()).map_err(ClientError::Local)
}

/// The settings the topic was given.
fn given(client: &mut Client, name: &str) -> Result<Vec<(String, String)>, ClientError> {
    let resource =
        Resource { resource_type: TOPIC, resource_name: name.to_string(), configuration_keys: None };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let encode = |writer: &mut _, version| request.encode(writer, version);
    let response = client.ask(DESCRIBE_CONFIGS, encode, DescribeConfigsResponse::decode)?;
    let found = response.results.into_iter().next().ok_or(ClientError::Unexpected("it has no topic"))?;
    accepted(name, found.error_code, found.error_message)?;
    let configs = found.configs.into_iter().filter(|config| config.source == GIVEN);
    Ok(configs.map(|config| (config.name, config.value.unwrap_or_default())).collect())
}
