//! DescribeConfigs: every setting of a topic or of a broker, with where its value is from.

use crate::broker::settings::Settings;
use crate::broker::topic_config::{self, ConfigKind, TOPIC_CONFIGS};
use crate::kafka::error::ErrorCode;
use crate::kafka::inflight::{Call, Handled};
use crate::kafka::wire::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResponse, DescribedConfig, DescribedResource, Resource, Synonym,
};
use crate::kafka::wire::{Reader, WireError};

/// Resource types.
pub const TOPIC: i8 = 2;
pub const BROKER: i8 = 4;

/// Sources of a value: the topic, the broker's configuration, the default.
pub const DYNAMIC_TOPIC: i8 = 1;
pub const STATIC_BROKER: i8 = 4;
const DEFAULT: i8 = 5;

type Configs = Result<Vec<DescribedConfig>, (ErrorCode, String)>;

pub fn handle(body: &mut Reader, call: &mut Call<'_, '_>) -> Result<Handled, WireError> {
    let version = call.header.version;
    let request = DescribeConfigsRequest::decode(body, version)?;
    let results = request.resources.into_iter().map(|resource| {
        let found = match resource.resource_type {
            TOPIC => topic_configs(&resource.resource_name, call),
            BROKER => broker_configs(&resource.resource_name, call.cx.settings),
            other => Err((ErrorCode::InvalidRequest, format!("Unsupported resource type: {other}"))),
        };
        described(resource, found, request.include_synonyms)
    });
    let response = DescribeConfigsResponse { throttle_time_ms: 0, results: results.collect() };
    let mut writer = call.response();
    response.encode(&mut writer, version);
    Ok(Handled::answer(writer))
}

fn described(resource: Resource, found: Configs, include_synonyms: bool) -> DescribedResource {
    let Resource { resource_type, resource_name, configuration_keys } = resource;
    let (mut configs, error_code, error_message) = match found {
        Ok(configs) => (configs, ErrorCode::None, None),
        Err((error, message)) => (Vec::new(), error, Some(message)),
    };
    // No keys means all of them, like no list of keys.
    if let Some(keys) = configuration_keys.filter(|keys| !keys.is_empty()) {
        configs.retain(|config| keys.contains(&config.name));
    }
    if !include_synonyms {
        configs.iter_mut().for_each(|config| config.synonyms.clear());
    }
    DescribedResource { error_code: error_code.code(), error_message, resource_type, resource_name, configs }
}

fn topic_configs(name: &str, call: &Call<'_, '_>) -> Configs {
    let topic = call.cx.catalog.topic(name).ok_or_else(|| match topic_config::check_name(name) {
        Ok(()) => (ErrorCode::UnknownTopicOrPartition, format!("No topic {name:?}.")),
        Err(reason) => (ErrorCode::InvalidTopic, reason.to_string()),
    })?;
    let configs = TOPIC_CONFIGS.iter().map(|config| {
        let default = config.default_of(call.cx.settings);
        let given = topic.configs.get(config.name);
        let source_below = if default == config.default { DEFAULT } else { STATIC_BROKER };
        let mut synonyms = Vec::new();
        if let Some(value) = given {
            synonyms.push(synonym(config.name, value, DYNAMIC_TOPIC));
        }
        if !config.synonym.is_empty() {
            synonyms.push(synonym(config.synonym, &default, source_below));
        }
        DescribedConfig {
            name: config.name.to_string(),
            value: Some(given.cloned().unwrap_or(default)),
            source: if given.is_some() { DYNAMIC_TOPIC } else { source_below },
            synonyms,
            config_type: type_number(config.kind),
            ..Default::default()
        }
    });
    Ok(configs.collect())
}

fn synonym(name: &str, value: &str, source: i8) -> Synonym {
    Synonym { name: name.to_string(), value: Some(value.to_string()), source }
}

/// What the protocol calls the kind of a value.
fn type_number(kind: ConfigKind) -> i8 {
    match kind {
        ConfigKind::Boolean => 1,
        ConfigKind::Text => 2,
        ConfigKind::Int => 3,
        ConfigKind::Short => 4,
        ConfigKind::Long => 5,
        ConfigKind::Double => 6,
        ConfigKind::List => 7,
    }
}

/// What is true of the broker with this id, by the names that clients ask for.
fn broker_configs(name: &str, settings: &Settings) -> Configs {
    if name.is_empty() {
        // The defaults of all brokers that were set while running; none can be.
        return Ok(Vec::new());
    }
    let node = settings.nodes.all().find(|node| node.id.to_string() == name).ok_or_else(|| {
        let ids: Vec<String> = settings.nodes.all().map(|node| node.id.to_string()).collect();
        let ids = ids.join(", ");
        (
            ErrorCode::InvalidRequest,
            format!("Unexpected broker id, expected {ids} or empty, but received {name:?}"),
        )
    })?;
    let listeners = format!("PLAINTEXT://{}:{}", node.host, node.port);
    let own = [
        ("advertised.listeners", listeners, ConfigKind::List),
        ("auto.create.topics.enable", settings.auto_create_topics.to_string(), ConfigKind::Boolean),
        ("broker.id", node.id.to_string(), ConfigKind::Int),
        ("default.replication.factor", "1".to_string(), ConfigKind::Int),
        ("delete.topic.enable", "true".to_string(), ConfigKind::Boolean),
        (
            "group.initial.rebalance.delay.ms",
            settings.group_initial_rebalance_delay_ms.to_string(),
            ConfigKind::Int,
        ),
        ("node.id", node.id.to_string(), ConfigKind::Int),
        ("num.partitions", settings.default_partitions.to_string(), ConfigKind::Int),
        ("offsets.topic.replication.factor", "1".to_string(), ConfigKind::Short),
        ("process.roles", "broker".to_string(), ConfigKind::List),
        ("socket.request.max.bytes", settings.request_bytes_max.to_string(), ConfigKind::Int),
    ];
    let of_topics = TOPIC_CONFIGS.iter().filter(|config| !config.synonym.is_empty());
    let of_topics = of_topics.map(|config| (config.synonym, config.default_of(settings), config.kind));
    let mut all: Vec<_> = own.into_iter().chain(of_topics).collect();
    all.sort_unstable_by_key(|(name, ..)| *name);
    let configs = all.into_iter().map(|(name, value, kind)| DescribedConfig {
        name: name.to_string(),
        synonyms: vec![synonym(name, &value, STATIC_BROKER)],
        value: Some(value),
        read_only: true,
        source: STATIC_BROKER,
        config_type: type_number(kind),
        ..Default::default()
    });
    Ok(configs.collect())
}
