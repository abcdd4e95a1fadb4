//! `NativeInterface`: a session opened and saved without running Python code, where all the Python
//! code that would run is Flask's own.
//!
//! It is the first base of `EncryptedSessionInterface`, whose other base, `FallbackInterface`, does
//! the same in Python, step for step. A native step that declines has changed nothing.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use super::open::open;
use super::resolve::{Admitted, Purpose, style_without_policy};
use super::save::save;
use super::state::NativeState;
use crate::python::call::{attribute, call, call_method};
use crate::python::codec::decode::decode_into;
use crate::python::codec::encode::encode_dict;
use crate::python::memory::new_bytes;
use crate::python::panics::guarded;
use crate::python::unhandled::OrNone;

static HIDE_FRAMES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The native half of a session interface.
///
/// It is stateless; the state is a `NativeState` in a slot of the subclass, because the Python half
/// uses it too.
#[pyclass(frozen, subclass, module = "flask_fernet._core")]
pub(crate) struct NativeInterface;

#[pymethods]
impl NativeInterface {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    const fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self
    }

    /// Opens the session in the request's cookie. The session is new if there is no cookie or the
    /// cookie does not open, and ``None`` if the app has no key.
    fn open_session<'py>(
        slf: &Bound<'py, Self>,
        app: &Bound<'py, PyAny>,
        request: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let opened =
            guarded(slf.py(), || match open(state(slf)?.get(), slf, app, request).or_none()? {
                None => call_method(slf, intern!(slf.py(), "_open"), (app, request)),
                Some(session) => Ok(session),
            });
        opened.map_err(|error| without_our_frames(slf.py(), error))
    }

    /// Sets the session's cookie on the response, deletes it, or leaves it alone.
    ///
    /// :raises SessionTooLarge: if the cookie would be longer than ``MAX_COOKIE_SIZE``.
    fn save_session<'py>(
        slf: &Bound<'py, Self>,
        app: &Bound<'py, PyAny>,
        session: &Bound<'py, PyAny>,
        response: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let saved = guarded(slf.py(), || {
            if save(state(slf)?.get(), slf, app, session, response).or_none()?.is_none() {
                call_method(slf, intern!(slf.py(), "_save"), (app, session, response))?;
            }
            Ok(())
        });
        saved.map_err(|error| without_our_frames(slf.py(), error))
    }

    /// The policy of ``app``, cached while nothing that it depends on changes; ``None`` if the
    /// native path cannot tell.
    fn _cached_policy<'py>(
        slf: &Bound<'py, Self>,
        app: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        guarded(slf.py(), || {
            let state = state(slf)?;
            let admitted = Admitted::new(state.get(), slf, app);
            let policy = admitted.and_then(|admitted| admitted.policy(Purpose::Save)).or_none()?;
            Ok(policy.map(|policy| policy.python().bind(slf.py()).clone().into_any()))
        })
    }

    /// A session as bytes; ``None`` if only the serializer can write it.
    fn _dump_natively<'py>(
        slf: &Bound<'py, Self>,
        app: &Bound<'py, PyAny>,
        data: &Bound<'py, PyDict>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        guarded(slf.py(), || {
            let (py, state) = (slf.py(), state(slf)?);
            let style = style_without_policy(state.get(), slf, app).or_none()?.flatten();
            let Some(style) = style else { return Ok(None) };
            let mut payload = Vec::with_capacity(512);
            let written = encode_dict(data, style, &state.get().codec.layouts, &mut payload)?;
            written.map(|()| new_bytes(py, &payload)).transpose()
        })
    }

    /// The dict in a payload that is not compressed; ``None`` if only the serializer can read it.
    fn _load_natively<'py>(
        slf: &Bound<'py, Self>,
        app: &Bound<'py, PyAny>,
        payload: &[u8],
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        guarded(slf.py(), || {
            let state = state(slf)?;
            let style = style_without_policy(state.get(), slf, app).or_none()?.flatten();
            let (Some(_), Ok(text)) = (style, std::str::from_utf8(payload)) else {
                return Ok(None);
            };
            let data = PyDict::new(slf.py());
            Ok(decode_into(&data, text, &state.get().codec.keys)?.map(|()| data))
        })
    }
}

/// The same error without this package's frames in its traceback, see
/// `flask_fernet/tracebacks.py`.
#[cold]
fn without_our_frames(py: Python<'_>, error: PyErr) -> PyErr {
    let value = error.into_value(py).into_bound(py);
    match HIDE_FRAMES.import(py, "flask_fernet.tracebacks", "hide_frames") {
        Ok(hide) => match call(hide, (&value,)) {
            Ok(_) => PyErr::from_value(value.into_any()),
            Err(error) => error,
        },
        Err(error) => error,
    }
}

/// The state, which `EncryptedSessionInterface.__new__` puts into the slot `_state`.
fn state<'py>(interface: &Bound<'py, NativeInterface>) -> PyResult<Bound<'py, NativeState>> {
    let state = attribute(interface, intern!(interface.py(), "_state"))?;
    Ok(state.cast_into::<NativeState>()?)
}
