//! Headers exchanges: the binding's arguments are compared with the message's headers.
//!
//! `x-match` says how: `all` (the default) or `any` of the arguments, those whose names begin with `x-` left out
//! unless it is `all-with-x` or `any-with-x`. An argument agrees with a header of the same name, type and value;
//! an argument without a value agrees with any header of its name.

use crate::amqp::wire::table::{Fields, Value};

/// Argument of a binding: how it is compared. Never itself compared.
pub const X_MATCH: &str = "x-match";

/// Whether a binding with these `arguments` takes a message with these `headers`.
pub fn matches(arguments: Fields<'_>, headers: Fields<'_>) -> bool {
    let (any, with_x) = match arguments.get(X_MATCH).and_then(Value::as_str) {
        Some("any") => (true, false),
        Some("any-with-x") => (true, true),
        Some("all-with-x") => (false, true),
        _ => (false, false),
    };
    let mut compared = arguments
        .iter()
        .filter(|(name, _)| *name != X_MATCH.as_bytes() && (with_x || !name.starts_with(b"x-")))
        .map(|(name, wanted)| agrees(name, wanted, headers));
    if any { compared.any(|agrees| agrees) } else { compared.all(|agrees| agrees) }
}

fn agrees(name: &[u8], wanted: Value<'_>, headers: Fields<'_>) -> bool {
    headers.iter().any(|(found, value)| found == name && (wanted == Value::Void || wanted == value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::wire::table::{Table, TableBuilder};

    fn table(entries: &[(&str, Value<'_>)]) -> Table {
        let mut builder = TableBuilder::new();
        for (name, value) in entries {
            builder.put(name, *value);
        }
        builder.finish()
    }

    fn text(text: &str) -> Value<'_> {
        Value::LongStr(text.as_bytes())
    }

    #[test]
    fn all_any_and_their_x_forms() {
        let message = table(&[("type", text("pdf")), ("x-size", text("big")), ("pages", Value::I32(3))]);
        let cases: &[(&[(&str, Value<'_>)], bool)] = &[
            (&[], true),
            (&[("type", text("pdf"))], true),
            (&[("x-match", text("all")), ("type", text("pdf")), ("lang", text("en"))], false),
            (&[("x-match", text("any")), ("type", text("pdf")), ("lang", text("en"))], true),
            (&[("x-match", text("any")), ("lang", text("en"))], false),
            (&[("x-match", text("any"))], false),
            (&[("x-match", text("all")), ("type", text("pdf")), ("x-size", text("small"))], true),
            (&[("x-match", text("all-with-x")), ("type", text("pdf")), ("x-size", text("small"))], false),
            (&[("x-match", text("all-with-x")), ("x-size", text("big"))], true),
            (&[("x-match", text("any")), ("x-size", text("big"))], false),
            (&[("x-match", text("any-with-x")), ("x-size", text("big"))], true),
        ];
        for (arguments, expected) in cases {
            assert_eq!(matches(table(arguments).fields(), message.fields()), *expected, "{arguments:?}");
        }
    }

    #[test]
    fn types_count_and_void_is_presence() {
        let message = table(&[("pages", Value::I32(3))]);
        for (wanted, expected) in [
            (Value::I32(3), true),
            (Value::I32(4), false),
            (Value::I64(3), false),
            (text("3"), false),
            (Value::Void, true),
        ] {
            assert_eq!(
                matches(table(&[("pages", wanted)]).fields(), message.fields()),
                expected,
                "{wanted:?}"
            );
        }
        assert!(!matches(table(&[("absent", Value::Void)]).fields(), message.fields()));
    }
}
