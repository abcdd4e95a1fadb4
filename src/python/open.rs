//! Opening a session natively.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyString, PyType};

use super::classes::{GETATTRIBUTE, Role};
use super::clock;
use super::entries::attributes;
use super::errors::reason_name;
use super::flask_objects::{FlaskObjects, config_and_json, hooks};
use super::native_path::{NativePath, NativeState};
use super::origin::{CREATED, ORIGIN, Origin, remember};
use super::stop::Stop;
use crate::compress;
use crate::cookie::{self, Found};
use crate::tagged_json::decode::decode_into;
use crate::tagged_json::encode::Style;
use crate::token::TokenError;
use crate::token::key_set::Opened;

/// Position of `get_cookie_name` in [`HOOKS`](super::classes::HOOKS).
const COOKIE_NAME: usize = 0;

impl NativeState {
    pub(crate) fn open<'py>(
        &self,
        interface: &Bound<'py, NativePath>,
        app: &Bound<'py, PyAny>,
        request: &Bound<'py, PyAny>,
    ) -> Result<Bound<'py, PyAny>, Stop> {
        self.is_on()?;
        let py = app.py();
        let flask = FlaskObjects::get(py)?;
        let (config, json) = config_and_json(app)?;
        let [of_interface, of_app, of_config, of_json, of_request] = self.classes.facts([
            (Role::Interface, interface.as_any()),
            (Role::App, app),
            (Role::Config, &config),
            (Role::Json, &json),
            (Role::Request, request),
        ])?;
        let own = attributes(interface)?;
        let hooks = hooks(&own, of_interface)?;
        let config = config.cast_into::<PyDict>()?;
        let stock = of_app.stock() && of_config.stock() && of_request.stock();
        if !stock || hooks.overrides(COOKIE_NAME) || hooks.overrides(GETATTRIBUTE) {
            return Err(Stop::Decline);
        }
        let sealing = self.sealing(interface, of_interface, &own, app, &config)?;
        if sealing.debug {
            return Err(Stop::Decline);
        }
        let Some(keys) = sealing.keys.as_deref().filter(|_| !sealing.python_saves) else {
            if sealing.others_open {
                return Err(Stop::Decline);
            }
            return Ok(py.None().into_bound(py));
        };
        let name = sealing.name.as_deref().ok_or(Stop::Decline)?;
        let (class, as_flask) = sealing.session_class.as_ref().ok_or(Stop::Decline)?;
        let class = Class { class: class.bind(py), made_as_flask_does: *as_flask };
        let header = flask.cookie_header(request)?;
        let token = match &header {
            Some(header) => find(header, name)?,
            None => "",
        };
        if token.is_empty() {
            return class.empty(flask);
        }
        let max_age = sealing.lifetime / 1_000_000;
        let now = clock::now(py)?;
        let opened = keys.open(token.as_bytes(), now.seconds()?, max_age, name.as_bytes());
        let opened = match opened {
            Ok(opened) => opened,
            Err(_) if sealing.others_open => return Err(Stop::Decline),
            Err(reason) => return reject(interface, app, reason),
        };
        let style = sealing.style(&json, of_json)?;
        let Some(data) = self.decode(flask, &class, style, &opened)? else {
            let payload = PyBytes::new(py, &opened.payload);
            let newest = opened.key == 0;
            let arguments = (app, payload, opened.issued_at, newest, opened.format.name());
            return Ok(interface.call_method1(intern!(py, "_restore"), arguments)?);
        };
        let created = take_creation(&data)?;
        let created = match sealing.absolute {
            None => None,
            Some(absolute) => {
                let issued_at = opened.issued_at.into_pyobject(py).map_err(PyErr::from)?;
                let created = created.unwrap_or_else(|| issued_at.into_any());
                let begun = created.extract::<i64>().map_err(|_| Stop::Decline)?;
                if now.float()? - begun as f64 > absolute {
                    return reject(interface, app, TokenError::Expired);
                }
                Some(created)
            }
        };
        let session = class.holding(data)?;
        if let Some(created) = created {
            remember(&session, intern!(py, CREATED), created)?;
        }
        if opened.key > 0 || opened.format != keys.writes() {
            let payload = PyBytes::new(py, &opened.payload);
            let arguments = (app, &session, opened.issued_at, payload, opened.format.name());
            interface.call_method1(intern!(py, "_reissue_later"), arguments)?;
        } else if sealing.refresh_from > 0.0 {
            let origin = Origin::new(None, opened.issued_at, false);
            remember(&session, intern!(py, ORIGIN), Bound::new(py, origin)?)?;
        }
        Ok(session)
    }

    /// What is in an authentic payload, in a session if that is made as Flask's is and in a plain
    /// dict otherwise; `None` where Python has to look at it.
    fn decode<'py>(
        &self,
        flask: &FlaskObjects,
        class: &Class<'_, 'py>,
        style: Option<Style>,
        opened: &Opened,
    ) -> Result<Option<Bound<'py, PyDict>>, Stop> {
        if style.is_none() {
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
        let data = if class.made_as_flask_does {
            class.empty(flask)?.cast_into::<PyDict>()?
        } else {
            PyDict::new(class.class.py())
        };
        Ok(decode_into(&data, text, &self.known.keys)?.map(|()| data))
    }
}

/// The class of an interface's sessions.
struct Class<'a, 'py> {
    class: &'a Bound<'py, PyType>,
    made_as_flask_does: bool,
}

impl<'py> Class<'_, 'py> {
    fn empty(&self, flask: &FlaskObjects) -> Result<Bound<'py, PyAny>, Stop> {
        Ok(if self.made_as_flask_does {
            flask.empty_session(self.class)?
        } else {
            self.class.call0()?
        })
    }

    /// The session with what [`NativeState::decode`] gave.
    fn holding(&self, data: Bound<'py, PyDict>) -> Result<Bound<'py, PyAny>, Stop> {
        Ok(if self.made_as_flask_does { data.into_any() } else { self.class.call1((data,))? })
    }
}

/// A new session in place of one that did not open.
#[cold]
fn reject<'py>(
    interface: &Bound<'py, NativePath>,
    app: &Bound<'py, PyAny>,
    reason: TokenError,
) -> Result<Bound<'py, PyAny>, Stop> {
    let arguments = (app, reason_name(reason));
    Ok(interface.call_method1(intern!(app.py(), "_reject"), arguments)?)
}

/// Takes the time of the session's creation out of what was read. As `lifetimes.take_creation`.
fn take_creation<'py>(data: &Bound<'py, PyDict>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let name = intern!(data.py(), CREATED);
    let Some(created) = data.get_item(name)? else { return Ok(None) };
    data.del_item(name)?;
    Ok(created.is_exact_instance_of::<PyInt>().then_some(created))
}

/// The value of a cookie in a header that is plain ASCII, as nearly every one is.
fn find<'a>(header: &'a Bound<'_, PyString>, name: &str) -> Result<&'a str, Stop> {
    let header = header.to_str().ok().filter(|header| header.is_ascii()).ok_or(Stop::Decline)?;
    match cookie::find(header, name) {
        Found::Value(value) => Ok(value),
        Found::Absent => Ok(""),
        Found::Odd => Err(Stop::Decline),
    }
}
