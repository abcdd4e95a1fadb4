//! `SessionKeys`: the keys of one app's sessions, for the interface in Python.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use super::errors;
use crate::token::fernet::FernetKey;
use crate::token::keys::{KeySet, MAX_TOKEN, derive_key, parse_key};

/// Seals and opens session payloads. The first key encrypts, all open.
///
/// :param keys: pairs of a name for messages and a key, 32 bytes as URL-safe base64.
/// :param secrets: secrets to derive further, older keys from, with ``salt``.
/// :raises ConfigurationError: if a key is malformed; says which, never shows it.
#[pyclass(frozen, module = "flask_fernet._core")]
pub(crate) struct SessionKeys(Arc<KeySet>);

#[pymethods]
impl SessionKeys {
    #[new]
    fn new(
        py: Python<'_>,
        keys: Vec<(String, Bound<'_, PyAny>)>,
        secrets: Vec<Bound<'_, PyBytes>>,
        salt: &str,
    ) -> PyResult<Self> {
        let mut all = Vec::with_capacity(keys.len() + secrets.len());
        for (name, key) in keys {
            let text: &[u8] = if let Ok(bytes) = key.cast::<PyBytes>() {
                bytes.as_bytes()
            } else if let Ok(text) = key.cast::<PyString>() {
                text.to_str()?.as_bytes()
            } else {
                let message = format!("{name} is a {}, not str or bytes", key.get_type().name()?);
                return Err(errors::configuration(py, message));
            };
            let key = parse_key(text).map_err(|problem| {
                errors::configuration(
                    py,
                    format!(
                        "{name} is not a key: it {problem}. A key is what \
                         flask_fernet.Fernet.generate_key() gives."
                    ),
                )
            })?;
            all.push(FernetKey::new(&key));
        }
        let derived = secrets.iter().map(|secret| derive_key(secret.as_bytes(), salt));
        all.extend(derived.map(|key| FernetKey::new(&key)));
        let none = || errors::configuration(py, "there is no session key".to_owned());
        Ok(Self(Arc::new(KeySet::new(all).ok_or_else(none)?)))
    }

    /// A token over ``payload`` under the newest key, dated ``issued_at`` seconds since the
    /// epoch.
    fn seal<'py>(
        &self,
        py: Python<'py>,
        payload: &[u8],
        issued_at: u64,
    ) -> PyResult<Bound<'py, PyString>> {
        let mut token = Vec::new();
        self.0.seal(payload, issued_at, &mut token)?;
        PyString::from_bytes(py, &token)
    }

    /// The payload of a token at most ``max_age`` seconds old at ``now``, its issue time and
    /// whether the newest key made it.
    ///
    /// :raises SessionRejected: with the reason.
    fn open<'py>(
        &self,
        py: Python<'py>,
        token: &Bound<'py, PyAny>,
        now: i64,
        max_age: i64,
    ) -> PyResult<(Bound<'py, PyBytes>, u64, bool)> {
        let opened = if let Ok(bytes) = token.cast::<PyBytes>() {
            self.0.open(bytes.as_bytes(), now, max_age)
        } else {
            // Lone surrogates have no UTF-8, and no place in a token.
            let text = token.cast::<PyString>()?;
            self.0.open(text.to_str().map_or(b"!", str::as_bytes), now, max_age)
        };
        let opened = opened.map_err(|reason| errors::session_rejected(py, reason))?;
        Ok((PyBytes::new(py, &opened.payload), opened.issued_at, opened.key == 0))
    }

    /// Longest token that is opened, in characters.
    #[classattr]
    #[pyo3(name = "MAX_TOKEN")]
    const fn max_token() -> usize {
        MAX_TOKEN
    }
}

impl SessionKeys {
    pub(crate) fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.0)
    }
}
