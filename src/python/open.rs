//! Opening a session natively.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyType};

use super::classes::Role;
use super::clock;
use super::errors::reason_name;
use super::flask_objects::{FlaskObjects, hooks};
use super::native_path::NativePath;
use super::stop::Stop;
use crate::compress;
use crate::cookie::{self, Found};
use crate::tagged_json::decode::decode_into;
use crate::token::key_set::Opened;

/// Position of `get_cookie_name` in [`HOOKS`](super::classes::HOOKS).
const COOKIE_NAME: usize = 0;

/// A key of the payload that a session does not show: for Python to take out. See
/// `flask_fernet/lifetimes.py`.
const RESERVED: &str = "flask-fernet:created";

impl NativePath {
    pub(crate) fn open_session<'py>(
        &self,
        interface: &Bound<'py, PyAny>,
        app: &Bound<'py, PyAny>,
        request: &Bound<'py, PyAny>,
    ) -> Result<Bound<'py, PyAny>, Stop> {
        let py = app.py();
        let flask = FlaskObjects::get(py)?;
        let config = app.getattr(intern!(py, "config"))?;
        let of_classes = self.classes.facts([
            (Role::Interface, interface),
            (Role::App, app),
            (Role::Config, &config),
            (Role::Request, request),
        ])?;
        let [of_interface, of_app, of_config, of_request] = of_classes;
        let hooks = hooks(interface, of_interface)?;
        let config = config.cast_into::<PyDict>()?;
        let stock = of_app.stock() && of_config.stock() && of_request.stock();
        if !stock || hooks.overrides(COOKIE_NAME) || debug(&config)? {
            return Err(Stop::Decline);
        }
        let sealing = self.sealing(interface, app, &config)?;
        let Some(keys) = sealing.keys.as_deref().filter(|_| !sealing.python_saves) else {
            if sealing.others_open {
                return Err(Stop::Decline);
            }
            return Ok(py.None().into_bound(py));
        };
        let name = config.get_item(intern!(py, "SESSION_COOKIE_NAME"))?.ok_or(Stop::Decline)?;
        let class = interface.getattr(intern!(py, "session_class"))?.cast_into::<PyType>()?;
        let header = flask.cookie_header(request)?;
        let name = name.cast_exact::<PyString>()?;
        let token = match &header {
            Some(header) => find(header, name)?,
            None => "",
        };
        if token.is_empty() {
            return self.empty_session(flask, &class);
        }
        let max_age = sealing.lifetime / 1_000_000;
        let now = clock::now(py)?.seconds()?;
        let name = name.to_str()?.as_bytes();
        let opened = match keys.open(token.as_bytes(), now, max_age, name) {
            Ok(opened) => opened,
            Err(_) if sealing.others_open => return Err(Stop::Decline),
            Err(reason) => {
                let reason = reason_name(reason);
                return Ok(interface.call_method1(intern!(py, "_reject"), (app, reason))?);
            }
        };
        let session = match self.decode(flask, interface, app, &class, &opened)? {
            Some(session) => session,
            None => {
                let payload = PyBytes::new(py, &opened.payload);
                return Ok(interface.call_method1(
                    intern!(py, "_restore"),
                    (app, payload, opened.issued_at, opened.key == 0, opened.format.name()),
                )?);
            }
        };
        if opened.key > 0 || opened.format != keys.writes() {
            let payload = PyBytes::new(py, &opened.payload);
            let arguments = (app, &session, opened.issued_at, payload, opened.format.name());
            interface.call_method1(intern!(py, "_reissue_later"), arguments)?;
        }
        Ok(session)
    }

    fn empty_session<'py>(
        &self,
        flask: &FlaskObjects,
        class: &Bound<'py, PyType>,
    ) -> Result<Bound<'py, PyAny>, Stop> {
        let facts = self.classes.facts_of_class(Role::NewSession, class)?;
        Ok(if facts.stock() { flask.empty_session(class)? } else { class.call0()? })
    }

    /// The session in an authentic payload; `None` where Python has to look at it.
    fn decode<'py>(
        &self,
        flask: &FlaskObjects,
        interface: &Bound<'py, PyAny>,
        app: &Bound<'py, PyAny>,
        class: &Bound<'py, PyType>,
        opened: &Opened,
    ) -> Result<Option<Bound<'py, PyAny>>, Stop> {
        let py = app.py();
        if self.stock_style(interface, app)?.is_none() {
            return Ok(None);
        }
        let inflated;
        let payload: &[u8] = if opened.payload.first() == Some(&compress::MARK) {
            match compress::inflate(&opened.payload) {
                Some(payload) => inflated = payload,
                None => return Ok(None),
            }
            &inflated
        } else {
            &opened.payload
        };
        let Ok(text) = std::str::from_utf8(payload) else { return Ok(None) };
        if self.classes.facts_of_class(Role::NewSession, class)?.stock() {
            let session = flask.empty_session(class)?;
            let data = session.cast::<PyDict>()?;
            let done = decode_into(data, text, &self.known.keys)?;
            let plain = done.is_some() && !data.contains(intern!(py, RESERVED))?;
            return Ok(plain.then_some(session));
        }
        let data = PyDict::new(py);
        let done = decode_into(&data, text, &self.known.keys)?;
        if done.is_none() || data.contains(intern!(py, RESERVED))? {
            return Ok(None);
        }
        Ok(Some(class.call1((data,))?))
    }
}

/// The value of a cookie in a header that is plain ASCII, as nearly every one is.
fn find<'a>(header: &'a Bound<'_, PyString>, name: &Bound<'_, PyString>) -> Result<&'a str, Stop> {
    let (Ok(header), Ok(name)) = (header.to_str(), name.to_str()) else {
        return Err(Stop::Decline);
    };
    if !header.is_ascii() || !name.is_ascii() {
        return Err(Stop::Decline);
    }
    match cookie::find(header, name) {
        Found::Value(value) => Ok(value),
        Found::Absent => Ok(""),
        Found::Odd => Err(Stop::Decline),
    }
}

/// Whether the app is in debug mode, in which sessions are watched more closely, in Python.
pub(crate) fn debug(config: &Bound<'_, PyDict>) -> PyResult<bool> {
    let debug = config.get_item(intern!(config.py(), "DEBUG"))?;
    debug.map_or(Ok(true), |debug| debug.is_truthy())
}
