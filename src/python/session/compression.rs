//! Compression of payloads, for the Python fallback.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::compress;
use crate::python::memory::{new_bytes, no_memory};
use crate::python::panics::guarded;

/// The payload, compressed and marked.
///
/// :param fast: take less time for a longer result.
#[pyfunction]
#[pyo3(signature = (payload, fast=false))]
pub(crate) fn deflate<'py>(
    py: Python<'py>,
    payload: &[u8],
    fast: bool,
) -> PyResult<Bound<'py, PyBytes>> {
    guarded(py, || {
        let effort = if fast { compress::Effort::Fast } else { compress::Effort::Thorough };
        let packed = compress::deflate(payload, effort).map_err(no_memory)?;
        new_bytes(py, &packed)
    })
}

/// Undoes ``deflate``; ``None`` if the stream is broken or inflates to more than 1 MiB.
#[pyfunction]
pub(crate) fn inflate<'py>(
    py: Python<'py>,
    payload: &[u8],
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    guarded(py, || {
        let payload = compress::inflate(payload).map_err(no_memory)?;
        payload.map(|payload| new_bytes(py, &payload)).transpose()
    })
}
