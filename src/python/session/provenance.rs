//! `Provenance`: the note that opening a session leaves on it for saving.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::python::call::attribute_opt;

/// Key of the note in a session's `__dict__`.
pub(crate) const PROVENANCE: &str = "_provenance";
/// Key of the creation time, in a session's `__dict__` and in the payload that carries it.
pub(crate) const CREATED: &str = "flask-fernet:created";

/// Key of the note on a stored session, in its `__dict__`. See `flask_fernet/stored/state.py`.
pub(crate) const STORED: &str = "_stored";

/// How an opened session came, if saving needs to know.
#[pyclass(frozen, get_all, module = "flask_fernet._core")]
pub(crate) struct Provenance {
    /// The authentic payload, before it was inflated or decoded; ``None`` if only the issue time
    /// matters.
    payload: Option<Py<PyBytes>>,
    /// Seconds since the epoch.
    pub(super) issued_at: u64,
    /// If the session is to be re-issued though nobody changed it, because an older key made its
    /// token or it came in another format: by when, in seconds of ``time.monotonic``.
    pub(super) reissue_until: Option<f64>,
}

#[pymethods]
impl Provenance {
    #[new]
    pub(super) const fn new(
        payload: Option<Py<PyBytes>>,
        issued_at: u64,
        reissue_until: Option<f64>,
    ) -> Self {
        Self { payload, issued_at, reissue_until }
    }
}

/// Puts `value` into a session's `__dict__`. Does nothing if the session has none.
pub(super) fn remember<'py>(
    session: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    value: impl IntoPyObject<'py>,
) -> PyResult<()> {
    match attribute_opt(session, pyo3::intern!(session.py(), "__dict__"))? {
        Some(attributes) => attributes.set_item(name, value),
        None => Ok(()),
    }
}
