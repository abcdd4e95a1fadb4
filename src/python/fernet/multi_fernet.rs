//! `MultiFernet`: drop-in for `cryptography.fernet.MultiFernet`.

use std::sync::OnceLock;

use pyo3::exceptions::{PyAttributeError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use super::arguments::{self, TtlWindow};
use super::fernet::{self, Fernet};
use crate::python::call::{call, call_method};
use crate::python::clock;
use crate::python::errors::invalid_token;
use crate::python::memory::{new_bytes, no_memory};
use crate::python::panics::guarded;
use crate::token::Plaintext;
use crate::token::fernet::Unverified;

/// Several keys at once: the first encrypts, all of them decrypt.
///
/// :param fernets: an iterable of :class:`Fernet`, the newest first.
/// :raises ValueError: if it is empty.
#[pyclass(frozen, subclass, dict, weakref, module = "flask_fernet")]
pub(crate) struct MultiFernet {
    /// Set by `__init__`, so that a subclass may have its own signature. As in `cryptography`, an
    /// item that is not a Fernet is an error only when it is used.
    fernets: OnceLock<Vec<Py<PyAny>>>,
}

#[pymethods]
impl MultiFernet {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(fernets)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { fernets: OnceLock::new() }
    }

    fn __init__(&self, fernets: &Bound<'_, PyAny>) -> PyResult<()> {
        guarded(fernets.py(), || {
            let fernets = call(&fernets.py().get_type::<PyTuple>(), (fernets,))?;
            let fernets: Vec<_> = fernets.cast::<PyTuple>()?.iter().map(Bound::unbind).collect();
            if fernets.is_empty() {
                let message = "MultiFernet requires at least one Fernet instance";
                return Err(PyValueError::new_err(message));
            }
            let called_again =
                PyTypeError::new_err("MultiFernet.__init__ must be called once only");
            self.fernets.set(fernets).map_err(|_| called_again)
        })
    }

    /// A token over ``msg`` under the first key, dated now.
    fn encrypt<'py>(
        slf: &Bound<'py, Self>,
        msg: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guarded(msg.py(), || {
            let now = clock::now(slf.py())?.seconds_int()?;
            if slf.is_exact_instance_of::<Self>() {
                return slf.get().encrypt_at_time(msg, &now);
            }
            // A subclass may override encrypt_at_time.
            call_method(slf, intern!(slf.py(), "encrypt_at_time"), (msg, now))
        })
    }

    /// A token over ``msg`` under the first key, dated ``current_time`` seconds since the epoch.
    #[expect(clippy::indexing_slicing, reason = "a MultiFernet has at least one Fernet")]
    fn encrypt_at_time<'py>(
        &self,
        msg: &Bound<'py, PyAny>,
        current_time: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guarded(msg.py(), || {
            let py = msg.py();
            let first = self.fernets()?[0].bind(py);
            match first.cast_exact::<Fernet>() {
                Ok(first) => Ok(first.get().encrypt_at_time(msg, current_time)?.into_any()),
                Err(_) => call_method(first, intern!(py, "encrypt_at_time"), (msg, current_time)),
            }
        })
    }

    /// The same plaintext under the first key. The issue time stays.
    ///
    /// :raises InvalidToken: if the token opens under no key.
    #[expect(clippy::indexing_slicing, reason = "a MultiFernet has at least one Fernet")]
    fn rotate<'py>(&self, msg: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        guarded(msg.py(), || {
            let py = msg.py();
            let token = arguments::token(msg)?;
            let issued_at = token.issued_at();
            let plaintext = new_bytes(py, &self.open(py, &token, None)?)?;
            as_fernet(self.fernets()?[0].bind(py))?.get().seal(&plaintext, issued_at)
        })
    }

    /// The plaintext of a token that any of the keys made. See :meth:`Fernet.decrypt`.
    #[pyo3(signature = (msg, ttl=None))]
    fn decrypt<'py>(
        &self,
        msg: &Bound<'py, PyAny>,
        ttl: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        guarded(msg.py(), || {
            let py = msg.py();
            // The clock is read before the token, as in cryptography.
            let window = fernet::window(py, ttl)?;
            let plaintext = self.open(py, &arguments::token(msg)?, window.as_ref())?;
            new_bytes(py, &plaintext)
        })
    }

    /// The plaintext of a token, its age judged at ``current_time`` seconds since the epoch.
    fn decrypt_at_time<'py>(
        &self,
        msg: &Bound<'py, PyAny>,
        ttl: Option<Bound<'py, PyAny>>,
        current_time: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        guarded(msg.py(), || {
            let py = msg.py();
            let window = TtlWindow { ttl: fernet::require_ttl(ttl)?, now: current_time };
            let plaintext = self.open(py, &arguments::token(msg)?, Some(&window))?;
            new_bytes(py, &plaintext)
        })
    }

    /// The issue time of an authentic token, in seconds since the epoch.
    fn extract_timestamp(&self, msg: &Bound<'_, PyAny>) -> PyResult<u64> {
        guarded(msg.py(), || {
            let py = msg.py();
            let token = arguments::token(msg)?;
            for fernet in self.fernets()? {
                if fernet::verify(py, as_fernet(fernet.bind(py))?.get().key()?, &token) {
                    return Ok(token.issued_at());
                }
            }
            Err(invalid_token(py))
        })
    }

    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'_, PyAny>) -> Bound<'py, Self> {
        slf
    }

    fn __reduce_ex__(slf: &Bound<'_, Self>, _protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(fernet::not_picklable(slf.as_any()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.fernets.get().into_iter().flatten().try_for_each(|fernet| visit.call(fernet))
    }
}

impl MultiFernet {
    fn fernets(&self) -> PyResult<&[Py<PyAny>]> {
        let unset = || PyAttributeError::new_err("MultiFernet.__init__ was not called");
        self.fernets.get().map(Vec::as_slice).ok_or_else(unset)
    }

    fn open(
        &self,
        py: Python<'_>,
        token: &Unverified,
        window: Option<&TtlWindow<'_>>,
    ) -> PyResult<Plaintext> {
        for fernet in self.fernets()? {
            let fernet = as_fernet(fernet.bind(py))?.get();
            let (key, in_time) = (fernet.key()?, fernet::in_time(token, window)?);
            if fernet::verify(py, key, token) && in_time {
                // Decrypting destroys the token, and another key may share this one's signing half:
                // decrypt a copy.
                let copy = token.try_clone().map_err(no_memory)?;
                if let Some(plaintext) = fernet::decrypt(py, key, copy) {
                    return Ok(plaintext);
                }
            }
        }
        Err(invalid_token(py))
    }
}

/// A Fernet, or the AttributeError that `cryptography` raises for anything else.
fn as_fernet<'a, 'py>(object: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, Fernet>> {
    object.cast().map_err(|_| PyAttributeError::new_err("MultiFernet takes Fernet instances"))
}
