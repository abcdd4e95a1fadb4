//! Scalars to JSON without running Python.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString};

use super::unhandled::Unhandled;
use crate::json::write::{append_float, append_int, append_string};

/// Bytes of the longest scalar that is no text, with the brackets around it and some to spare.
const SCALAR: usize = 64;

/// Appends `value` as JSON if that runs no Python code: a `str` that has UTF-8, an `int` of 64 bits,
/// a `float`, `True`, `False` or `None`, each of exactly that type. Returns `false`, with nothing
/// appended, for any other value. Returns `false` too, with part of it appended, if there is no memory
/// for it.
#[inline]
pub(crate) fn append_scalar(
    value: &Bound<'_, PyAny>,
    ensure_ascii: bool,
    out: &mut Vec<u8>,
) -> bool {
    if let Ok(text) = value.cast_exact::<PyString>() {
        let Ok(text) = text.to_str() else { return false };
        return append_string(text, ensure_ascii, out).is_ok();
    }
    if out.try_reserve(SCALAR).is_err() {
        return false;
    }
    if value.is_exact_instance_of::<PyInt>() {
        let Ok(int) = value.extract() else { return false };
        append_int(int, out);
    } else if let Ok(float) = value.cast_exact::<PyFloat>() {
        append_float(float.value(), out);
    } else if value.is_none() {
        out.extend_from_slice(b"null");
    } else if let Ok(flag) = value.cast_exact::<PyBool>() {
        out.extend_from_slice(if flag.is_true() { b"true" } else { b"false" });
    } else {
        return false;
    }
    true
}

/// A text's UTF-8. Declines lone surrogates, which have none.
pub(crate) fn utf8<'a>(text: &'a Bound<'_, PyString>) -> Result<&'a str, Unhandled> {
    text.to_str().map_err(|_| Unhandled::Declined)
}
