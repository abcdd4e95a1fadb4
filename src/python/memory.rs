//! Memory for what may be large. Where there is none, Rust would end the process, and PyO3 would
//! panic; these raise `MemoryError`.

use std::collections::TryReserveError;

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// The error for something that is larger than the memory that is left.
pub(crate) fn no_memory(_: TryReserveError) -> PyErr {
    PyMemoryError::new_err(())
}

/// The data as `bytes`.
pub(crate) fn new_bytes<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    // `PyBytes::new` panics if there is no memory.
    PyBytes::new_with(py, data.len(), |bytes| {
        bytes.copy_from_slice(data);
        Ok(())
    })
}

/// A vector with room for as many bytes.
pub(crate) fn room_for(bytes: usize) -> PyResult<Vec<u8>> {
    let mut room = Vec::new();
    room.try_reserve_exact(bytes).map_err(no_memory)?;
    Ok(room)
}

/// A copy of the data.
pub(crate) fn copied(data: &[u8]) -> PyResult<Vec<u8>> {
    let mut copy = room_for(data.len())?;
    copy.extend_from_slice(data);
    Ok(copy)
}
