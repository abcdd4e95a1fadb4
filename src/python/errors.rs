//! The one place where the core's errors become Python exceptions. Their classes are defined in
//! `flask_fernet/errors.py`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::token::TokenError;
use crate::token::random::NoRandomness;

static INVALID_TOKEN: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static SESSION_REJECTED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static CONFIGURATION: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static INTERNAL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static HIDE_FRAMES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

fn error<A>(py: Python<'_>, cell: &PyOnceLock<Py<PyType>>, name: &str, arguments: A) -> PyErr
where
    A: pyo3::PyErrArguments + Send + Sync + 'static,
{
    match cell.import(py, "flask_fernet.errors", name) {
        Ok(class) => PyErr::from_type(class.clone(), arguments),
        Err(error) => error,
    }
}

/// `InvalidToken()`, which never gives a reason.
#[cold]
pub(crate) fn invalid_token(py: Python<'_>) -> PyErr {
    error(py, &INVALID_TOKEN, "InvalidToken", ())
}

/// `SessionRejected(reason)`.
#[cold]
pub(crate) fn session_rejected(py: Python<'_>, reason: TokenError) -> PyErr {
    error(py, &SESSION_REJECTED, "SessionRejected", reason_name(reason))
}

/// The same error without this package's frames in its traceback, see
/// `flask_fernet/tracebacks.py`.
#[cold]
pub(crate) fn without_our_frames(py: Python<'_>, error: PyErr) -> PyErr {
    let value = error.into_value(py).into_bound(py);
    match HIDE_FRAMES.import(py, "flask_fernet.tracebacks", "hide_frames") {
        Ok(hide) => match hide.call1((&value,)) {
            Ok(_) => PyErr::from_value(value.into_any()),
            Err(error) => error,
        },
        Err(error) => error,
    }
}

/// `ConfigurationError(message)`.
#[cold]
pub(crate) fn configuration(py: Python<'_>, message: String) -> PyErr {
    error(py, &CONFIGURATION, "ConfigurationError", message)
}

/// `InternalError(place)`, for a panic at a place in this package's source.
#[cold]
pub(crate) fn internal(py: Python<'_>, place: String) -> PyErr {
    error(py, &INTERNAL, "InternalError", place)
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
