//! `Fernet`: drop-in for `cryptography.fernet.Fernet`.

use std::sync::OnceLock;

use pyo3::exceptions::{PyAttributeError, PyOverflowError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple, PyType};

use super::clock;
use super::convert::{self, Window};
use super::errors::invalid_token;
use crate::token::Plaintext;
use crate::token::fernet::{FernetKey, Unverified, token_len};
use crate::token::{keys, random, wipe};

/// Bytes of input from which the interpreter is released: some 100 microseconds of work. Below
/// that, waiting to get it back costs other threads more than they gain.
const RELEASE_FROM: usize = 64 * 1024;

/// Fernet(key, backend=None)
/// --
///
/// Symmetric authenticated encryption of bytes, as the Fernet specification has it.
///
/// :param key: 32 bytes as URL-safe base64, ``bytes`` or ``str``; see :meth:`generate_key`.
/// :param backend: taken and ignored.
/// :raises ValueError: if ``key`` is not 32 bytes in base64.
#[pyclass(frozen, subclass, dict, weakref, module = "flask_fernet")]
pub(crate) struct Fernet {
    /// Set by `__init__`, so that a subclass may have a signature of its own.
    key: OnceLock<FernetKey>,
}

#[pymethods]
impl Fernet {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { key: OnceLock::new() }
    }

    #[pyo3(signature = (key, backend=None))]
    fn __init__(&self, key: &Bound<'_, PyAny>, backend: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let _ = backend;
        let key = wipe::with_wiped_stack(|| Ok::<_, PyErr>(FernetKey::new(&*convert::key(key)?)))?;
        self.key.set(key).map_err(|_| PyTypeError::new_err("a Fernet has one key for its life"))
    }

    /// generate_key()
    /// --
    ///
    /// A fresh key: 32 random bytes as URL-safe base64.
    #[classmethod]
    fn generate_key<'py>(cls: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(cls.py(), &keys::generate_key()?))
    }

    /// encrypt($self, data)
    /// --
    ///
    /// A token over ``data``, dated now.
    ///
    /// :param data: ``bytes`` to encrypt.
    /// :raises TypeError: if ``data`` is not ``bytes``.
    fn encrypt<'py>(
        slf: &Bound<'py, Self>,
        data: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let now = clock::now(slf.py())?;
        if !slf.is_exact_instance_of::<Self>() {
            // A subclass may have an encrypt_at_time of its own.
            let now = now.seconds_int()?;
            return slf.call_method1(intern!(slf.py(), "encrypt_at_time"), (data, now));
        }
        let now = now.seconds()?;
        let data = convert::plaintext(data)?;
        let now = u64::try_from(now).map_err(|_| not_eight_bytes(now))?;
        slf.get().seal(data, now).map(Bound::into_any)
    }

    /// encrypt_at_time($self, data, current_time)
    /// --
    ///
    /// A token over ``data``, dated ``current_time`` seconds since the epoch.
    ///
    /// :raises TypeError: if ``data`` is not ``bytes``.
    /// :raises OverflowError: if the time is negative or beyond 64 bits.
    pub(crate) fn encrypt_at_time<'py>(
        &self,
        data: &Bound<'py, PyAny>,
        current_time: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let data = convert::plaintext(data)?;
        self.seal(data, convert::timestamp(current_time)?)
    }

    /// decrypt($self, token, ttl=None)
    /// --
    ///
    /// What a token holds.
    ///
    /// :param token: ``bytes`` or ``str``.
    /// :param ttl: most seconds since the token was made; ``None`` leaves its age unchecked.
    ///     With it, a token dated more than 60 seconds ahead is refused too.
    /// :raises InvalidToken: for every token that does not open, for whatever reason.
    /// :raises TypeError: if ``token`` is neither ``bytes`` nor ``str``.
    #[pyo3(signature = (token, ttl=None))]
    fn decrypt<'py>(
        &self,
        token: &Bound<'py, PyAny>,
        ttl: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let py = token.py();
        let token = convert::token(token)?;
        self.open(py, token, window(py, ttl)?.as_ref())
    }

    /// decrypt_at_time($self, token, ttl, current_time)
    /// --
    ///
    /// What a token holds, its age judged at ``current_time`` seconds since the epoch.
    ///
    /// :raises InvalidToken: for every token that does not open, for whatever reason.
    /// :raises ValueError: if ``ttl`` is ``None``.
    fn decrypt_at_time<'py>(
        &self,
        token: &Bound<'py, PyAny>,
        ttl: Option<Bound<'py, PyAny>>,
        current_time: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let window = Window { ttl: required(ttl)?, now: current_time };
        self.open(token.py(), convert::token(token)?, Some(&window))
    }

    /// extract_timestamp($self, token)
    /// --
    ///
    /// When an authentic token was made, in seconds since the epoch.
    ///
    /// :raises InvalidToken: if the token's MAC is not this key's.
    fn extract_timestamp(&self, token: &Bound<'_, PyAny>) -> PyResult<u64> {
        let py = token.py();
        let token = convert::token(token)?;
        let authentic = verify(py, self.key()?, &token);
        if authentic { Ok(token.issued_at()) } else { Err(invalid_token(py)) }
    }

    /// For test vectors: a token with the IV given. Never use an IV twice.
    fn _encrypt_from_parts<'py>(
        &self,
        data: &Bound<'py, PyAny>,
        current_time: &Bound<'py, PyAny>,
        iv: [u8; 16],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let data = convert::plaintext(data)?;
        self.seal_with(data, convert::timestamp(current_time)?, iv)
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
                // Nobody else has the bytes yet.
                py.detach(|| key.seal_slice(data, issued_at, &iv, token));
            }
            Ok(())
        })
    }

    fn open<'py>(
        &self,
        py: Python<'py>,
        token: Unverified,
        window: Option<&Window<'py>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (key, in_time) = (self.key()?, in_time(&token, window)?);
        let plaintext =
            if verify(py, key, &token) && in_time { decrypt(py, key, token) } else { None };
        Ok(PyBytes::new(py, &plaintext.ok_or_else(|| invalid_token(py))?))
    }
}

/// Outside a window every token is invalid; without one, none is.
pub(crate) fn in_time(token: &Unverified, window: Option<&Window<'_>>) -> PyResult<bool> {
    window.map_or(Ok(true), |window| window.holds(token.issued_at()))
}

/// Whether the MAC is this key's.
pub(crate) fn verify(py: Python<'_>, key: &FernetKey, token: &Unverified) -> bool {
    if token.len() < RELEASE_FROM { key.verify(token) } else { py.detach(|| key.verify(token)) }
}

/// The plaintext of a token that has been verified.
pub(crate) fn decrypt(py: Python<'_>, key: &FernetKey, token: Unverified) -> Option<Plaintext> {
    if token.len() < RELEASE_FROM { key.decrypt(token) } else { py.detach(|| key.decrypt(token)) }
}

/// The window that a `ttl` opens now.
pub(crate) fn window<'py>(
    py: Python<'py>,
    ttl: Option<Bound<'py, PyAny>>,
) -> PyResult<Option<Window<'py>>> {
    let Some(ttl) = ttl else { return Ok(None) };
    let now = clock::now(py)?.seconds_int()?;
    Ok(Some(Window { ttl, now }))
}

pub(crate) fn required<'py>(ttl: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
    ttl.ok_or_else(|| {
        PyValueError::new_err("decrypt_at_time() can only be used with a non-None ttl")
    })
}

/// The error of `int.to_bytes` for a clock before 1970, or some 585 billion years ahead.
fn not_eight_bytes(now: i128) -> PyErr {
    let negative = "can't convert negative int to unsigned";
    PyOverflowError::new_err(if now < 0 { negative } else { "int too big to convert" })
}

/// A pickle would carry the key to wherever it goes.
pub(crate) fn not_picklable(object: &Bound<'_, PyAny>) -> PyErr {
    let name = object.get_type().name().map_or_else(|_| "Fernet".into(), |name| name.to_string());
    PyTypeError::new_err(format!("cannot pickle '{name}': it would write the key down"))
}
