//! House rules over the text of the repository: headers, banned text, lengths, links, words, dependencies.
//!
//! In: every text file of the repository and `cargo metadata`. Out: each place that breaks a rule, with the
//! replacement. Never: checks what the compiler or clippy checks already.

use std::path::{Component, Path, PathBuf};
use std::process::Command;

use super::source::{File, code_of, files, rust_files, top};

const LINES_MAX: usize = 800;

/// Text that must not be in code, what to write instead, and the paths where it is allowed.
const BANNED: &[(&str, &str, &[&str])] = &[
    ("todo!", "write it, or leave the feature out and say so in the docs", &[]),
    ("unimplemented!", "write it, or answer with the protocol's error", &[]),
    ("dbg!", "remove it", &[]),
    ("map_err(|_|", "keep the source of the error", &[]),
    ("Arc<Mutex", "one core owns it: send a command through a mailbox", &["/tests"]),
    ("#[ignore", "a test runs or is deleted", &[]),
    ("thread::sleep", "wait for an event or a completion", &["bench/", "fuzz/", "/tests", "server/src/cli/"]),
    (
        "Instant::now",
        "time is an argument",
        &[
            "server/src/core/run.rs",
            "server/src/cli/",
            "bench/",
            "fuzz/",
            "/tests",
            "engine/src/embed",
            "engine/examples/",
        ],
    ),
    (
        "SystemTime::now",
        "time is an argument",
        &[
            "server/src/core/run.rs",
            "server/src/cli/",
            "bench/",
            "fuzz/",
            "/tests",
            "engine/src/embed",
            "engine/examples/",
        ],
    ),
    ("std::fs", "ask engine/src/io", FILES),
    ("File::open", "ask engine/src/io", FILES),
    ("File::create", "ask engine/src/io", FILES),
];

/// Where files may be opened without the ring: at start, on the command line, in tools and tests.
const FILES: &[&str] = &[
    "engine/src/io/",
    "engine/src/shard/rig.rs",
    "engine/examples/",
    "server/src/cli/",
    "server/src/config",
    "server/src/core/start.rs",
    "bench/",
    "fuzz/",
    "/tests",
];

/// Words with a longer form that is always written.
const SHORT_WORDS: &[(&str, &str)] =
    &[("lso", "last_stable_offset"), ("hwm", "high_watermark"), ("leo", "log_end_offset")];

/// Pages that must be there.
const PAGES: &[&str] = &[
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "docs/TESTING.md",
    "docs/decisions/README.md",
];

/// Licences that dependencies may have; the same list as in deny.toml.
const LICENCES: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "Unlicense",
    "0BSD",
    "CC0-1.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSL-1.0",
    "MIT-0",
];

fn expect_none(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
}

/// Whether a path is one of the places: a prefix, or (from a `/` on) any part of it.
fn allowed(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path.starts_with(place) || (place.starts_with('/') && path.contains(place)))
}

#[test]
fn every_rust_file_opens_with_its_purpose() {
    let bare = |file: &File| !file.text.starts_with("//! ");
    let wrong: Vec<String> = rust_files().into_iter().filter(bare).map(|file| file.path).collect();
    expect_none("the first line must be `//!` and say what the file owns", &wrong);
}

#[test]
fn no_file_is_too_long() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        let count = file.text.lines().count();
        if count >= LINES_MAX {
            wrong.push(format!("{}: {count} lines, {LINES_MAX} are too many: split it by noun", file.path));
        }
    }
    expect_none("long files", &wrong);
}

#[test]
fn banned_text_is_absent() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        // What follows is the file's own tests.
        let code = code_of(&file.text);
        let code = code.split("#[cfg(test)]\nmod ").next().unwrap_or(&code);
        for (number, line) in code.lines().enumerate() {
            for (text, instead, places) in BANNED {
                if line.contains(text) && !allowed(&file.path, places) {
                    wrong.push(format!("{}:{}: `{text}`: {instead}", file.path, number + 1));
                }
            }
        }
    }
    expect_none("banned text", &wrong);
}

#[test]
fn words_are_written_in_full() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        for (number, line) in code_of(&file.text).lines().enumerate() {
            let words = line.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
            for word in words {
                for (_, long) in SHORT_WORDS.iter().filter(|(short, _)| *short == word) {
                    wrong.push(format!("{}:{}: `{word}` is written `{long}`", file.path, number + 1));
                }
            }
        }
    }
    expect_none("short words", &wrong);
}

#[test]
fn no_marks_of_unfinished_work() {
    let marks = [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X:"), concat!("HA", "CK:")];
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| !file.path.ends_with("Cargo.lock")) {
        for (number, line) in file.text.lines().enumerate() {
            for mark in marks
                .iter()
                .filter(|mark| line.split(|c: char| !c.is_alphanumeric() && c != ':').any(|w| w == **mark))
            {
                wrong.push(format!(
                    "{}:{}: `{mark}`: finish it, or describe the limit in the docs",
                    file.path,
                    number + 1
                ));
            }
        }
    }
    expect_none("unfinished work", &wrong);
}

#[test]
fn unsafe_stays_beside_the_kernel() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        if allowed(&file.path, &["engine/src/io/", "engine/capi/src/", "bench/"]) {
            continue;
        }
        for (number, line) in code_of(&file.text).lines().enumerate() {
            if line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe") {
                wrong.push(format!("{}:{}", file.path, number + 1));
            }
        }
    }
    expect_none("`unsafe` outside engine/src/io and engine/capi", &wrong);
}

#[test]
fn nothing_names_where_it_was_written() {
    let words = [
        concat!("cla", "ude"),
        concat!("anth", "ropic"),
        concat!("chat", "gpt"),
        concat!("open", "ai"),
        concat!("copi", "lot"),
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
    ];
    let mut wrong = Vec::new();
    for file in files() {
        for (number, line) in file.text.lines().enumerate() {
            let line = line.to_lowercase();
            for word in words.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{}: `{word}`", file.path, number + 1));
            }
        }
    }
    expect_none("names and absolute paths that are nobody else's business", &wrong);
}

#[test]
fn pages_exist_and_their_links_resolve() {
    let mut wrong: Vec<String> = PAGES
        .iter()
        .filter(|page| !top().join(page).exists())
        .map(|page| format!("{page} is missing"))
        .collect();
    for file in files().iter().filter(|file| file.path.ends_with(".md")) {
        let directory = top().join(&file.path).parent().map(Path::to_path_buf).unwrap_or_default();
        for link in links(&file.text) {
            let path = link.split('#').next().unwrap_or_default();
            if !path.is_empty() && !plain(&directory.join(path)).exists() {
                wrong.push(format!("{}: link to {link} leads nowhere", file.path));
            }
        }
    }
    expect_none("pages and links", &wrong);
}

/// The relative targets of `[text](target)` outside code blocks.
fn links(text: &str) -> Vec<String> {
    let prose: String = text.split("```").step_by(2).collect();
    let mut found = Vec::new();
    for (at, _) in prose.match_indices("](") {
        let target: String = prose[at + 2..].chars().take_while(|c| !matches!(c, ')' | ' ' | '\n')).collect();
        if !target.contains("://") && !target.starts_with("mailto:") {
            found.push(target);
        }
    }
    found
}

/// The path with its `..` taken away, so that a link through a directory that is not there is no way around.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

#[test]
fn every_page_has_one_title() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| file.path.ends_with(".md")) {
        let prose: String = file.text.split("```").step_by(2).collect();
        let titles = prose.lines().filter(|line| line.starts_with("# ")).count();
        if titles != 1 {
            wrong.push(format!("{}: {titles} lines begin with `# `", file.path));
        }
    }
    expect_none("one title for each page", &wrong);
}

#[test]
fn dependencies_come_from_the_registry_under_known_licences() {
    // Only what this platform builds, which is downloaded already: the test needs no network.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &platform])
        .current_dir(top())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 4, "the workspace alone has four packages");
    let mut wrong = Vec::new();
    for package in packages {
        let (name, licence) =
            (package["name"].as_str().unwrap_or_default(), package["license"].as_str().unwrap_or_default());
        let excepted = EXCEPTIONS.contains(&(name, licence));
        if !licence_allowed(licence) && !excepted {
            wrong.push(format!("{name}: licence `{licence}` is not in the list"));
        }
        if let Some(source) = package["source"].as_str()
            && source != "registry+https://github.com/rust-lang/crates.io-index"
        {
            wrong.push(format!("{name}: comes from {source}"));
        }
    }
    expect_none("dependencies", &wrong);
}

/// What `ringmain-bench engine peers` builds is no part of the workspace and not downloaded by it, so its licences are not
/// at hand; where it comes from is.
#[test]
fn what_the_engine_is_compared_with_comes_from_the_registry() {
    let lock = std::fs::read_to_string(top().join("bench/peers/Cargo.lock")).expect("the lock file is there");
    let sources: Vec<&str> = lock.lines().filter(|line| line.starts_with("source = ")).collect();
    assert!(sources.len() > 20, "it names its packages");
    let known = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let wrong: Vec<String> =
        sources.iter().filter(|line| **line != known).map(|line| (*line).to_owned()).collect();
    expect_none("packages from elsewhere", &wrong);
}

/// Reads an SPDX expression far enough: of alternatives one must be in the list, of a conjunction all.
/// Tools of tests alone, which are in no program; the reason is in docs/decisions.
const EXCEPTIONS: [(&str, &str); 1] = [("cbindgen", "MPL-2.0")];

fn licence_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], "");
    let known = |licence: &str| LICENCES.contains(&licence.trim());
    // Without brackets `A OR B AND C` is read as `(A OR B) AND C`: stricter than SPDX, never laxer.
    !expression.is_empty() && expression.split(" AND ").all(|part| part.split(" OR ").any(known))
}

#[test]
fn licences_are_read_strictly() {
    assert!(licence_allowed("MIT OR Apache-2.0") && licence_allowed("MIT/Apache-2.0"));
    assert!(licence_allowed("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(!licence_allowed("GPL-3.0") && !licence_allowed("MIT AND GPL-3.0") && !licence_allowed(""));
}

#[test]
fn every_dependency_has_its_reason() {
    let page =
        std::fs::read_to_string(top().join("docs/decisions/0007-dependencies.md")).expect("the page exists");
    let mut wrong = Vec::new();
    for manifest in ["engine", "server", "bench", "bench/peers", "fuzz"] {
        let text =
            std::fs::read_to_string(top().join(manifest).join("Cargo.toml")).expect("a manifest can be read");
        for name in dependencies(&text) {
            if !name.starts_with("ringmain") && !page.contains(&format!("| `{name}` |")) {
                wrong.push(format!(
                    "{manifest}/Cargo.toml: `{name}` has no row in docs/decisions/0007-dependencies.md"
                ));
            }
        }
    }
    expect_none("dependencies without a reason", &wrong);
}

/// The names in every `dependencies` section of a manifest.
fn dependencies(manifest: &str) -> Vec<String> {
    let (mut inside, mut names) = (false, Vec::new());
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside && line.contains('=') && !line.starts_with('#') {
            names.push(line.split(['.', '=', ' ']).next().unwrap_or_default().to_string());
        }
    }
    names
}
