//! Dicts read without creating references, at about half of what the ordinary calls cost.
//!
//! This file, `call.rs` and `token/fork.rs` hold all of the package's `unsafe` code, tests aside.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyDict, PyString};
use smallvec::SmallVec;

use super::scalar::append_scalar;
use super::unhandled::Unhandled;

/// The object's instance dict, bypassing a `__dict__` property of its class. Declines an object
/// that has none.
#[inline]
pub(crate) fn instance_dict<'py>(
    object: &Bound<'py, PyAny>,
) -> Result<Bound<'py, PyDict>, Unhandled> {
    // SAFETY: `object` is a live object and this thread is attached to the interpreter; the `Bound`
    // proves both. The call ignores its second argument. It returns a new reference, or null with
    // an exception set, and `from_owned_ptr_or_err` takes over either.
    #[expect(unsafe_code, reason = "PyO3 has no safe call for it")]
    let dict = unsafe {
        let dict = ffi::PyObject_GenericGetDict(object.as_ptr(), std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(object.py(), dict)
    };
    Ok(dict.map_err(|_| Unhandled::Declined)?.cast_into_exact::<PyDict>()?)
}

/// A dict that no other thread can change while this value exists.
pub(crate) struct LockedDict<'a, 'py>(&'a Bound<'py, PyDict>);

/// The last entry of a dict, which shows whether another has been added since.
///
/// CPython places a new entry behind all others, and keeps their order when it moves them. So while
/// the same key is at the same position with nothing behind it, no entry was added, unless this key
/// itself was removed and set again: with another key removed too, it can return to its position.
/// The caller must find that in another way.
pub(crate) struct LastEntry {
    position: ffi::Py_ssize_t,
    /// Held, so that no other object can get its address.
    key: Py<PyAny>,
}

impl LastEntry {
    /// The key, for the garbage collector.
    pub(crate) const fn key(&self) -> &Py<PyAny> {
        &self.key
    }
}

/// Calls `read` with `dict`, locked.
pub(crate) fn with_locked<'py, T>(
    dict: &Bound<'py, PyDict>,
    read: impl FnOnce(&LockedDict<'_, 'py>) -> T,
) -> T {
    with_critical_section(dict, || read(&LockedDict(dict)))
}

impl<'py> LockedDict<'_, 'py> {
    /// Calls `visit` with each key and value, until it fails. It must not run Python code, and what
    /// it drops must not either.
    ///
    /// PyO3's iterator locks the dict again for each entry, which on a free-threaded build lets
    /// another thread change it in between, and panics then.
    #[inline]
    pub(crate) fn try_for_each<E>(
        &self,
        mut visit: impl FnMut(Bound<'py, PyAny>, Bound<'py, PyAny>) -> Result<(), E>,
    ) -> Result<(), E> {
        let py = self.0.py();
        let mut position = 0;
        while let Some((after, key, value)) = self.entry_at(position) {
            // SAFETY: both were read from the dict inside this critical section and nothing has run
            // since, so the dict still owns them. From here on they are held.
            #[expect(unsafe_code, reason = "makes owned references of borrowed ones")]
            let (key, value) =
                unsafe { (Bound::from_borrowed_ptr(py, key), Bound::from_borrowed_ptr(py, value)) };
            visit(key, value)?;
            position = after;
        }
        Ok(())
    }

    /// Whether the entry `name` holds the object at the address `value`.
    #[inline]
    pub(crate) fn holds(&self, name: &Bound<'_, PyString>, value: *mut ffi::PyObject) -> bool {
        // SAFETY: both arguments are live objects and this thread is attached to the interpreter;
        // the `Bound`s prove it. The result is a borrowed reference that is only compared, never
        // used, so it does not matter how long the dict keeps the object.
        #[expect(unsafe_code, reason = "a borrowed look-up costs half of an owned one")]
        let found = unsafe { ffi::PyDict_GetItemWithError(self.0.as_ptr(), name.as_ptr()) };
        if found.is_null() {
            // A key that is not a str may raise when it is compared.
            drop(PyErr::take(self.0.py()));
            return false;
        }
        found == value
    }

    /// Whether there is no entry `name`.
    #[inline]
    pub(crate) fn lacks(&self, name: &Bound<'_, PyString>) -> bool {
        // SAFETY: both arguments are live objects and this thread is attached to the interpreter;
        // the `Bound`s prove it. The call returns a number and keeps no reference.
        #[expect(unsafe_code, reason = "costs half of the call through PyO3")]
        let found = unsafe { ffi::PyDict_Contains(self.0.as_ptr(), name.as_ptr()) };
        if found < 0 {
            drop(PyErr::take(self.0.py()));
        }
        found == 0
    }

    /// The last entry, from which [`has_grown_since`](Self::has_grown_since) tells whether another was
    /// added. `None` for an empty dict.
    pub(crate) fn last_entry(&self) -> Option<LastEntry> {
        let mut last = None;
        let mut position = 0;
        while let Some((after, key, _)) = self.entry_at(position) {
            last = Some((after - 1, key));
            position = after;
        }
        let (position, key) = last?;
        // SAFETY: the key was read from the dict inside this critical section and nothing has run
        // since, so the dict still owns it. From here on it is held.
        #[expect(unsafe_code, reason = "makes an owned key of a borrowed one")]
        let key = unsafe { Bound::from_borrowed_ptr(self.0.py(), key) }.unbind();
        Some(LastEntry { position, key })
    }

    /// Whether an entry has been added since `last` was the last one. See [`LastEntry`] for the case
    /// that this does not show.
    #[inline]
    pub(crate) fn has_grown_since(&self, last: &LastEntry) -> bool {
        let Some((after, key, _)) = self.entry_at(last.position) else { return true };
        key != last.key.as_ptr() || self.entry_at(after).is_some()
    }

    /// Appends the values as JSON, each preceded by its text, in the order of `members`: pairs of a
    /// position among `keys` and the text. Returns `false`, with `out` in any state, unless the dict
    /// has exactly these key objects in this order and each value is a scalar.
    #[expect(clippy::indexing_slicing, reason = "as many values were read as there are keys")]
    pub(crate) fn append_scalars<'k>(
        &self,
        keys: &[Py<PyString>],
        members: impl Iterator<Item = (usize, &'k [u8])>,
        ensure_ascii: bool,
        out: &mut Vec<u8>,
    ) -> bool {
        // Free-threaded builds compute a str's UTF-8 under a lock of the str, and waiting for it
        // suspends the critical section on the dict.
        if cfg!(Py_GIL_DISABLED) || keys.len() != self.0.len() {
            return false;
        }
        let mut values = SmallVec::<[*mut ffi::PyObject; 16]>::new();
        let mut position = 0;
        for known in keys {
            match self.entry_at(position) {
                Some((after, key, value)) if key == known.as_ptr() => {
                    values.push(value);
                    position = after;
                }
                _ => return false,
            }
        }
        for (member, text) in members {
            // SAFETY: the pointer was read from the dict inside this critical section, and the dict
            // still owns the object: nothing since then can have run Python code, because
            // `append_scalar` only handles exact built-in types. If it fails it may create an
            // exception; then this function returns without using another pointer.
            #[expect(unsafe_code, reason = "owning each value is a third slower")]
            let value = unsafe { Borrowed::from_ptr(self.0.py(), values[member]) };
            if out.try_reserve(text.len() + 1).is_err() {
                return false;
            }
            out.extend_from_slice(text);
            if !append_scalar(&value, ensure_ascii, out) {
                return false;
            }
        }
        true
    }

    /// The first entry at or after a position: the position after it, its key and its value.
    #[inline]
    fn entry_at(
        &self,
        mut position: ffi::Py_ssize_t,
    ) -> Option<(ffi::Py_ssize_t, *mut ffi::PyObject, *mut ffi::PyObject)> {
        let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the dict is live and this thread is attached to the interpreter; the `Bound`
        // proves both. The critical section keeps other threads from changing the dict. Any
        // position is allowed: out of bounds the call returns 0. It gives borrowed references,
        // which the caller compares, or uses before anything can run that could drop them.
        #[expect(unsafe_code, reason = "PyO3's iterator creates two references per entry")]
        let found =
            unsafe { ffi::PyDict_Next(self.0.as_ptr(), &mut position, &mut key, &mut value) };
        (found != 0).then_some((position, key, value))
    }
}
