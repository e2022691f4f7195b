//! What can happen to bytes.
//!
//! In: bytes and chance. Out: other bytes. Never: knows what they mean.

use crate::random::Random;

const BLOCK_BYTES: usize = 4096;
const TELLING: [u64; 10] =
    [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, i64::MAX as u64, u64::MAX];

/// Changes a few bytes anywhere: what finds mistakes in a parser.
pub fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let length = bytes.len();
    if length == 0 {
        return bytes.extend(random.bytes(8));
    }
    // Fields are at the front of most structures.
    let at = if random.one_in(2) { random.below(length.min(96)) } else { random.below(length) };
    match random.below(7) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next() as u8,
        2 => put_number(bytes, at, TELLING[random.below(TELLING.len())], random),
        3 => bytes.truncate(at),
        4 => {
            let count = random.below(64);
            bytes.extend(random.bytes(count));
        }
        5 => {
            let end = (at + random.below(64)).min(length);
            bytes[at..end].fill(0);
        }
        _ => {
            let end = (at + random.below(16)).min(length);
            bytes.drain(at..end);
        }
    }
}

fn put_number(bytes: &mut [u8], at: usize, number: u64, random: &mut Random) {
    let width = [1, 2, 4, 8][random.below(4)];
    let number = if random.one_in(2) {
        number.to_le_bytes()
    } else {
        number.rotate_left(8 * width as u32 % 64).to_be_bytes()
    };
    for (to, from) in bytes.iter_mut().skip(at).zip(&number[..width]) {
        *to = *from;
    }
}

/// Changes a file as a device or a person does; says how.
pub fn spoil(bytes: &mut Vec<u8>, random: &mut Random) -> String {
    let blocks = (bytes.len() / BLOCK_BYTES).max(1);
    let block = random.below(blocks);
    let range = |block: usize, length: usize| {
        (block * BLOCK_BYTES).min(length)..((block + 1) * BLOCK_BYTES).min(length)
    };
    let length = bytes.len();
    match random.below(6) {
        0..=2 => {
            let at = random.below(length).min(length.saturating_sub(1));
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
            format!("a flipped bit at {at}")
        }
        3 => {
            bytes[range(block, length)].fill(0);
            format!("zeros in block {block}")
        }
        4 => {
            let at = if random.one_in(2) { block * BLOCK_BYTES } else { random.below(length) };
            bytes.truncate(at);
            format!("a cut at {at}")
        }
        _ => {
            let other = random.below(blocks);
            let (one, two) = (range(block, length), range(other, length));
            let (first, second) = (bytes[one.clone()].to_vec(), bytes[two.clone()].to_vec());
            if first.len() == second.len() {
                bytes[one].copy_from_slice(&second);
                bytes[two].copy_from_slice(&first);
            }
            format!("blocks {block} and {other} swapped")
        }
    }
}
