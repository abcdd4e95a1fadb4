//! `MultiFernet`: drop-in for `cryptography.fernet.MultiFernet`.

use std::sync::OnceLock;

use pyo3::exceptions::{PyAttributeError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use super::clock;
use super::convert::{self, Window};
use super::errors::invalid_token;
use super::fernet::{self, Fernet};
use crate::token::Plaintext;
use crate::token::fernet::Unverified;

/// MultiFernet(fernets)
/// --
///
/// Several keys at once: the first encrypts, all of them decrypt.
///
/// :param fernets: an iterable of :class:`Fernet`, the newest first.
/// :raises ValueError: if it is empty.
#[pyclass(frozen, subclass, dict, weakref, module = "flask_fernet")]
pub(crate) struct MultiFernet {
    /// Set by `__init__`, so that a subclass may have a signature of its own. As in
    /// `cryptography`, what is not a Fernet is an error only when its turn comes.
    fernets: OnceLock<Vec<Py<PyAny>>>,
}

#[pymethods]
impl MultiFernet {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { fernets: OnceLock::new() }
    }

    fn __init__(&self, fernets: &Bound<'_, PyAny>) -> PyResult<()> {
        let fernets: Vec<_> =
            fernets.try_iter()?.map(|item| item.map(Bound::unbind)).collect::<PyResult<_>>()?;
        if fernets.is_empty() {
            let message = "MultiFernet requires at least one Fernet instance";
            return Err(PyValueError::new_err(message));
        }
        let known = PyTypeError::new_err("a MultiFernet has one list of keys for its life");
        self.fernets.set(fernets).map_err(|_| known)
    }

    /// encrypt($self, msg)
    /// --
    ///
    /// A token over ``msg`` under the first key, dated now.
    fn encrypt<'py>(
        slf: &Bound<'py, Self>,
        msg: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let now = clock::now(slf.py())?.seconds_int()?;
        if slf.is_exact_instance_of::<Self>() {
            return slf.get().encrypt_at_time(msg, &now);
        }
        // A subclass may have an encrypt_at_time of its own.
        slf.call_method1(intern!(slf.py(), "encrypt_at_time"), (msg, now))
    }

    /// encrypt_at_time($self, msg, current_time)
    /// --
    ///
    /// A token over ``msg`` under the first key, dated ``current_time`` seconds since the epoch.
    fn encrypt_at_time<'py>(
        &self,
        msg: &Bound<'py, PyAny>,
        current_time: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = msg.py();
        let first = self.fernets()?[0].bind(py);
        match first.cast_exact::<Fernet>() {
            Ok(first) => Ok(first.get().encrypt_at_time(msg, current_time)?.into_any()),
            Err(_) => first.call_method1(intern!(py, "encrypt_at_time"), (msg, current_time)),
        }
    }

    /// rotate($self, msg)
    /// --
    ///
    /// The same content under the first key. Keeps the time at which the token was made.
    ///
    /// :raises InvalidToken: if the token opens under no key.
    fn rotate<'py>(&self, msg: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let py = msg.py();
        let token = convert::token(msg)?;
        let issued_at = token.issued_at();
        let plaintext = PyBytes::new(py, &self.open(py, token, None)?);
        as_fernet(self.fernets()?[0].bind(py))?.get().seal(&plaintext, issued_at)
    }

    /// decrypt($self, msg, ttl=None)
    /// --
    ///
    /// What a token holds, whichever of the keys made it. See :meth:`Fernet.decrypt`.
    #[pyo3(signature = (msg, ttl=None))]
    fn decrypt<'py>(
        &self,
        msg: &Bound<'py, PyAny>,
        ttl: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let py = msg.py();
        // In the order of cryptography: the clock is asked before the token is looked at.
        let window = fernet::window(py, ttl)?;
        let plaintext = self.open(py, convert::token(msg)?, window.as_ref())?;
        Ok(PyBytes::new(py, &plaintext))
    }

    /// decrypt_at_time($self, msg, ttl, current_time)
    /// --
    ///
    /// What a token holds, its age judged at ``current_time`` seconds since the epoch.
    fn decrypt_at_time<'py>(
        &self,
        msg: &Bound<'py, PyAny>,
        ttl: Option<Bound<'py, PyAny>>,
        current_time: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let py = msg.py();
        let window = Window { ttl: fernet::required(ttl)?, now: current_time };
        let plaintext = self.open(py, convert::token(msg)?, Some(&window))?;
        Ok(PyBytes::new(py, &plaintext))
    }

    /// extract_timestamp($self, msg)
    /// --
    ///
    /// When an authentic token was made, in seconds since the epoch.
    fn extract_timestamp(&self, msg: &Bound<'_, PyAny>) -> PyResult<u64> {
        let py = msg.py();
        let token = convert::token(msg)?;
        for fernet in self.fernets()? {
            if fernet::verify(py, as_fernet(fernet.bind(py))?.get().key()?, &token) {
                return Ok(token.issued_at());
            }
        }
        Err(invalid_token(py))
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
        token: Unverified,
        window: Option<&Window<'_>>,
    ) -> PyResult<Plaintext> {
        for fernet in self.fernets()? {
            let fernet = as_fernet(fernet.bind(py))?.get();
            let (key, in_time) = (fernet.key()?, fernet::in_time(&token, window)?);
            if fernet::verify(py, key, &token) && in_time {
                // A copy, because decrypting in place spoils the token, and a second key may
                // share this one's signing half.
                if let Some(plaintext) = fernet::decrypt(py, key, token.clone()) {
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
