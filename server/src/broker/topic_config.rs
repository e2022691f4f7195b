//! The settings a topic may be given, by the names Kafka's tools know them by.
//!
//! In: names and values as they were asked for. Out: whether they may be, and what holds when they were not.
//! Never: lets a value through that promises a behaviour there is not.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use ringmain_engine::limits::BATCH_BYTES_MAX;

use super::settings::Settings;

/// One setting.
pub struct TopicConfig {
    pub name: &'static str,
    /// The broker's setting that gives its default.
    pub synonym: &'static str,
    pub default: &'static str,
    pub kind: ConfigKind,
    rule: Rule,
}

/// What kind of value it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigKind {
    Boolean,
    Text,
    Int,
    Short,
    Long,
    Double,
    List,
}

/// Which values are accepted.
enum Rule {
    /// A number within these, both included.
    Number(i64, i64),
    /// A number within these, but another than the default would change what is not implemented.
    OnlyDefaultNumber(i64, i64),
    Fraction,
    /// `true` or `false`; it concerns what is done differently here, so it changes nothing.
    Switch,
    /// Only `false` so far.
    OnlyFalse,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// One of the first, of which only the default is implemented.
    OnlyDefaultOf(&'static [&'static str]),
    /// Only empty.
    Empty,
}

const LONG_MAX: &str = "9223372036854775807";
const INT_MAX: i64 = i32::MAX as i64;

/// Name of the setting that says whether old records go, superseded ones, or both.
pub const CLEANUP_POLICY: &str = "cleanup.policy";
/// Name of the setting that [`message_bytes_max`] reads.
pub const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
/// Names of the settings that [`timestamps`] reads.
const TIMESTAMP_AFTER_MAX_MS: &str = "message.timestamp.after.max.ms";
const TIMESTAMP_BEFORE_MAX_MS: &str = "message.timestamp.before.max.ms";

/// Every setting, by name.
#[rustfmt::skip]
pub static TOPIC_CONFIGS: &[TopicConfig] = &[
    row(CLEANUP_POLICY, "log.cleanup.policy", "delete", ConfigKind::List, Rule::OneOf(&["compact", "delete", "compact,delete", "delete,compact"])),
    row("compression.gzip.level", "compression.gzip.level", "-1", ConfigKind::Int, Rule::Number(-1, 9)),
    row("compression.lz4.level", "compression.lz4.level", "9", ConfigKind::Int, Rule::Number(1, 17)),
    row("compression.type", "compression.type", "producer", ConfigKind::Text, Rule::OnlyDefaultOf(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"])),
    row("compression.zstd.level", "compression.zstd.level", "3", ConfigKind::Int, Rule::Number(-131_072, 22)),
    row("delete.retention.ms", "log.cleaner.delete.retention.ms", "86400000", ConfigKind::Long, Rule::Number(0, i64::MAX)),
    row("file.delete.delay.ms", "log.segment.delete.delay.ms", "60000", ConfigKind::Long, Rule::Number(0, i64::MAX)),
    row("flush.messages", "log.flush.interval.messages", LONG_MAX, ConfigKind::Long, Rule::Number(1, i64::MAX)),
    row("flush.ms", "log.flush.interval.ms", LONG_MAX, ConfigKind::Long, Rule::Number(0, i64::MAX)),
    row("follower.replication.throttled.replicas", "", "", ConfigKind::List, Rule::Empty),
    row("index.interval.bytes", "log.index.interval.bytes", "4096", ConfigKind::Int, Rule::Number(0, INT_MAX)),
    row("leader.replication.throttled.replicas", "", "", ConfigKind::List, Rule::Empty),
    row("local.retention.bytes", "log.local.retention.bytes", "-2", ConfigKind::Long, Rule::Number(-2, i64::MAX)),
    row("local.retention.ms", "log.local.retention.ms", "-2", ConfigKind::Long, Rule::Number(-2, i64::MAX)),
    row("max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms", LONG_MAX, ConfigKind::Long, Rule::Number(1, i64::MAX)),
    row(MAX_MESSAGE_BYTES, "message.max.bytes", "1048588", ConfigKind::Int, Rule::Number(0, BATCH_BYTES_MAX as i64)),
    row(TIMESTAMP_AFTER_MAX_MS, "log.message.timestamp.after.max.ms", LONG_MAX, ConfigKind::Long, Rule::Number(0, i64::MAX)),
    row(TIMESTAMP_BEFORE_MAX_MS, "log.message.timestamp.before.max.ms", LONG_MAX, ConfigKind::Long, Rule::Number(0, i64::MAX)),
    row("message.timestamp.type", "log.message.timestamp.type", "CreateTime", ConfigKind::Text, Rule::OnlyDefaultOf(&["CreateTime", "LogAppendTime"])),
    row("min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio", "0.5", ConfigKind::Double, Rule::Fraction),
    row("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms", "0", ConfigKind::Long, Rule::Number(0, i64::MAX)),
    row("min.insync.replicas", "min.insync.replicas", "1", ConfigKind::Int, Rule::OnlyDefaultNumber(1, INT_MAX)),
    row("preallocate", "log.preallocate", "false", ConfigKind::Boolean, Rule::Switch),
    row("remote.log.copy.disable", "remote.log.copy.disable", "false", ConfigKind::Boolean, Rule::Switch),
    row("remote.log.delete.on.disable", "remote.log.delete.on.disable", "false", ConfigKind::Boolean, Rule::Switch),
    row("remote.storage.enable", "", "false", ConfigKind::Boolean, Rule::OnlyFalse),
    row("retention.bytes", "log.retention.bytes", "-1", ConfigKind::Long, Rule::Number(-1, i64::MAX)),
    row("retention.ms", "log.retention.ms", "-1", ConfigKind::Long, Rule::Number(-1, i64::MAX)),
    row("segment.bytes", "log.segment.bytes", "1073741824", ConfigKind::Int, Rule::Number(14, INT_MAX)),
    row("segment.index.bytes", "log.index.size.max.bytes", "10485760", ConfigKind::Int, Rule::Number(4, INT_MAX)),
    row("segment.jitter.ms", "log.roll.jitter.ms", "0", ConfigKind::Long, Rule::Number(0, i64::MAX)),
    row("segment.ms", "log.roll.ms", "604800000", ConfigKind::Long, Rule::Number(1, i64::MAX)),
    row("unclean.leader.election.enable", "unclean.leader.election.enable", "false", ConfigKind::Boolean, Rule::OnlyFalse),
];

const fn row(
    name: &'static str,
    synonym: &'static str,
    default: &'static str,
    kind: ConfigKind,
    rule: Rule,
) -> TopicConfig {
    TopicConfig { name, synonym, default, kind, rule }
}

impl TopicConfig {
    /// What holds unless the topic says otherwise.
    pub fn default_of(&self, settings: &Settings) -> String {
        match self.name {
            MAX_MESSAGE_BYTES => settings.message_bytes_max.to_string(),
            _ => self.default.to_string(),
        }
    }

    /// Whether `value` may be. The error says why not.
    fn check(&self, value: &str) -> Result<(), String> {
        let name = self.name;
        if let Some(wrong) = self.wrong_with(value) {
            return Err(format!("Invalid value {value} for configuration {name}: {wrong}"));
        }
        match self.rule {
            Rule::Number(..) | Rule::Fraction | Rule::Switch | Rule::OneOf(_) => Ok(()),
            _ if value == self.default => Ok(()),
            _ => Err(format!(
                "Configuration {name}={value} is not implemented by this server; it must be {:?} or left out",
                self.default
            )),
        }
    }

    /// Why `value` is none of this setting, in Kafka's words.
    fn wrong_with(&self, value: &str) -> Option<String> {
        match self.rule {
            Rule::Number(min, max) | Rule::OnlyDefaultNumber(min, max) => {
                let (name, of_kind) = match self.kind {
                    ConfigKind::Int => ("INT", value.parse::<i32>().map(i64::from)),
                    ConfigKind::Short => ("SHORT", value.parse::<i16>().map(i64::from)),
                    _ => ("LONG", value.parse()),
                };
                match of_kind {
                    Ok(number) if number < min => Some(format!("Value must be at least {min}")),
                    Ok(number) if max < number => Some(format!("Value must be no more than {max}")),
                    Ok(_) => None,
                    Err(_) => Some(format!("Not a number of type {name}")),
                }
            }
            Rule::Fraction => match value.parse::<f64>() {
                Ok(number) if (0.0..=1.0).contains(&number) => None,
                Ok(number) if number < 0.0 => Some("Value must be at least 0".to_string()),
                Ok(_) => Some("Value must be no more than 1".to_string()),
                Err(_) => Some("Not a number of type DOUBLE".to_string()),
            },
            Rule::Switch | Rule::OnlyFalse => {
                let known = value == "true" || value == "false";
                (!known).then(|| "Expected value to be either true or false".to_string())
            }
            Rule::OneOf(known) | Rule::OnlyDefaultOf(known) => {
                if known.contains(&value.replace(' ', "").as_str()) {
                    return None;
                }
                let words: Vec<&str> = known.iter().copied().filter(|word| !word.contains(',')).collect();
                Some(format!("String must be one of: {}", words.join(", ")))
            }
            Rule::Empty => None,
        }
    }
}

/// The setting of this name.
pub fn named(name: &str) -> Option<&'static TopicConfig> {
    TOPIC_CONFIGS.iter().find(|config| config.name == name)
}

/// Whether a topic may have these settings. The error names the first that it may not.
pub fn check(configs: &BTreeMap<String, String>) -> Result<(), String> {
    for (name, value) in configs {
        let config = named(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
        config.check(value)?;
    }
    Ok(())
}

/// Settings after single changes; `None`: no longer given.
pub fn merged(
    configs: &BTreeMap<String, String>,
    changes: &BTreeMap<String, Option<String>>,
) -> BTreeMap<String, String> {
    let mut merged = configs.clone();
    for (name, value) in changes {
        match value {
            Some(value) => merged.insert(name.clone(), value.clone()),
            None => merged.remove(name),
        };
    }
    merged
}

/// The number that holds for a topic with these settings: what it was given, or the default. The name must be that of a
/// number.
pub fn number<T: std::str::FromStr + Default>(configs: &BTreeMap<String, String>, name: &str) -> T {
    let given = configs.get(name).and_then(|value| value.parse().ok());
    given.or_else(|| named(name)?.default.parse().ok()).unwrap_or_default()
}

/// Largest batch a topic with these settings takes.
pub fn message_bytes_max(configs: &BTreeMap<String, String>, settings: &Settings) -> u32 {
    let given = configs.get(MAX_MESSAGE_BYTES).and_then(|value| value.parse().ok());
    given.unwrap_or(settings.message_bytes_max)
}

/// Times, in ms, that records of a topic with these settings may have now.
pub fn timestamps(configs: &BTreeMap<String, String>, now_ms: i64) -> RangeInclusive<i64> {
    let bound = |name: &str| configs.get(name)?.parse::<i64>().ok();
    let first = bound(TIMESTAMP_BEFORE_MAX_MS).map_or(i64::MIN, |before| now_ms.saturating_sub(before));
    let last = bound(TIMESTAMP_AFTER_MAX_MS).map_or(i64::MAX, |after| now_ms.saturating_add(after));
    first..=last
}

/// Longest name of a topic.
pub const NAME_BYTES_MAX: usize = 249;

/// Whether a topic may be called so. The error says why not.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match name {
        "" => Err("Topic name is empty"),
        "." | ".." => Err("Topic name cannot be \".\" or \"..\""),
        _ if name.len() > NAME_BYTES_MAX => Err("Topic name is longer than 249 characters"),
        _ if !name.bytes().all(allowed) => {
            Err("Topic name has characters other than ASCII letters and digits, '.', '_' and '-'")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, value: &str) -> Result<(), String> {
        check(&BTreeMap::from([(name.to_string(), value.to_string())]))
    }

    #[test]
    fn every_default_is_accepted_and_names_ascend() {
        for config in TOPIC_CONFIGS {
            assert_eq!(checked(config.name, config.default), Ok(()));
        }
        assert!(TOPIC_CONFIGS.is_sorted_by(|left, right| left.name < right.name));
    }

    #[test]
    fn what_is_not_implemented_is_refused() {
        for (name, value) in [
            ("compression.type", "zstd"),
            ("message.timestamp.type", "LogAppendTime"),
            ("min.insync.replicas", "2"),
            ("remote.storage.enable", "true"),
        ] {
            let error = checked(name, value).unwrap_err();
            assert!(error.contains("not implemented") && error.contains(name), "{error}");
        }
        for (name, value) in [("cleanup.policy", "never"), ("retention.ms", "-2"), ("retention.ms", "1d")] {
            assert!(checked(name, value).unwrap_err().starts_with("Invalid value"), "{name}={value}");
        }
        assert_eq!(checked("retention.ms", "1000"), Ok(()));
        assert_eq!(checked("cleanup.policy", "compact, delete"), Ok(()));
        assert_eq!(checked("retention.bytes", "1"), Ok(()));
        assert_eq!(checked("retention", "1").unwrap_err(), "Unknown topic config name: retention");
        assert!(checked(MAX_MESSAGE_BYTES, "99999999").is_err());
    }

    #[test]
    fn an_invalid_value_is_refused_with_its_bounds() {
        for (name, value, wrong) in [
            ("segment.bytes", "5", "Value must be at least 14"),
            ("segment.bytes", "2147483648", "Not a number of type INT"),
            ("compression.gzip.level", "10", "Value must be no more than 9"),
            ("retention.ms", "-2", "Value must be at least -1"),
            ("retention.ms", "1d", "Not a number of type LONG"),
            ("min.cleanable.dirty.ratio", "-0.5", "Value must be at least 0"),
            ("min.cleanable.dirty.ratio", "1.5", "Value must be no more than 1"),
            ("min.cleanable.dirty.ratio", "half", "Not a number of type DOUBLE"),
            ("preallocate", "yes", "Expected value to be either true or false"),
            ("cleanup.policy", "never", "String must be one of: compact, delete"),
        ] {
            let said = checked(name, value).unwrap_err();
            assert_eq!(said, format!("Invalid value {value} for configuration {name}: {wrong}"));
        }
    }

    #[test]
    fn times_have_the_bounds_that_were_given() {
        let of = |settings: &[(&str, &str)]| {
            let settings = settings.iter().map(|(name, value)| (name.to_string(), value.to_string()));
            timestamps(&settings.collect(), 5000)
        };
        assert_eq!(of(&[]), i64::MIN..=i64::MAX);
        assert_eq!(of(&[(TIMESTAMP_AFTER_MAX_MS, "1000")]), i64::MIN..=6000);
        assert_eq!(of(&[(TIMESTAMP_BEFORE_MAX_MS, "7000")]), -2000..=i64::MAX);
        assert_eq!(
            of(&[(TIMESTAMP_AFTER_MAX_MS, LONG_MAX), (TIMESTAMP_BEFORE_MAX_MS, "0")]),
            5000..=i64::MAX
        );
        for (name, value) in [(TIMESTAMP_AFTER_MAX_MS, "3600000"), (TIMESTAMP_BEFORE_MAX_MS, LONG_MAX)] {
            assert_eq!(checked(name, value), Ok(()));
        }
    }

    #[test]
    fn names() {
        for name in ["a", "A.b_c-9", "...", &"x".repeat(249)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", ".", "..", "a b", "a/b", "\u{e9}", &"x".repeat(250)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
