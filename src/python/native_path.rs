//! `NativePath`: a session opened and saved without a step through Python where everything in
//! the way is Flask's own.
//!
//! The base of `EncryptedSessionInterface`, which does the same in Python, step for step; what is
//! overridden or unusual is left to it. A native step that declines has changed nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDelta, PyDict, PyList, PyString, PyTuple, PyType};

use super::classes::{ClassValue, Classes, Facts, Role};
use super::entries::attributes;
use super::flask_objects::{FlaskObjects, TAG_CLASSES, config_and_json, hooks, json_style};
use super::rejections::Rejections;
use super::save::{ATTRIBUTES, CookieTemplate};
use super::session_keys::SessionKeys;
use super::settings::{Settings, Snapshots};
use super::stop::Stop;
use crate::tagged_json::Known;
use crate::tagged_json::decode::decode_into;
use crate::tagged_json::encode::{Style, encode_dict};
use crate::token::key_set::KeySet;

/// The native half of a session interface, and the first of its bases.
#[pyclass(frozen, subclass, module = "flask_fernet._core")]
pub(crate) struct NativePath {
    pub(crate) classes: Classes,
    sealings: Snapshots<Sealing, SETTINGS, OWN>,
    pub(crate) templates: Snapshots<CookieTemplate, ATTRIBUTES, 0>,
    pub(crate) known: Known,
    rejections: Rejections,
    off: AtomicBool,
}

/// The settings that sealing and opening depend on.
const SETTINGS: usize = 12;
/// The interface's own attributes that they depend on.
const OWN: usize = 3;

/// What the configuration, and the interface itself, say about sealing and opening.
pub(crate) struct Sealing {
    /// `None` where the app has no key, and so no sessions.
    pub(crate) keys: Option<Arc<KeySet>>,
    /// `PERMANENT_SESSION_LIFETIME` in microseconds.
    pub(crate) lifetime: i64,
    pub(crate) compression: Compression,
    /// `DEBUG`, in which sessions are watched more closely, in Python.
    pub(crate) debug: bool,
    /// `SESSION_COOKIE_NAME`, if it is plain ASCII.
    pub(crate) name: Option<String>,
    /// `SESSION_ABSOLUTE_LIFETIME` in seconds.
    pub(crate) absolute: Option<f64>,
    /// Age in seconds from which a permanent session is refreshed.
    pub(crate) refresh_from: f64,
    /// When it has to be asked for again: keys in a ring come and go with time.
    good_until: Option<Instant>,
    /// Whether Python has other ways to open what these keys do not.
    pub(crate) others_open: bool,
    /// Whether only Python can save.
    pub(crate) python_saves: bool,
    /// The same for Python.
    for_python: Py<PyAny>,
    /// The list of tags of the interface's serializer, if that is Flask's own.
    tags: Option<Py<PyList>>,
    /// The interface's session class, and whether its instances are made as Flask's are; `None`
    /// where it is no class.
    pub(crate) session_class: Option<(Py<PyType>, bool)>,
}

impl Sealing {
    fn is_good(&self) -> bool {
        self.good_until.is_none_or(|until| Instant::now() < until)
    }

    /// How sessions are written, if the serializer and the app's JSON provider are Flask's.
    pub(crate) fn style(
        &self,
        json: &Bound<'_, PyAny>,
        of_json: Facts,
    ) -> Result<Option<Style>, Stop> {
        let Some(tags) = &self.tags else { return Ok(None) };
        if tags.bind(json.py()).len() != TAG_CLASSES.len() || !of_json.stock() {
            return Ok(None);
        }
        json_style(json, of_json)
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
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            classes: Classes::new(),
            sealings: Snapshots::new(),
            templates: Snapshots::new(),
            known: Known::default(),
            rejections: Rejections::default(),
            off: AtomicBool::new(false),
        }
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
        match Stop::declined(slf.get().open(slf, app, request))? {
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
        if Stop::declined(slf.get().save(slf, app, session, response))?.is_none() {
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
        Stop::declined(slf.get().known_sealing(slf, app))
    }

    /// A session as bytes, or ``None`` where only the serializer itself will do.
    fn _dump_natively<'py>(
        slf: &Bound<'py, Self>,
        app: &Bound<'py, PyAny>,
        data: &Bound<'py, PyDict>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let (py, native) = (slf.py(), slf.get());
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
        let style = Stop::declined(slf.get().stock_style(slf, app))?.flatten();
        let (Some(_), Ok(text)) = (style, std::str::from_utf8(payload)) else { return Ok(None) };
        let data = PyDict::new(slf.py());
        Ok(decode_into(&data, text, &slf.get().known.keys)?.map(|()| data))
    }

    /// Counts a cookie that was refused.
    fn _count_rejection(&self, reason: &str) -> PyResult<()> {
        let unknown = || PyValueError::new_err(format!("{reason:?} is no reason"));
        self.rejections.count(reason).ok_or_else(unknown)
    }

    /// How many cookies were refused, by reason.
    fn _rejections<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(pythonize::pythonize(py, &self.rejections)?)
    }

    /// Asks for keys anew at the next use: they have changed within the time they were good for.
    fn _forget(&self) {
        self.sealings.forget();
    }

    /// Leaves everything to Python from now on: for tests that hold the two together.
    fn _leave_to_python(&self) {
        self.off.store(true, Ordering::Relaxed);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.classes.traverse(&visit)
    }
}

impl NativePath {
    /// Declines where everything is to be left to Python.
    pub(crate) fn is_on(&self) -> Result<(), Stop> {
        if self.off.load(Ordering::Relaxed) { Err(Stop::Decline) } else { Ok(()) }
    }

    /// How Flask's own serializer and JSON provider write, if the interface and the app have
    /// these.
    fn stock_style(
        &self,
        interface: &Bound<'_, Self>,
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

    fn stock_tags<'py>(
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
        interface: &Bound<'py, Self>,
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
        hooks(&own, of_interface)?;
        if !of_app.stock() || !of_config.stock() {
            return Err(Stop::Decline);
        }
        let config = config.cast_into::<PyDict>()?;
        let sealing = self.sealing(interface, of_interface, &own, app, &config)?;
        Ok(sealing.for_python.bind(app.py()).clone())
    }

    /// What `config` and the interface, whose `own` attributes are given, say about sealing and
    /// opening; `interface._native_sealing` is asked when that has changed.
    pub(crate) fn sealing<'py>(
        &self,
        interface: &Bound<'py, Self>,
        of_interface: Facts,
        own: &Bound<'py, PyDict>,
        app: &Bound<'py, PyAny>,
        config: &Bound<'py, PyDict>,
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
            intern!(py, "DEBUG"),
            intern!(py, "SESSION_COOKIE_NAME"),
        ];
        let class = interface.get_type().into_any();
        let values;
        let own: [_; OWN] =
            if own.is_empty() && !of_interface.values().contains(&ClassValue::Computed) {
                // All of them are the class's.
                [&class, &class, &class]
            } else {
                values = [
                    interface.getattr(intern!(py, "salt"))?,
                    interface.getattr(intern!(py, "serializer"))?,
                    interface.getattr(intern!(py, "session_class"))?,
                ];
                values.each_ref()
            };
        self.sealings.get(app, &Settings { config, names }, own, Sealing::is_good, || {
            let answer = interface.call_method1(intern!(py, "_native_sealing"), (app,))?;
            self.new_sealing(interface, config, &answer.cast_into::<PyTuple>()?)
        })
    }

    /// Out of what `_native_sealing` answered.
    fn new_sealing(
        &self,
        interface: &Bound<'_, Self>,
        config: &Bound<'_, PyDict>,
        answer: &Bound<'_, PyTuple>,
    ) -> Result<Sealing, Stop> {
        type Answer<'py> = (
            Option<Bound<'py, SessionKeys>>,
            Bound<'py, PyDelta>,
            Bound<'py, PyString>,
            Option<f64>,
            f64,
            Option<f64>,
            bool,
            bool,
            Py<PyAny>,
        );
        let py = answer.py();
        let answer: Answer<'_> = answer.extract().map_err(Stop::Raise)?;
        let (keys, lifetime, compression, absolute, refresh_from, good_for, others, saves, all) =
            answer;
        let compression = match compression.to_str()? {
            "fit" => Compression::Fit,
            "always" => Compression::Always,
            "never" => Compression::Never,
            _ => return Err(Stop::Decline),
        };
        let debug = config.get_item(intern!(py, "DEBUG"))?;
        let debug = debug.map_or(Ok(true), |debug| debug.is_truthy())?;
        let name = config.get_item(intern!(py, "SESSION_COOKIE_NAME"))?;
        let name = name.and_then(|name| name.cast_exact::<PyString>().ok()?.extract().ok());
        let session_class = interface.getattr(intern!(py, "session_class"))?;
        let session_class = match session_class.cast_into::<PyType>() {
            Ok(class) => {
                let facts = self.classes.facts_of_class(Role::NewSession, &class)?;
                Some((class.unbind(), facts.stock()))
            }
            Err(_) => None,
        };
        let tags = self.stock_tags(&interface.getattr(intern!(py, "serializer"))?)?;
        Ok(Sealing {
            keys: keys.map(|keys| keys.get().keys()),
            lifetime: microseconds(&lifetime)?,
            compression,
            debug,
            name: name.filter(|name: &String| name.is_ascii()),
            absolute,
            refresh_from,
            good_until: good_for
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .map(|duration| Instant::now() + duration),
            others_open: others,
            python_saves: saves,
            for_python: all,
            tags: tags.map(Bound::unbind),
            session_class,
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
