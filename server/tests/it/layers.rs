//! Imports point down: the table of layers, enforced over the text of both crates.
//!
//! In: every `crate::`, `super::` and `ringmain_engine::` path in `engine/src` and `server/src`. Out: each import
//! the table does not allow. Never: lets a new top-level module in without a row.

use super::source::{File, code_of, rust_files};

/// A module, and what else of its own crate it may name; its own contents it may always name.
type Row = (&'static str, &'static [&'static str]);

const ALL: &[&str] = &["*"];

/// From the bottom up. `format` and `io` do not see each other, nor do `journal` and `segment`.
const ENGINE: &[Row] = &[
    ("types", &[]),
    ("limits", &[]),
    ("planted", &[]),
    ("weakened", &[]),
    ("error", &["types"]),
    ("io", &["types", "limits", "error", "weakened"]),
    ("format", &["types", "limits", "error"]),
    ("journal", &["types", "limits", "planted", "error", "io", "format"]),
    ("segment", &["types", "limits", "planted", "error", "io", "format"]),
    ("partition", &["types", "limits", "planted", "error", "io", "format", "journal", "segment"]),
    ("commit", &["types", "limits", "error", "io", "format", "journal"]),
    ("settle", &["types", "limits", "error", "io", "format", "segment", "partition"]),
    ("acks", &["types", "limits", "error"]),
    ("watch", &["types", "limits", "error"]),
    ("shard", ALL),
    ("verify", ALL),
    ("sim", ALL),
    ("embed", ALL),
    ("lib", ALL),
];

const SERVER: &[Row] = &[
    ("net", &["broker"]),
    ("broker", &[]),
    ("kafka", &["broker"]),
    ("amqp", &["broker"]),
    ("config", &["broker"]),
    ("admin", &["broker", "config", "net"]),
    ("cli", ALL),
    ("core", ALL),
    ("lib", ALL),
    ("main", ALL),
];

/// What the server's modules may name of the engine.
const OF_ENGINE: &[Row] = &[
    ("net", &["io", "types", "limits", "error"]),
    ("broker", ALL),
    ("kafka", &["types", "format", "limits"]),
    ("amqp", &["types", "format", "limits"]),
    ("config", &["types", "limits"]),
    ("admin", &["types", "limits", "io"]),
    ("cli", ALL),
    ("core", ALL),
    ("lib", ALL),
    ("main", ALL),
];

/// Words of the layers above, which no code of the engine may contain.
const ABOVE_THE_ENGINE: [&str; 5] = ["kafka", "amqp", "topic", "consumer", "rabbit"];

#[test]
fn engine_imports_point_down() {
    expect_none(&wrong_imports("engine/src/", ENGINE, "crate", ENGINE));
}

#[test]
fn server_imports_point_down() {
    let mut wrong = wrong_imports("server/src/", SERVER, "crate", SERVER);
    wrong.extend(wrong_imports("server/src/", OF_ENGINE, "ringmain_engine", ENGINE));
    expect_none(&wrong);
}

#[test]
fn front_ends_never_mention_each_other() {
    let mut wrong = Vec::new();
    for (mine, other) in [("server/src/kafka", "amqp"), ("server/src/amqp", "kafka")] {
        wrong.extend(mentions(mine, &[other]));
    }
    wrong.extend(mentions("server/src/net", &["kafka", "amqp"]));
    expect_none(&wrong);
}

#[test]
fn the_engine_names_nothing_above_it() {
    expect_none(&mentions("engine/src", &ABOVE_THE_ENGINE));
}

#[test]
fn the_scanner_sees_every_form_of_an_import() {
    let code = "use crate::{a::{b, c}, d, super_::e};\nfn f(x: crate::g::H) {}\nuse super::super::i::J;";
    let names: Vec<String> = named_modules(code, "crate", 2).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["a", "d", "super_", "g", "i"]);
}

fn expect_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "imports must point down:\n{}", wrong.join("\n"));
}

fn under(directory: &str) -> Vec<File> {
    rust_files().into_iter().filter(|file| file.path.starts_with(directory)).collect()
}

fn wrong_imports(directory: &str, table: &[Row], root: &str, names: &[Row]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in under(directory) {
        let inside = file.path.strip_prefix(directory).unwrap_or(&file.path).trim_end_matches(".rs");
        let parts: Vec<&str> = inside.split('/').filter(|part| *part != "mod").collect();
        let module = parts.first().copied().unwrap_or_default();
        let Some((_, allowed)) = table.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{}: module `{module}` has no row in server/tests/it/layers.rs", file.path));
            continue;
        };
        for (line, name) in named_modules(&code_of(&file.text), root, parts.len()) {
            let known = names.iter().any(|(row, _)| *row == name);
            let own = root == "crate" && name == module;
            if known && !own && *allowed != ALL && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{}:{line}: `{module}` may not import `{root}::{name}`", file.path));
            }
        }
    }
    wrong
}

/// The top-level modules named by paths from `root`, with their lines. `depth` is the file's own depth in the
/// crate: that many `super::` or more reach its top (more, when written inside a module in the file).
fn named_modules(code: &str, root: &str, depth: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, start) in starts_of(code, root, depth) {
        let rest = code[start..].trim_start();
        match rest.strip_prefix('{') {
            Some(list) => found.extend(first_words(list).into_iter().map(|name| (number, name))),
            None => found.push((number, word(rest))),
        }
    }
    found
}

/// Where paths from the top of the crate go on, after `root::` or enough `super::`, with the line.
fn starts_of(code: &str, root: &str, depth: usize) -> Vec<(usize, usize)> {
    let line_of = |at: usize| code[..at].matches('\n').count() + 1;
    let mut starts = Vec::new();
    let prefix = format!("{root}::");
    for (at, _) in code.match_indices(&prefix) {
        if !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            starts.push((line_of(at), at + prefix.len()));
        }
    }
    if root == "crate" {
        for (at, _) in code.match_indices("super::") {
            if code[..at].ends_with("::") {
                continue;
            }
            let mut end = at;
            while code[end..].starts_with("super::") {
                end += "super::".len();
            }
            if (end - at) / "super::".len() >= depth {
                starts.push((line_of(at), end));
            }
        }
    }
    starts
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first word of each entry of a braced list, whose opening brace is already taken.
fn first_words(list: &str) -> Vec<String> {
    let (mut depth, mut fresh, mut words) = (0, true, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && !c.is_whitespace() => {
                words.push(word(&list[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    words
}

fn mentions(directory: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    // Tests fill in whole structures, settings of the other side included.
    for file in under(directory).iter().filter(|file| !file.path.contains("test")) {
        for (number, line) in code_of(&file.text).lines().enumerate() {
            let line = line.to_lowercase();
            for word in words.iter().filter(|word| line.contains(**word)) {
                found.push(format!("{}:{}: names `{word}`, which it must not know", file.path, number + 1));
            }
        }
    }
    found
}
