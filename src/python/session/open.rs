//! Opening a session natively.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyString};

use super::policy::Policy;
use super::provenance::{CREATED, PROVENANCE, Provenance, remember};
use super::resolve::{Admitted, Purpose};
use super::state::NativeState;
use crate::compress;
use crate::cookie::{self, Lookup};
use crate::keys::key_set::{Format, Opened};
use crate::python::call::call_method;
use crate::python::clock::{self, Now};
use crate::python::codec::decode::decode_into;
use crate::python::errors::reason_name;
use crate::python::flask::objects::FlaskObjects;
use crate::python::flask::roles::Role;
use crate::python::memory::{new_bytes, no_memory};
use crate::python::unhandled::Unhandled;
use crate::token::{TokenError, reference};

/// The session in the request's cookie. Declines whatever the native path does not know exactly.
pub(super) fn open<'py>(
    state: &NativeState,
    interface: &Bound<'py, PyAny>,
    app: &Bound<'py, PyAny>,
    request: &Bound<'py, PyAny>,
) -> Result<Bound<'py, PyAny>, Unhandled> {
    let py = app.py();
    let flask = FlaskObjects::get(py)?;
    let admitted = Admitted::new(state, interface, app)?;
    let [of_request] = state.classes.overrides_of([(Role::Request, request)])?;
    if !of_request.none() || admitted.hooks.has_cookie_name() {
        return Err(Unhandled::Declined);
    }
    let resolved = admitted.policy(Purpose::Open)?;
    let policy = resolved.policy();
    if policy.debug() {
        return Err(Unhandled::Declined);
    }
    let Some(keys) = policy.native_keys() else {
        return if policy.python_may_open() { Err(Unhandled::Declined) } else { Ok(none(py)) };
    };
    let name = policy.cookie_name().ok_or(Unhandled::Declined)?;
    let class = resolved.session_class()?;
    let header = flask.cookie_header(request)?;
    let Some(received) = Received::find(header.as_ref(), name)? else {
        return Ok(class.empty(py, flask)?);
    };
    let now = clock::now(py)?;
    let max_age = policy.lifetime_microseconds().ok_or(Unhandled::Declined)? / 1_000_000;
    let opened =
        match keys.open(received.token.as_bytes(), now.seconds()?, max_age, name.as_bytes()) {
            Ok(opened) => opened,
            Err(_) if policy.python_may_open() => return Err(Unhandled::Declined),
            Err(reason) => return reject(state, &admitted, &received, reason),
        };
    if reference::is_reference(&opened.payload) {
        let both = reference::parse(&opened.payload).filter(|_| policy.opens_references());
        let Some(both) = both else {
            return reject(state, &admitted, &received, TokenError::Malformed);
        };
        return stored(&admitted, resolved.python(), keys.writes(), &both, &opened);
    }
    if !policy.opens_data() {
        return reject(state, &admitted, &received, TokenError::Malformed);
    }
    if admitted.style(&resolved)?.is_none() {
        return restore(&admitted, &received, &opened);
    }
    let data = class.dict_to_fill(py, flask)?;
    if decode(state, &data, &opened)?.is_none() {
        return restore(&admitted, &received, &opened);
    }
    let created = take_creation(&data)?;
    let created = match policy.absolute_lifetime() {
        None => None,
        Some(lifetime) => {
            let created = match created {
                Some(created) => created,
                None => opened.issued_at.into_pyobject(py).map_err(PyErr::from)?.into_any(),
            };
            if is_older(&created, lifetime, &now)? {
                return reject(state, &admitted, &received, TokenError::Expired);
            }
            Some(created)
        }
    };
    let session = class.session_with(data)?;
    if let Some(created) = created {
        remember(&session, intern!(py, CREATED), created)?;
    }
    note_provenance(&admitted, policy, keys.writes(), &session, &opened)?;
    Ok(session)
}

fn none(py: Python<'_>) -> Bound<'_, PyAny> {
    py.None().into_bound(py)
}

/// The session cookie of a request.
struct Received<'a> {
    token: &'a str,
    header: &'a str,
    name: &'a str,
}

impl<'a> Received<'a> {
    /// The first cookie `name`; `None` if it is missing or empty. Declines a header that is not
    /// ASCII (few are), or that only Werkzeug's parser reads.
    fn find(
        header: Option<&'a Bound<'_, PyString>>,
        name: &'a str,
    ) -> Result<Option<Self>, Unhandled> {
        let Some(header) = header else { return Ok(None) };
        let header = header.to_str().ok().filter(|header| header.is_ascii());
        let header = header.ok_or(Unhandled::Declined)?;
        let received = match cookie::find(header, name) {
            Lookup::Value(token) => Self { token, header, name },
            Lookup::Absent => return Ok(None),
            Lookup::LeaveToWerkzeug => return Err(Unhandled::Declined),
        };
        if received.token.is_empty() {
            received.require_single()?;
            return Ok(None);
        }
        Ok(Some(received))
    }

    /// Declines if the request has further cookies of this name, which the fallback tries too.
    #[cold]
    fn require_single(&self) -> Result<(), Unhandled> {
        if cookie::has_several(self.header, self.name) {
            return Err(Unhandled::Declined);
        }
        Ok(())
    }
}

/// A new session in place of one that did not open. The interface's `_rejected` logs and signals.
#[cold]
fn reject<'py>(
    state: &NativeState,
    admitted: &Admitted<'_, 'py>,
    received: &Received<'_>,
    reason: TokenError,
) -> Result<Bound<'py, PyAny>, Unhandled> {
    received.require_single()?;
    let name = intern!(admitted.app.py(), "_rejected");
    let arguments = (admitted.app, reason_name(reason), state.count(reason), received.token);
    Ok(call_method(admitted.interface, name, arguments)?)
}

/// The session in an authentic payload that only the interface's serializer can read.
#[cold]
fn restore<'py>(
    admitted: &Admitted<'_, 'py>,
    received: &Received<'_>,
    opened: &Opened,
) -> Result<Bound<'py, PyAny>, Unhandled> {
    received.require_single()?;
    let py = admitted.app.py();
    let payload = new_bytes(py, &opened.payload)?;
    let is_newest = opened.key == 0;
    let token = received.token;
    let arguments =
        (admitted.app, token, payload, opened.issued_at, is_newest, opened.format.name());
    Ok(call_method(admitted.interface, intern!(py, "_restore"), arguments)?)
}

/// The stored session to which an authentic token refers. It has not been read yet.
fn stored<'py>(
    admitted: &Admitted<'_, 'py>,
    policy: &Py<Policy>,
    written: Format,
    both: &[u8],
    opened: &Opened,
) -> Result<Bound<'py, PyAny>, Unhandled> {
    let py = admitted.app.py();
    let (id, generation) = both.split_at(reference::ID);
    let is_newest = opened.key == 0 && opened.format == written;
    let (id, generation) = (PyBytes::new(py, id), PyBytes::new(py, generation));
    let arguments = (admitted.app, policy, id, generation, opened.issued_at, is_newest);
    Ok(call_method(admitted.interface, intern!(py, "_stored"), arguments)?)
}

/// Reads an authentic payload into `data`; `None` if Python must read it.
fn decode(state: &NativeState, data: &Bound<'_, PyDict>, opened: &Opened) -> PyResult<Option<()>> {
    let inflated;
    let payload: &[u8] = if opened.payload.first() == Some(&compress::MARK) {
        match compress::inflate(&opened.payload).map_err(no_memory)? {
            Some(payload) => inflated = payload,
            None => return Ok(None),
        }
        &inflated
    } else {
        &opened.payload
    };
    let Ok(text) = std::str::from_utf8(payload) else { return Ok(None) };
    decode_into(data, text, &state.codec.keys)
}

/// Removes the creation time from the data and returns it. Like `lifetimes.take_creation`.
fn take_creation<'py>(data: &Bound<'py, PyDict>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let name = intern!(data.py(), CREATED);
    let Some(created) = data.get_item(name)? else { return Ok(None) };
    data.del_item(name)?;
    Ok(created.is_exact_instance_of::<PyInt>().then_some(created))
}

/// Whether a session has outlived its absolute lifetime.
fn is_older(created: &Bound<'_, PyAny>, lifetime: f64, now: &Now<'_>) -> Result<bool, Unhandled> {
    let created = created.extract::<i64>().map_err(|_| Unhandled::Declined)?;
    Ok(now.float()? - created as f64 > lifetime)
}

/// Leaves a note on the session if saving needs to know how it came.
fn note_provenance<'py>(
    admitted: &Admitted<'_, 'py>,
    policy: &Policy,
    written: Format,
    session: &Bound<'py, PyAny>,
    opened: &Opened,
) -> Result<(), Unhandled> {
    let py = session.py();
    if opened.key > 0 || opened.format != written || policy.stores() {
        let payload = new_bytes(py, &opened.payload)?;
        let arguments = (admitted.app, session, opened.issued_at, payload, opened.format.name());
        call_method(admitted.interface, intern!(py, "_reissue_later"), arguments)?;
    } else if policy.refresh_from() > 0.0 {
        let provenance = Provenance::new(None, opened.issued_at, None);
        remember(session, intern!(py, PROVENANCE), Bound::new(py, provenance)?)?;
    }
    Ok(())
}
