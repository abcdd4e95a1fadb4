//! Arguments, taken like `cryptography.fernet` takes them.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyInt, PyString, PyType};

use crate::keys::key::{KEY, MAX_CLOCK_SKEW};
use crate::python::call::{attribute, call, call_method};
use crate::python::errors::invalid_token;
use crate::python::memory::{copied, no_memory};
use crate::token::base64;
use crate::token::fernet::Unverified;
use zeroize::Zeroizing;

static BINASCII_ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// A plaintext: `bytes`, and not any other bytes-like object.
pub(crate) fn plaintext<'a, 'py>(data: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyBytes>> {
    data.cast().map_err(|_| PyTypeError::new_err("data must be bytes"))
}

/// A key: 32 bytes as base64, in any form that Python's decoder takes.
pub(crate) fn key(key: &Bound<'_, PyAny>) -> PyResult<Zeroizing<[u8; KEY]>> {
    let unsuitable =
        || PyValueError::new_err("Fernet key must be 32 url-safe base64-encoded bytes.");
    let bytes = match utf8_bytes(key) {
        Some(text) => base64::decode(text),
        None => None,
    };
    let bytes = Zeroizing::new(match bytes {
        Some(bytes) => bytes,
        None => lenient(key).map_err(|error| {
            if is_binascii_error(key.py(), &error) { unsuitable() } else { error }
        })?,
    });
    Ok(Zeroizing::new(bytes.as_slice().try_into().map_err(|_| unsuitable())?))
}

/// A decoded token. Canonical base64 is decoded here, everything else by Python's decoder.
pub(crate) fn token(token: &Bound<'_, PyAny>) -> PyResult<Unverified> {
    let py = token.py();
    if !token.is_instance_of::<PyBytes>() && !token.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err("token must be bytes or str"));
    }
    let text = utf8_bytes(token);
    let data = match text.map_or(Ok(None), base64::try_decode).map_err(no_memory)? {
        Some(data) => data,
        None => lenient(token).map_err(|error| {
            let undecodable =
                error.is_instance_of::<PyTypeError>(py) || is_binascii_error(py, &error);
            if undecodable { invalid_token(py) } else { error }
        })?,
    };
    Unverified::parse(data).ok_or_else(|| invalid_token(py))
}

/// The bytes of a `bytes`, or the UTF-8 of a `str`.
fn utf8_bytes<'a>(text: &'a Bound<'_, PyAny>) -> Option<&'a [u8]> {
    if let Ok(bytes) = text.cast::<PyBytes>() {
        return Some(bytes.as_bytes());
    }
    text.cast::<PyString>().ok()?.to_str().ok().map(str::as_bytes)
}

/// `base64.urlsafe_b64decode`, which drops characters outside its alphabet.
#[cold]
fn lenient(text: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let base64 = text.py().import("base64")?;
    let data = call_method(&base64, intern!(text.py(), "urlsafe_b64decode"), (text,))?;
    copied(data.cast::<PyBytes>()?.as_bytes())
}

fn is_binascii_error(py: Python<'_>, error: &PyErr) -> bool {
    BINASCII_ERROR.import(py, "binascii", "Error").is_ok_and(|class| error.is_instance(py, class))
}

/// A time as eight bytes, like `current_time.to_bytes(length=8, byteorder="big")`.
pub(crate) fn timestamp(time: &Bound<'_, PyAny>) -> PyResult<u64> {
    match time.cast::<PyInt>() {
        Ok(int) => int.extract(),
        Err(_) => {
            let method = attribute(time, intern!(time.py(), "to_bytes"))?;
            let bytes: Vec<u8> = call(&method, (8, "big"))?.extract()?;
            let bytes = bytes.try_into().map_err(|_| PyValueError::new_err("not eight bytes"))?;
            Ok(u64::from_be_bytes(bytes))
        }
    }
}

/// The ages that a `ttl` allows at a given time. Both may be any numbers that Python can add and
/// compare.
pub(crate) struct TtlWindow<'py> {
    pub(crate) ttl: Bound<'py, PyAny>,
    pub(crate) now: Bound<'py, PyAny>,
}

impl TtlWindow<'_> {
    /// Whether a token issued at `issued_at` is neither expired nor from the future.
    pub(crate) fn contains(&self, issued_at: u64) -> PyResult<bool> {
        if let (Some(ttl), Some(now)) = (small_int(&self.ttl), small_int(&self.now)) {
            let (issued_at, now) = (i128::from(issued_at), i128::from(now));
            let skew = i128::from(MAX_CLOCK_SKEW);
            return Ok(issued_at + i128::from(ttl) >= now && now + skew >= issued_at);
        }
        let issued_at = issued_at.into_pyobject(self.ttl.py())?;
        Ok(!issued_at.add(&self.ttl)?.lt(&self.now)?
            && !self.now.add(MAX_CLOCK_SKEW)?.lt(&issued_at)?)
    }
}

fn small_int(value: &Bound<'_, PyAny>) -> Option<i64> {
    value.is_exact_instance_of::<PyInt>().then(|| value.extract().ok())?
}
