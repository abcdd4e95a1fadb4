//! `NativeState`: everything that the native half of one session interface remembers.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::counters::{Counters, Migrations, REASONS, STORE_EVENTS};
use super::policy_cache::PolicyCache;
use super::resolved_policy::ResolvedPolicy;
use crate::python::codec::caches::CodecCaches;
use crate::python::errors::reason_name;
use crate::python::flask::class_cache::ClassCache;
use crate::python::panics::guarded;
use crate::python::unhandled::Unhandled;
use crate::token::TokenError;

/// Everything that the native half of one session interface remembers.
///
/// :param opening_settings: names of the settings that opening a session depends on.
/// :param saving_settings: names of the further settings that saving a session depends on.
/// :param immutable_types: types, in addition to built-in ones, of settings that never change.
#[pyclass(frozen, module = "flask_fernet._core")]
pub(crate) struct NativeState {
    pub(super) classes: ClassCache,
    pub(super) policies: PolicyCache<ResolvedPolicy>,
    pub(super) codec: CodecCaches,
    /// Names of all settings that a policy depends on, those of opening first.
    pub(super) settings: Vec<Py<PyString>>,
    /// How many of them opening depends on.
    pub(super) opening_settings: usize,
    /// Types, in addition to built-in ones, of settings that never change.
    pub(super) immutable_types: Py<PyTuple>,
    rejections: Counters<{ REASONS.len() }>,
    store_events: Counters<{ STORE_EVENTS.len() }>,
    migrations: Migrations,
    disabled: AtomicBool,
    /// Whether any policy had a store: before that no session has a note on one.
    has_storage: AtomicBool,
}

#[pymethods]
impl NativeState {
    #[new]
    fn new(
        opening_settings: Vec<Py<PyString>>,
        saving_settings: Vec<Py<PyString>>,
        immutable_types: Py<PyTuple>,
    ) -> Self {
        Self {
            classes: ClassCache::new(),
            policies: PolicyCache::new(),
            codec: CodecCaches::default(),
            opening_settings: opening_settings.len(),
            settings: opening_settings.into_iter().chain(saving_settings).collect(),
            immutable_types,
            rejections: Counters::new(REASONS),
            store_events: Counters::new(STORE_EVENTS),
            migrations: Migrations::default(),
            disabled: AtomicBool::new(false),
            has_storage: AtomicBool::new(false),
        }
    }

    /// Counts a refused cookie. Returns the number of cookies refused for this reason so far.
    ///
    /// :raises ValueError: if ``reason`` is not the value of a ``Reason``.
    fn count_rejection(&self, py: Python<'_>, reason: &str) -> PyResult<u64> {
        guarded(py, || {
            let unknown = || PyValueError::new_err(format!("Unknown reason {reason:?}."));
            self.rejections.count(reason).ok_or_else(unknown)
        })
    }

    /// The number of refused cookies, by reason.
    fn rejections<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        guarded(py, || Ok(pythonize::pythonize(py, &self.rejections.all())?))
    }

    /// Counts something that happened with a store.
    ///
    /// :raises ValueError: if ``event`` is not one of the names.
    fn count_store_event(&self, py: Python<'_>, event: &str) -> PyResult<()> {
        guarded(py, || {
            let unknown = || PyValueError::new_err(format!("Unknown event {event:?}."));
            self.store_events.count(event).ok_or_else(unknown).map(|_| ())
        })
    }

    /// What happened with the store, by event.
    fn store_events<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        guarded(py, || Ok(pythonize::pythonize(py, &self.store_events.all())?))
    }

    /// Counts a session that came in the format ``source``, which is not the one written.
    ///
    /// :param now: the time in seconds since the epoch.
    /// :raises ValueError: if ``source`` is not the name of a format.
    fn count_migration(&self, py: Python<'_>, source: &str, now: i64) -> PyResult<()> {
        guarded(py, || {
            let unknown = || PyValueError::new_err(format!("Unknown format {source:?}."));
            self.migrations.count(source, now).ok_or_else(unknown)
        })
    }

    /// For each other format of which sessions came, their ``count``, and ``last_seen`` in seconds
    /// since the epoch.
    fn migrations<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        guarded(py, || Ok(pythonize::pythonize(py, &self.migrations.seen())?))
    }

    /// Drops all cached policies: the keys changed before the policies ended.
    fn invalidate_policies(&self, py: Python<'_>) -> PyResult<()> {
        guarded(py, || {
            self.policies.invalidate();
            Ok(())
        })
    }

    /// Leaves every request to the Python fallback from now on, for tests that compare the two.
    fn disable(&self) {
        self.disabled.store(true, Ordering::Relaxed);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.classes.traverse(&visit)?;
        self.policies.traverse(&visit)
    }
}

impl NativeState {
    /// Counts a refused cookie. Returns the number of cookies refused for this reason so far.
    pub(super) fn count(&self, reason: TokenError) -> u64 {
        self.rejections.count(reason_name(reason)).unwrap_or_default()
    }

    /// Whether sessions may lie in a store.
    pub(super) fn has_storage(&self) -> bool {
        self.has_storage.load(Ordering::Relaxed)
    }

    /// Notes that sessions may lie in a store.
    pub(super) fn note_storage(&self) {
        self.has_storage.store(true, Ordering::Relaxed);
    }

    /// Declines if every request is left to the Python fallback.
    pub(super) fn require_enabled(&self) -> Result<(), Unhandled> {
        if self.disabled.load(Ordering::Relaxed) { Err(Unhandled::Declined) } else { Ok(()) }
    }
}
