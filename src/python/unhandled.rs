//! The reasons for which a native step ends without a result.

use pyo3::{CastError, CastIntoError, PyErr, PyResult};

/// Why a native step has no result.
pub(crate) enum Unhandled {
    /// The step declined: it met something that it does not know exactly. It has changed nothing,
    /// and the Python fallback handles the request from the beginning.
    Declined,
    /// An exception to raise.
    Raised(PyErr),
}

/// Turns a declined step into `None`.
pub(crate) trait OrNone<T> {
    /// The result; `None` if the step declined.
    fn or_none(self) -> PyResult<Option<T>>;
}

impl<T> OrNone<T> for Result<T, Unhandled> {
    fn or_none(self) -> PyResult<Option<T>> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(Unhandled::Declined) => Ok(None),
            Err(Unhandled::Raised(error)) => Err(error),
        }
    }
}

impl From<PyErr> for Unhandled {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl From<CastError<'_, '_>> for Unhandled {
    fn from(_: CastError<'_, '_>) -> Self {
        Self::Declined
    }
}

impl From<CastIntoError<'_>> for Unhandled {
    fn from(_: CastIntoError<'_>) -> Self {
        Self::Declined
    }
}
