//! What the paths of a disk in memory name.
//!
//! In: paths without `.`, `..` or a slash at the end. Out: what they name, in the order in which a tree is walked, names of
//! one directory sorted. Never: makes a copy pay for names that stay as they are.
//!
//! A start asks for paths thousands of times, and comparing paths part by part would be most of what it costs. A path is
//! kept as its bytes with the slashes turned to zeros, which no name has in it: then bytes compare as paths do.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Paths, and what each names.
#[derive(Clone, Debug)]
pub(super) struct Names<N>(Arc<BTreeMap<Key, N>>);

type Key = Arc<[u8]>;

impl<N> Default for Names<N> {
    fn default() -> Names<N> {
        Names(Arc::default())
    }
}

const SEPARATOR: u8 = 0;

fn key(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes().iter();
    bytes.map(|byte| if *byte == b'/' { SEPARATOR } else { *byte }).collect()
}

fn path(key: &[u8]) -> PathBuf {
    let bytes = key.iter().map(|byte| if *byte == SEPARATOR { b'/' } else { *byte });
    PathBuf::from(OsString::from_vec(bytes.collect()))
}

/// What every key below `directory` begins with.
fn inside(directory: &Path) -> Vec<u8> {
    let mut prefix = key(directory);
    if !prefix.is_empty() {
        prefix.push(SEPARATOR);
    }
    prefix
}

impl<N: Copy> Names<N> {
    pub(super) fn get(&self, path: &Path) -> Option<N> {
        self.0.get(key(path).as_slice()).copied()
    }

    pub(super) fn contains(&self, path: &Path) -> bool {
        self.0.contains_key(key(path).as_slice())
    }

    pub(super) fn insert(&mut self, path: &Path, node: N) {
        Arc::make_mut(&mut self.0).insert(key(path).into(), node);
    }

    pub(super) fn remove(&mut self, path: &Path) {
        Arc::make_mut(&mut self.0).remove(key(path).as_slice());
    }

    /// Removes a name and all below it; what they named.
    pub(super) fn remove_tree(&mut self, path: &Path) {
        for (key, _) in self.tree(path) {
            Arc::make_mut(&mut self.0).remove(&key);
        }
    }

    /// Moves a name and all below it, in place of what is there.
    pub(super) fn move_tree(&mut self, from: &Path, to: &Path) {
        let (moved, skip) = (self.tree(from), key(from).len());
        self.remove_tree(from);
        self.remove_tree(to);
        for (old, node) in moved {
            let mut new = key(to);
            new.extend_from_slice(old.get(skip..).unwrap_or_default());
            Arc::make_mut(&mut self.0).insert(new.into(), node);
        }
    }

    fn tree(&self, path: &Path) -> Vec<(Key, N)> {
        let own = self.0.get_key_value(key(path).as_slice()).map(|(key, node)| (key.clone(), *node));
        let below = self.below(path).map(|(key, node)| (key.clone(), node));
        own.into_iter().chain(below).collect()
    }

    fn below(&self, directory: &Path) -> impl Iterator<Item = (&Key, N)> {
        let prefix = inside(directory);
        let from: Key = prefix.as_slice().into();
        self.0
            .range(from..)
            .take_while(move |(key, _)| key.starts_with(&prefix))
            .map(|(key, node)| (key, *node))
    }

    /// Names in a directory, without it.
    pub(super) fn list(&self, directory: &Path) -> impl Iterator<Item = String> {
        let skip = inside(directory).len();
        let names = self.below(directory).filter_map(move |(key, _)| key.get(skip..));
        let direct = names.filter(|name| !name.is_empty() && !name.contains(&SEPARATOR));
        direct.map(|name| String::from_utf8_lossy(name).into_owned())
    }

    /// Every path with what it names, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PathBuf, N)> {
        self.0.iter().map(|(key, node)| (path(key), *node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[&str]) -> Names<usize> {
        let mut names = Names::default();
        for (index, path) in paths.iter().enumerate() {
            names.insert(Path::new(path), index);
        }
        names
    }

    #[test]
    fn are_in_the_order_of_paths() {
        let mut paths = ["a", "a/b", "a/b/c", "a-b", "a.b/c", "a/b.c", "a0", "data/state", "data/state.new"];
        let names: Vec<PathBuf> = names(&paths).iter().map(|(path, _)| path).collect();
        paths.sort_by(|one, two| Path::new(one).cmp(Path::new(two)));
        assert_eq!(names, paths.map(PathBuf::from));
    }

    #[test]
    fn list_holds_what_is_in_the_directory_alone() {
        let names = names(&["a", "a/b", "a/b/c", "a/d", "a-b", "a-b/c"]);
        let list = |path: &str| names.list(Path::new(path)).collect::<Vec<_>>();
        assert_eq!(list("a"), ["b", "d"]);
        assert_eq!(list(""), ["a", "a-b"]);
        assert!(list("a/d").is_empty() && list("none").is_empty());
    }

    #[test]
    fn a_moved_tree_takes_the_place_of_what_was_there() {
        let mut names = names(&["a", "a/b", "a/b/c", "a-b", "t", "t/old"]);
        let before = names.clone();
        names.move_tree(Path::new("a"), Path::new("t"));
        let found: Vec<_> = names.iter().map(|(path, node)| (path.display().to_string(), node)).collect();
        let expected = [("a-b", 3), ("t", 0), ("t/b", 1), ("t/b/c", 2)];
        assert_eq!(found, expected.map(|(path, node)| (path.to_string(), node)));
        assert_eq!(before.get(Path::new("t/old")), Some(5), "a copy stays as it was");
        names.remove_tree(Path::new("t/b"));
        assert_eq!(names.iter().count(), 2);
        assert!(names.contains(Path::new("a-b")) && !names.contains(Path::new("t/b/c")));
    }
}
