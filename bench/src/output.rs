//! Where figures go: standard output for people, a file for programs.
//!
//! In: text and JSON values. Out: those bytes. Never: panics because a pipe was closed.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::machine::Machine;

/// Prints `text` as it is.
pub fn print(text: &str) -> Result<(), Failure> {
    if cfg!(test) {
        // What goes through the macro is shown of tests that fail, and not of the others.
        print!("{text}");
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
}

/// Refuses a file that cannot be written before minutes are spent on measuring.
pub fn check(file: Option<&Path>) -> Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    let parent = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if parent.is_dir() && !file.is_dir() {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "{} cannot be a file: no such directory, or a directory itself",
        file.display()
    )))
}

/// Writes `figures` with the machine and the command they came from to `file`, if there is one. `kind` says what
/// they are.
pub fn save(file: Option<&Path>, machine: &Machine, kind: &str, figures: Value) -> Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    let command: Vec<String> = std::env::args().collect();
    let all = json!({ "schema": 1, "kind": kind, "command": command.join(" "), "machine": machine.json(), "figures": figures });
    fs::write(file, format!("{all:#}\n")).map_err(Failure::disk("write", file))
}
