//! An object's own attributes, and a dict's entries at the places where they were found before,
//! for less than half of what asking Python in the usual way costs.
//!
//! The second of two places with `unsafe` in this package; `token/fork.rs` has the first.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyDict, PyString};
use smallvec::SmallVec;

use super::stop::Stop;
use crate::tagged_json::encode::append_plain;

/// The attributes of an object's own: what `__dict__` gives, unless a class lies about it.
/// Declines an object that has no room for any.
#[inline]
pub(crate) fn attributes<'py>(object: &Bound<'py, PyAny>) -> Result<Bound<'py, PyDict>, Stop> {
    // SAFETY: an object, with the interpreter attached (`Bound` is the proof of both); the context
    // is not used. It gives a new reference, or null with an exception set.
    #[allow(unsafe_code)]
    let attributes = unsafe {
        let attributes = ffi::PyObject_GenericGetDict(object.as_ptr(), std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(object.py(), attributes)
    };
    Ok(attributes.map_err(|_| Stop::Decline)?.cast_into_exact::<PyDict>()?)
}

/// The entries of a dict, while no other thread can change them.
///
/// Whatever happened to the dict since an entry was found, what is seen here is true: a live entry
/// of it with this very key has this value.
pub(crate) struct Entries<'a, 'py>(&'a Bound<'py, PyDict>);

/// Where an entry was found: its place, and its key, which is held so that no other object can
/// have its address.
pub(crate) struct Place {
    position: ffi::Py_ssize_t,
    key: Py<PyAny>,
}

/// Calls `look` with the entries of `dict`.
pub(crate) fn with_entries<'py, T>(
    dict: &Bound<'py, PyDict>,
    look: impl FnOnce(&Entries<'_, 'py>) -> T,
) -> T {
    with_critical_section(dict, || look(&Entries(dict)))
}

impl Entries<'_, '_> {
    /// The address of the value of the entry that is at `place`, if that still has the same key.
    /// For comparing: the value itself may be gone a moment later.
    #[inline]
    pub(crate) fn value_at(&self, place: &Place) -> Option<usize> {
        let (_, key, value) = self.next(place.position)?;
        (key == place.key.as_ptr()).then_some(value.addr())
    }

    /// Appends the values as JSON, each after its text, in the order of `members`, which has their
    /// places among `keys`: if the dict has these very objects as keys, in this order, and
    /// [`append_plain`] knows every value. If not, `out` is in any state.
    pub(crate) fn append_plain<'k>(
        &self,
        keys: &[Py<PyString>],
        members: impl Iterator<Item = (usize, &'k [u8])>,
        ensure_ascii: bool,
        out: &mut Vec<u8>,
    ) -> bool {
        // Without a global lock the text of a `str` is made under a lock of its own, and to wait
        // for that one lets go of the dict's.
        if cfg!(Py_GIL_DISABLED) || keys.len() != self.0.len() {
            return false;
        }
        let mut values = SmallVec::<[*mut ffi::PyObject; 16]>::new();
        let mut position = 0;
        for known in keys {
            match self.next(position) {
                Some((after, key, value)) if key == known.as_ptr() => {
                    values.push(value);
                    position = after;
                }
                _ => return false,
            }
        }
        for (member, text) in members {
            // SAFETY: the dict holds the value, and nobody takes it out as long as it is used:
            // other threads wait, and `append_plain` runs no Python, unless it fails, in an
            // exception's making; and then no value is used any more.
            #[allow(unsafe_code)]
            let value = unsafe { Borrowed::from_ptr(self.0.py(), values[member]) };
            out.extend_from_slice(text);
            if !append_plain(&value, ensure_ascii, out) {
                return false;
            }
        }
        true
    }

    /// Where the entry called `name` is.
    pub(crate) fn place_of(&self, name: &Bound<'_, PyString>) -> PyResult<Option<Place>> {
        let mut from = 0;
        while let Some((after, key, _)) = self.next(from) {
            // SAFETY: `key` is borrowed from the dict, which nobody else can change here, and
            // nothing has run since; from here on it is held.
            #[allow(unsafe_code)]
            let key = unsafe { Bound::from_borrowed_ptr(self.0.py(), key) };
            if key.cast_exact::<PyString>().is_ok_and(|key| key.as_any().eq(name).unwrap_or(false))
            {
                return Ok(Some(Place { position: after - 1, key: key.unbind() }));
            }
            from = after;
        }
        Ok(None)
    }

    /// The first entry at or after a position: the position after it, key and value.
    #[inline]
    fn next(
        &self,
        mut position: ffi::Py_ssize_t,
    ) -> Option<(ffi::Py_ssize_t, *mut ffi::PyObject, *mut ffi::PyObject)> {
        let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: a dict, with the interpreter attached (`Bound` is the proof of both) and locked
        // against other threads where there is no global lock. Any position is allowed:
        // `PyDict_Next` answers 0 for one that is out of bounds. What it gives is borrowed; the
        // callers compare addresses, or take a reference before anything else can run.
        #[allow(unsafe_code)]
        let found =
            unsafe { ffi::PyDict_Next(self.0.as_ptr(), &mut position, &mut key, &mut value) };
        (found != 0).then_some((position, key, value))
    }
}
