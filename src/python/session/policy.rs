//! `Policy`: everything that an app's configuration decides about its sessions.
//!
//! `flask_fernet/sessions/policy.py` resolves the configuration into one of these; the native path
//! and the Python fallback both read it.

use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDelta, PyList, PyString};

use crate::compress::Compression;
use crate::keys::key_set::KeySet;
use crate::python::clock::microseconds;
use crate::python::keys::session_keys::SessionKeys;
use crate::python::panics::guarded;

/// The name of Flask's own format, in which tokens are signed and not encrypted.
pub(super) const SIGNED: &str = "flask-signed";

/// Everything that an app's configuration decides about its sessions.
#[pyclass(frozen, weakref, module = "flask_fernet._core")]
pub(crate) struct Policy {
    keys: Option<Py<SessionKeys>>,
    signed: Option<Py<PyAny>>,
    format: String,
    accepted: Py<PyList>,
    lifetime: Py<PyDelta>,
    lifetime_microseconds: Option<i64>,
    absolute_lifetime: Option<f64>,
    refresh_from: f64,
    stored_refresh_from: f64,
    compression: Compression,
    overflow: String,
    cookie: Option<Py<CookieAttributes>>,
    cookie_name: Option<String>,
    debug: bool,
    storage: Option<Py<PyAny>>,
    stores: bool,
    opens_data: bool,
    ring: Option<Py<PyAny>>,
    ring_state: Option<Py<PyAny>>,
    valid_until: Option<Instant>,
    short_secrets: Py<PyList>,
    unused_sources: Py<PyList>,
}

#[pymethods]
impl Policy {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments, one per decision")]
    #[pyo3(signature = (*, keys, signed, format, accepted, lifetime, absolute_lifetime,
        refresh_from, stored_refresh_from, compression, overflow, cookie, cookie_name, debug, storage, stores, opens_data,
        ring, ring_state, valid_for, short_secrets, unused_sources))]
    fn new(
        keys: Option<Py<SessionKeys>>,
        signed: Option<Py<PyAny>>,
        format: String,
        accepted: Py<PyList>,
        lifetime: Bound<'_, PyDelta>,
        absolute_lifetime: Option<f64>,
        refresh_from: f64,
        stored_refresh_from: f64,
        compression: &str,
        overflow: String,
        cookie: Option<Py<CookieAttributes>>,
        cookie_name: &Bound<'_, PyAny>,
        debug: bool,
        storage: Option<Py<PyAny>>,
        stores: bool,
        opens_data: bool,
        ring: Option<Py<PyAny>>,
        ring_state: Option<Py<PyAny>>,
        valid_for: Option<f64>,
        short_secrets: Py<PyList>,
        unused_sources: Py<PyList>,
    ) -> PyResult<Self> {
        guarded(lifetime.py(), || {
            let unknown = || PyValueError::new_err(format!("Unknown compression {compression:?}."));
            let cookie_name: Option<String> =
                cookie_name.cast_exact::<PyString>().ok().and_then(|name| name.extract().ok());
            Ok(Self {
                keys,
                signed,
                format,
                accepted,
                lifetime_microseconds: microseconds(&lifetime)?,
                lifetime: lifetime.clone().unbind(),
                absolute_lifetime,
                refresh_from,
                stored_refresh_from,
                compression: Compression::from_name(compression).ok_or_else(unknown)?,
                overflow,
                cookie,
                cookie_name: cookie_name.filter(|name| name.is_ascii()),
                debug,
                storage,
                stores,
                opens_data,
                ring,
                ring_state,
                valid_until: valid_for
                    .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                    .and_then(|duration| Instant::now().checked_add(duration)),
                short_secrets,
                unused_sources,
            })
        })
    }

    /// The keys of the encrypted formats; ``None`` if the app has none.
    #[getter]
    fn keys(&self, py: Python<'_>) -> Option<Py<SessionKeys>> {
        self.keys.as_ref().map(|keys| keys.clone_ref(py))
    }

    /// Flask's signed cookies, if they are opened or written.
    #[getter]
    fn signed(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.signed.as_ref().map(|signed| signed.clone_ref(py))
    }

    /// The format that is written, one of ``settings.FORMATS``.
    #[getter]
    fn format(&self) -> &str {
        &self.format
    }

    /// Whether sessions are written signed, not encrypted.
    #[getter]
    pub(super) fn writes_signed(&self) -> bool {
        self.format == SIGNED
    }

    /// ``SESSION_ENCRYPTION_ACCEPT``: the key sources and formats that are also opened.
    #[getter]
    fn accepted(&self, py: Python<'_>) -> Py<PyList> {
        self.accepted.clone_ref(py)
    }

    /// ``PERMANENT_SESSION_LIFETIME`` as a ``timedelta``.
    #[getter]
    fn lifetime(&self, py: Python<'_>) -> Py<PyDelta> {
        self.lifetime.clone_ref(py)
    }

    /// ``SESSION_ABSOLUTE_LIFETIME`` in seconds; ``None`` if it is not set.
    #[getter]
    pub(super) const fn absolute_lifetime(&self) -> Option<f64> {
        self.absolute_lifetime
    }

    /// The minimum age, in seconds, at which an unchanged permanent session is sent again.
    #[getter]
    pub(super) const fn refresh_from(&self) -> f64 {
        self.refresh_from
    }

    /// The same for a stored session.
    #[getter]
    pub(super) const fn stored_refresh_from(&self) -> f64 {
        self.stored_refresh_from
    }

    /// ``SESSION_COMPRESSION``, one of ``settings.COMPRESSIONS``.
    #[getter(compression)]
    const fn compression_name(&self) -> &'static str {
        self.compression.name()
    }

    /// ``SESSION_OVERFLOW``, one of ``settings.OVERFLOWS``.
    #[getter]
    fn overflow(&self) -> &str {
        &self.overflow
    }

    /// The attributes of the session cookie, as configured; ``None`` if one of their settings is
    /// missing, so that Flask's hooks raise ``KeyError``.
    #[getter(cookie)]
    fn cookie_attributes(&self, py: Python<'_>) -> Option<Py<CookieAttributes>> {
        self.cookie.as_ref().map(|cookie| cookie.clone_ref(py))
    }

    /// The store of sessions and what belongs to it; ``None`` if there is none.
    #[getter]
    fn storage(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.storage.as_ref().map(|storage| storage.clone_ref(py))
    }

    /// Whether new sessions are put into the store, and not into their cookies.
    #[getter]
    pub(super) const fn stores(&self) -> bool {
        self.stores
    }

    /// Whether sessions that lie in an encrypted cookie are opened.
    #[getter]
    pub(super) const fn opens_data(&self) -> bool {
        self.opens_data
    }

    /// The key ring among the sources, if there is one.
    #[getter]
    fn ring(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.ring.as_ref().map(|ring| ring.clone_ref(py))
    }

    /// The state of the ring from which the keys were taken.
    #[getter]
    fn ring_state(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.ring_state.as_ref().map(|state| state.clone_ref(py))
    }

    /// Names of the secrets in use that are too short to be random enough.
    #[getter]
    fn short_secrets(&self, py: Python<'_>) -> Py<PyList> {
        self.short_secrets.clone_ref(py)
    }

    /// Key sources that are configured and neither write nor open.
    #[getter]
    fn unused_sources(&self, py: Python<'_>) -> Py<PyList> {
        self.unused_sources.clone_ref(py)
    }

    /// Whether the app has no key, and therefore no sessions.
    #[getter]
    const fn is_null(&self) -> bool {
        self.keys.is_none() && self.signed.is_none()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.keys)?;
        visit.call(&self.signed)?;
        visit.call(&self.cookie)?;
        visit.call(&self.storage)?;
        visit.call(&self.ring)?;
        visit.call(&self.ring_state)
    }
}

impl Policy {
    /// Whether cookies that refer to stored sessions are opened.
    pub(super) const fn opens_references(&self) -> bool {
        self.storage.is_some()
    }

    /// The keys with which the native path opens and saves; `None` if it does neither.
    pub(super) fn native_keys(&self) -> Option<&KeySet> {
        let keys = self.keys.as_ref().filter(|_| !self.writes_signed())?;
        Some(keys.get().key_set())
    }

    /// `PERMANENT_SESSION_LIFETIME` in microseconds; `None` beyond 290,000 years.
    pub(super) const fn lifetime_microseconds(&self) -> Option<i64> {
        self.lifetime_microseconds
    }

    /// `SESSION_COMPRESSION`.
    pub(super) const fn compression(&self) -> Compression {
        self.compression
    }

    /// The attributes of the session cookie; `None` if one of their settings is missing.
    pub(super) const fn cookie(&self) -> Option<&Py<CookieAttributes>> {
        self.cookie.as_ref()
    }

    /// The name of the session cookie; `None` unless it is an ASCII `str`.
    pub(super) fn cookie_name(&self) -> Option<&str> {
        self.cookie_name.as_deref()
    }

    /// Whether Flask's debug mode is on. The Python fallback then watches sessions more closely.
    pub(super) const fn debug(&self) -> bool {
        self.debug
    }

    /// Whether the Python fallback may open a token that the keys refuse: a signed cookie, or one
    /// under a key that the ring has received since.
    pub(super) const fn python_may_open(&self) -> bool {
        self.signed.is_some() || self.ring.is_some()
    }

    /// Whether the policy still holds, provided that the configuration has not changed. The keys of
    /// a ring come and go with time.
    pub(super) fn is_current(&self) -> bool {
        self.valid_until.is_none_or(|until| Instant::now() < until)
    }
}

/// The attributes of the session cookie, as configured.
#[pyclass(frozen, get_all, module = "flask_fernet._core")]
pub(crate) struct CookieAttributes {
    /// ``SESSION_COOKIE_NAME``
    pub(super) name: Py<PyAny>,
    /// ``SESSION_COOKIE_DOMAIN``
    pub(super) domain: Py<PyAny>,
    /// ``SESSION_COOKIE_PATH``, or ``APPLICATION_ROOT`` where that is not set
    pub(super) path: Py<PyAny>,
    /// ``SESSION_COOKIE_SECURE``
    pub(super) secure: Py<PyAny>,
    /// ``SESSION_COOKIE_PARTITIONED``
    pub(super) partitioned: Py<PyAny>,
    /// ``SESSION_COOKIE_SAMESITE``
    pub(super) samesite: Py<PyAny>,
    /// ``SESSION_COOKIE_HTTPONLY``
    pub(super) httponly: Py<PyAny>,
    /// ``MAX_COOKIE_SIZE`` in bytes; 0 for no limit
    pub(super) max_size: Py<PyAny>,
    /// ``SESSION_REFRESH_EACH_REQUEST``
    pub(super) refresh_each_request: Py<PyAny>,
}

#[pymethods]
impl CookieAttributes {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments, one per attribute")]
    #[pyo3(signature = (*, name, domain, path, secure, partitioned, samesite, httponly, max_size,
        refresh_each_request))]
    const fn new(
        name: Py<PyAny>,
        domain: Py<PyAny>,
        path: Py<PyAny>,
        secure: Py<PyAny>,
        partitioned: Py<PyAny>,
        samesite: Py<PyAny>,
        httponly: Py<PyAny>,
        max_size: Py<PyAny>,
        refresh_each_request: Py<PyAny>,
    ) -> Self {
        Self {
            name,
            domain,
            path,
            secure,
            partitioned,
            samesite,
            httponly,
            max_size,
            refresh_each_request,
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Self { name, domain, path, secure, partitioned, samesite, httponly, .. } = self;
        [name, domain, path, secure, partitioned, samesite, httponly]
            .into_iter()
            .chain([&self.max_size, &self.refresh_each_request])
            .try_for_each(|value| visit.call(value))
    }
}
