//! `Fernet`: drop-in for `cryptography.fernet.Fernet`.

use std::sync::OnceLock;

use pyo3::exceptions::{PyAttributeError, PyOverflowError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple, PyType};

use super::arguments::{self, TtlWindow};
use crate::keys::{key, wipe};
use crate::python::call::call_method;
use crate::python::clock;
use crate::python::errors::invalid_token;
use crate::python::memory::new_bytes;
use crate::python::panics::guarded;
use crate::token::fernet::{FernetKey, Unverified, token_len};
use crate::token::{Plaintext, random};

/// Minimum number of bytes of input for which the interpreter is released: some 100 microseconds
/// of work. Below that, waiting to get the interpreter back costs more than other threads gain.
const RELEASE_FROM: usize = 64 * 1024;

/// Symmetric authenticated encryption of bytes, by the Fernet specification.
///
/// :param key: 32 bytes as URL-safe base64, ``bytes`` or ``str``; see :meth:`generate_key`.
/// :param backend: taken and ignored.
/// :raises ValueError: if ``key`` is not 32 bytes in base64.
#[pyclass(frozen, subclass, dict, weakref, module = "flask_fernet")]
pub(crate) struct Fernet {
    /// Set by `__init__`, so that a subclass may have its own signature.
    key: OnceLock<FernetKey>,
}

#[pymethods]
impl Fernet {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(key, backend=None)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { key: OnceLock::new() }
    }

    #[pyo3(signature = (key, backend=None))]
    fn __init__(&self, key: &Bound<'_, PyAny>, backend: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        guarded(key.py(), || {
            let _ = backend;
            let key =
                wipe::with_wiped_stack(|| Ok::<_, PyErr>(FernetKey::new(&*arguments::key(key)?)))?;
            self.key
                .set(key)
                .map_err(|_| PyTypeError::new_err("Fernet.__init__ must be called once only"))
        })
    }

    /// A fresh key: 32 random bytes as URL-safe base64.
    #[classmethod]
    fn generate_key<'py>(cls: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyBytes>> {
        guarded(cls.py(), || Ok(PyBytes::new(cls.py(), &key::generate_key()?)))
    }

    /// A token over ``data``, dated now.
    ///
    /// :param data: ``bytes`` to encrypt.
    /// :raises TypeError: if ``data`` is not ``bytes``.
    fn encrypt<'py>(
        slf: &Bound<'py, Self>,
        data: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guarded(slf.py(), || {
            let now = clock::now(slf.py())?;
            if !slf.is_exact_instance_of::<Self>() {
                // A subclass may override encrypt_at_time.
                let now = now.seconds_int()?;
                return call_method(slf, intern!(slf.py(), "encrypt_at_time"), (data, now));
            }
            let now = now.seconds()?;
            let data = arguments::plaintext(data)?;
            let now = u64::try_from(now).map_err(|_| not_eight_bytes(now))?;
            slf.get().seal(data, now).map(Bound::into_any)
        })
    }

    /// A token over ``data``, dated ``current_time`` seconds since the epoch.
    ///
    /// :raises TypeError: if ``data`` is not ``bytes``.
    /// :raises OverflowError: if the time is negative or beyond 64 bits.
    pub(crate) fn encrypt_at_time<'py>(
        &self,
        data: &Bound<'py, PyAny>,
        current_time: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        guarded(data.py(), || {
            let data = arguments::plaintext(data)?;
            self.seal(data, arguments::timestamp(current_time)?)
        })
    }

    /// The plaintext of ``token``.
    ///
    /// :param token: ``bytes`` or ``str``.
    /// :param ttl: maximum age in seconds; ``None`` leaves the age unchecked. With a ``ttl``, a
    ///     token dated more than 60 seconds ahead is refused too.
    /// :raises InvalidToken: if the token does not open; the error does not say why.
    /// :raises TypeError: if ``token`` is neither ``bytes`` nor ``str``.
    #[pyo3(signature = (token, ttl=None))]
    fn decrypt<'py>(
        &self,
        token: &Bound<'py, PyAny>,
        ttl: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        guarded(token.py(), || {
            let py = token.py();
            let token = arguments::token(token)?;
            self.open(py, token, window(py, ttl)?.as_ref())
        })
    }

    /// The plaintext of ``token``, its age judged at ``current_time`` seconds since the epoch.
    ///
    /// :raises InvalidToken: if the token does not open; the error does not say why.
    /// :raises ValueError: if ``ttl`` is ``None``.
    fn decrypt_at_time<'py>(
        &self,
        token: &Bound<'py, PyAny>,
        ttl: Option<Bound<'py, PyAny>>,
        current_time: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        guarded(token.py(), || {
            let window = TtlWindow { ttl: require_ttl(ttl)?, now: current_time };
            self.open(token.py(), arguments::token(token)?, Some(&window))
        })
    }

    /// The issue time of an authentic token, in seconds since the epoch.
    ///
    /// :raises InvalidToken: if this key did not make the token.
    fn extract_timestamp(&self, token: &Bound<'_, PyAny>) -> PyResult<u64> {
        guarded(token.py(), || {
            let py = token.py();
            let token = arguments::token(token)?;
            let authentic = verify(py, self.key()?, &token);
            if authentic { Ok(token.issued_at()) } else { Err(invalid_token(py)) }
        })
    }

    /// A token with the given IV, for test vectors. An IV must never be used twice.
    fn _encrypt_from_parts<'py>(
        &self,
        data: &Bound<'py, PyAny>,
        current_time: &Bound<'py, PyAny>,
        iv: [u8; 16],
    ) -> PyResult<Bound<'py, PyBytes>> {
        guarded(data.py(), || {
            let data = arguments::plaintext(data)?;
            self.seal_with(data, arguments::timestamp(current_time)?, iv)
        })
    }

    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'_, PyAny>) -> Bound<'py, Self> {
        slf
    }

    fn __reduce_ex__(slf: &Bound<'_, Self>, _protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(not_picklable(slf.as_any()))
    }
}

/// Whether ``token`` has the shape of a Fernet token, authentic or not.
#[pyfunction]
pub(crate) fn has_fernet_shape(token: &Bound<'_, PyAny>) -> PyResult<bool> {
    guarded(token.py(), || Ok(arguments::token(token).is_ok_and(|token| token.has_whole_blocks())))
}

impl Fernet {
    pub(crate) fn key(&self) -> PyResult<&FernetKey> {
        self.key.get().ok_or_else(|| PyAttributeError::new_err("Fernet.__init__ was not called"))
    }

    pub(crate) fn seal<'py>(
        &self,
        data: &Bound<'py, PyBytes>,
        issued_at: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.seal_with(data, issued_at, random::iv()?)
    }

    fn seal_with<'py>(
        &self,
        data: &Bound<'py, PyBytes>,
        issued_at: u64,
        iv: [u8; 16],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (py, key, data) = (data.py(), self.key()?, data.as_bytes());
        let length = token_len(data.len());
        PyBytes::new_with(py, length, |token| {
            if data.len() < RELEASE_FROM {
                key.seal_slice(data, issued_at, &iv, token);
            } else {
                // No other thread can reach the bytes yet.
                py.detach(|| key.seal_slice(data, issued_at, &iv, token));
            }
            Ok(())
        })
    }

    fn open<'py>(
        &self,
        py: Python<'py>,
        token: Unverified,
        window: Option<&TtlWindow<'py>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (key, in_time) = (self.key()?, in_time(&token, window)?);
        let plaintext =
            if verify(py, key, &token) && in_time { decrypt(py, key, token) } else { None };
        new_bytes(py, &plaintext.ok_or_else(|| invalid_token(py))?)
    }
}

/// Whether a token is in its time: always without a window.
pub(crate) fn in_time(token: &Unverified, window: Option<&TtlWindow<'_>>) -> PyResult<bool> {
    window.map_or(Ok(true), |window| window.contains(token.issued_at()))
}

/// Whether `key` made the MAC.
pub(crate) fn verify(py: Python<'_>, key: &FernetKey, token: &Unverified) -> bool {
    if token.len() < RELEASE_FROM { key.verify(token) } else { py.detach(|| key.verify(token)) }
}

/// The plaintext of a token that has been verified.
pub(crate) fn decrypt(py: Python<'_>, key: &FernetKey, token: Unverified) -> Option<Plaintext> {
    if token.len() < RELEASE_FROM { key.decrypt(token) } else { py.detach(|| key.decrypt(token)) }
}

/// The window of a `ttl` that begins to count now.
pub(crate) fn window<'py>(
    py: Python<'py>,
    ttl: Option<Bound<'py, PyAny>>,
) -> PyResult<Option<TtlWindow<'py>>> {
    let Some(ttl) = ttl else { return Ok(None) };
    let now = clock::now(py)?.seconds_int()?;
    Ok(Some(TtlWindow { ttl, now }))
}

pub(crate) fn require_ttl<'py>(ttl: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
    ttl.ok_or_else(|| {
        PyValueError::new_err("decrypt_at_time() can only be used with a non-None ttl")
    })
}

/// The error of `int.to_bytes` for a clock before 1970 or some 585 billion years ahead.
fn not_eight_bytes(now: i128) -> PyErr {
    let negative = "can't convert negative int to unsigned";
    PyOverflowError::new_err(if now < 0 { negative } else { "int too big to convert" })
}

/// The error for pickling, which would write the key down.
pub(crate) fn not_picklable(object: &Bound<'_, PyAny>) -> PyErr {
    let name = object.get_type().name().map_or_else(|_| "Fernet".into(), |name| name.to_string());
    PyTypeError::new_err(format!("cannot pickle '{name}': it would write the key down"))
}
