//! `NativePath`: a session opened and saved without a step through Python where everything in
//! the way is Flask's own.
//!
//! The base of `EncryptedSessionInterface`, which does the same in Python, step for step; what is
//! overridden or unusual is left to it. A native step that declines has changed nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use super::classes::{Classes, GETATTRIBUTE, Role};
use super::entries::attributes;
use super::flask_objects::{FlaskObjects, config_and_json, hooks, json_style};
use super::rejections::Rejections;
use super::sealing::{OWN, SETTINGS, Sealing};
use super::set_cookie::{ATTRIBUTES, CookieTemplate};
use super::settings::Snapshots;
use super::stop::Stop;
use crate::tagged_json::decode::decode_into;
use crate::tagged_json::encode::{Style, encode_dict};
use crate::tagged_json::known::Known;

/// The native half of a session interface, and the first of its bases.
///
/// What it knows is beside it, in a slot of the interface: Python visits the class of a garbage
/// collected instance only if no native base has a visit of its own.
#[pyclass(frozen, subclass, module = "flask_fernet._core")]
pub(crate) struct NativePath;

/// What the native half of one session interface knows.
#[pyclass(frozen, module = "flask_fernet._core")]
pub(crate) struct NativeState {
    pub(crate) classes: Classes,
    pub(crate) sealings: Snapshots<Sealing, SETTINGS, OWN>,
    pub(crate) templates: Snapshots<CookieTemplate, ATTRIBUTES, 0>,
    pub(crate) known: Known,
    rejections: Rejections,
    off: AtomicBool,
}

#[pymethods]
impl NativeState {
    #[new]
    fn new() -> Self {
        Self {
            classes: Classes::new(),
            sealings: Snapshots::new(),
            templates: Snapshots::new(),
            known: Known::default(),
            rejections: Rejections::default(),
            off: AtomicBool::new(false),
        }
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

    /// Leaves everything to Python from now on: for tests that hold the two together.
    fn leave_to_python(&self) {
        self.off.store(true, Ordering::Relaxed);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.classes.traverse(&visit)?;
        self.sealings.traverse(&visit)?;
        self.templates.traverse(&visit)
    }
}

#[pymethods]
impl NativePath {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    const fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self
    }

    /// open_session($self, app, request)
    /// --
    ///
    /// The session in the request's cookie; a new one where there is none, or none that opens;
    /// ``None`` where the app has no key.
    fn open_session<'py>(
        slf: &Bound<'py, Self>,
        app: &Bound<'py, PyAny>,
        request: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match Stop::declined(Self::state(slf)?.get().open(slf, app, request))? {
            Some(session) => Ok(session),
            None => slf.call_method1(intern!(slf.py(), "_open"), (app, request)),
        }
    }

    /// save_session($self, app, session, response)
    /// --
    ///
    /// Sets the session's cookie on the response, or deletes it, or leaves it alone.
    ///
    /// :raises SessionTooLarge: if the cookie would be longer than ``MAX_COOKIE_SIZE``.
    fn save_session<'py>(
        slf: &Bound<'py, Self>,
        app: &Bound<'py, PyAny>,
        session: &Bound<'py, PyAny>,
        response: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        if Stop::declined(Self::state(slf)?.get().save(slf, app, session, response))?.is_none() {
            slf.call_method1(intern!(slf.py(), "_save"), (app, session, response))?;
        }
        Ok(())
    }

    /// What ``_sealing`` gives, from the last time as long as nothing has changed; ``None`` where
    /// only asking it will do.
    fn _last_sealing<'py>(
        slf: &Bound<'py, Self>,
        app: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Stop::declined(Self::state(slf)?.get().known_sealing(slf, app))
    }

    /// A session as bytes, or ``None`` where only the serializer itself will do.
    fn _dump_natively<'py>(
        slf: &Bound<'py, Self>,
        app: &Bound<'py, PyAny>,
        data: &Bound<'py, PyDict>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let (py, state) = (slf.py(), Self::state(slf)?);
        let native = state.get();
        let style = Stop::declined(native.stock_style(slf, app))?.flatten();
        let Some(style) = style else { return Ok(None) };
        let mut payload = Vec::with_capacity(512);
        let done = encode_dict(data, style, &native.known.shapes, &mut payload)?;
        Ok(done.map(|()| PyBytes::new(py, &payload)))
    }

    /// A dict out of bytes that are not compressed, or ``None`` where only the serializer itself
    /// will do.
    fn _load_natively<'py>(
        slf: &Bound<'py, Self>,
        app: &Bound<'py, PyAny>,
        payload: &[u8],
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let state = Self::state(slf)?;
        let style = Stop::declined(state.get().stock_style(slf, app))?.flatten();
        let (Some(_), Ok(text)) = (style, std::str::from_utf8(payload)) else { return Ok(None) };
        let data = PyDict::new(slf.py());
        Ok(decode_into(&data, text, &state.get().known.keys)?.map(|()| data))
    }
}

impl NativePath {
    /// What an interface knows, where `EncryptedSessionInterface.__new__` has put it.
    fn state<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, NativeState>> {
        Ok(slf.getattr(intern!(slf.py(), "_state"))?.cast_into::<NativeState>()?)
    }
}

impl NativeState {
    /// Declines where everything is to be left to Python.
    pub(crate) fn is_on(&self) -> Result<(), Stop> {
        if self.off.load(Ordering::Relaxed) { Err(Stop::Decline) } else { Ok(()) }
    }

    /// How Flask's own serializer and JSON provider write, if the interface and the app have
    /// these.
    fn stock_style(
        &self,
        interface: &Bound<'_, NativePath>,
        app: &Bound<'_, PyAny>,
    ) -> Result<Option<Style>, Stop> {
        self.is_on()?;
        let py = app.py();
        let serializer = interface.getattr(intern!(py, "serializer"))?;
        let (_, json) = config_and_json(app)?;
        let [of_json] = self.classes.facts([(Role::Json, &json)])?;
        if !of_json.stock() || self.stock_tags(&serializer)?.is_none() {
            return Ok(None);
        }
        json_style(&json, of_json)
    }

    pub(crate) fn stock_tags<'py>(
        &self,
        serializer: &Bound<'py, PyAny>,
    ) -> Result<Option<Bound<'py, PyList>>, Stop> {
        let [of_class] = self.classes.facts([(Role::Serializer, serializer)])?;
        if !of_class.stock() {
            return Ok(None);
        }
        FlaskObjects::get(serializer.py())?.stock_tags(serializer)
    }

    fn known_sealing<'py>(
        &self,
        interface: &Bound<'py, NativePath>,
        app: &Bound<'py, PyAny>,
    ) -> Result<Bound<'py, PyAny>, Stop> {
        self.is_on()?;
        let (config, _) = config_and_json(app)?;
        let [of_interface, of_app, of_config] = self.classes.facts([
            (Role::Interface, interface.as_any()),
            (Role::App, app),
            (Role::Config, &config),
        ])?;
        let own = attributes(interface)?;
        // Declines what is to be raised for an instance.
        let hooks = hooks(&own, of_interface)?;
        if hooks.overrides(GETATTRIBUTE) || !of_app.stock() || !of_config.stock() {
            return Err(Stop::Decline);
        }
        let config = config.cast_into::<PyDict>()?;
        let sealing = self.sealing(interface, of_interface, &own, app, &config)?;
        Ok(sealing.for_python.bind(app.py()).clone())
    }
}
