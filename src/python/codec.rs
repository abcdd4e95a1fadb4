//! The session codec and its neighbours as functions, for the portable path and for tests.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::compress;
use crate::cookie::{self, Found};
use crate::tagged_json::decode::{decode as decode_text, decode_into};
use crate::tagged_json::encode::{Style, encode as encode_value};
use crate::tagged_json::known::Known;

/// The native half of Flask's ``TaggedJSONSerializer``, as a session interface has one.
#[pyclass(frozen, module = "flask_fernet._core")]
pub(crate) struct Codec(Known);

#[pymethods]
impl Codec {
    #[new]
    fn new() -> Self {
        Self(Known::default())
    }

    /// ``value`` as tagged JSON, or ``None`` where only Flask's own serializer will do.
    #[pyo3(signature = (value, sort_keys=true, ensure_ascii=true))]
    fn encode<'py>(
        &self,
        value: &Bound<'py, PyAny>,
        sort_keys: bool,
        ensure_ascii: bool,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let mut out = Vec::with_capacity(512);
        let style = Style { sort_keys, ensure_ascii };
        let done = encode_value(value, style, &self.0.shapes, &mut out)?;
        Ok(done.map(|()| PyBytes::new(value.py(), &out)))
    }

    /// The value that tagged JSON stands for, or ``NotImplemented`` where only Flask's own
    /// serializer will do.
    fn decode<'py>(&self, py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        let declined = || py.NotImplemented().into_bound(py);
        let Ok(text) = std::str::from_utf8(text) else { return Ok(declined()) };
        let session = PyDict::new(py);
        if decode_into(&session, text, &self.0.keys)?.is_some() {
            return Ok(session.into_any());
        }
        Ok(decode_text(py, text, &self.0.keys)?.unwrap_or_else(declined))
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
