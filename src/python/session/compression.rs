//! Compression of payloads, for the Python fallback.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::compress;

/// The payload, compressed and marked.
#[pyfunction]
pub(crate) fn deflate<'py>(py: Python<'py>, payload: &[u8]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &compress::deflate(payload))
}

/// Undoes ``deflate``; ``None`` if the stream is broken or inflates to more than 1 MiB.
#[pyfunction]
pub(crate) fn inflate<'py>(py: Python<'py>, payload: &[u8]) -> Option<Bound<'py, PyBytes>> {
    compress::inflate(payload).map(|payload| PyBytes::new(py, &payload))
}
