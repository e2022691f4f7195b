//! AlterConfigs: replaces all settings of topics.
//!
//! What it shares with [IncrementalAlterConfigs](super::incremental_alter_configs): which resources may be
//! altered at all, and the answer.

use std::collections::{BTreeMap, HashMap};

use crate::broker::catalog::{CatalogError, CatalogRequest, Topic};
use crate::broker::command::{Command, Event};
use crate::broker::topic_config;
use crate::kafka::api::describe_configs::{BROKER, TOPIC};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled, Pending, Reply};
use crate::kafka::wire::alter_configs::{
    AlterConfigsRequest, AlterConfigsResponse, AlteredResource, ReplacedConfigs,
};
use crate::kafka::wire::{Reader, WireError};

/// Why a resource is not altered.
pub type Refusal = (ErrorCode, String);

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let AlterConfigsRequest { resources, validate_only } =
        AlterConfigsRequest::decode(body, call.header.version)?;
    let names: Vec<_> = resources.iter().map(|found| (found.resource_type, &*found.resource_name)).collect();
    let mut altering = Altering::new(&names);
    for resource in &resources {
        let request = altering
            .topic(resource.resource_type, &resource.resource_name, call)
            .and_then(|topic| replaced(topic, resource));
        let request = request.map(|request| (!validate_only).then_some(request));
        altering.push(resource.resource_type, &resource.resource_name, request, call);
    }
    Ok(altering.handled(call))
}

fn replaced(topic: &Topic, resource: &ReplacedConfigs) -> Result<CatalogRequest, Refusal> {
    let mut configs = BTreeMap::new();
    for (name, value) in &resource.configs {
        let value = value.clone().ok_or_else(|| {
            (ErrorCode::InvalidRequest, format!("Null value not supported for topic config {name}"))
        })?;
        if configs.insert(name.clone(), value).is_some() {
            return Err((ErrorCode::InvalidRequest, format!("Duplicate topic config {name}")));
        }
    }
    topic_config::check(&configs).map_err(|reason| (ErrorCode::InvalidConfig, reason))?;
    Ok(CatalogRequest::SetConfigs { name: topic.name.clone(), configs })
}

/// The answer so far.
pub struct Altering {
    results: Vec<AlteredResource>,
    /// How often each resource was named.
    times: HashMap<(i8, String), u32>,
    /// Place in the results, by number of the command.
    places: Vec<usize>,
    /// Commands not answered.
    missing: usize,
}

impl Altering {
    /// For a request that names these resources.
    pub fn new(names: &[(i8, &str)]) -> Altering {
        let mut times = HashMap::new();
        for (resource_type, name) in names {
            *times.entry((*resource_type, name.to_string())).or_default() += 1;
        }
        Altering { results: Vec::new(), times, places: Vec::new(), missing: 0 }
    }

    /// The topic that the resource is, if it may be altered.
    pub fn topic<'a>(
        &self,
        resource_type: i8,
        name: &str,
        call: &'a Call<'_, '_>,
    ) -> Result<&'a Topic, Refusal> {
        let invalid = |message: &str| Err((ErrorCode::InvalidRequest, message.to_string()));
        if self.times.get(&(resource_type, name.to_string())).is_some_and(|times| *times > 1) {
            return invalid("Each resource must appear at most once.");
        }
        match resource_type {
            TOPIC => {}
            BROKER => return invalid("The broker reads its settings at its start; they cannot be altered."),
            other => return invalid(&format!("Unsupported resource type: {other}")),
        }
        let topic = call.cx.catalog.topic(name);
        let topic =
            topic.ok_or_else(|| (ErrorCode::UnknownTopicOrPartition, format!("No topic {name:?}.")))?;
        if topic.is_settled() {
            return invalid("A queue has the settings it was declared with; they cannot be altered.");
        }
        Ok(topic)
    }

    /// Adds the next resource's result: a refusal, or success, which may first need a change.
    pub fn push(
        &mut self,
        resource_type: i8,
        name: &str,
        request: Result<Option<CatalogRequest>, Refusal>,
        call: &mut Call<'_, '_>,
    ) {
        let resource_name = name.to_string();
        let mut result = AlteredResource { resource_type, resource_name, ..Default::default() };
        match request {
            Ok(Some(request)) => {
                call.ask(Command::Catalog(request));
                self.places.push(self.results.len());
                self.missing += 1;
            }
            Ok(None) => {}
            Err((error, message)) => {
                (result.error_code, result.error_message) = (error.code(), Some(message))
            }
        }
        self.results.push(result);
    }

    /// Answers, or waits for the changes.
    pub fn handled(mut self, call: &Call<'_, '_>) -> Handled {
        if self.missing > 0 { Handled::Later(Box::new(self)) } else { Handled::Now(self.reply(call)) }
    }

    fn reply(&mut self, call: &Call<'_, '_>) -> Reply {
        let resources = std::mem::take(&mut self.results);
        let mut writer = call.response();
        AlterConfigsResponse { throttle_time_ms: 0, resources }.encode(&mut writer, call.header.version);
        Reply::Answer(writer)
    }
}

impl Pending for Altering {
    fn on_event(&mut self, index: u32, event: Event, call: &mut Call<'_, '_>) -> Option<Reply> {
        let Event::Catalog(outcome) = event else { return None };
        let place = self.places.get(index as usize)?;
        let result = self.results.get_mut(*place)?;
        if let Err(error) = outcome {
            result.error_code = ErrorCode::from(&error).code();
            if let CatalogError::InvalidConfig(reason) = error {
                result.error_message = Some(reason);
            }
        }
        self.missing -= 1;
        (self.missing == 0).then(|| self.reply(call))
    }
}
