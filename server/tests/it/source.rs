//! The repository as text: its files, and Rust source without comments and string contents.
//!
//! In: the directory above this package. Out: paths relative to it, and lines. Never: changes a file.

use std::fs;
use std::path::{Path, PathBuf};

/// Directories that hold what was built or stored, not what was written.
const SKIPPED: [&str; 7] =
    ["target", ".git", ".venv", "ringmain-data", "__pycache__", "node_modules", "corpus"];

/// One file: its path from the top of the repository, with `/`, and its text.
pub struct File {
    pub path: String,
    pub text: String,
}

/// The top of the repository.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_path_buf()
}

/// Every text file of the repository, in the order of their paths.
pub fn files() -> Vec<File> {
    let mut found = Vec::new();
    visit(&top(), "", &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The Rust files among them.
pub fn rust_files() -> Vec<File> {
    files().into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}

fn visit(directory: &Path, prefix: &str, found: &mut Vec<File>) {
    for entry in fs::read_dir(directory).expect("a directory of the repository can be listed") {
        let entry = entry.expect("a directory entry can be read");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let kind = entry.file_type().expect("an entry has a type");
        if SKIPPED.contains(&name.as_str()) {
            continue; // also where `.git` is a file
        }
        if kind.is_dir() {
            visit(&entry.path(), &path, found);
        } else if kind.is_file()
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            found.push(File { path, text });
        }
    }
}

/// Source without comments and without what stands between quotes; line breaks stay where they are.
///
/// Knows line and nested block comments, strings, raw strings, bytes and character literals, so that a banned
/// word in a comment or a text is not taken for code.
pub fn code_of(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match (bytes[at], bytes.get(at + 1)) {
            ('/', Some('/')) => find(&bytes, at, |rest| rest[0] == '\n'),
            ('/', Some('*')) => block_comment_end(&bytes, at),
            ('r', Some('"' | '#')) if !joins(&bytes, at) => raw_string_end(&bytes, at),
            ('"', _) => string_end(&bytes, at + 1, '"'),
            ('\'', _) => character_end(&bytes, at),
            _ => at,
        };
        if end == at {
            code.push(bytes[at]);
            at += 1;
        } else {
            code.extend(bytes[at..end].iter().filter(|c| **c == '\n'));
            code.push(' ');
            at = end;
        }
    }
    code
}

/// Whether the character before `at` belongs to the same word (`br"` does not count as one).
fn joins(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_') && chars[at - 1] != 'b'
}

fn find(chars: &[char], from: usize, stop: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|at| stop(&chars[*at..])).unwrap_or(chars.len())
}

fn block_comment_end(chars: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0);
    while at < chars.len() {
        let step = match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                2
            }
            ('*', Some('/')) => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

fn raw_string_end(chars: &[char], from: usize) -> usize {
    let hashes = chars[from + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(from + 1 + hashes) != Some(&'"') {
        return from; // a raw identifier
    }
    let body = from + 2 + hashes;
    let close =
        |rest: &[char]| rest[0] == '"' && rest[1..].iter().take_while(|c| **c == '#').count() >= hashes;
    (find(chars, body, close) + 1 + hashes).min(chars.len())
}

fn string_end(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// A character literal's end; a lifetime is left alone.
fn character_end(chars: &[char], from: usize) -> usize {
    match (chars.get(from + 1), chars.get(from + 2)) {
        (Some('\\'), _) => string_end(chars, from + 1, '\''),
        (Some(_), Some('\'')) => from + 3,
        _ => from,
    }
}

#[test]
fn comments_and_texts_are_not_code() {
    let text = "let a = \"use crate::x\"; // use crate::y\n/* one /* two */ three */ let b: &'a str = r#\"dbg!\"#; let c = '\"';";
    let code = code_of(text);
    assert!(!code.contains("crate") && !code.contains("dbg") && !code.contains("three"), "{code}");
    assert!(
        code.contains("let a =") && code.contains("let b: &'a str") && code.contains("let c ="),
        "{code}"
    );
    assert_eq!(code.lines().count(), 2);
}
