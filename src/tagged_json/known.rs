//! What a codec remembers of the sessions that it has read and written: an app's sessions mostly
//! have the same few keys.

use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::PyString;
use smallvec::SmallVec;

use super::encode::{Style, utf8};
use super::scan::Scanner;
use super::write::append_string;
use crate::python::Stop;

/// Both halves of it.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) keys: Mutex<KnownKeys>,
    pub(crate) shapes: Mutex<KnownShapes>,
}

/// Calls `call` with what is remembered; or, as nobody waits, because reading or writing a value can
/// run Python and another thread, with nothing that is.
pub(super) fn with<T: Default, R>(known: &Mutex<T>, call: impl FnOnce(&mut T) -> R) -> R {
    match known.try_lock() {
        Ok(mut known) => call(&mut known),
        Err(_) => call(&mut T::default()),
    }
}

/// The keys that sessions have, by depth, each with its text from quote to colon: an app's
/// sessions mostly have the same few in the same order, as have the objects in a list; and a `str`
/// that is there already has its hash too, and is the same one when it is written again.
#[derive(Default)]
pub(crate) struct KnownKeys {
    depths: [Vec<KnownKey>; Self::DEPTHS],
    /// How many more this text may add: one with a thousand names of its own would cost a lot and
    /// push out what others know.
    pub(super) to_learn: usize,
}

struct KnownKey {
    text: Box<str>,
    key: Py<PyString>,
}

impl KnownKeys {
    /// Deeper ones are not remembered.
    const DEPTHS: usize = 4;
    /// More at a depth are not remembered.
    const MOST: usize = 64;
    /// How many are looked at to find one.
    const AHEAD: usize = 8;
    /// Bytes of text; longer ones are not remembered.
    const LONGEST: usize = 64;
    pub(super) const LEARNED_AT_ONCE: usize = 16;

    /// Steps over a key that is known, at or after position `from`; the key and the position
    /// where to look for the next one.
    #[inline]
    pub(super) fn eat<'py>(
        &self,
        py: Python<'py>,
        scanner: &mut Scanner<'_>,
        depth: usize,
        from: usize,
    ) -> Option<(Bound<'py, PyString>, usize)> {
        let ahead = self.depths.get(depth)?.get(from..)?;
        let ahead = &ahead[..ahead.len().min(Self::AHEAD)];
        let position = ahead.iter().position(|known| scanner.eat_text(&known.text))?;
        Some((ahead[position].key.bind(py).clone(), from + position + 1))
    }

    /// Remembers a key that was not found from `position` on; the position where to look for the
    /// next one.
    #[cold]
    pub(super) fn learn(
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
        if text.len() > Self::LONGEST || self.to_learn == 0 || position >= Self::MOST {
            return position;
        }
        self.to_learn -= 1;
        all.truncate(Self::MOST - 1);
        all.insert(position, KnownKey { text: text.into(), key: key.clone().unbind() });
        position + 1
    }
}

pub(super) type Member<'py> = (Bound<'py, PyString>, Bound<'py, PyAny>);

/// On the stack for dicts of the usual size.
pub(super) type Members<'py> = SmallVec<[Member<'py>; 16]>;

/// The keys of dicts as they were written last, by depth: an app's sessions mostly have the same
/// few, and the dicts in a list, the very same objects in the same order.
#[derive(Default)]
pub(crate) struct KnownShapes([SmallVec<[Shape; Self::MOST]>; Self::DEPTHS]);

impl KnownShapes {
    /// Deeper ones are not remembered.
    const DEPTHS: usize = 4;
    /// More at a depth are not remembered.
    const MOST: usize = 4;

    /// Takes out the shape that these members have.
    pub(super) fn take(
        &mut self,
        members: &[Member<'_>],
        style: Style,
        depth: usize,
    ) -> Option<Shape> {
        let known = self.0.get_mut(depth)?;
        let position = known.iter().position(|shape| shape.fits(members, style))?;
        Some(known.remove(position))
    }

    /// The one that was put in last.
    pub(super) fn last(&self, depth: usize) -> Option<&Shape> {
        self.0.get(depth)?.last()
    }

    /// Puts one in, in place of the one that has not been used for longest.
    pub(super) fn put(&mut self, shape: Shape, depth: usize) {
        if shape.keys.len() <= Shape::MOST_KEYS
            && shape.text.len() <= Shape::LONGEST
            && let Some(known) = self.0.get_mut(depth)
        {
            if known.len() == Self::MOST {
                known.remove(0);
            }
            known.push(shape);
        }
    }
}

/// The keys of a dict as they are written.
pub(super) struct Shape {
    pub(super) style: Style,
    /// In the order of the dict. Held, so that no other object can have their address.
    pub(super) keys: Vec<Py<PyString>>,
    /// In the order of writing: which member, and where its key ends in `text`.
    order: Vec<(usize, usize)>,
    /// Every key with its colon, and a comma before it.
    text: Vec<u8>,
    /// Whether there was no container, and nothing else that takes Python to be written, among
    /// the last values.
    pub(super) is_plain: bool,
}

impl Shape {
    /// Larger ones are not remembered.
    const MOST_KEYS: usize = 64;
    /// Bytes of text; longer ones are not remembered.
    const LONGEST: usize = 4096;

    #[inline]
    fn fits(&self, members: &[Member<'_>], style: Style) -> bool {
        self.keys.len() == members.len()
            && self.keys.iter().zip(members).all(|(known, (key, _))| known.is(key))
            && self.style == style
    }

    #[cold]
    pub(super) fn new(members: &[Member<'_>], style: Style) -> Result<Self, Stop> {
        let keys = members.iter().map(|(key, _)| utf8(key)).collect::<Result<Vec<_>, _>>()?;
        let mut order: Vec<_> = (0..keys.len()).map(|position| (position, 0)).collect();
        if style.sort_keys {
            // UTF-8 sorts as code points do.
            order.sort_by_key(|(position, _)| keys[*position]);
        }
        let mut text = Vec::new();
        for (number, (member, end)) in order.iter_mut().enumerate() {
            if number > 0 {
                text.push(b',');
            }
            append_string(keys[*member], style.ensure_ascii, &mut text);
            text.push(b':');
            *end = text.len();
        }
        let keys = members.iter().map(|(key, _)| key.clone().unbind()).collect();
        Ok(Self { style, keys, order, text, is_plain: false })
    }

    /// In the order of writing: which member, and what comes before its value.
    #[inline]
    pub(super) fn parts(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let mut start = 0;
        self.order.iter().map(move |(member, end)| {
            (*member, &self.text[std::mem::replace(&mut start, *end)..*end])
        })
    }
}
