//! `Origin`: the note that opening leaves on a session for saving.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// Where the note is kept, in a session's `__dict__`, as in `flask_fernet/session.py`.
pub(crate) const ORIGIN: &str = "_origin";
/// Where the time of a session's creation is kept there; and the key of the payload that holds
/// it, as in `flask_fernet/lifetimes.py`.
pub(crate) const CREATED: &str = "flask-fernet:created";

/// How an opened session came, where saving needs to know.
#[pyclass(frozen, get_all, module = "flask_fernet._core")]
pub(crate) struct Origin {
    /// The authentic payload, before it was inflated or decoded; ``None`` where it is only the
    /// time that matters.
    payload: Option<Py<PyBytes>>,
    /// Seconds since the epoch.
    pub(crate) issued_at: u64,
    /// Whether to write it again though nobody changed it: an older key made its token.
    pub(crate) reissue: bool,
}

#[pymethods]
impl Origin {
    #[new]
    pub(crate) const fn new(payload: Option<Py<PyBytes>>, issued_at: u64, reissue: bool) -> Self {
        Self { payload, issued_at, reissue }
    }
}

/// Leaves something in a session's `__dict__`; one of a class without room for it goes without.
pub(crate) fn remember<'py>(
    session: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    value: impl IntoPyObject<'py>,
) -> PyResult<()> {
    match session.getattr_opt(pyo3::intern!(session.py(), "__dict__"))? {
        Some(attributes) => attributes.set_item(name, value),
        None => Ok(()),
    }
}
