//! Zig-zag variable-length integers, as record batches use them (Protocol Buffers encoding).
//!
//! Never allocates; a value longer than ten bytes, or one that does not fit, is refused.

/// Appends `value`.
pub fn put(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push((rest as u8 & 0x7f) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Bytes that [`put`] would append.
pub fn len(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (zigzag | 1).leading_zeros() as usize).div_ceil(7)
}

/// Takes one value off the front of `input`; `None` when it is cut short or overlong.
pub fn take(input: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for (index, byte) in input.iter().enumerate().take(10) {
        if index == 9 && *byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *input = input.get(index + 1..)?;
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_taken_and_measured() {
        for value in [0, 1, -1, 63, -64, 64, 300, -301, i64::from(i32::MAX), i64::MIN, i64::MAX] {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            assert_eq!(bytes.len(), len(value), "{value}");
            let mut input = bytes.as_slice();
            assert_eq!(take(&mut input), Some(value));
            assert!(input.is_empty());
            for cut in 0..bytes.len() {
                assert_eq!(take(&mut &bytes[..cut]), None);
            }
        }
        assert_eq!(take(&mut [0xff; 11].as_slice()), None);
    }
}
