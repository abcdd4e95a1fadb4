//! What the configuration, and the interface itself, say about sealing and opening sessions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDelta, PyDict, PyList, PyString, PyType};

use super::classes::{ClassValue, Facts, Role};
use super::flask_objects::{TAG_CLASSES, json_style};
use super::native_path::{NativePath, NativeState};
use super::session_keys::SessionKeys;
use super::settings::{Settings, Traverse};
use super::stop::Stop;
use crate::tagged_json::encode::Style;
use crate::token::key_set::KeySet;

/// The settings that sealing and opening depend on.
pub(crate) const SETTINGS: usize = 12;
/// The interface's own attributes that they depend on.
pub(crate) const OWN: usize = 3;

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
    pub(crate) for_python: Py<PyAny>,
    /// The list of tags of the interface's serializer, if that is Flask's own.
    tags: Option<Py<PyList>>,
    /// The interface's session class, and whether its instances are made as Flask's are; `None`
    /// where it is no class.
    pub(crate) session_class: Option<(Py<PyType>, bool)>,
}

/// What is needed of `flask_fernet/sources.py`'s `Sealing`.
#[derive(FromPyObject)]
struct PythonSealing<'py> {
    keys: PythonKeys<'py>,
    signed: Option<Bound<'py, PyAny>>,
    format: Bound<'py, PyString>,
    lifetime: Bound<'py, PyDelta>,
    compression: Bound<'py, PyString>,
    lifetimes: PythonLifetimes,
}

/// Of its `Keys`.
#[derive(FromPyObject)]
struct PythonKeys<'py> {
    made: Option<Bound<'py, SessionKeys>>,
    ring: Option<Bound<'py, PyAny>>,
    good_for: Option<f64>,
}

/// Of its `Lifetimes`, in seconds.
#[derive(FromPyObject)]
struct PythonLifetimes {
    absolute: Option<f64>,
    refresh_from: f64,
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

impl Traverse for Sealing {
    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.for_python)?;
        visit.call(&self.tags)?;
        visit.call(self.session_class.as_ref().map(|(class, _)| class))
    }
}

/// `SESSION_COMPRESSION`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Fit,
    Always,
    Never,
}

impl NativeState {
    /// What `config` and the interface, whose `own` attributes are given, say about sealing and
    /// opening; `interface._sealing` is asked when that has changed.
    pub(crate) fn sealing<'py>(
        &self,
        interface: &Bound<'py, NativePath>,
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
            let sealing = interface.call_method1(intern!(py, "_sealing"), (app,))?;
            self.new_sealing(interface, config, &sealing)
        })
    }

    /// Out of what `_sealing` answered.
    fn new_sealing(
        &self,
        interface: &Bound<'_, NativePath>,
        config: &Bound<'_, PyDict>,
        answer: &Bound<'_, PyAny>,
    ) -> Result<Sealing, Stop> {
        let py = answer.py();
        let PythonSealing { keys, signed, format, lifetime, compression, lifetimes } =
            answer.extract().map_err(Stop::Raise)?;
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
            keys: keys.made.map(|keys| keys.get().keys()),
            lifetime: microseconds(&lifetime)?,
            compression,
            debug,
            name: name.filter(|name: &String| name.is_ascii()),
            absolute: lifetimes.absolute,
            refresh_from: lifetimes.refresh_from,
            good_until: keys
                .good_for
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .map(|duration| Instant::now() + duration),
            others_open: signed.is_some() || keys.ring.is_some(),
            python_saves: format.to_str()? == "flask-signed",
            for_python: answer.clone().unbind(),
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
