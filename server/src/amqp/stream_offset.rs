//! The consumer argument `x-stream-offset`: where a stream is read from.
//!
//! In: a consumer's arguments. Out: a [`Start`]. Never: reads a log.

use super::error::AmqpError;
use super::wire::table::{Table, Value};
use crate::broker::command::Start;

/// Where the consumer starts; without the argument, behind the last record.
pub fn start_of(arguments: &Table, now_ms: i64) -> Result<Start, AmqpError> {
    let Some(value) = arguments.get("x-stream-offset") else { return Ok(Start::Next) };
    let start = match value {
        Value::LongStr(b"first") => Some(Start::First),
        Value::LongStr(b"last") => Some(Start::Last),
        Value::LongStr(b"next") => Some(Start::Next),
        Value::Timestamp(seconds) => {
            i64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(1000)).map(Start::Time)
        }
        Value::LongStr(_) => value
            .as_str()
            .and_then(interval_ms)
            .and_then(|ms| i64::try_from(ms).ok())
            .map(|ms| Start::Time(now_ms.saturating_sub(ms))),
        value => value.as_i64().and_then(|offset| u64::try_from(offset).ok()).map(Start::Offset),
    };
    start.ok_or_else(|| {
        AmqpError::precondition(
            "invalid arg 'x-stream-offset' of consumer: expected first, last, next, an \
                                 offset, a timestamp or an interval such as 7D",
        )
    })
}

/// Milliseconds of a number and one of the units Y, M, D, h, m, s.
pub fn interval_ms(text: &str) -> Option<u64> {
    const SECOND: u64 = 1000;
    const DAY: u64 = 86_400 * SECOND;
    let unit = text.chars().next_back()?;
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let unit_ms = match unit {
        'Y' => 365 * DAY,
        'M' => 30 * DAY,
        'D' => DAY,
        'h' => 3600 * SECOND,
        'm' => 60 * SECOND,
        's' => SECOND,
        _ => return None,
    };
    number.checked_mul(unit_ms)
}

#[cfg(test)]
mod tests {
    use super::super::wire::table::TableBuilder;
    use super::*;

    fn start(value: Value<'_>) -> Option<Start> {
        let mut table = TableBuilder::new();
        table.put("x-stream-offset", value);
        start_of(&table.finish(), 100_000).ok()
    }

    #[test]
    fn every_form_of_offset_is_understood() {
        assert_eq!(start(Value::LongStr(b"first")), Some(Start::First));
        assert_eq!(start(Value::I32(7)), Some(Start::Offset(7)));
        assert_eq!(start(Value::Timestamp(5)), Some(Start::Time(5000)));
        assert_eq!(start(Value::LongStr(b"1m")), Some(Start::Time(40_000)));
        assert_eq!(start_of(&Table::default(), 0).ok(), Some(Start::Next));
        for wrong in [Value::I32(-1), Value::LongStr(b""), Value::LongStr(b"7x"), Value::Bool(true)] {
            assert_eq!(start(wrong), None, "{wrong:?}");
        }
    }
}
