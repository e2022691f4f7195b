//! IncrementalAlterConfigs: changes single settings of topics.
//!
//! The catalog applies the changes to the settings as they are when it decides, so two requests on their way
//! do not undo each other. Only what is appended to a list, or taken from it, is worked out here.

use std::collections::BTreeMap;

use super::alter_configs::{Altering, Refusal};
use crate::broker::catalog::{CatalogRequest, Topic};
use crate::broker::settings::Settings;
use crate::broker::topic_config::{self, ConfigKind};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled};
use crate::kafka::wire::incremental_alter_configs::{
    ChangedConfig, ChangedConfigs, IncrementalAlterConfigsRequest,
};
use crate::kafka::wire::{Reader, WireError};

/// Operations.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let IncrementalAlterConfigsRequest { resources, validate_only } =
        IncrementalAlterConfigsRequest::decode(body, call.header.version)?;
    let names: Vec<_> = resources.iter().map(|found| (found.resource_type, &*found.resource_name)).collect();
    let mut altering = Altering::new(&names);
    for resource in &resources {
        let request = altering
            .topic(resource.resource_type, &resource.resource_name, call)
            .and_then(|topic| changed(topic, resource, call.cx.settings));
        let request = request.map(|request| (!validate_only).then_some(request));
        altering.push(resource.resource_type, &resource.resource_name, request, call);
    }
    Ok(altering.handled(call))
}

fn changed(topic: &Topic, resource: &ChangedConfigs, settings: &Settings) -> Result<CatalogRequest, Refusal> {
    let mut changes = BTreeMap::new();
    for config in &resource.configs {
        if changes.insert(config.name.clone(), value_of(topic, config, settings)?).is_some() {
            return Err((ErrorCode::InvalidRequest, format!("Duplicate topic config {}", config.name)));
        }
    }
    let configs = topic_config::merged(&topic.configs, &changes);
    topic_config::check(&configs).map_err(|reason| (ErrorCode::InvalidConfig, reason))?;
    Ok(CatalogRequest::ChangeConfigs { name: topic.name.clone(), changes })
}

/// What the setting is to be; `None`: not given any more.
fn value_of(topic: &Topic, config: &ChangedConfig, settings: &Settings) -> Result<Option<String>, Refusal> {
    let name = &config.name;
    match config.operation {
        SET | APPEND | SUBTRACT => {}
        DELETE => return Ok(None),
        other => return Err((ErrorCode::InvalidRequest, format!("Unknown operation: {other}"))),
    }
    let value = config.value.as_deref().ok_or_else(|| {
        (ErrorCode::InvalidRequest, format!("Null value not supported for topic config {name}"))
    })?;
    if config.operation == SET {
        return Ok(Some(value.to_string()));
    }
    let known = topic_config::named(name).filter(|known| known.kind == ConfigKind::List);
    let known = known.ok_or_else(|| {
        let message = format!("{name} is not a list: nothing can be appended to it or taken from it");
        (ErrorCode::InvalidConfig, message)
    })?;
    let now = topic.configs.get(name).cloned().unwrap_or_else(|| known.default_of(settings));
    let mut items = items_of(&now);
    let given = items_of(value);
    items.retain(|item| !given.contains(item));
    if config.operation == APPEND {
        items.extend(given);
    }
    Ok(Some(items.join(",")))
}

/// The items of a list, separated by commas.
fn items_of(list: &str) -> Vec<&str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
}
