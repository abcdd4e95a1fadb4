//! Saving a session natively, unless a hook of the interface is overridden: a hook may do anything
//! at the moment when Flask calls it, also to the session.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PyString};

use super::policy::Policy;
use super::provenance::{CREATED, PROVENANCE, Provenance, STORED};
use super::resolve::{Admitted, Purpose};
use super::resolved_policy::ResolvedPolicy;
use super::set_cookie::{CookieBudget, CookieTemplate, Expires, compress_to_fit};
use super::state::NativeState;
use crate::python::call::{attribute, attribute_opt, call_method};
use crate::python::clock::{self, Now};
use crate::python::codec::encode::encode_dict;
use crate::python::codec::style::Style;
use crate::python::dict::instance_dict;
use crate::python::flask::objects::FlaskObjects;
use crate::python::flask::overrides::{ClassValue, Overrides};
use crate::python::flask::roles::Role;
use crate::python::memory::copied;
use crate::python::unhandled::Unhandled;
use crate::token::reference;

/// Writes the session's cookie and `Vary` to the response. Declines whatever the native path does
/// not know exactly.
pub(super) fn save<'py>(
    state: &NativeState,
    interface: &Bound<'py, PyAny>,
    app: &Bound<'py, PyAny>,
    session: &Bound<'py, PyAny>,
    response: &Bound<'py, PyAny>,
) -> Result<(), Unhandled> {
    let py = app.py();
    let flask = FlaskObjects::get(py)?;
    let admitted = Admitted::new(state, interface, app)?;
    if state.has_storage()
        && let Some(note) = note_of(session)?
    {
        return save_noted(state, &admitted, flask, session, &note, response);
    }
    let [of_session, of_response] =
        state.classes.overrides_of([(Role::SavedSession, session), (Role::Response, response)])?;
    if !of_session.none() || !of_response.none() || !admitted.hooks.none() {
        return Err(Unhandled::Declined);
    }
    let session = SessionView::new(session, of_session)?;
    let headers = flask.header_list(response)?;
    if session.data.is_empty() && session.modified {
        // The cookie is to be deleted.
        return Err(Unhandled::Declined);
    }
    let cookie = match new_cookie(state, &admitted, flask, &session) {
        Err(Unhandled::Declined) => return Err(Unhandled::Declined),
        result => result,
    };
    // Nothing has been changed so far; from here on this function must not decline. In Flask's
    // order: `Vary` comes first if the session was accessed, also where writing it raises.
    if session.accessed {
        vary_by_cookie(flask, response, &headers)?;
    }
    let cookie = cookie?;
    if let Some(cookie) = cookie {
        headers.append((intern!(py, "Set-Cookie"), cookie))?;
        if !session.accessed {
            vary_by_cookie(flask, response, &headers)?;
        }
    }
    Ok(())
}

/// The note on a stored session; `None` for any other session.
fn note_of<'py>(session: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    match instance_dict(session) {
        Ok(own) => own.get_item(intern!(session.py(), STORED)),
        Err(_) => Ok(None),
    }
}

/// Saves a session that lies in a store. One that nobody has touched is left alone here; the
/// interface's `_save_noted` does everything else.
fn save_noted<'py>(
    state: &NativeState,
    admitted: &Admitted<'_, 'py>,
    flask: &FlaskObjects,
    session: &Bound<'py, PyAny>,
    note: &Bound<'py, PyAny>,
    response: &Bound<'py, PyAny>,
) -> Result<(), Unhandled> {
    let py = session.py();
    let [of_response] = state.classes.overrides_of([(Role::Response, response)])?;
    if !of_response.none() || !admitted.hooks.none() {
        return Err(Unhandled::Declined);
    }
    let resolved = admitted.policy(Purpose::Save)?;
    let policy = resolved.policy();
    if policy.debug() {
        return Err(Unhandled::Declined);
    }
    let refreshes = resolved.template(py, flask)?.refreshes;
    let headers = flask.header_list(response)?;
    let class = session.get_type();
    let is_untouched = attribute_opt(&class, intern!(py, "_is_ghost"))?.is_some()
        && !attribute(session, intern!(py, "modified"))?.is_truthy()?;
    let is_left_alone = is_untouched && {
        let issued_at = attribute(note, intern!(py, "issued_at"))?.extract::<i64>()?;
        let age = clock::now(py)?.float()? - issued_at as f64;
        !refreshes || age < policy.stored_refresh_from()
    };
    // Nothing has been changed so far; from here on this function must not decline.
    if attribute(session, intern!(py, "accessed"))?.is_truthy()? {
        vary_by_cookie(flask, response, &headers)?;
    }
    if is_left_alone {
        return Ok(());
    }
    let arguments = (admitted.app, session, response, resolved.python());
    call_method(admitted.interface, intern!(py, "_save_noted"), arguments)?;
    Ok(())
}

/// The `Set-Cookie` value of a session; `None` if its cookie is not sent.
fn new_cookie<'py>(
    state: &NativeState,
    admitted: &Admitted<'_, 'py>,
    flask: &FlaskObjects,
    session: &SessionView<'_, 'py>,
) -> Result<Option<Bound<'py, PyString>>, Unhandled> {
    let resolved = match admitted.policy(Purpose::Save) {
        // The Python fallback would not have read the policy here, so an error in the configuration
        // must not surface.
        Err(Unhandled::Raised(_)) if !session.may_be_written() => {
            return Err(Unhandled::Declined);
        }
        resolved => resolved?,
    };
    let policy = resolved.policy();
    if policy.debug() || policy.writes_signed() || policy.stores() && session.may_be_written() {
        return Err(Unhandled::Declined);
    }
    if !session.may_be_written() || session.data.is_empty() {
        return Ok(None);
    }
    let context = SaveContext::new(state, admitted, &resolved, flask)?;
    if context.is_due(session)? { context.cookie(session).map(Some) } else { Ok(None) }
}

/// A session that is saved, and its attributes.
struct SessionView<'a, 'py> {
    data: &'a Bound<'py, PyDict>,
    accessed: bool,
    modified: bool,
    permanent: bool,
    /// When its token was issued, in seconds since the epoch, if opening has noted it.
    issued_at: Option<u64>,
    /// When it was created, if opening has noted it.
    created: Option<Bound<'py, PyAny>>,
}

impl<'a, 'py> SessionView<'a, 'py> {
    /// Declines a session that is to be re-issued.
    fn new(session: &'a Bound<'py, PyAny>, of_class: Overrides) -> Result<Self, Unhandled> {
        let py = session.py();
        let data = session.cast::<PyDict>()?;
        let own = instance_dict(session)?;
        let [accessed, modified, _] = of_class.class_values();
        let flag = |name, of_class: ClassValue| match own.get_item(name)? {
            Some(flag) => Ok(flag.is_truthy()?),
            None => of_class.flag().ok_or(Unhandled::Declined),
        };
        let accessed = flag(intern!(py, "accessed"), accessed)?;
        let modified = flag(intern!(py, "modified"), modified)?;
        let provenance = own.get_item(intern!(py, PROVENANCE))?;
        let provenance = provenance.map(Bound::cast_into::<Provenance>).transpose()?;
        if provenance.as_ref().is_some_and(|provenance| provenance.get().reissue_until.is_some()) {
            return Err(Unhandled::Declined);
        }
        let issued_at = provenance.map(|provenance| provenance.get().issued_at);
        let created = own.get_item(intern!(py, CREATED))?;
        let permanent = match data.get_item(intern!(py, "_permanent"))? {
            Some(permanent) => permanent.is_truthy()?,
            None => false,
        };
        Ok(Self { data, accessed, modified, permanent, issued_at, created })
    }

    /// Whether the session is written in some configuration.
    const fn may_be_written(&self) -> bool {
        self.modified || self.permanent
    }
}

/// Everything that one save needs, read once.
struct SaveContext<'a, 'py> {
    state: &'a NativeState,
    admitted: &'a Admitted<'a, 'py>,
    flask: &'a FlaskObjects,
    policy: &'a Policy,
    template: &'a CookieTemplate,
    style: Option<Style>,
    now: Now<'py>,
}

impl<'a, 'py> SaveContext<'a, 'py> {
    fn new(
        state: &'a NativeState,
        admitted: &'a Admitted<'a, 'py>,
        resolved: &'a ResolvedPolicy,
        flask: &'a FlaskObjects,
    ) -> Result<Self, Unhandled> {
        let py = admitted.app.py();
        let style = admitted.style(resolved)?;
        let now = clock::now(py)?;
        let template = resolved.template(py, flask)?;
        Ok(Self { state, admitted, flask, policy: resolved.policy(), template, style, now })
    }

    /// Whether the cookie is sent: Flask's `should_set_cookie`, and `SESSION_REFRESH_AFTER`.
    fn is_due(&self, session: &SessionView<'_, 'py>) -> Result<bool, Unhandled> {
        if session.modified {
            return Ok(true);
        }
        if !self.template.refreshes {
            return Ok(false);
        }
        let refresh_from = self.policy.refresh_from();
        match session.issued_at {
            Some(issued_at) if refresh_from > 0.0 => {
                Ok(self.now.float()? - (issued_at as f64) >= refresh_from)
            }
            _ => Ok(true),
        }
    }

    /// The finished `Set-Cookie` value.
    fn cookie(&self, session: &SessionView<'_, 'py>) -> Result<Bound<'py, PyString>, Unhandled> {
        let py = self.admitted.app.py();
        let Self { policy, template, now, .. } = self;
        let keys = policy.native_keys().ok_or(Unhandled::Declined)?;
        let expires = if session.permanent { Some(self.expires()?) } else { None };
        let issued_at = u64::try_from(now.seconds()?).map_err(|_| Unhandled::Declined)?;
        let payload = if policy.absolute_lifetime().is_some() {
            let created = creation(py, session.created.as_ref(), issued_at)?;
            let data = session.data.copy()?;
            data.set_item(intern!(py, CREATED), created)?;
            self.payload(&data)?
        } else {
            self.payload(session.data)?
        };
        let budget = CookieBudget { template, keys, expires };
        if reference::is_reference(&payload) {
            // An app must not set this key: the fallback raises.
            return Err(Unhandled::Declined);
        }
        let payload = compress_to_fit(payload, policy.compression(), &budget)?;
        budget.set_cookie(py, &payload, issued_at)
    }

    /// The time after which the browser drops a permanent session's cookie. Flask counts it from
    /// `datetime.now`, and not from `time.time`, which dates the token.
    fn expires(&self) -> Result<Expires, Unhandled> {
        let py = self.admitted.app.py();
        let now = self.flask.datetime_now(py, &self.now)?;
        let lifetime = self.policy.lifetime_microseconds();
        let expires = lifetime.and_then(|lifetime| now.checked_add(lifetime));
        Ok(Expires(expires.ok_or(Unhandled::Declined)?.div_euclid(1_000_000)))
    }

    /// The session as the bytes that are to be sealed, not compressed.
    fn payload(&self, data: &Bound<'py, PyDict>) -> Result<Vec<u8>, Unhandled> {
        if let Some(style) = self.style {
            let mut payload = Vec::with_capacity(512);
            if encode_dict(data, style, &self.state.codec.layouts, &mut payload)?.is_some() {
                return Ok(payload);
            }
        }
        let name = intern!(data.py(), "_dump");
        let payload = call_method(self.admitted.interface, name, (self.admitted.app, data))?;
        Ok(copied(payload.cast_into::<PyBytes>()?.as_bytes())?)
    }
}

/// When a session was created or last regenerated. Like `session.creation_of`.
fn creation<'py>(
    py: Python<'py>,
    noted: Option<&Bound<'py, PyAny>>,
    now: u64,
) -> Result<Bound<'py, PyAny>, Unhandled> {
    match noted {
        Some(created) if created.is_exact_instance_of::<PyInt>() => Ok(created.clone()),
        Some(created) if !created.is_none() => Err(Unhandled::Declined),
        _ => Ok(now.into_pyobject(py).map_err(PyErr::from)?.into_any()),
    }
}

/// Adds `Cookie` to a response's `Vary`. Werkzeug merges it with other values.
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
            let vary = attribute(response, intern!(py, "vary"))?;
            call_method(&vary, intern!(py, "add"), (intern!(py, "Cookie"),))?;
            return Ok(());
        }
    }
    headers.append(&flask.vary_cookie)?;
    Ok(())
}
