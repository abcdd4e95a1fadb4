//! The one place where the core's errors become Python exceptions. Their classes are defined in
//! `flask_fernet/errors.py`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use super::call::{Arguments, call};
use crate::token::TokenError;
use crate::token::random::NoRandomness;

static INVALID_TOKEN: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static SESSION_REJECTED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static CONFIGURATION: PyOnceLock<Py<PyType>> = PyOnceLock::new();

fn error<'py>(
    py: Python<'py>,
    cell: &PyOnceLock<Py<PyType>>,
    name: &str,
    arguments: impl Arguments<'py>,
) -> PyErr {
    let error =
        cell.import(py, "flask_fernet.errors", name).and_then(|class| call(class, arguments));
    error.map_or_else(|error| error, PyErr::from_value)
}

/// `InvalidToken()`, which never gives a reason.
#[cold]
pub(crate) fn invalid_token(py: Python<'_>) -> PyErr {
    error(py, &INVALID_TOKEN, "InvalidToken", ())
}

/// `SessionRejected(reason)`.
#[cold]
pub(crate) fn session_rejected(py: Python<'_>, reason: TokenError) -> PyErr {
    error(py, &SESSION_REJECTED, "SessionRejected", (reason_name(reason),))
}

/// `ConfigurationError(message)`.
#[cold]
pub(crate) fn configuration(py: Python<'_>, message: String) -> PyErr {
    error(py, &CONFIGURATION, "ConfigurationError", (message,))
}

/// The value of the `flask_fernet.Reason` for an error.
pub(crate) const fn reason_name(reason: TokenError) -> &'static str {
    match reason {
        TokenError::Malformed => "malformed",
        TokenError::Unauthentic => "unauthentic",
        TokenError::Expired => "expired",
        TokenError::FromFuture => "from_future",
        TokenError::TooLarge => "too_large",
        TokenError::Undecodable => "undecodable",
    }
}

impl From<NoRandomness> for PyErr {
    #[cold]
    fn from(NoRandomness: NoRandomness) -> Self {
        pyo3::exceptions::PyOSError::new_err("the operating system has no random bytes to give")
    }
}
