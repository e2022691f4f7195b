//! One page with pictures, from the files that the measurements wrote.
//!
//! In: JSON files. Out: one HTML file that needs nothing else. Never: a script, a font or a picture from a network;
//! text of a file that is not escaped.

mod engine;
mod page;
mod picture;
mod sections;
mod targets;
#[cfg(test)]
mod tests;

use std::fs;

use serde_json::Value;

use crate::args::Report;
use crate::failure::Failure;
use crate::output;

/// No figures are longer.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// One file's contents.
pub struct Source {
    /// For people: the file's name.
    pub name: String,
    pub kind: String,
    pub all: Value,
}

impl Source {
    /// What was measured.
    fn figures(&self) -> &Value {
        &self.all["figures"]
    }
}

/// Reads the files and writes the page.
pub fn run(args: &Report) -> Result<(), Failure> {
    output::check(Some(&args.out))?;
    let mut sources = Vec::new();
    for path in &args.files {
        let length = fs::metadata(path).map_err(Failure::disk("read", path))?.len();
        let wrong = |reason: String| Failure::Usage(format!("{}: {reason}", path.display()));
        if length > FILE_BYTES_MAX {
            return Err(wrong("too long to be figures of this program".to_owned()));
        }
        let text = fs::read(path).map_err(Failure::disk("read", path))?;
        let all: Value =
            serde_json::from_slice(&text).map_err(|error| wrong(format!("not JSON: {error}")))?;
        let (Some(kind), true) = (all["kind"].as_str(), all["schema"] == 1) else {
            return Err(wrong(
                "not written by --json of this program, or by another version of it".to_owned(),
            ));
        };
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        sources.push(Source { name, kind: kind.to_owned(), all });
    }
    let page = page::html(&sources)?;
    fs::write(&args.out, page).map_err(Failure::disk("write", &args.out))?;
    output::print(&format!("{}\n", args.out.display()))
}
