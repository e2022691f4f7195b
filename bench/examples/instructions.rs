//! Runs one path a fixed number of times, so that an outside program can count its instructions.
//!
//! In: a path's name and a count, or `--list`. Out: the names, or nothing. Never: counts by itself.
//!
//! Only what happens inside of [`counted_path`] is to be counted: setting a path up costs more than running it.

#[path = "../benches/paths/mod.rs"]
mod paths;

use std::hint::black_box;
use std::process::ExitCode;

/// Runs before the ones that count: caches of the path itself fill up.
const WARM_UP: usize = 3;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut all = paths::all();
    match &words[..] {
        [word] if word == "--list" => all.iter().for_each(|path| println!("{}", path.name)),
        [name, count] => {
            let (Some(path), Ok(count)) = (all.iter_mut().find(|path| path.name == name), count.parse())
            else {
                eprintln!("instructions: there is no path {name}, or {count} is not a number");
                return ExitCode::from(2);
            };
            for _ in 0..WARM_UP {
                assert!((path.run)() > 0, "{name} does its work");
            }
            black_box(counted_path(path, count));
        }
        // Every path once, to see that it works.
        _ => all.iter_mut().for_each(|path| assert!((path.run)() > 0, "{} does its work", path.name)),
    }
    ExitCode::SUCCESS
}

/// Named, and not merged into its caller, so that it can be found from outside.
#[inline(never)]
fn counted_path(path: &mut paths::Path, count: usize) -> usize {
    (0..count).map(|_| (path.run)()).fold(0, usize::wrapping_add)
}
