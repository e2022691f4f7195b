//! Topic exchanges: words between dots; in a binding `*` is any one word and `#` any number of them, also none.
//!
//! The empty key has no word at all; `a..b` has three, the second of them empty.

/// Whether a binding with the key `pattern` takes a message with `routing_key`.
///
/// Without allocation, and in time of at most the product of the word counts: only the last `#` is ever tried again,
/// because whatever an earlier one could take instead, the last one can take too.
pub fn matches(pattern: &[u8], routing_key: &[u8]) -> bool {
    let (mut pattern, mut key) = (Words::of(pattern), Words::of(routing_key));
    // Behind the last `#`: the pattern, and the key where that was last tried.
    let mut again: Option<(Words<'_>, Words<'_>)> = None;
    loop {
        let wanted = pattern.next();
        if wanted == Some(b"#") {
            again = Some((pattern, key));
            continue;
        }
        let here = key.next();
        let same = match (wanted, here) {
            (None, None) => return true,
            (Some(b"*"), Some(_)) => true,
            (wanted, here) => wanted.is_some() && wanted == here,
        };
        if same {
            continue;
        }
        let Some((pattern_again, key_again)) = again.as_mut() else { return false };
        if key_again.next().is_none() {
            return false;
        }
        (pattern, key) = (*pattern_again, *key_again);
    }
}

/// The words that are left of a key; `None` behind the last.
#[derive(Clone, Copy)]
struct Words<'a>(Option<&'a [u8]>);

impl<'a> Words<'a> {
    fn of(key: &'a [u8]) -> Words<'a> {
        Words((!key.is_empty()).then_some(key))
    }

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        let mut parts = rest.splitn(2, |byte| *byte == b'.');
        let word = parts.next();
        self.0 = parts.next();
        word
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn words_stars_and_hashes() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("a.b", &["a.b"], &["", "a", "a.b.c", "a.", "ab", "A.b"]),
            ("", &[""], &["a", "."]),
            ("*", &["a", "abc"], &["", "a.b", "a."]),
            ("a.*", &["a.b", "a."], &["a", "a.b.c", "b.b"]),
            ("*.*", &["a.b", "."], &["a", "a.b.c", ""]),
            ("#", &["", "a", "a.b.c", "..."], &[]),
            ("a.#", &["a", "a.b", "a.b.c"], &["", "b", "ab.c"]),
            ("#.z", &["z", "a.z", "a.b.z", "z.z"], &["", "a", "z.a"]),
            ("a.#.z", &["a.z", "a.b.z", "a.z.z", "a.b.c.z"], &["a", "z", "a.z.b"]),
            ("#.#", &["", "a", "a.b"], &[]),
            ("#.*", &["a", "a.b"], &[""]),
            ("*.#", &["a", "a.b"], &[""]),
            ("#.b.#.d", &["b.d", "a.b.c.d", "b.b.d.d", "b.d.b.d"], &["b", "d", "b.d.e", "d.b"]),
            ("#.a.*.b", &["a.x.b", "a.a.x.b", "a.a.b.a.x.b"], &["a.b", "a.x.y.b"]),
            ("a.#b", &["a.#b"], &["a.b", "a"]),
        ];
        for (pattern, taken, refused) in table {
            for key in *taken {
                assert!(matches(pattern.as_bytes(), key.as_bytes()), "{pattern} takes {key:?}");
            }
            for key in *refused {
                assert!(!matches(pattern.as_bytes(), key.as_bytes()), "{pattern} refuses {key:?}");
            }
        }
    }

    /// The definition, word by word, to compare with.
    fn by_definition(pattern: &[&[u8]], key: &[&[u8]]) -> bool {
        match pattern.split_first() {
            None => key.is_empty(),
            Some((&b"#", rest)) => (0..=key.len()).any(|skip| by_definition(rest, &key[skip..])),
            Some((word, rest)) => key
                .split_first()
                .is_some_and(|(first, key)| (*word == b"*" || word == first) && by_definition(rest, key)),
        }
    }

    #[test]
    fn agrees_with_the_definition_on_all_short_keys() {
        let words: [&[u8]; 4] = [b"a", b"b", b"*", b"#"];
        let all = |alphabet: &[&'static [u8]], longest: usize| {
            let mut sets: Vec<Vec<&'static [u8]>> = vec![vec![]];
            let mut from = 0;
            for _ in 0..longest {
                let until = sets.len();
                for at in from..until {
                    for word in alphabet {
                        sets.push([sets[at].clone(), vec![*word]].concat());
                    }
                }
                from = until;
            }
            sets
        };
        let keys = all(&words[..2], 5);
        for pattern in all(&words, 4) {
            for key in &keys {
                let found = matches(&pattern.join(&b'.'), &key.join(&b'.'));
                assert_eq!(found, by_definition(&pattern, key), "{pattern:?} {key:?}");
            }
        }
    }

    #[test]
    fn many_hashes_do_not_take_exponential_time() {
        let pattern = "#.a.".repeat(60) + "b";
        let key = "a.".repeat(120) + "c";
        assert!(!matches(pattern.as_bytes(), key.as_bytes()));
    }
}
