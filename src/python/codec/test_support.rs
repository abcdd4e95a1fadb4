//! The codec and the cookie finder as functions, for tests and benchmarks.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use super::caches::CodecCaches;
use super::decode::{decode as decode_text, decode_into};
use super::encode::encode as encode_value;
use super::style::Style;
use crate::cookie::{self, Lookup};

/// The native half of Flask's ``TaggedJSONSerializer``, with caches of its own.
#[pyclass(frozen, module = "flask_fernet._core")]
pub(crate) struct Codec(CodecCaches);

#[pymethods]
impl Codec {
    #[new]
    fn new() -> Self {
        Self(CodecCaches::default())
    }

    /// ``value`` as tagged JSON; ``None`` if only Flask's own serializer can write it.
    #[pyo3(signature = (value, sort_keys=true, ensure_ascii=true))]
    fn encode<'py>(
        &self,
        value: &Bound<'py, PyAny>,
        sort_keys: bool,
        ensure_ascii: bool,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let mut out = Vec::with_capacity(512);
        let style = Style { sort_keys, ensure_ascii };
        let done = encode_value(value, style, &self.0.layouts, &mut out)?;
        Ok(done.map(|()| PyBytes::new(value.py(), &out)))
    }

    /// The value that tagged JSON stands for; ``NotImplemented`` if only Flask's own serializer can
    /// read it.
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

/// The value of a cookie in a ``Cookie`` header; ``None`` if the header has no such cookie,
/// ``NotImplemented`` if only Werkzeug's parser can read it.
#[pyfunction]
pub(crate) fn find_cookie<'py>(
    py: Python<'py>,
    header: &str,
    name: &str,
) -> Option<Bound<'py, PyAny>> {
    match cookie::find(header, name) {
        Lookup::Value(value) => Some(PyString::new(py, value).into_any()),
        Lookup::Absent => None,
        Lookup::LeaveToWerkzeug => Some(py.NotImplemented().into_bound(py)),
    }
}
