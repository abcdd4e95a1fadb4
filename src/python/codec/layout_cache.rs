//! The layouts of the dicts written last: their keys, as text, in the order of writing.

use pyo3::prelude::*;
use pyo3::types::PyString;
use smallvec::SmallVec;

use super::style::Style;
use crate::json::write::append_string;
use crate::python::scalar::utf8;
use crate::python::unhandled::Unhandled;

/// A member of a dict that is being written: its key and its value.
pub(super) type Member<'py> = (Bound<'py, PyString>, Bound<'py, PyAny>);

/// The members of a dict, on the stack for dicts of the usual size.
pub(super) type Members<'py> = SmallVec<[Member<'py>; 16]>;

/// For each depth of nesting a fully associative cache of layouts with LRU replacement
/// (<https://en.wikipedia.org/wiki/Cache_placement_policies#Fully_associative_cache>). The dicts in
/// a list mostly have the very same key objects in the same order.
#[derive(Default)]
pub(crate) struct LayoutCache([SmallVec<[DictLayout; Self::WAYS]>; Self::DEPTHS]);

impl LayoutCache {
    /// Depths that have a cache.
    const DEPTHS: usize = 4;
    /// Layouts per depth.
    const WAYS: usize = 4;

    /// Takes out the layout that these members have. The caller puts it back with
    /// [`put`](Self::put): writing the members may need the cache for dicts among them.
    pub(super) fn take(
        &mut self,
        members: &[Member<'_>],
        style: Style,
        depth: usize,
    ) -> Option<DictLayout> {
        let layouts = self.0.get_mut(depth)?;
        let position = layouts.iter().position(|layout| layout.fits(members, style))?;
        Some(layouts.remove(position))
    }

    /// The layout that was used last.
    pub(super) fn last(&self, depth: usize) -> Option<&DictLayout> {
        self.0.get(depth)?.last()
    }

    /// Puts in the layout used last, in place of the least recently used one.
    pub(super) fn put(&mut self, layout: DictLayout, depth: usize) {
        if layout.keys.len() <= DictLayout::MAX_KEYS
            && layout.text.len() <= DictLayout::MAX_TEXT
            && let Some(layouts) = self.0.get_mut(depth)
        {
            if layouts.len() == Self::WAYS {
                layouts.remove(0);
            }
            layouts.push(layout);
        }
    }
}

/// The keys of a dict as they are written.
pub(super) struct DictLayout {
    pub(super) style: Style,
    /// The key objects, in the order of the dict. Held, so that no other object can get the address
    /// of one of them.
    pub(super) keys: Vec<Py<PyString>>,
    /// In the order of writing: the position of a member in `keys`, and where its key ends in
    /// `text`.
    order: Vec<(usize, usize)>,
    /// Each key with its colon, and a comma before it.
    text: Vec<u8>,
    /// Whether the last values were all scalars.
    pub(super) all_scalars: bool,
}

impl DictLayout {
    /// Larger layouts are not cached.
    const MAX_KEYS: usize = 64;
    /// Bytes of text. Longer layouts are not cached.
    const MAX_TEXT: usize = 4096;

    #[inline]
    fn fits(&self, members: &[Member<'_>], style: Style) -> bool {
        self.keys.len() == members.len()
            && self.keys.iter().zip(members).all(|(known, (key, _))| known.is(key))
            && self.style == style
    }

    #[cold]
    #[expect(clippy::indexing_slicing, reason = "the positions are those of these very members")]
    pub(super) fn new(members: &[Member<'_>], style: Style) -> Result<Self, Unhandled> {
        let keys = members.iter().map(|(key, _)| utf8(key)).collect::<Result<Vec<_>, _>>()?;
        let mut order: Vec<_> = (0..keys.len()).map(|position| (position, 0)).collect();
        if style.sort_keys {
            // UTF-8 sorts like code points, as Python compares str.
            order.sort_by_key(|(position, _)| keys[*position]);
        }
        let mut text = Vec::new();
        for (number, (member, end)) in order.iter_mut().enumerate() {
            if number > 0 {
                text.push(b',');
            }
            append_string(keys[*member], style.ensure_ascii, &mut text)
                .map_err(|_| Unhandled::Declined)?;
            text.push(b':');
            *end = text.len();
        }
        let keys = members.iter().map(|(key, _)| key.clone().unbind()).collect();
        Ok(Self { style, keys, order, text, all_scalars: false })
    }

    /// In the order of writing: the position of each member, and the text before its value.
    #[inline]
    #[expect(
        clippy::indexing_slicing,
        reason = "each end is the length that the text had when its key was appended"
    )]
    pub(super) fn segments(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let mut start = 0;
        self.order.iter().map(move |(member, end)| {
            (*member, &self.text[std::mem::replace(&mut start, *end)..*end])
        })
    }
}

#[cfg(all(test, feature = "python-tests"))]
mod tests {
    use super::*;

    const STYLE: Style = Style { sort_keys: true, ensure_ascii: true };

    fn members<'py>(py: Python<'py>, keys: &[&str]) -> Vec<Member<'py>> {
        keys.iter().map(|key| (PyString::intern(py, key), py.None().into_bound(py))).collect()
    }

    fn layout(members: &[Member<'_>]) -> DictLayout {
        DictLayout::new(members, STYLE).unwrap_or_else(|_| panic!("has UTF-8"))
    }

    #[test]
    fn keys_are_written_in_the_order_of_the_style() {
        Python::attach(|py| {
            let members = members(py, &["b", "é", "a"]);
            let segments: Vec<_> =
                layout(&members).segments().map(|(at, text)| (at, text.to_vec())).collect();
            let expected = [(2, &b"\"a\":"[..]), (0, b",\"b\":"), (1, b",\"\\u00e9\":")];
            assert_eq!(segments, expected.map(|(at, text)| (at, text.to_vec())));
        });
    }

    #[test]
    fn the_least_recently_used_layout_is_evicted() {
        Python::attach(|py| {
            let mut cache = LayoutCache::default();
            let all = ["a", "b", "c", "d", "e"].map(|key| members(py, &[key, "z"]));
            for members in &all[..4] {
                cache.put(layout(members), 0);
            }
            let used = cache.take(&all[0], STYLE, 0).expect("cached");
            cache.put(used, 0);
            cache.put(layout(&all[4]), 0);
            assert!(cache.take(&all[1], STYLE, 0).is_none());
            assert!(cache.take(&all[0], STYLE, 0).is_some());
        });
    }

    #[test]
    fn a_layout_is_for_the_very_same_key_objects_in_their_order() {
        Python::attach(|py| {
            let mut cache = LayoutCache::default();
            let known = members(py, &["a", "b"]);
            cache.put(layout(&known), 0);
            let other = Style { sort_keys: false, ..STYLE };
            assert!(cache.take(&members(py, &["b", "a"]), STYLE, 0).is_none());
            assert!(cache.take(&members(py, &["a"]), STYLE, 0).is_none());
            assert!(cache.take(&known, other, 0).is_none());
            assert!(cache.take(&known, STYLE, 1).is_none());
            let equal = [(PyString::new(py, "long key"), known[0].1.clone()), known[1].clone()];
            cache.put(layout(&equal), 0);
            let twin = [(PyString::new(py, "long key"), known[0].1.clone()), known[1].clone()];
            assert!(cache.take(&twin, STYLE, 0).is_none(), "equal, but another object");
            assert!(cache.take(&known, STYLE, 0).is_some());
        });
    }

    #[test]
    fn a_large_layout_and_a_deep_one_are_not_cached() {
        Python::attach(|py| {
            let mut cache = LayoutCache::default();
            let names: Vec<String> = (0..=DictLayout::MAX_KEYS).map(|n| n.to_string()).collect();
            let large = members(py, &names.iter().map(String::as_str).collect::<Vec<_>>());
            cache.put(layout(&large), 0);
            assert!(cache.last(0).is_none());
            cache.put(layout(&members(py, &["a", "b"])), LayoutCache::DEPTHS);
            assert!(cache.last(LayoutCache::DEPTHS).is_none());
        });
    }
}
