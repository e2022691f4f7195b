//! Metadata: the brokers that this process is, and the topics asked for, which come into being here if they may.
//!
//! Everything but that creation is answered at once from this core's catalog. The creation is answered when
//! the catalog shows the new topics, so that the client needs not ask again.

use std::collections::BTreeMap;

use super::partition::LEADER_EPOCH;
use crate::broker::catalog::{CatalogError, CatalogRequest, Topic};
use crate::broker::command::{Command, Event};
use crate::broker::nodes::{Node, Nodes};
use crate::broker::topic_config;
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled, Pending, Reply};
use crate::kafka::wire::metadata::{
    MetadataBroker, MetadataPartition, MetadataRequest, MetadataRequestTopic, MetadataResponse,
    MetadataTopic, OPERATIONS_NOT_ASKED,
};
use crate::kafka::wire::{Reader, WireError, Writer};

/// Every operation on a topic, as bits: read, write, create, delete, alter, describe, describe and alter configs.
const TOPIC_OPERATIONS: i32 = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;
/// Every operation on the cluster: create, alter, describe, cluster action, describe and alter configs,
/// idempotent write.
const CLUSTER_OPERATIONS: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let request = MetadataRequest::decode(body, call.header.version)?;
    let mut creating = Vec::new();
    if request.allow_auto_topic_creation && call.cx.settings.auto_create_topics {
        creating = missing_names(&request, call);
    }
    if creating.is_empty() {
        return Ok(Handled::answer(answer(&request, &BTreeMap::new(), call)));
    }
    for name in &creating {
        call.ask(Command::Catalog(CatalogRequest::CreateTopic {
            name: name.clone(),
            partitions: call.cx.settings.default_partitions,
            configs: BTreeMap::new(),
            queue: None,
        }));
    }
    let waiting = creating.len();
    Ok(Handled::Later(Box::new(Creating { request, creating, refused: BTreeMap::new(), waiting })))
}

/// Names asked for that the catalog does not have and topics may have, each once.
fn missing_names(request: &MetadataRequest, call: &Call<'_, '_>) -> Vec<String> {
    let asked = request.topics.iter().flatten().filter(|topic| topic.id == [0; 16]);
    let mut names: Vec<String> = asked
        .filter_map(|topic| topic.name.clone())
        .filter(|name| call.cx.catalog.topic(name).is_none() && topic_config::check_name(name).is_ok())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Waits for topics to come into being.
struct Creating {
    request: MetadataRequest,
    /// By the index of the command.
    creating: Vec<String>,
    refused: BTreeMap<String, ErrorCode>,
    waiting: usize,
}

impl Pending for Creating {
    fn on_event(&mut self, index: u32, event: Event, call: &mut Call<'_, '_>) -> Option<Reply> {
        let Event::Catalog(result) = event else { return None };
        match result {
            // Somebody else was faster: it is there, which is all that was wanted.
            Ok(_) | Err(CatalogError::Exists) => {}
            Err(error) => {
                let name = self.creating.get(index as usize).cloned().unwrap_or_default();
                self.refused.insert(name, ErrorCode::from(&error));
            }
        }
        self.waiting -= 1;
        (self.waiting == 0).then(|| Reply::Answer(answer(&self.request, &self.refused, call)))
    }
}

fn answer(request: &MetadataRequest, refused: &BTreeMap<String, ErrorCode>, call: &Call<'_, '_>) -> Writer {
    let (settings, catalog) = (call.cx.settings, call.cx.catalog);
    let operations = |asked: bool, all: i32| if asked { all } else { OPERATIONS_NOT_ASKED };
    let topic_operations = operations(request.include_topic_authorized_operations, TOPIC_OPERATIONS);
    let describe = |topic: &Topic| described(topic, &settings.nodes, topic_operations);
    let topics = match &request.topics {
        None => catalog.topics().map(describe).collect(),
        Some(topics) => topics
            .iter()
            .map(|asked| {
                let found = match &asked.name {
                    Some(name) if asked.id == [0; 16] => catalog.topic(name),
                    _ => catalog.topic_by_id(&asked.id),
                };
                found.map_or_else(|| missing(asked, refused), describe)
            })
            .collect(),
    };
    let response = MetadataResponse {
        throttle_time_ms: 0,
        brokers: settings.nodes.all().map(broker).collect(),
        cluster_id: Some(settings.cluster_id.clone()),
        controller_id: settings.nodes.controller().id,
        topics,
        cluster_authorized_operations: operations(
            request.include_cluster_authorized_operations,
            CLUSTER_OPERATIONS,
        ),
        error_code: ErrorCode::None.code(),
    };
    let mut writer = call.response();
    response.encode(&mut writer, call.header.version);
    writer
}

fn broker(node: Node<'_>) -> MetadataBroker {
    MetadataBroker { node_id: node.id, host: node.host.to_string(), port: i32::from(node.port), rack: None }
}

fn described(topic: &Topic, nodes: &Nodes, authorized_operations: i32) -> MetadataTopic {
    let partitions = (0..).zip(&topic.partitions).map(|(index, log)| {
        let leader = nodes.of_log(*log).id;
        MetadataPartition {
            error_code: ErrorCode::None.code(),
            index,
            leader_id: leader,
            leader_epoch: LEADER_EPOCH,
            replica_nodes: vec![leader],
            isr_nodes: vec![leader],
            offline_replicas: Vec::new(),
        }
    });
    MetadataTopic {
        error_code: ErrorCode::None.code(),
        name: Some(topic.name.clone()),
        id: topic.id,
        is_internal: false,
        partitions: partitions.collect(),
        authorized_operations,
    }
}

fn missing(asked: &MetadataRequestTopic, refused: &BTreeMap<String, ErrorCode>) -> MetadataTopic {
    let unknown = match &asked.name {
        Some(name) if asked.id == [0; 16] => match topic_config::check_name(name) {
            Ok(()) => ErrorCode::UnknownTopicOrPartition,
            // Final, where the other says that the topic may still come into being.
            Err(_) => ErrorCode::InvalidTopic,
        },
        _ => ErrorCode::UnknownTopicId,
    };
    let error = asked.name.as_ref().and_then(|name| refused.get(name)).copied().unwrap_or(unknown);
    MetadataTopic {
        error_code: error.code(),
        name: asked.name.clone(),
        id: asked.id,
        authorized_operations: OPERATIONS_NOT_ASKED,
        ..Default::default()
    }
}
