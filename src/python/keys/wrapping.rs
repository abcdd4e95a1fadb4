//! Wrapping a key ring, for `flask_fernet/keys/wrapping.py`.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::keys::{wipe, wrapping};
use crate::python::memory::new_bytes;
use crate::python::panics::guarded;

/// ``document`` encrypted under ``secret``, as text.
#[pyfunction]
pub(crate) fn wrap<'py>(
    py: Python<'py>,
    secret: &[u8],
    document: &[u8],
) -> PyResult<Bound<'py, PyString>> {
    guarded(py, || {
        let wrapped = wipe::with_wiped_stack(|| wrapping::wrap(secret, document))?;
        PyString::from_bytes(py, &wrapped)
    })
}

/// The document in a text that ``wrap`` made under ``secret``; ``None`` for any other text.
#[pyfunction]
pub(crate) fn unwrap<'py>(
    py: Python<'py>,
    secret: &[u8],
    wrapped: &str,
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    guarded(py, || {
        let document = wipe::with_wiped_stack(|| wrapping::unwrap(secret, wrapped.as_bytes()));
        document.map(|document| new_bytes(py, &document)).transpose()
    })
}
