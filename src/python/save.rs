//! Saving a session natively, where no hook of the interface is overridden: a hook may do
//! anything, to the session as well, at the moment when Flask calls it.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use super::classes::Role;
use super::clock::{self, Now};
use super::flask_objects::{FlaskObjects, hooks};
use super::native_path::{Compression, NativePath, Sealing};
use super::open::debug;
use super::settings::fetch;
use super::stop::Stop;
use crate::compress;
use crate::cookie::append_date;
use crate::tagged_json::encode::encode_dict;
use crate::token::key_set::{KeySet, MAX_TOKEN};

/// The settings that the attributes of a session cookie come from.
const ATTRIBUTES: usize = 7;
const COOKIE_PATH: usize = 2;

/// A `Set-Cookie` value as Werkzeug writes it, but for the value and the date.
pub(crate) struct CookieTemplate {
    /// `name=`
    head: String,
    /// `; Domain=…`, or nothing: what comes before `Expires`.
    before: String,
    /// `; Secure; HttpOnly; Path=/` and the like: what comes after it.
    after: String,
}

impl NativePath {
    pub(crate) fn save_session<'py>(
        &self,
        interface: &Bound<'py, PyAny>,
        app: &Bound<'py, PyAny>,
        session: &Bound<'py, PyAny>,
        response: &Bound<'py, PyAny>,
    ) -> Result<(), Stop> {
        let py = app.py();
        let flask = FlaskObjects::get(py)?;
        let config = app.getattr(intern!(py, "config"))?;
        let of_classes = self.classes.facts([
            (Role::Interface, interface),
            (Role::App, app),
            (Role::Config, &config),
            (Role::SavedSession, session),
            (Role::Response, response),
        ])?;
        let [of_interface, of_app, of_config, of_session, of_response] = of_classes;
        let hooks = hooks(interface, of_interface)?;
        let config = config.cast_into::<PyDict>()?;
        let stock =
            of_app.stock() && of_config.stock() && of_session.stock() && of_response.stock();
        if !stock || !hooks.stock() || debug(&config)? || remembered(session)? {
            return Err(Stop::Decline);
        }
        let headers = flask.header_list(response)?;
        let data = session.cast::<PyDict>()?;
        let accessed = session.getattr(intern!(py, "accessed"))?.is_truthy()?;
        let modified = session.getattr(intern!(py, "modified"))?.is_truthy()?;
        if data.is_empty() && modified {
            return Err(Stop::Decline);
        }
        let permanent = match data.get_item(intern!(py, "_permanent"))? {
            Some(permanent) => permanent.is_truthy()?,
            None => false,
        };
        let due = modified || (permanent && refreshed(&config)?);
        let cookie = if due && !data.is_empty() {
            Some(self.cookie(flask, interface, app, &config, data, permanent)?)
        } else {
            None
        };
        // Nothing has been changed so far: up to here it was safe to decline.
        // Flask's order: `Vary` first where the session was looked at.
        if accessed {
            vary_by_cookie(flask, response, &headers)?;
        }
        if let Some(cookie) = cookie {
            headers.append((intern!(py, "Set-Cookie"), cookie))?;
            if !accessed {
                vary_by_cookie(flask, response, &headers)?;
            }
        }
        Ok(())
    }

    /// The finished `Set-Cookie` value.
    fn cookie<'py>(
        &self,
        flask: &FlaskObjects,
        interface: &Bound<'py, PyAny>,
        app: &Bound<'py, PyAny>,
        config: &Bound<'py, PyDict>,
        data: &Bound<'py, PyDict>,
        permanent: bool,
    ) -> Result<Bound<'py, PyString>, Stop> {
        let py = app.py();
        let sealing = self.sealing(interface, app, config)?;
        if sealing.python_saves {
            return Err(Stop::Decline);
        }
        let keys = sealing.keys.as_deref().ok_or(Stop::Decline)?;
        let template = self.template(flask, app, config)?;
        let now = clock::now(py)?;
        let expires = Expires(if permanent { Some(expiry(&now, &sealing)?) } else { None });
        let payload = self.payload(interface, app, data)?;
        let limit = config.get_item(intern!(py, "MAX_COOKIE_SIZE"))?.ok_or(Stop::Decline)?;
        let limit = limit.extract::<usize>().map_err(|_| Stop::Decline)?;
        let room = Room { template: &template, keys, expires, limit };
        let payload = fitted(payload, sealing.compression, &room)?;
        let issued_at = u64::try_from(now.seconds()?).map_err(|_| Stop::Decline)?;
        room.set_cookie(py, &payload, issued_at)
    }

    /// The session as the bytes that are to be sealed, not compressed.
    fn payload<'py>(
        &self,
        interface: &Bound<'py, PyAny>,
        app: &Bound<'py, PyAny>,
        data: &Bound<'py, PyDict>,
    ) -> Result<Vec<u8>, Stop> {
        let py = app.py();
        if let Some(style) = self.stock_style(interface, app)? {
            let mut payload = Vec::with_capacity(512);
            if encode_dict(data, style, &self.known.shapes, &mut payload)?.is_some() {
                return Ok(payload);
            }
        }
        let payload = interface.call_method1(intern!(py, "_dump"), (app, data))?;
        Ok(payload.cast_into::<PyBytes>()?.as_bytes().to_vec())
    }

    /// The attributes of the cookie.
    fn template<'py>(
        &self,
        flask: &FlaskObjects,
        app: &Bound<'py, PyAny>,
        config: &Bound<'py, PyDict>,
    ) -> Result<std::sync::Arc<CookieTemplate>, Stop> {
        let py = app.py();
        let names = [
            intern!(py, "SESSION_COOKIE_NAME"),
            intern!(py, "SESSION_COOKIE_DOMAIN"),
            intern!(py, "SESSION_COOKIE_PATH"),
            intern!(py, "SESSION_COOKIE_SECURE"),
            intern!(py, "SESSION_COOKIE_PARTITIONED"),
            intern!(py, "SESSION_COOKIE_SAMESITE"),
            intern!(py, "SESSION_COOKIE_HTTPONLY"),
        ];
        let mut values = fetch::<ATTRIBUTES>(config, &names)?;
        let path = values[COOKIE_PATH].as_ref().ok_or(Stop::Decline)?;
        if !path.is_truthy()? {
            values[COOKIE_PATH] = config.get_item(intern!(py, "APPLICATION_ROOT"))?;
        }
        if values.iter().any(Option::is_none) {
            return Err(Stop::Decline);
        }
        self.templates.get(app, &values, |_| true, || CookieTemplate::new(flask, py, &values))
    }
}

/// Whether opening left a note on the session, for the portable path to act upon.
fn remembered(session: &Bound<'_, PyAny>) -> Result<bool, Stop> {
    let py = session.py();
    let attributes = session.getattr(intern!(py, "__dict__"))?.cast_into_exact::<PyDict>()?;
    Ok(attributes.contains(intern!(py, "_origin"))?)
}

fn refreshed(config: &Bound<'_, PyDict>) -> Result<bool, Stop> {
    let refresh = config.get_item(intern!(config.py(), "SESSION_REFRESH_EACH_REQUEST"))?;
    Ok(refresh.ok_or(Stop::Decline)?.is_truthy()?)
}

/// Now and the lifetime, in whole seconds since the epoch.
fn expiry(now: &Now<'_>, sealing: &Sealing) -> Result<i64, Stop> {
    let expires = now.microseconds()?.checked_add(sealing.lifetime).ok_or(Stop::Decline)?;
    Ok(expires.div_euclid(1_000_000))
}

/// The `Expires` attribute: seconds since the epoch, if the cookie has one.
#[derive(Clone, Copy)]
struct Expires(Option<i64>);

impl Expires {
    fn append(self, out: &mut Vec<u8>) -> Result<(), Stop> {
        let Some(time) = self.0 else { return Ok(()) };
        out.extend_from_slice(b"; Expires=");
        if append_date(time, out) { Ok(()) } else { Err(Stop::Decline) }
    }

    const fn len(self) -> usize {
        if self.0.is_some() { "; Expires=".len() + 29 } else { 0 }
    }
}

impl CookieTemplate {
    /// Asks Werkzeug for a cookie with these attributes and cuts it where the parts that
    /// change belong.
    fn new(
        flask: &FlaskObjects,
        py: Python<'_>,
        values: &super::settings::Values<'_, ATTRIBUTES>,
    ) -> Result<Self, Stop> {
        const MARK: &str = "\u{1}";
        let [name, domain, path, secure, partitioned, samesite, httponly] = values;
        let name = name.as_ref().ok_or(Stop::Decline)?;
        let arguments = PyDict::new(py);
        arguments.set_item("expires", MARK)?;
        arguments.set_item("domain", domain)?;
        arguments.set_item("path", path)?;
        arguments.set_item("secure", secure)?;
        arguments.set_item("partitioned", partitioned)?;
        arguments.set_item("samesite", samesite)?;
        arguments.set_item("httponly", httponly)?;
        arguments.set_item("max_size", 0)?;
        let cookie = flask.dump_cookie.bind(py).call((name, ""), Some(&arguments))?;
        let cookie: String = cookie.extract()?;
        let name: String = name.extract()?;
        let (before, after) = cookie.split_once("; Expires=\u{1}").ok_or(Stop::Decline)?;
        let (head, before) = before.split_at_checked(name.len() + 1).ok_or(Stop::Decline)?;
        let plain = cookie.is_ascii() && !cookie.contains(['\r', '\n']) && !after.contains(MARK);
        if !plain || head.strip_suffix('=') != Some(&name) {
            return Err(Stop::Decline);
        }
        Ok(Self { head: head.to_owned(), before: before.to_owned(), after: after.to_owned() })
    }
}

/// A cookie but for its value, and the characters it may have.
struct Room<'a> {
    template: &'a CookieTemplate,
    keys: &'a KeySet,
    expires: Expires,
    /// `MAX_COOKIE_SIZE`; 0 for none.
    limit: usize,
}

impl Room<'_> {
    fn len(&self, payload: usize) -> usize {
        let CookieTemplate { head, before, after } = self.template;
        head.len() + self.keys.token_len(payload) + before.len() + self.expires.len() + after.len()
    }

    fn fits(&self, payload: &[u8]) -> bool {
        (self.limit == 0 || self.len(payload.len()) <= self.limit)
            && self.keys.token_len(payload.len()) <= MAX_TOKEN
    }

    fn set_cookie<'py>(
        &self,
        py: Python<'py>,
        payload: &[u8],
        issued_at: u64,
    ) -> Result<Bound<'py, PyString>, Stop> {
        let CookieTemplate { head, before, after } = self.template;
        let mut cookie = Vec::with_capacity(self.len(payload.len()));
        cookie.extend_from_slice(head.as_bytes());
        let name = &head.as_bytes()[..head.len() - 1];
        self.keys.seal(payload, issued_at, name, &mut cookie).map_err(PyErr::from)?;
        cookie.extend_from_slice(before.as_bytes());
        self.expires.append(&mut cookie)?;
        cookie.extend_from_slice(after.as_bytes());
        Ok(PyString::from_bytes(py, &cookie)?)
    }
}

/// The payload as it is sealed: compressed where the setting says so, or where a custom
/// serializer's output would be taken for compressed. Declines what does not fit even so.
fn fitted(payload: Vec<u8>, compression: Compression, room: &Room<'_>) -> Result<Vec<u8>, Stop> {
    let ambiguous = payload.first() == Some(&compress::MARK);
    let too_large = !room.fits(&payload);
    let wanted = match compression {
        Compression::Always => true,
        Compression::Fit => too_large,
        Compression::Never => false,
    };
    if ambiguous || payload.len() > compress::MAX_INFLATED {
        return Err(Stop::Decline);
    }
    if wanted {
        let packed = compress::deflate(&payload);
        if packed.len() < payload.len() && room.fits(&packed) {
            return Ok(packed);
        }
    }
    if too_large { Err(Stop::Decline) } else { Ok(payload) }
}

/// Adds `Cookie` to a response's `Vary`: natively where there is none, or where it has it.
fn vary_by_cookie(
    flask: &FlaskObjects,
    response: &Bound<'_, PyAny>,
    headers: &Bound<'_, PyList>,
) -> PyResult<()> {
    let py = response.py();
    for header in headers.iter() {
        let (name, value): (Bound<'_, PyString>, Bound<'_, PyString>) = header.extract()?;
        if name.to_str()?.eq_ignore_ascii_case("vary") {
            if value.to_str()?.eq_ignore_ascii_case("cookie") {
                return Ok(());
            }
            let vary = response.getattr(intern!(py, "vary"))?;
            vary.call_method1(intern!(py, "add"), (intern!(py, "Cookie"),))?;
            return Ok(());
        }
    }
    headers.append(&flask.vary_cookie)?;
    Ok(())
}
