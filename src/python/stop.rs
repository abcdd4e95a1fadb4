//! Why a native path ended early.

use pyo3::{CastError, CastIntoError, PyErr, PyResult};

/// What a native step answers with when it does not have the result.
pub(crate) enum Stop {
    /// Something the fast path does not know exactly: for Python to do.
    Decline,
    /// An exception to raise.
    Raise(PyErr),
}

impl Stop {
    /// `None` where the step declined.
    pub(crate) fn declined<T>(result: Result<T, Self>) -> PyResult<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Self::Decline) => Ok(None),
            Err(Self::Raise(error)) => Err(error),
        }
    }
}

impl From<PyErr> for Stop {
    fn from(error: PyErr) -> Self {
        Self::Raise(error)
    }
}

impl From<CastError<'_, '_>> for Stop {
    fn from(_: CastError<'_, '_>) -> Self {
        Self::Decline
    }
}

impl From<CastIntoError<'_>> for Stop {
    fn from(_: CastIntoError<'_>) -> Self {
        Self::Decline
    }
}
