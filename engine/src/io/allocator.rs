//! An allocator for programs that hold large buffers of many lengths, as a broker does.
//!
//! In: every allocation of the process. Out: small ones from the system's allocator, large ones from the kernel, in sizes a
//! sixteenth to an eighth apart; those that come back are kept for the next of their size. Never: splits or joins what it
//! has, so there is no fragmentation; or has much more from the kernel than was in use at once: other sizes go first.
//!
//! glibc takes runs and chunks from one heap. Where they came and went in any length, it held 400 MiB for 80 that were in use
//! (`ringmain-bench engine endurance`); told to map each apart, it had the kernel clear them all, and a bulk produce took
//! 2.2 us of processor time a record where it takes 1.1.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::{self, null_mut};
use std::sync::{Mutex, PoisonError};

/// Allocations of at least so many bytes are large.
const LARGE_BYTES_MIN: usize = 64 << 10;

/// Those of more are given back to the kernel at once.
const KEPT_SIZE_MAX: usize = 4 << 20;

/// Sizes between a power of two and the next.
const STEPS: usize = 8;
const CLASSES: usize = (KEPT_SIZE_MAX.ilog2() - LARGE_BYTES_MIN.ilog2()) as usize * STEPS + 1;
const PAGE_BYTES: usize = 4096;

/// More than was ever in use at once may be kept, so that sizes that take turns do not drive each other out.
const SLACK_BYTES: usize = 8 << 20;

/// `#[global_allocator] static ALLOCATOR: Buffers = Buffers::new();`
#[derive(Debug)]
pub struct Buffers {
    kept: Mutex<Kept>,
}

/// Buffers that nobody uses: of each size a list, linked through their first bytes.
#[derive(Debug)]
struct Kept {
    first: [*mut u8; CLASSES],
    bytes: usize,
    /// Bytes in use now, and at most at once.
    used_bytes: usize,
    used_bytes_max: usize,
}

// SAFETY: the pointers are to memory that nobody else knows of, which may be used on any thread.
unsafe impl Send for Kept {}

impl Default for Buffers {
    fn default() -> Buffers {
        Buffers::new()
    }
}

/// Which size an allocation gets, and how many bytes that is; `None`: the bytes are whole pages of its own.
fn class(bytes: usize) -> (Option<usize>, usize) {
    if bytes > KEPT_SIZE_MAX {
        return (None, bytes.next_multiple_of(PAGE_BYTES));
    }
    let power = (bytes - 1).ilog2();
    let step = (1 << power) / STEPS;
    let steps = (bytes - (1 << power)).div_ceil(step);
    let index = (power - LARGE_BYTES_MIN.ilog2()) as usize * STEPS + steps;
    (Some(index), (1 << power) + steps * step)
}

/// Bytes of the buffers of a size.
fn class_bytes(index: usize) -> usize {
    let power = LARGE_BYTES_MIN << (index.saturating_sub(1) / STEPS);
    power + (index - index.saturating_sub(1) / STEPS * STEPS) * (power / STEPS)
}

fn is_large(layout: Layout) -> bool {
    layout.size() > LARGE_BYTES_MIN && layout.align() <= PAGE_BYTES
}

impl Buffers {
    /// Keeps nothing yet.
    pub const fn new() -> Buffers {
        Buffers { kept: Mutex::new(Kept::NOTHING) }
    }

    fn take(&self, layout: Layout) -> *mut u8 {
        let (index, bytes) = class(layout.size());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.used_bytes += bytes;
        kept.used_bytes_max = kept.used_bytes_max.max(kept.used_bytes);
        if let Some(found) = index.and_then(|index| kept.pop(index, bytes)) {
            return found;
        }
        kept.shrink();
        drop(kept);
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: new memory, at an address of the kernel's choice.
        let found = unsafe { libc::mmap(null_mut(), bytes, protection, flags, -1, 0) };
        if found == libc::MAP_FAILED { null_mut() } else { found.cast() }
    }

    fn give_back(&self, buffer: *mut u8, layout: Layout) {
        let (index, bytes) = class(layout.size());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.used_bytes -= bytes;
        match index {
            Some(index) => kept.push(index, bytes, buffer),
            None => unmap(buffer, bytes),
        }
    }
}

fn unmap(buffer: *mut u8, bytes: usize) {
    // SAFETY: all of what was mapped at once, and nobody uses it any more.
    unsafe { libc::munmap(buffer.cast(), bytes) };
}

impl Kept {
    const NOTHING: Kept = Kept { first: [null_mut(); CLASSES], bytes: 0, used_bytes: 0, used_bytes_max: 0 };

    fn push(&mut self, index: usize, bytes: usize, buffer: *mut u8) {
        // SAFETY: nobody uses it any more, it is large enough and begins on a page.
        unsafe { ptr::write(buffer.cast::<*mut u8>(), self.first[index]) };
        self.first[index] = buffer;
        self.bytes += bytes;
    }

    fn pop(&mut self, index: usize, bytes: usize) -> Option<*mut u8> {
        let first = self.first[index];
        if first.is_null() {
            return None;
        }
        // SAFETY: it was kept by `push`, which wrote the next one there.
        self.first[index] = unsafe { ptr::read(first.cast::<*mut u8>()) };
        self.bytes -= bytes;
        Some(first)
    }

    /// Gives so many back, large ones first, that all is hardly more than was in use at once.
    fn shrink(&mut self) {
        for index in (0..CLASSES).rev() {
            while self.used_bytes + self.bytes > self.used_bytes_max + SLACK_BYTES {
                let bytes = class_bytes(index);
                let Some(buffer) = self.pop(index, bytes) else { break };
                unmap(buffer, bytes);
            }
        }
    }
}

// SAFETY: memory is of the system's allocator or mapped for one allocation, is as long as asked for or longer, begins on a
// page where it is mapped, and goes back to where it came from: which that is follows from the layout alone.
unsafe impl GlobalAlloc for Buffers {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            return self.take(layout);
        }
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, buffer: *mut u8, layout: Layout) {
        if is_large(layout) {
            return self.give_back(buffer, layout);
        }
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(buffer, layout) }
    }

    unsafe fn realloc(&self, buffer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let Ok(longer) = Layout::from_size_align(bytes, layout.align()) else { return null_mut() };
        match (is_large(layout), is_large(longer)) {
            // SAFETY: as the caller promised.
            (false, false) => return unsafe { System.realloc(buffer, layout, bytes) },
            (true, true) if class(layout.size()).1 == class(bytes).1 => return buffer,
            _ => {}
        }
        // SAFETY: the new layout has a size that is not zero, as the caller promised.
        let new = unsafe { self.alloc(longer) };
        if !new.is_null() {
            // SAFETY: both have so many bytes, and the new one is nobody else's.
            unsafe { ptr::copy_nonoverlapping(buffer, new, layout.size().min(bytes)) };
            // SAFETY: as the caller promised, and nobody uses the old one any more.
            unsafe { self.dealloc(buffer, layout) };
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, 1).unwrap()
    }

    #[test]
    fn every_size_has_a_class_that_is_hardly_larger() {
        let mut before = (None, 0);
        for bytes in (LARGE_BYTES_MIN + 1..=KEPT_SIZE_MAX).step_by(997).chain([KEPT_SIZE_MAX]) {
            let (index, taken) = class(bytes);
            assert!(
                taken >= bytes && taken <= bytes + bytes / STEPS + STEPS && taken.is_multiple_of(PAGE_BYTES)
            );
            assert!((index, taken) == before || index > before.0 && taken > before.1, "{bytes}");
            assert!(index.unwrap() < CLASSES);
            assert_eq!(class_bytes(index.unwrap()), taken);
            before = (index, taken);
        }
        assert_eq!(class(KEPT_SIZE_MAX + 1), (None, KEPT_SIZE_MAX + PAGE_BYTES));
    }

    fn alloc(buffers: &Buffers, bytes: usize) -> *mut u8 {
        // SAFETY: the size is not zero.
        unsafe { buffers.alloc(layout(bytes)) }
    }

    fn dealloc(buffers: &Buffers, buffer: *mut u8, bytes: usize) {
        // SAFETY: it was allocated with this size, and nobody uses it any more.
        unsafe { buffers.dealloc(buffer, layout(bytes)) }
    }

    fn realloc(buffers: &Buffers, buffer: *mut u8, before: usize, bytes: usize) -> *mut u8 {
        // SAFETY: it was allocated with the size before, and neither is zero.
        unsafe { buffers.realloc(buffer, layout(before), bytes) }
    }

    fn fill(buffer: *mut u8, byte: u8, bytes: usize) {
        // SAFETY: it has so many bytes, and nobody else uses it.
        unsafe { buffer.write_bytes(byte, bytes) }
    }

    fn holds(buffer: *mut u8, byte: u8, bytes: usize) -> bool {
        // SAFETY: it has so many bytes that were written, and nobody else uses it.
        let all = unsafe { std::slice::from_raw_parts(buffer, bytes) };
        all.iter().all(|found| *found == byte)
    }

    #[test]
    fn what_comes_back_is_used_again_and_no_more_is_had_than_was_in_use() {
        let buffers = Buffers::new();
        let kept = || buffers.kept.lock().unwrap().bytes;
        let one = 1 << 20;
        let made: Vec<*mut u8> = (0..12).map(|_| alloc(&buffers, one)).collect();
        for (byte, buffer) in made.iter().enumerate() {
            fill(*buffer, byte as u8, one);
        }
        for (byte, buffer) in made.iter().enumerate() {
            assert!(holds(*buffer, byte as u8, one));
            dealloc(&buffers, *buffer, one);
        }
        assert_eq!(kept(), 12 * one);
        let again = alloc(&buffers, one - 10);
        assert!(made.contains(&again));
        assert_eq!(realloc(&buffers, again, one - 10, one), again);
        fill(again, 7, one);
        assert_eq!(kept(), 11 * one);
        // Another size, beyond what was in use at once: one makes room for it, and one comes back.
        let longer = realloc(&buffers, again, one, 9 * one);
        assert!(holds(longer, 7, one));
        assert_eq!(kept(), 11 * one);
        let small = realloc(&buffers, longer, 9 * one, 10);
        assert!(holds(small, 7, 10));
        dealloc(&buffers, small, 10);
        let others: Vec<*mut u8> = (0..6).map(|_| alloc(&buffers, 2 * one)).collect();
        assert_eq!(kept(), 8 * one);
        others.iter().for_each(|other| dealloc(&buffers, *other, 2 * one));
        assert_eq!(kept(), 20 * one);
    }

    #[test]
    fn threads_do_not_get_the_same() {
        static BUFFERS: Buffers = Buffers::new();
        std::thread::scope(|scope| {
            for byte in 1..5 {
                scope.spawn(move || {
                    for round in 0..500 {
                        let bytes = (100 << 10) + round * 1000;
                        let buffer = alloc(&BUFFERS, bytes);
                        fill(buffer, byte, bytes);
                        assert!(holds(buffer, byte, bytes));
                        dealloc(&BUFFERS, buffer, bytes);
                    }
                });
            }
        });
        let kept = BUFFERS.kept.lock().unwrap();
        assert!(
            kept.used_bytes == 0
                && kept.bytes <= kept.used_bytes_max + SLACK_BYTES
                && kept.used_bytes_max < 4 << 20
        );
    }
}
