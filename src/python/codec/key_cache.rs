//! The keys of the sessions read last, with the `str` objects made for them.

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::json::scan::Scanner;

/// The keys that sessions have, by depth, each with its text from quote to colon.
///
/// An app's sessions mostly have the same few keys in the same order, as have the objects in a list.
/// A cached `str` has its hash already, and is the same object when the session is written again.
#[derive(Default)]
pub(crate) struct KeyCache {
    depths: [Vec<CachedKey>; Self::DEPTHS],
    /// How many more keys the present text may insert. Without this limit a text with a thousand
    /// keys of its own would be slow to read and would evict the keys of all others.
    pub(super) insertions_left: usize,
}

struct CachedKey {
    text: Box<str>,
    key: Py<PyString>,
}

impl KeyCache {
    /// Depths of nesting that have a cache.
    const DEPTHS: usize = 4;
    /// Keys per depth.
    const CAPACITY: usize = 64;
    /// Keys that are compared to find one.
    const LOOKAHEAD: usize = 8;
    /// Bytes of text. Longer keys are not cached.
    const MAX_TEXT: usize = 64;
    /// Keys that one text may insert.
    pub(super) const INSERTIONS_PER_TEXT: usize = 16;

    /// Consumes a cached key, at or after position `from`, that comes next in the text. Returns the
    /// key and the position at which to look for the next one.
    #[inline]
    #[expect(
        clippy::indexing_slicing,
        reason = "both are positions in what is there, or its length"
    )]
    pub(super) fn eat<'py>(
        &self,
        py: Python<'py>,
        scanner: &mut Scanner<'_>,
        depth: usize,
        from: usize,
    ) -> Option<(Bound<'py, PyString>, usize)> {
        let ahead = self.depths.get(depth)?.get(from..)?;
        let ahead = &ahead[..ahead.len().min(Self::LOOKAHEAD)];
        let position = ahead.iter().position(|known| scanner.eat_text(&known.text))?;
        Some((ahead[position].key.bind(py).clone(), from + position + 1))
    }

    /// Inserts a key that was not found at or after `position`. Returns the position at which to
    /// look for the next one.
    #[cold]
    pub(super) fn insert(
        &mut self,
        text: &str,
        key: &Bound<'_, PyString>,
        depth: usize,
        position: usize,
    ) -> usize {
        let Some(all) = self.depths.get_mut(depth) else { return 0 };
        if let Some(at) = all.iter().position(|known| *known.text == *text) {
            return at + 1;
        }
        let position = position.min(all.len());
        if text.len() > Self::MAX_TEXT || self.insertions_left == 0 || position >= Self::CAPACITY {
            return position;
        }
        self.insertions_left -= 1;
        all.truncate(Self::CAPACITY - 1);
        all.insert(position, CachedKey { text: text.into(), key: key.clone().unbind() });
        position + 1
    }
}

#[cfg(all(test, feature = "python-tests"))]
mod tests {
    use super::*;

    fn insert(cache: &mut KeyCache, py: Python<'_>, key: &str, position: usize) -> usize {
        cache.insert(&format!("\"{key}\":"), &PyString::new(py, key), 0, position)
    }

    fn eat(cache: &KeyCache, py: Python<'_>, text: &str, from: usize) -> Option<(String, usize)> {
        let (key, next) = cache.eat(py, &mut Scanner::new(text), 0, from)?;
        Some((key.extract().expect("a str"), next))
    }

    #[test]
    fn keys_are_found_in_the_order_of_the_text() {
        Python::attach(|py| {
            let mut cache = KeyCache { insertions_left: 9, ..KeyCache::default() };
            assert_eq!(insert(&mut cache, py, "a", 0), 1);
            assert_eq!(insert(&mut cache, py, "b", 1), 2);
            assert_eq!(eat(&cache, py, "\"a\":1", 0), Some(("a".to_owned(), 1)));
            assert_eq!(eat(&cache, py, "\"b\":1", 1), Some(("b".to_owned(), 2)));
            assert_eq!(eat(&cache, py, "\"b\":1", 0), Some(("b".to_owned(), 2)), "one skipped");
            assert_eq!(eat(&cache, py, "\"a\":1", 1), None, "behind");
            assert_eq!(eat(&cache, py, "\"ab\":1", 0), None, "longer");
            // A known key is not inserted again.
            assert_eq!(insert(&mut cache, py, "a", 2), 1);
            assert_eq!(cache.depths[0].len(), 2);
        });
    }

    #[test]
    fn a_text_inserts_few_keys_and_the_cache_is_bounded() {
        Python::attach(|py| {
            let mut cache = KeyCache::default();
            for text in 0..20 {
                cache.insertions_left = KeyCache::INSERTIONS_PER_TEXT;
                for key in 0..50 {
                    insert(&mut cache, py, &format!("{text} {key}"), 0);
                }
                let most = ((text + 1) * KeyCache::INSERTIONS_PER_TEXT).min(KeyCache::CAPACITY);
                assert_eq!(cache.depths[0].len(), most);
            }
            cache.insertions_left = 1;
            insert(&mut cache, py, &"long".repeat(KeyCache::MAX_TEXT), 0);
            assert_eq!(cache.insertions_left, 1, "a long key is not cached");
        });
    }
}
