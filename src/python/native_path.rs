//! `NativePath`: a session opened and saved without a step through Python where everything in
//! the way is Flask's own.
//!
//! The same as `EncryptedSessionInterface` does in Python, step for step; what is overridden or
//! unusual is left to it. A method answers `NotImplemented`, and has changed nothing, where the
//! whole is to be done there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDelta, PyDict, PyTuple};

use super::classes::{Classes, Role};
use super::flask_objects::{FlaskObjects, hooks, json_style};
use super::rejections::Rejections;
use super::save::CookieTemplate;
use super::session_keys::SessionKeys;
use super::settings::{self, Snapshots};
use super::stop::Stop;
use crate::tagged_json::Known;
use crate::tagged_json::decode::decode_into;
use crate::tagged_json::encode::{Style, encode_dict};
use crate::token::key_set::KeySet;

/// The native half of one session interface.
#[pyclass(frozen, module = "flask_fernet._core")]
pub(crate) struct NativePath {
    pub(crate) classes: Classes,
    pub(crate) sealings: Snapshots<Sealing, SETTINGS>,
    pub(crate) templates: Snapshots<CookieTemplate, 7>,
    pub(crate) known: Known,
    rejections: Rejections,
}

/// The settings that decide about sealing and opening, and the interface's salt.
const SETTINGS: usize = 11;

/// What the configuration says about sealing and opening.
pub(crate) struct Sealing {
    /// `None` where the app has no key, and so no sessions.
    pub(crate) keys: Option<Arc<KeySet>>,
    /// `PERMANENT_SESSION_LIFETIME` in microseconds.
    pub(crate) lifetime: i64,
    pub(crate) compression: Compression,
    /// When it has to be asked for again: keys in a ring come and go with time.
    good_until: Option<Instant>,
    /// Whether Python has other ways to open what these keys do not.
    pub(crate) others_open: bool,
    /// Whether only Python can save.
    pub(crate) python_saves: bool,
    /// The same for Python.
    for_python: Py<PyAny>,
}

impl Sealing {
    fn is_good(&self) -> bool {
        self.good_until.is_none_or(|until| Instant::now() < until)
    }
}

/// `SESSION_COMPRESSION`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Fit,
    Always,
    Never,
}

#[pymethods]
impl NativePath {
    #[new]
    fn new() -> Self {
        Self {
            classes: Classes::new(),
            sealings: Snapshots::new(),
            templates: Snapshots::new(),
            known: Known::default(),
            rejections: Rejections::default(),
        }
    }

    /// ``open_session`` of ``interface``; ``NotImplemented`` where Python has to do it.
    fn open<'py>(
        &self,
        interface: &Bound<'py, PyAny>,
        app: &Bound<'py, PyAny>,
        request: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let session = Stop::declined(self.open_session(interface, app, request))?;
        Ok(session.unwrap_or_else(|| app.py().NotImplemented().into_bound(app.py())))
    }

    /// ``save_session`` of ``interface``; ``NotImplemented`` where Python has to do it.
    fn save<'py>(
        &self,
        interface: &Bound<'py, PyAny>,
        app: &Bound<'py, PyAny>,
        session: &Bound<'py, PyAny>,
        response: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = app.py();
        Ok(match Stop::declined(self.save_session(interface, app, session, response))? {
            Some(()) => py.None().into_bound(py),
            None => py.NotImplemented().into_bound(py),
        })
    }

    /// What ``interface._sealing`` gives, from the last time as long as nothing has changed;
    /// ``None`` where only asking it will do.
    fn sealing_for_python<'py>(
        &self,
        interface: &Bound<'py, PyAny>,
        app: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Stop::declined(self.known_sealing(interface, app))
    }

    /// A session as bytes, or ``None`` where only the serializer itself will do.
    fn dump<'py>(
        &self,
        interface: &Bound<'py, PyAny>,
        app: &Bound<'py, PyAny>,
        data: &Bound<'py, PyDict>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let mut payload = Vec::with_capacity(512);
        let style = Stop::declined(self.stock_style(interface, app))?.flatten();
        let Some(style) = style else { return Ok(None) };
        let done = encode_dict(data, style, &self.known.shapes, &mut payload)?;
        Ok(done.map(|()| PyBytes::new(app.py(), &payload)))
    }

    /// A dict out of bytes that are not compressed, or ``None`` where only the serializer itself
    /// will do.
    fn load<'py>(
        &self,
        interface: &Bound<'py, PyAny>,
        app: &Bound<'py, PyAny>,
        payload: &[u8],
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let style = Stop::declined(self.stock_style(interface, app))?.flatten();
        let (Some(_), Ok(text)) = (style, std::str::from_utf8(payload)) else { return Ok(None) };
        let data = PyDict::new(app.py());
        Ok(decode_into(&data, text, &self.known.keys)?.map(|()| data))
    }

    /// Counts a cookie that was refused.
    fn count_rejection(&self, reason: &str) -> PyResult<()> {
        let unknown = || PyValueError::new_err(format!("{reason:?} is no reason"));
        self.rejections.count(reason).ok_or_else(unknown)
    }

    /// How many cookies were refused, by reason.
    fn rejections<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(pythonize::pythonize(py, &self.rejections)?)
    }

    /// Asks for keys anew at the next use: they have changed within the time they were good for.
    fn forget(&self) {
        self.sealings.forget();
    }

    /// A copied interface looks at everything anew.
    fn __deepcopy__(&self, _memo: &Bound<'_, PyAny>) -> Self {
        Self::new()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.classes.traverse(&visit)
    }
}

impl NativePath {
    /// How Flask's own serializer and JSON provider write, if the interface and the app have
    /// these.
    pub(crate) fn stock_style(
        &self,
        interface: &Bound<'_, PyAny>,
        app: &Bound<'_, PyAny>,
    ) -> Result<Option<Style>, Stop> {
        let py = app.py();
        let flask = FlaskObjects::get(py)?;
        let serializer = interface.getattr(intern!(py, "serializer"))?;
        let json = app.getattr(intern!(py, "json"))?;
        let of_classes =
            self.classes.facts([(Role::Serializer, &serializer), (Role::Json, &json)])?;
        if !of_classes.iter().all(|facts| facts.stock())
            || !flask.is_stock_serializer(&serializer)?
        {
            return Ok(None);
        }
        json_style(&json)
    }

    fn known_sealing<'py>(
        &self,
        interface: &Bound<'py, PyAny>,
        app: &Bound<'py, PyAny>,
    ) -> Result<Bound<'py, PyAny>, Stop> {
        let config = app.getattr(intern!(app.py(), "config"))?;
        let facts = self.classes.facts([
            (Role::Interface, interface),
            (Role::App, app),
            (Role::Config, &config),
        ])?;
        let [of_interface, of_app, of_config] = facts;
        // Declines what is to be raised for an instance.
        hooks(interface, of_interface)?;
        if !of_app.stock() || !of_config.stock() {
            return Err(Stop::Decline);
        }
        let sealing = self.sealing(interface, app, &config.cast_into::<PyDict>()?)?;
        Ok(sealing.for_python.bind(app.py()).clone())
    }

    /// What `config` says about sealing and opening; `interface._native_sealing` is asked when it
    /// has changed.
    pub(crate) fn sealing(
        &self,
        interface: &Bound<'_, PyAny>,
        app: &Bound<'_, PyAny>,
        config: &Bound<'_, PyDict>,
    ) -> Result<Arc<Sealing>, Stop> {
        let py = app.py();
        let names = [
            intern!(py, "SECRET_KEY"),
            intern!(py, "SECRET_KEY_FALLBACKS"),
            intern!(py, "SESSION_ENCRYPTION_KEYS"),
            intern!(py, "SESSION_ENCRYPTION_KEYRING"),
            intern!(py, "SESSION_ENCRYPTION_FORMAT"),
            intern!(py, "SESSION_ENCRYPTION_ACCEPT"),
            intern!(py, "SESSION_COMPRESSION"),
            intern!(py, "PERMANENT_SESSION_LIFETIME"),
            intern!(py, "SESSION_ABSOLUTE_LIFETIME"),
            intern!(py, "SESSION_REFRESH_AFTER"),
        ];
        let mut values = settings::fetch::<SETTINGS>(config, &names)?;
        values[SETTINGS - 1] = Some(interface.getattr(intern!(py, "salt"))?);
        self.sealings.get(app, &values, Sealing::is_good, || {
            let answer = interface.call_method1(intern!(py, "_native_sealing"), (app,))?;
            Sealing::new(&answer.cast_into::<PyTuple>()?)
        })
    }
}

impl Sealing {
    /// Out of what `_native_sealing` answered.
    fn new(answer: &Bound<'_, PyTuple>) -> Result<Self, Stop> {
        type Answer<'py> = (
            Option<Bound<'py, SessionKeys>>,
            Bound<'py, PyDelta>,
            String,
            Option<f64>,
            bool,
            bool,
            Py<PyAny>,
        );
        let answer: Answer<'_> = answer.extract().map_err(Stop::Raise)?;
        let (keys, lifetime, compression, good_for, others_open, python_saves, for_python) = answer;
        let compression = match compression.as_str() {
            "fit" => Compression::Fit,
            "always" => Compression::Always,
            "never" => Compression::Never,
            _ => return Err(Stop::Decline),
        };
        Ok(Self {
            keys: keys.map(|keys| keys.get().keys()),
            lifetime: microseconds(&lifetime)?,
            compression,
            good_until: good_for
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .map(|duration| Instant::now() + duration),
            others_open,
            python_saves,
            for_python,
        })
    }
}

fn microseconds(delta: &Bound<'_, PyDelta>) -> Result<i64, Stop> {
    let py = delta.py();
    let days: i64 = delta.getattr(intern!(py, "days"))?.extract()?;
    let seconds: i64 = delta.getattr(intern!(py, "seconds"))?.extract()?;
    let microseconds: i64 = delta.getattr(intern!(py, "microseconds"))?.extract()?;
    // At most 86,399,999,999,999,999,999: beyond i64 only for lifetimes over 290,000 years.
    let seconds = days.checked_mul(86_400).and_then(|days| days.checked_add(seconds));
    let whole = seconds.and_then(|seconds| seconds.checked_mul(1_000_000));
    whole.and_then(|whole| whole.checked_add(microseconds)).ok_or(Stop::Decline)
}
