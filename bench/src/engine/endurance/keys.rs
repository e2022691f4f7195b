//! Which record of each key is the newest, and whether a reader found it.
//!
//! In: the keys of what is appended, the keys and offsets of what is read. Out: a key whose newest record is missing.
//! Never: asks for a record that a later one replaces.

use ringmain_engine::types::Offset;

/// The newest record of each key; 0 stands for none, else it is one more than the offset.
#[derive(Clone)]
pub(super) struct Keys {
    newest: Vec<u64>,
    random: u64,
}

impl Keys {
    /// So many keys, none of them written.
    pub(super) fn new(count: usize) -> Keys {
        Keys { newest: vec![0; count], random: 0x9e37_79b9_7f4a_7c15 }
    }

    /// The key of the next record, which goes to `offset`.
    pub(super) fn write(&mut self, offset: Offset) -> [u8; 8] {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let key = self.random as usize % self.newest.len();
        self.newest[key] = offset + 1;
        (key as u64).to_le_bytes()
    }
}

/// One reader's way through the whole log.
pub(super) struct Pass {
    /// As it was when the pass began.
    begun: Keys,
    seen: Vec<u64>,
}

impl Pass {
    /// From the log's start to where it ends now.
    pub(super) fn begin(keys: &Keys) -> Pass {
        Pass { begun: keys.clone(), seen: vec![0; keys.newest.len()] }
    }

    /// A record was read; false: its key is none that was written.
    pub(super) fn see(&mut self, key: &[u8], offset: Offset) -> bool {
        let number = key.try_into().map(u64::from_le_bytes).ok();
        match number.and_then(|number| self.seen.get_mut(usize::try_from(number).ok()?)) {
            Some(seen) => {
                *seen = offset + 1;
                true
            }
            None => false,
        }
    }

    /// Everything below `upto` was read: the first key whose newest record, as of the beginning, was there to be read and
    /// was not, though no later one replaces it until now.
    pub(super) fn missing(&self, upto: Offset, now: &Keys) -> Option<(usize, Offset)> {
        let keys = self.begun.newest.iter().zip(&self.seen).zip(&now.newest).enumerate();
        let mut lost =
            keys.filter(|(_, ((begun, seen), now))| seen < begun && begun == now && **begun <= upto);
        lost.next().map(|(key, ((begun, _), _))| (key, *begun - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newest_record_that_was_not_read_is_missing_until_it_is_replaced() {
        let mut keys = Keys::new(1);
        let mut pass = Pass::begin(&keys);
        assert_eq!(pass.missing(9, &keys), None);
        let key = keys.write(5);
        pass = Pass::begin(&keys);
        assert!(pass.see(&key, 4));
        assert_eq!(pass.missing(6, &keys), Some((0, 5)));
        assert_eq!(pass.missing(5, &keys), None, "the reader did not come as far");
        assert!(pass.see(&key, 5));
        assert_eq!(pass.missing(6, &keys), None);
        keys.write(6);
        pass = Pass::begin(&keys);
        keys.write(7);
        assert_eq!(pass.missing(9, &keys), None, "a later one replaces it");
        assert!(!pass.see(b"no key", 8) && !pass.see(&[1, 0, 0, 0, 0, 0, 0, 0], 8));
    }
}
