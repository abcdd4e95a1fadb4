//! Looking at a dict's entries where they were found before: a third of a look-up's price.
//!
//! The second of two places with `unsafe` in this package; `token/fork.rs` has the first.
//! Whatever happened to the dict since, what is found is true: a live entry of it with this very
//! key has this value. A place that holds another key now only sends the caller to a look-up.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyDict, PyString};

/// The entries of a dict, while no other thread can change them.
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
    /// For comparing; it need not be good for longer.
    #[inline]
    pub(crate) fn value_at(&self, place: &Place) -> Option<*mut ffi::PyObject> {
        let (_, key, value) = self.next(place.position)?;
        (key == place.key.as_ptr()).then_some(value)
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
