//! `SessionKeys`: the keys of one app's sessions, for the Python side.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::compress;
use crate::keys::key::{KEY, derive_key, parse_key};
use crate::keys::key_set::{Format, KeySet, MAX_TOKEN, Opened};
use crate::keys::wipe;
use crate::python::errors;
use crate::python::memory::{new_bytes, room_for};
use crate::python::panics::guarded;
use crate::token::base64;

/// Seals and opens session payloads. The first key encrypts, all of them open.
///
/// :param keys: pairs of a name for messages and a key, 32 bytes as URL-safe base64.
/// :param salt: the session interface's salt, ``str`` or ``bytes``.
/// :param writes: the format of the tokens that are written.
/// :param others: further formats that are opened.
/// :raises ConfigurationError: if a key is malformed. The message names the key and never shows it.
#[pyclass(frozen, module = "flask_fernet._core")]
pub(crate) struct SessionKeys(KeySet);

/// The properties of an authentic token, of any age.
#[derive(Serialize)]
struct Inspected {
    format: &'static str,
    issued_at: u64,
    /// Position of the key that made the token; 0 is the newest.
    key: usize,
    /// Bytes of the payload, as it was sealed.
    size: usize,
    compressed: bool,
}

#[pymethods]
impl SessionKeys {
    #[new]
    #[pyo3(signature = (keys, salt, writes="fernet", others=Vec::new()))]
    fn new(
        py: Python<'_>,
        keys: Vec<(String, Bound<'_, PyAny>)>,
        salt: &Bound<'_, PyAny>,
        writes: &str,
        others: Vec<String>,
    ) -> PyResult<Self> {
        guarded(py, || {
            let writes = format(writes)?;
            let others = others.iter().map(|name| format(name)).collect::<PyResult<Vec<_>>>()?;
            let salt = match bytes_or_utf8(salt) {
                Some(Ok(salt)) => salt,
                _ => {
                    return Err(errors::configuration(py, "salt must be str or bytes.".to_owned()));
                }
            };
            let set = wipe::with_wiped_stack(|| {
                let keys = read_keys(py, keys)?;
                Ok::<_, PyErr>(KeySet::new(&keys, salt, writes, &others))
            })?;
            let no_key = || errors::configuration(py, "There is no session key.".to_owned());
            Ok(Self(set.ok_or_else(no_key)?))
        })
    }

    /// A token over ``payload``, dated ``issued_at`` seconds since the epoch, for the cookie
    /// ``name``.
    fn seal<'py>(
        &self,
        py: Python<'py>,
        payload: &[u8],
        issued_at: u64,
        name: &str,
    ) -> PyResult<Bound<'py, PyString>> {
        guarded(py, || {
            let mut token = room_for(self.0.token_len(payload.len()))?;
            self.0.seal(payload, issued_at, name.as_bytes(), &mut token)?;
            PyString::from_bytes(py, &token)
        })
    }

    /// Opens a token of the cookie ``name`` that is at most ``max_age`` seconds old at ``now``.
    /// Returns its payload, its issue time, whether the newest key made it, and its format.
    ///
    /// :raises SessionRejected: with the reason.
    fn open<'py>(
        &self,
        py: Python<'py>,
        token: &Bound<'py, PyAny>,
        now: i128,
        max_age: i64,
        name: &str,
    ) -> PyResult<(Bound<'py, PyBytes>, u64, bool, &'static str)> {
        guarded(py, || {
            let opened = self.open_token(token, now, max_age, name)?;
            let payload = new_bytes(py, &opened.payload)?;
            Ok((payload, opened.issued_at, opened.key == 0, opened.format.name()))
        })
    }

    /// Whether a token that no key opens may be under a key that this object does not have yet. It
    /// is not if its shape is wrong or its key hint is of a key that is here.
    fn may_be_newer(&self, token: &Bound<'_, PyAny>) -> PyResult<bool> {
        guarded(token.py(), || {
            let text = bytes_or_utf8(token).and_then(Result::ok);
            Ok(text.is_some_and(|text| self.0.may_be_newer(text)))
        })
    }

    /// The properties of a token of the cookie ``name``, whatever its age: ``format``, ``issued_at``
    /// in seconds since the epoch, ``key`` (a position, 0 is the newest), ``size`` of the payload in
    /// bytes, ``compressed``.
    ///
    /// :raises SessionRejected: if the token is not authentic.
    fn inspect<'py>(
        &self,
        py: Python<'py>,
        token: &Bound<'py, PyAny>,
        name: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        guarded(py, || {
            let opened = self.open_token(token, i128::from(i64::MAX), i64::MAX, name)?;
            Ok(pythonize::pythonize(
                py,
                &Inspected {
                    format: opened.format.name(),
                    issued_at: opened.issued_at,
                    key: opened.key,
                    size: opened.payload.len(),
                    compressed: opened.payload.first() == Some(&compress::MARK),
                },
            )?)
        })
    }

    /// Maximum length of a token that is opened, in characters.
    #[classattr]
    #[pyo3(name = "MAX_TOKEN")]
    const fn max_token() -> usize {
        MAX_TOKEN
    }
}

impl SessionKeys {
    pub(crate) const fn key_set(&self) -> &KeySet {
        &self.0
    }

    fn open_token(
        &self,
        token: &Bound<'_, PyAny>,
        now: i128,
        max_age: i64,
        name: &str,
    ) -> PyResult<Opened> {
        let wrong_type = || PyTypeError::new_err("token must be bytes or str");
        let text = bytes_or_utf8(token).ok_or_else(wrong_type)?.unwrap_or(NOT_BASE64);
        let opened = self.0.open(text, now, max_age, name.as_bytes());
        opened.map_err(|reason| errors::session_rejected(token.py(), reason))
    }
}

/// Derives a key from a secret. Returns it as text: 32 bytes in URL-safe base64.
///
/// :param salt: the session interface's salt, ``str`` or ``bytes``.
#[pyfunction]
#[pyo3(name = "derive_key")]
pub(crate) fn derived_key(
    py: Python<'_>,
    secret: &[u8],
    salt: &Bound<'_, PyAny>,
) -> PyResult<String> {
    guarded(py, || {
        let salt = match bytes_or_utf8(salt) {
            Some(Ok(salt)) => salt,
            _ => return Err(errors::configuration(py, "salt must be str or bytes.".to_owned())),
        };
        let mut key = vec![0; base64::encoded_len(KEY)];
        base64::encode_slice(&*derive_key(secret, salt), &mut key);
        String::from_utf8(key).map_err(Into::into)
    })
}

fn format(name: &str) -> PyResult<Format> {
    let unknown = || PyValueError::new_err(format!("Unknown token format {name:?}."));
    Format::from_name(name).ok_or_else(unknown)
}

/// Stands for a text that has no UTF-8: refused as everything is that is not base64.
const NOT_BASE64: &[u8] = b"!";

/// A `str` with lone surrogates, which has no UTF-8.
struct LoneSurrogates;

/// The bytes of a `bytes`, or the UTF-8 of a `str`; `None` for an object of another type.
fn bytes_or_utf8<'a>(value: &'a Bound<'_, PyAny>) -> Option<Result<&'a [u8], LoneSurrogates>> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Some(Ok(bytes.as_bytes()));
    }
    let text = value.cast::<PyString>().ok()?;
    Some(text.to_str().map(str::as_bytes).map_err(|_| LoneSurrogates))
}

fn read_keys(
    py: Python<'_>,
    keys: Vec<(String, Bound<'_, PyAny>)>,
) -> PyResult<Vec<Zeroizing<[u8; KEY]>>> {
    let read = |(name, key): (String, Bound<'_, PyAny>)| {
        let Some(text) = bytes_or_utf8(&key) else {
            let message = format!("{name} must be str or bytes, not {}.", key.get_type().name()?);
            return Err(errors::configuration(py, message));
        };
        parse_key(text.unwrap_or(NOT_BASE64)).map_err(|problem| {
            let message = format!(
                "{name} is not a key: it {problem}. flask_fernet.Fernet.generate_key() makes a key."
            );
            errors::configuration(py, message)
        })
    };
    keys.into_iter().map(read).collect()
}
