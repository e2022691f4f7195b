//! The header that is checked in, and a C program that uses it.
//!
//! In: the sources, the header, `program.c`. Out: whether they agree, and what the program found. Never: writes into
//! the repository, unless it is told to by RINGMAIN_WRITE_HEADER.

use std::path::{Path, PathBuf};
use std::process::Command;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_header_is_what_the_sources_say() {
    let config = cbindgen::Config::from_file(here("cbindgen.toml")).unwrap();
    let sources = cbindgen::Builder::new()
        .with_config(config)
        .with_src(here("src/error.rs"))
        .with_src(here("src/calls.rs"));
    let mut made = Vec::new();
    sources.generate().unwrap().write(&mut made);
    let made = String::from_utf8(made).unwrap();
    let path = here("include/ringmain.h");
    if std::env::var_os("RINGMAIN_WRITE_HEADER").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap();
    assert!(made == checked_in, "run with RINGMAIN_WRITE_HEADER=1 and check in what it writes");
}

#[test]
fn a_c_program_appends_reads_trims_and_hears_of_its_mistakes() {
    // The static library lies beside the test's own program.
    let built = std::env::current_exe().unwrap();
    let library = built.parent().unwrap().join("libringmain.a");
    let scratch = std::env::temp_dir().join(format!("ringmain-capi-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&scratch);
    std::fs::create_dir_all(&scratch).unwrap();
    let program = scratch.join("program");
    let compiled = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&program)
        .arg(here("tests/program.c"))
        .arg("-I")
        .arg(here("include"))
        .arg(&library)
        .args(["-lpthread", "-ldl", "-lm"])
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let ran = Command::new(&program).arg(scratch.join("data")).output().unwrap();
    let output = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{output}{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(output, "3 records, 90 bytes, next 103; trimmed to 100; ends at 101\n");
    std::fs::remove_dir_all(&scratch).unwrap();
}
