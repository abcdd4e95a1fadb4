//! The session codec and its neighbours as functions, for the portable path and for tests.

use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::compress;
use crate::cookie::{self, Found};
use crate::tagged_json::decode::{KnownKeys, decode as decode_text, decode_into};
use crate::tagged_json::encode::{Style, encode as encode_value};

/// The native half of Flask's ``TaggedJSONSerializer``, as a session interface has one.
#[pyclass(frozen, module = "flask_fernet._core")]
pub(crate) struct Codec(Mutex<KnownKeys>);

#[pymethods]
impl Codec {
    #[new]
    fn new() -> Self {
        Self(Mutex::default())
    }

    /// ``value`` as tagged JSON, or ``None`` where only Flask's own serializer will do.
    #[staticmethod]
    #[pyo3(signature = (value, *, sort_keys=true, ensure_ascii=true))]
    fn encode<'py>(
        value: &Bound<'py, PyAny>,
        sort_keys: bool,
        ensure_ascii: bool,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let mut out = Vec::with_capacity(512);
        let done = encode_value(value, Style { sort_keys, ensure_ascii }, &mut out)?;
        Ok(done.map(|()| PyBytes::new(value.py(), &out)))
    }

    /// The value that tagged JSON stands for in a tuple of one, or ``None`` where only Flask's
    /// own serializer will do.
    fn decode<'py>(&self, py: Python<'py>, text: &[u8]) -> PyResult<Option<(Bound<'py, PyAny>,)>> {
        let Ok(text) = std::str::from_utf8(text) else { return Ok(None) };
        let session = PyDict::new(py);
        if decode_into(&session, text, &self.0)?.is_some() {
            return Ok(Some((session.into_any(),)));
        }
        Ok(decode_text(py, text)?.map(|value| (value,)))
    }
}

/// A payload compressed and marked.
#[pyfunction]
pub(crate) fn deflate<'py>(py: Python<'py>, payload: &[u8]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &compress::deflate(payload))
}

/// A compressed payload unpacked, or ``None`` where it is broken or too large.
#[pyfunction]
pub(crate) fn inflate<'py>(py: Python<'py>, payload: &[u8]) -> Option<Bound<'py, PyBytes>> {
    compress::inflate(payload).map(|payload| PyBytes::new(py, &payload))
}

/// The value of a cookie in a ``Cookie`` header, ``None`` if it has none, ``NotImplemented`` for
/// a header that only Werkzeug's parser reads.
#[pyfunction]
pub(crate) fn find_cookie<'py>(
    py: Python<'py>,
    header: &str,
    name: &str,
) -> Option<Bound<'py, PyAny>> {
    match cookie::find(header, name) {
        Found::Value(value) => Some(PyString::new(py, value).into_any()),
        Found::Absent => None,
        Found::Odd => Some(py.NotImplemented().into_bound(py)),
    }
}
