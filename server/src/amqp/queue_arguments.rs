//! The arguments of `queue.declare`: what each means, for which type of queue, and which of them count when a queue
//! is declared again.
//!
//! In: a field table. Out: queue settings and topic settings, or the argument that is wrong. Never: keeps silent
//! about an argument that would change behaviour but is not supported.

use std::collections::BTreeMap;

use super::error::AmqpError;
use super::stream_offset::interval_ms;
use super::wire::table::{Table, Value};
use crate::broker::catalog::QueueSettings;

/// The three types of queue. All are the same log; a type is which settings it may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueueType {
    Classic,
    Quorum,
    Stream,
}

impl QueueType {
    /// As in `x-queue-type`.
    pub fn name(self) -> &'static str {
        match self {
            QueueType::Classic => "classic",
            QueueType::Quorum => "quorum",
            QueueType::Stream => "stream",
        }
    }

    /// The type the arguments ask for; classic if they say nothing.
    pub fn of(arguments: &Table, queue: &str) -> Result<QueueType, AmqpError> {
        let Some(value) = arguments.get("x-queue-type") else { return Ok(QueueType::Classic) };
        match value.as_str() {
            Some("classic") => Ok(QueueType::Classic),
            Some("quorum") => Ok(QueueType::Quorum),
            Some("stream") => Ok(QueueType::Stream),
            _ => Err(invalid("x-queue-type", queue, "expected classic, quorum or stream")),
        }
    }
}

/// What is done with an argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Treatment {
    /// Acted upon.
    Honoured,
    /// Means nothing here: it tunes a store or a cluster that is not there.
    Ignored,
    /// Would change behaviour, and does not exist here.
    Refused,
}

const CLASSIC: u8 = 1;
const QUORUM: u8 = 2;
const STREAM: u8 = 4;
const QUEUES: u8 = CLASSIC | QUORUM;
const ALL: u8 = QUEUES | STREAM;

/// Every known argument, the types of queue that take it, and what is done with it.
pub const ARGUMENTS: &[(&str, u8, Treatment)] = &[
    ("x-queue-type", ALL, Treatment::Honoured),
    ("x-message-ttl", QUEUES, Treatment::Honoured),
    ("x-expires", QUEUES, Treatment::Honoured),
    ("x-dead-letter-exchange", QUEUES, Treatment::Honoured),
    ("x-dead-letter-routing-key", QUEUES, Treatment::Honoured),
    ("x-max-length", QUEUES, Treatment::Honoured),
    ("x-max-length-bytes", ALL, Treatment::Honoured),
    ("x-overflow", QUEUES, Treatment::Honoured),
    ("x-single-active-consumer", QUEUES, Treatment::Honoured),
    ("x-delivery-limit", QUORUM, Treatment::Honoured),
    ("x-max-age", STREAM, Treatment::Honoured),
    ("x-queue-mode", CLASSIC, Treatment::Ignored),
    ("x-queue-version", CLASSIC, Treatment::Ignored),
    ("x-queue-master-locator", CLASSIC, Treatment::Ignored),
    ("x-queue-leader-locator", ALL, Treatment::Ignored),
    ("x-quorum-initial-group-size", QUORUM, Treatment::Ignored),
    ("x-max-in-memory-length", QUORUM, Treatment::Ignored),
    ("x-max-in-memory-bytes", QUORUM, Treatment::Ignored),
    ("x-dead-letter-strategy", QUORUM, Treatment::Ignored),
    ("x-initial-cluster-size", STREAM, Treatment::Ignored),
    ("x-stream-max-segment-size-bytes", STREAM, Treatment::Ignored),
    ("x-stream-filter-size-bytes", STREAM, Treatment::Ignored),
    ("x-max-priority", CLASSIC, Treatment::Refused),
    ("x-consumer-timeout", QUORUM, Treatment::Refused),
    ("x-consumer-disconnected-timeout", QUORUM, Treatment::Refused),
    ("x-delayed-retry-type", QUORUM, Treatment::Refused),
    ("x-delayed-retry-min", QUORUM, Treatment::Refused),
    ("x-delayed-retry-max", QUORUM, Treatment::Refused),
];

/// Deliveries of one message of a quorum queue that does not say otherwise.
const QUORUM_DELIVERY_LIMIT: u32 = 20;
/// Returns are counted, for consumers to be told, and never are too many.
const NO_DELIVERY_LIMIT: u32 = u32::MAX;
/// Times and lengths are refused above this, a hundred years of ms being less.
const NUMBER_MAX: i64 = 1 << 42;

/// What the arguments make of the settings: those of the queue, and those of its topic.
pub fn settings_of(
    arguments: &Table,
    queue: &str,
) -> Result<(QueueSettings, BTreeMap<String, String>), AmqpError> {
    let kind = QueueType::of(arguments, queue)?;
    let bit = match kind {
        QueueType::Classic => CLASSIC,
        QueueType::Quorum => QUORUM,
        QueueType::Stream => STREAM,
    };
    let mut settings = QueueSettings { stream: kind == QueueType::Stream, ..QueueSettings::default() };
    if kind == QueueType::Quorum {
        settings.delivery_limit = Some(QUORUM_DELIVERY_LIMIT);
    }
    let mut configs = BTreeMap::new();
    for (name, types, treatment) in ARGUMENTS {
        let Some(value) = arguments.get(name) else { continue };
        if types & bit == 0 {
            let why = format!("it is not for queues of type {}", kind.name());
            return Err(invalid(name, queue, &why));
        }
        match treatment {
            Treatment::Refused => return Err(invalid(name, queue, "it is not supported")),
            Treatment::Ignored => {}
            Treatment::Honoured => honour(name, value, queue, &mut settings, &mut configs)?,
        }
    }
    if arguments.get("x-dead-letter-routing-key").is_some() && !settings.dead_letters {
        let why = "it needs x-dead-letter-exchange";
        return Err(invalid("x-dead-letter-routing-key", queue, why));
    }
    settings.arguments = bytes::Bytes::copy_from_slice(arguments.raw());
    Ok((settings, configs))
}

fn honour(
    name: &str,
    value: Value<'_>,
    queue: &str,
    settings: &mut QueueSettings,
    configs: &mut BTreeMap<String, String>,
) -> Result<(), AmqpError> {
    let number = |least: i64| match value.as_i64() {
        Some(number) if (least..=NUMBER_MAX).contains(&number) => Ok(number as u64),
        _ => Err(invalid(name, queue, &format!("expected a whole number from {least} to {NUMBER_MAX}"))),
    };
    let text = || value.as_str().ok_or_else(|| invalid(name, queue, "expected a long string"));
    match name {
        "x-message-ttl" => settings.message_ttl_ms = Some(number(0)?),
        "x-expires" => settings.expires_ms = Some(number(1)?),
        "x-max-length" => settings.length_max = Some(number(0)?),
        "x-max-length-bytes" if settings.stream => {
            configs.insert("retention.bytes".into(), number(0)?.to_string());
        }
        "x-max-length-bytes" => settings.length_bytes_max = Some(number(0)?),
        "x-dead-letter-exchange" => {
            text()?;
            settings.dead_letters = true;
        }
        "x-dead-letter-routing-key" => {
            text()?;
        }
        "x-overflow" => match text()? {
            "drop-head" => {}
            "reject-publish" => settings.reject_when_full = true,
            _ => return Err(invalid(name, queue, "expected drop-head or reject-publish")),
        },
        "x-single-active-consumer" => {
            let wanted = value.as_bool().ok_or_else(|| invalid(name, queue, "expected a boolean"))?;
            settings.single_active_consumer = wanted;
        }
        "x-delivery-limit" if value.as_i64() == Some(-1) => settings.delivery_limit = Some(NO_DELIVERY_LIMIT),
        "x-delivery-limit" => settings.delivery_limit = Some(u32::try_from(number(0)?).unwrap_or(u32::MAX)),
        "x-max-age" => {
            let age = interval_ms(text()?).ok_or_else(|| invalid(name, queue, "expected such as 7D"))?;
            configs.insert("retention.ms".into(), age.to_string());
        }
        _ => {}
    }
    Ok(())
}

fn invalid(argument: &str, queue: &str, why: &str) -> AmqpError {
    AmqpError::precondition(format!("invalid arg '{argument}' for queue '{queue}' in vhost '/': {why}"))
}

/// Whether a queue with the arguments `current` is what `received` asks for. Arguments that nobody acts upon do not
/// count; whole numbers are equal whatever their width.
pub fn check_equivalent(received: &Table, current: &Table, queue: &str) -> Result<(), AmqpError> {
    for (name, _, treatment) in ARGUMENTS {
        if *treatment != Treatment::Honoured {
            continue;
        }
        let (mut wanted, mut found) = (received.get(name), current.get(name));
        if *name == "x-queue-type" {
            let classic = Value::LongStr(b"classic");
            wanted = wanted.or(Some(classic));
            found = found.or(Some(classic));
        }
        if !same(wanted, found) {
            return Err(AmqpError::precondition(format!(
                "inequivalent arg '{name}' for queue '{queue}' in vhost '/': received {} but current is {}",
                described(wanted),
                described(found)
            )));
        }
    }
    Ok(())
}

fn same(wanted: Option<Value<'_>>, found: Option<Value<'_>>) -> bool {
    match (wanted, found) {
        (None, None) => true,
        (Some(wanted), Some(found)) => match (wanted.as_i64(), found.as_i64()) {
            (Some(wanted), Some(found)) => wanted == found,
            (None, None) => wanted == found,
            _ => false,
        },
        _ => false,
    }
}

fn described(value: Option<Value<'_>>) -> String {
    match value {
        None => "none".into(),
        Some(Value::LongStr(text)) => {
            format!("the value '{}' of type 'longstr'", String::from_utf8_lossy(text))
        }
        Some(Value::Bool(value)) => format!("the value '{value}' of type 'bool'"),
        Some(value) => match value.as_i64() {
            Some(number) => format!("the value '{number}' of type 'signedint'"),
            None => "a value of another type".into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::table::TableBuilder;
    use super::*;

    fn table(entries: &[(&str, Value<'_>)]) -> Table {
        let mut table = TableBuilder::new();
        for (name, value) in entries {
            table.put(name, *value);
        }
        table.finish()
    }

    #[test]
    fn each_argument_becomes_a_setting() {
        let arguments = table(&[
            ("x-message-ttl", Value::I32(300)),
            ("x-dead-letter-exchange", Value::LongStr(b"")),
            ("x-dead-letter-routing-key", Value::LongStr(b"dead")),
            ("x-overflow", Value::LongStr(b"reject-publish")),
            ("x-queue-mode", Value::LongStr(b"lazy")),
            ("nonsense", Value::Void),
        ]);
        let (settings, configs) = settings_of(&arguments, "q").unwrap();
        assert_eq!(settings.message_ttl_ms, Some(300));
        assert!(settings.dead_letters && settings.reject_when_full && configs.is_empty());
        let quorum = table(&[("x-queue-type", Value::LongStr(b"quorum"))]);
        assert_eq!(settings_of(&quorum, "q").unwrap().0.delivery_limit, Some(20));
        let unlimited =
            table(&[("x-queue-type", Value::LongStr(b"quorum")), ("x-delivery-limit", Value::I32(-1))]);
        assert_eq!(settings_of(&unlimited, "q").unwrap().0.delivery_limit, Some(NO_DELIVERY_LIMIT));
        let stream =
            table(&[("x-queue-type", Value::LongStr(b"stream")), ("x-max-age", Value::LongStr(b"1h"))]);
        let (settings, configs) = settings_of(&stream, "q").unwrap();
        assert!(settings.stream);
        assert_eq!(configs.get("retention.ms").map(String::as_str), Some("3600000"));
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for wrong in [
            ("x-max-priority", Value::I32(10)),
            ("x-message-ttl", Value::I32(-1)),
            ("x-message-ttl", Value::LongStr(b"300")),
            ("x-expires", Value::I32(0)),
            ("x-dead-letter-routing-key", Value::LongStr(b"k")),
            ("x-overflow", Value::LongStr(b"reject-publish-dlx")),
            ("x-max-age", Value::LongStr(b"1h")),
            ("x-queue-type", Value::LongStr(b"other")),
        ] {
            let error = settings_of(&table(&[wrong]), "q").unwrap_err();
            assert!(error.text().contains(wrong.0), "{}", error.text());
        }
    }

    #[test]
    fn only_arguments_that_matter_are_compared_and_by_value() {
        let current = table(&[("x-message-ttl", Value::I32(10)), ("x-queue-mode", Value::LongStr(b"lazy"))]);
        let long = table(&[("x-message-ttl", Value::I64(10)), ("noise", Value::Void)]);
        assert!(check_equivalent(&long, &current, "q").is_ok());
        let text = table(&[("x-message-ttl", Value::LongStr(b"10"))]);
        assert!(check_equivalent(&text, &current, "q").is_err());
        assert!(check_equivalent(&Table::default(), &current, "q").is_err());
    }
}
