//! The examples do what they say.

use std::path::PathBuf;
use std::process::Command;

/// Where cargo puts the examples that it builds for the tests.
fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().parent().unwrap().join("examples").join(name)
}

#[test]
fn the_write_ahead_log_remembers_its_last_run() {
    let directory = std::env::temp_dir().join(format!("ringmain-example-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    for run in 1..=3 {
        let output = Command::new(example("write_ahead_log")).arg(&directory).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(printed.contains(&format!("run {run}: 101 keys")), "{printed}");
    }
    std::fs::remove_dir_all(&directory).unwrap();
}
