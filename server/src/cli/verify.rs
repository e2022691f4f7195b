//! `ringmain verify`: everything in a data directory read again, and what is wrong with it printed.
//!
//! In: a directory. Out: text or JSON on standard output, and the exit code: 0 clean, 1 damage, 2 cannot read.
//! Never: judges; the engine does.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use ringmain_engine::verify::{Finding, Report, verify};
use serde_json::{Value, json};

/// Verifies `directory` and prints what was found.
pub fn run(directory: &Path, as_json: bool) -> ExitCode {
    match verify(directory) {
        Ok(report) => {
            print!("{}", if as_json { json_of(&report) } else { text_of(&report) });
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => {
            if as_json {
                println!("{}", json!({ "clean": false, "error": error.to_string() }));
            }
            eprintln!("ringmain: {error}");
            ExitCode::from(2)
        }
    }
}

fn counts_of(report: &Report) -> [(&'static str, u64); 11] {
    let counts = report.counts;
    [
        ("superblocks", counts.superblocks),
        ("checkpoints", counts.checkpoints),
        ("logs", counts.logs),
        ("journal_files", counts.journal_files),
        ("frames", counts.frames),
        ("entries", counts.entries),
        ("frame_batches", counts.frame_batches),
        ("segments", counts.segments),
        ("runs", counts.runs),
        ("run_batches", counts.run_batches),
        ("bytes", counts.bytes),
    ]
}

fn text_of(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        let _ = writeln!(text, "{line}"); // a String takes all
    };
    line(format!("{}: start {}, {} shards", report.directory.display(), report.incarnation, report.shards));
    for (name, count) in counts_of(report) {
        line(format!("  {:<14} {count}", name.replace('_', " ")));
    }
    for note in &report.notes {
        line(format!("note: {note}"));
    }
    for finding in &report.findings {
        line(format!("damage: {finding}"));
    }
    line(match report.findings.len() {
        0 => "clean".to_string(),
        count => format!("{count} findings of damage"),
    });
    text
}

fn json_of(report: &Report) -> String {
    let counts: serde_json::Map<String, Value> =
        counts_of(report).into_iter().map(|(name, count)| (name.to_string(), json!(count))).collect();
    let all = |findings: &[Finding]| findings.iter().map(finding_of).collect::<Vec<Value>>();
    let value = json!({
        "directory": report.directory.display().to_string(),
        "clean": report.is_clean(),
        "incarnation": report.incarnation,
        "shards": report.shards,
        "checked": counts,
        "findings": all(&report.findings),
        "notes": all(&report.notes),
    });
    format!("{value:#}\n")
}

fn finding_of(finding: &Finding) -> Value {
    json!({
        "path": finding.path.display().to_string(),
        "position": finding.position,
        "log": finding.log.map(|log| log.to_string()),
        "offsets": finding.offsets.as_ref().map(|offsets| [offsets.start, offsets.end]),
        "what": finding.what,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ringmain_engine::types::LogId;

    use super::*;

    #[test]
    fn both_renderings_name_file_place_log_and_offsets() {
        let finding = Finding {
            path: PathBuf::from("d/log/x.seg"),
            position: 4160,
            log: Some(LogId(4)),
            offsets: Some(3..9),
            what: "rotten".to_string(),
        };
        let mut report = Report { directory: PathBuf::from("d"), ..Report::default() };
        assert!(text_of(&report).ends_with("\nclean\n"));
        report.findings.push(finding);
        report.counts.runs = 7;
        let text = text_of(&report);
        assert!(text.contains("damage: d/log/x.seg at 4160: rotten (log 4, offsets 3 to 9)\n"), "{text}");
        let value: Value = serde_json::from_str(&json_of(&report)).unwrap();
        assert_eq!(value["clean"], json!(false));
        assert_eq!(value["checked"]["runs"], json!(7));
        assert_eq!(value["findings"][0]["offsets"], json!([3, 9]));
        assert_eq!(value["findings"][0]["log"], json!("0000000000000004"));
    }
}
