//! Saving a session natively, where no hook of the interface is overridden: a hook may do
//! anything, to the session as well, at the moment when Flask calls it.

use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PyString};

use super::classes::{ClassValue, Facts, Role};
use super::clock::{self, Now};
use super::entries::attributes;
use super::flask_objects::{FlaskObjects, config_and_json, hooks};
use super::native_path::{NativePath, NativeState};
use super::origin::{CREATED, ORIGIN, Origin};
use super::sealing::Sealing;
use super::set_cookie::{CookieTemplate, Expires, Room, fitted};
use super::settings::Settings;
use super::stop::Stop;
use crate::tagged_json::encode::{Style, encode_dict};

/// What a session is saved with.
struct Saving<'a, 'py> {
    native: &'a NativeState,
    interface: &'a Bound<'py, NativePath>,
    app: &'a Bound<'py, PyAny>,
    sealing: &'a Sealing,
    template: &'a CookieTemplate,
    style: Option<Style>,
    now: Now<'py>,
}

impl NativeState {
    pub(crate) fn save<'py>(
        &self,
        interface: &Bound<'py, NativePath>,
        app: &Bound<'py, PyAny>,
        session: &Bound<'py, PyAny>,
        response: &Bound<'py, PyAny>,
    ) -> Result<(), Stop> {
        self.is_on()?;
        let py = app.py();
        let flask = FlaskObjects::get(py)?;
        let (config, json) = config_and_json(app)?;
        let [of_interface, of_app, of_config, of_json, of_session, of_response] =
            self.classes.facts([
                (Role::Interface, interface.as_any()),
                (Role::App, app),
                (Role::Config, &config),
                (Role::Json, &json),
                (Role::SavedSession, session),
                (Role::Response, response),
            ])?;
        let own = attributes(interface)?;
        let hooks = hooks(&own, of_interface)?;
        let config = config.cast_into::<PyDict>()?;
        let stock =
            of_app.stock() && of_config.stock() && of_session.stock() && of_response.stock();
        if !stock || !hooks.stock() {
            return Err(Stop::Decline);
        }
        let saved = Saved::new(session, of_session)?;
        let headers = flask.header_list(response)?;
        if saved.data.is_empty() && saved.modified {
            return Err(Stop::Decline);
        }
        let permanent = match saved.data.get_item(intern!(py, "_permanent"))? {
            Some(permanent) => permanent.is_truthy()?,
            None => false,
        };
        let sealing = match self.sealing(interface, of_interface, &own, app, &config) {
            // What Python would not have looked at is no reason to fail.
            Err(Stop::Raise(_)) if !saved.modified && !permanent => return Err(Stop::Decline),
            sealing => sealing?,
        };
        if sealing.debug || sealing.python_saves {
            return Err(Stop::Decline);
        }
        let mut cookie = None;
        if (saved.modified || permanent) && !saved.data.is_empty() {
            let style = sealing.style(&json, of_json)?;
            let (sealing, now) = (&*sealing, clock::now(py)?);
            let template = self.template(flask, app, &config)?;
            let due = saved.modified || template.refreshes;
            if due && !saved.is_fresh(sealing, &now)? {
                let (native, template) = (self, &*template);
                let saving = Saving { native, interface, app, sealing, template, style, now };
                cookie = Some(saving.cookie(&saved, permanent)?);
            }
        }
        // Nothing has been changed so far: up to here it was safe to decline.
        // Flask's order: `Vary` first where the session was looked at.
        if saved.accessed {
            vary_by_cookie(flask, response, &headers)?;
        }
        if let Some(cookie) = cookie {
            headers.append((intern!(py, "Set-Cookie"), cookie))?;
            if !saved.accessed {
                vary_by_cookie(flask, response, &headers)?;
            }
        }
        Ok(())
    }

    /// What the configuration says about the cookie.
    fn template(
        &self,
        flask: &FlaskObjects,
        app: &Bound<'_, PyAny>,
        config: &Bound<'_, PyDict>,
    ) -> Result<Arc<CookieTemplate>, Stop> {
        let py = app.py();
        let names = [
            intern!(py, "SESSION_COOKIE_NAME"),
            intern!(py, "SESSION_COOKIE_DOMAIN"),
            intern!(py, "SESSION_COOKIE_PATH"),
            intern!(py, "APPLICATION_ROOT"),
            intern!(py, "SESSION_COOKIE_SECURE"),
            intern!(py, "SESSION_COOKIE_PARTITIONED"),
            intern!(py, "SESSION_COOKIE_SAMESITE"),
            intern!(py, "SESSION_COOKIE_HTTPONLY"),
            intern!(py, "MAX_COOKIE_SIZE"),
            intern!(py, "SESSION_REFRESH_EACH_REQUEST"),
        ];
        let settings = Settings { config, names };
        self.templates.get(
            app,
            &settings,
            [],
            |_| true,
            || CookieTemplate::new(flask, py, &settings.values()?),
        )
    }
}

/// A session, and what it says of itself.
struct Saved<'a, 'py> {
    data: &'a Bound<'py, PyDict>,
    accessed: bool,
    modified: bool,
    /// When it was issued, in seconds since the epoch, where opening has noted it.
    issued_at: Option<u64>,
    /// When it was created, where that has been noted.
    created: Option<Bound<'py, PyAny>>,
}

impl<'a, 'py> Saved<'a, 'py> {
    /// Declines a session that is to be issued again as it came.
    fn new(session: &'a Bound<'py, PyAny>, of_class: Facts) -> Result<Self, Stop> {
        let py = session.py();
        let data = session.cast::<PyDict>()?;
        let own = attributes(session)?;
        let [accessed, modified, _] = of_class.values();
        let flag = |name, of_class: ClassValue| match own.get_item(name)? {
            Some(flag) => Ok(flag.is_truthy()?),
            None => of_class.flag().ok_or(Stop::Decline),
        };
        let accessed = flag(intern!(py, "accessed"), accessed)?;
        let modified = flag(intern!(py, "modified"), modified)?;
        let origin = own.get_item(intern!(py, ORIGIN))?;
        let origin = origin.map(Bound::cast_into::<Origin>).transpose()?;
        if origin.as_ref().is_some_and(|origin| origin.get().reissue) {
            return Err(Stop::Decline);
        }
        let issued_at = origin.map(|origin| origin.get().issued_at);
        let created = own.get_item(intern!(py, CREATED))?;
        Ok(Self { data, accessed, modified, issued_at, created })
    }

    /// Whether nobody has changed it and it was issued so lately that it is not refreshed.
    fn is_fresh(&self, sealing: &Sealing, now: &Now<'_>) -> Result<bool, Stop> {
        let Some(issued_at) = self.issued_at.filter(|_| sealing.refresh_from > 0.0) else {
            return Ok(false);
        };
        Ok(!self.modified && now.float()? - (issued_at as f64) < sealing.refresh_from)
    }
}

impl<'py> Saving<'_, 'py> {
    /// The finished `Set-Cookie` value.
    fn cookie(
        &self,
        saved: &Saved<'_, 'py>,
        permanent: bool,
    ) -> Result<Bound<'py, PyString>, Stop> {
        let py = self.app.py();
        let Self { sealing, template, now, .. } = self;
        let keys = sealing.keys.as_deref().ok_or(Stop::Decline)?;
        let expires = Expires(if permanent { Some(expiry(now, sealing)?) } else { None });
        let issued_at = u64::try_from(now.seconds()?).map_err(|_| Stop::Decline)?;
        let payload = if sealing.absolute.is_some() {
            let data = saved.data.copy()?;
            data.set_item(intern!(py, CREATED), creation(py, saved.created.as_ref(), issued_at)?)?;
            self.payload(&data)?
        } else {
            self.payload(saved.data)?
        };
        let room = Room { template, keys, expires };
        let payload = fitted(payload, sealing.compression, &room)?;
        room.set_cookie(py, &payload, issued_at)
    }

    /// The session as the bytes that are to be sealed, not compressed.
    fn payload(&self, data: &Bound<'py, PyDict>) -> Result<Vec<u8>, Stop> {
        if let Some(style) = self.style {
            let mut payload = Vec::with_capacity(512);
            if encode_dict(data, style, &self.native.known.shapes, &mut payload)?.is_some() {
                return Ok(payload);
            }
        }
        let payload = self.interface.call_method1(intern!(data.py(), "_dump"), (self.app, data))?;
        Ok(payload.cast_into::<PyBytes>()?.as_bytes().to_vec())
    }
}

/// When a session was created or regenerated last. As `session.creation_of`.
fn creation<'py>(
    py: Python<'py>,
    noted: Option<&Bound<'py, PyAny>>,
    now: u64,
) -> Result<Bound<'py, PyAny>, Stop> {
    match noted {
        Some(created) if created.is_exact_instance_of::<PyInt>() => Ok(created.clone()),
        Some(created) if !created.is_none() => Err(Stop::Decline),
        _ => Ok(now.into_pyobject(py).map_err(PyErr::from)?.into_any()),
    }
}

/// Now and the lifetime, in whole seconds since the epoch.
fn expiry(now: &Now<'_>, sealing: &Sealing) -> Result<i64, Stop> {
    let expires = now.microseconds()?.checked_add(sealing.lifetime).ok_or(Stop::Decline)?;
    Ok(expires.div_euclid(1_000_000))
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
