//! Shows options and values as the configuration file they would be.
//!
//! In: values with their origins. Out: text that can be used as a file again. Never: writes anywhere.

use std::fmt::Write;

use super::options::{Field, Opt};
use super::sources::Values;

/// Every option with its meaning and its value; an option without a value as a comment.
pub fn as_file(values: &Values, with_origin: bool) -> String {
    let mut out = String::new();
    for (option, text, origin) in values.iter() {
        let unset = if text.is_empty() { "# " } else { "" };
        let origin = if with_origin { format!("  # {origin}") } else { String::new() };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# {} ({})", option.meaning, described(option));
        let _ = writeln!(out, "{unset}{} = {}{origin}\n", option.name, literal(option, text));
    }
    out
}

/// Unit and range of an option, in words.
pub fn described(option: &Opt) -> String {
    match option.range() {
        Some((min, max)) => format!("{}, {min} to {max}", option.unit),
        None => option.unit.to_string(),
    }
}

fn literal(option: &Opt, text: &str) -> String {
    let bare = match option.field {
        Field::Switch(_) => text == "true" || text == "false",
        _ => option.range().is_some() && text.bytes().all(|byte| byte.is_ascii_digit()),
    };
    if bare && !text.is_empty() { text.to_string() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            letter if letter.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(letter))),
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}
