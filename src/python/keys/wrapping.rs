//! Wrapping a key ring, for `flask_fernet/keys/wrapping.py`.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::keys::{wipe, wrapping};

/// ``document`` encrypted under ``secret``, as text.
#[pyfunction]
pub(crate) fn wrap<'py>(
    py: Python<'py>,
    secret: &[u8],
    document: &[u8],
) -> PyResult<Bound<'py, PyString>> {
    let wrapped = wipe::with_wiped_stack(|| wrapping::wrap(secret, document))?;
    PyString::from_bytes(py, &wrapped)
}

/// The document in a text that ``wrap`` made under ``secret``; ``None`` for any other text.
#[pyfunction]
pub(crate) fn unwrap<'py>(
    py: Python<'py>,
    secret: &[u8],
    wrapped: &str,
) -> Option<Bound<'py, PyBytes>> {
    let document = wipe::with_wiped_stack(|| wrapping::unwrap(secret, wrapped.as_bytes()))?;
    Some(PyBytes::new(py, &document))
}
