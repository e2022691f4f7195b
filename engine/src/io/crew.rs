//! A few threads for the blocking work of a start, where one log does not depend on another.
//!
//! In: pieces of work, what is to be done to each. Out: what each came to, in their order. Never: used while serving; more
//! than one thread where the disk is simulated, for a seed must come to the same every time.

use std::thread;

use super::disk::Disk;

/// Threads that wait for the device at the same time. Opening a log reads a block or two, and a device answers many
/// such reads as fast as one.
const THREADS: usize = 16;

/// Less work than this for each thread is not worth the thread.
const PIECES_MIN: usize = 16;

impl Disk {
    /// Does `work` to each of `pieces`.
    pub fn each<T: Send, R: Send>(&self, pieces: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
        let threads = if self.is_machine() { (pieces.len() / PIECES_MIN).clamp(1, THREADS) } else { 1 };
        let share = pieces.len().div_ceil(threads);
        let (mut rest, work) = (pieces, &work);
        thread::scope(|scope| {
            let mut others = Vec::new();
            while rest.len() > share {
                let mine = rest.split_off(rest.len() - share);
                others.push(scope.spawn(move || mine.into_iter().map(work).collect::<Vec<R>>()));
            }
            let mut done: Vec<R> = rest.into_iter().map(work).collect();
            for thread in others.into_iter().rev() {
                match thread.join() {
                    Ok(more) => done.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            done
        })
    }

    fn is_machine(&self) -> bool {
        matches!(self, Disk::Machine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_done_once_and_answers_in_its_place() {
        for count in [0, 1, PIECES_MIN, 3 * PIECES_MIN + 1, THREADS * PIECES_MIN * 3 + 5] {
            let done = Disk::Machine.each((0..count).collect(), |piece| piece * 2);
            assert_eq!(done, (0..count).map(|piece| piece * 2).collect::<Vec<_>>());
        }
    }
}
