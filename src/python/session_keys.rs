//! `SessionKeys`: the keys of one app's sessions, for the interface in Python.

use std::sync::Arc;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use super::errors;
use crate::token::base64;
use crate::token::key_set::{Format, KeySet, MAX_TOKEN};
use crate::token::keys::{KEY, derive_key, parse_key};
use crate::token::wipe;
use zeroize::Zeroizing;

/// Seals and opens session payloads. The first key encrypts, all open.
///
/// :param keys: pairs of a name for messages and a key, 32 bytes as URL-safe base64.
/// :param secrets: secrets to derive further, older keys from, with ``salt``.
/// :param writes: the format that is written, ``others`` those that are opened besides.
/// :raises ConfigurationError: if a key is malformed; says which, never shows it.
#[pyclass(frozen, module = "flask_fernet._core")]
pub(crate) struct SessionKeys(Arc<KeySet>);

#[pymethods]
impl SessionKeys {
    #[new]
    #[pyo3(signature = (keys, secrets, salt, writes="fernet", others=Vec::new()))]
    fn new(
        py: Python<'_>,
        keys: Vec<(String, Bound<'_, PyAny>)>,
        secrets: Vec<Bound<'_, PyBytes>>,
        salt: &Bound<'_, PyAny>,
        writes: &str,
        others: Vec<String>,
    ) -> PyResult<Self> {
        let format = |name: &str| {
            let unknown = || PyValueError::new_err(format!("{name:?} is no format"));
            Format::from_name(name).ok_or_else(unknown)
        };
        let writes = format(writes)?;
        let others = others.iter().map(|name| format(name)).collect::<PyResult<Vec<_>>>()?;
        let salt = match text(salt) {
            Some(Ok(salt)) => salt,
            _ => return Err(errors::configuration(py, "salt is str or bytes".to_owned())),
        };
        wipe::with_wiped_stack(|| {
            let keys = read_keys(py, keys, &secrets, salt)?;
            let none = || errors::configuration(py, "there is no session key".to_owned());
            Ok(Self(Arc::new(KeySet::new(&keys, salt, writes, &others).ok_or_else(none)?)))
        })
    }

    /// A token over ``payload`` under the newest key, dated ``issued_at`` seconds since the
    /// epoch, for the cookie ``name``.
    fn seal<'py>(
        &self,
        py: Python<'py>,
        payload: &[u8],
        issued_at: u64,
        name: &str,
    ) -> PyResult<Bound<'py, PyString>> {
        let mut token = Vec::new();
        self.0.seal(payload, issued_at, name.as_bytes(), &mut token)?;
        PyString::from_bytes(py, &token)
    }

    /// The payload of a token of the cookie ``name`` at most ``max_age`` seconds old at ``now``,
    /// its issue time, whether the newest key made it, and its format.
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
        let wrong_type = || PyTypeError::new_err("token must be bytes or str");
        let token = text(token).ok_or_else(wrong_type)?.unwrap_or(b"!");
        let opened = self.0.open(token, now, max_age, name.as_bytes());
        let opened = opened.map_err(|reason| errors::session_rejected(py, reason))?;
        let payload = PyBytes::new(py, &opened.payload);
        Ok((payload, opened.issued_at, opened.key == 0, opened.format.name()))
    }

    /// Longest token that is opened, in characters.
    #[classattr]
    #[pyo3(name = "MAX_TOKEN")]
    const fn max_token() -> usize {
        MAX_TOKEN
    }
}

/// The key that is derived from a secret, as text: 32 bytes in URL-safe base64.
#[pyfunction]
#[pyo3(name = "derive_key")]
pub(crate) fn derived_key(secret: &[u8], salt: &Bound<'_, PyAny>) -> PyResult<String> {
    let salt = match text(salt) {
        Some(Ok(salt)) => salt,
        _ => return Err(PyTypeError::new_err("salt is str or bytes")),
    };
    let mut key = vec![0; base64::encoded_len(KEY)];
    base64::encode_slice(&*derive_key(secret, salt), &mut key);
    String::from_utf8(key).map_err(Into::into)
}

/// The characters of a `bytes` or `str`, if it is one and has any.
fn text<'a>(value: &'a Bound<'_, PyAny>) -> Option<Result<&'a [u8], Surrogates>> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Some(Ok(bytes.as_bytes()));
    }
    let text = value.cast::<PyString>().ok()?;
    Some(text.to_str().map(str::as_bytes).map_err(|_| Surrogates))
}

/// A `str` that has no UTF-8.
struct Surrogates;

fn read_keys(
    py: Python<'_>,
    keys: Vec<(String, Bound<'_, PyAny>)>,
    secrets: &[Bound<'_, PyBytes>],
    salt: &[u8],
) -> PyResult<Vec<Zeroizing<[u8; KEY]>>> {
    let mut all = Vec::with_capacity(keys.len() + secrets.len());
    for (name, key) in keys {
        let Some(text) = text(&key) else {
            let message = format!("{name} is a {}, not str or bytes", key.get_type().name()?);
            return Err(errors::configuration(py, message));
        };
        // Lone surrogates have no UTF-8, and no place in a key.
        let key = parse_key(text.unwrap_or(b"!")).map_err(|problem| {
            errors::configuration(
                py,
                format!(
                    "{name} is not a key: it {problem}. A key is what \
                         flask_fernet.Fernet.generate_key() gives."
                ),
            )
        })?;
        all.push(key);
    }
    all.extend(secrets.iter().map(|secret| derive_key(secret.as_bytes(), salt)));
    Ok(all)
}

impl SessionKeys {
    pub(crate) fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.0)
    }
}
