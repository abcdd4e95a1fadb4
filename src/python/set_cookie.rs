//! The `Set-Cookie` value of a session: made once by Werkzeug, and filled in natively.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::flask_objects::FlaskObjects;
use super::sealing::Compression;
use super::settings::Traverse;
use super::stop::Stop;
use crate::compress;
use crate::cookie::append_date;
use crate::token::key_set::{KeySet, MAX_TOKEN};

/// The settings that a session cookie depends on, but for its value.
pub(crate) const ATTRIBUTES: usize = 10;

/// A `Set-Cookie` value as Werkzeug writes it, but for the value and the date, and when it may be
/// sent.
pub(crate) struct CookieTemplate {
    /// `name=`
    head: String,
    /// `; Domain=…`, or nothing: what comes before `Expires`.
    before: String,
    /// `; Secure; HttpOnly; Path=/` and the like: what comes after it.
    after: String,
    /// `MAX_COOKIE_SIZE`; 0 for none.
    limit: usize,
    /// `SESSION_REFRESH_EACH_REQUEST`.
    pub(crate) refreshes: bool,
}

/// The `Expires` attribute: seconds since the epoch, if the cookie has one.
#[derive(Clone, Copy)]
pub(crate) struct Expires(pub(crate) Option<i64>);

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

impl Traverse for CookieTemplate {
    fn traverse(&self, _: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        Ok(())
    }
}

impl CookieTemplate {
    /// Asks Werkzeug for a cookie with these attributes and cuts it where the parts that
    /// change belong.
    pub(crate) fn new(
        flask: &FlaskObjects,
        py: Python<'_>,
        values: &[Option<Bound<'_, PyAny>>; ATTRIBUTES],
    ) -> Result<Self, Stop> {
        const MARK: &str = "\u{1}";
        let [name, domain, path, root, secure, partitioned, samesite, httponly, limit, refreshes] =
            values.each_ref().map(Option::as_ref);
        let path = path.ok_or(Stop::Decline)?;
        let path = if path.is_truthy()? { path } else { root.ok_or(Stop::Decline)? };
        let limit = limit.ok_or(Stop::Decline)?.extract().map_err(|_| Stop::Decline)?;
        let refreshes = refreshes.ok_or(Stop::Decline)?.is_truthy()?;
        let name = name.ok_or(Stop::Decline)?;
        let arguments = PyDict::new(py);
        arguments.set_item("expires", MARK)?;
        arguments.set_item("path", path)?;
        for (key, value) in [
            ("domain", domain),
            ("secure", secure),
            ("partitioned", partitioned),
            ("samesite", samesite),
            ("httponly", httponly),
        ] {
            arguments.set_item(key, value.ok_or(Stop::Decline)?)?;
        }
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
        let (head, before, after) = (head.to_owned(), before.to_owned(), after.to_owned());
        Ok(Self { head, before, after, limit, refreshes })
    }
}

/// A cookie but for its value, and the characters it may have.
pub(crate) struct Room<'a> {
    pub(crate) template: &'a CookieTemplate,
    pub(crate) keys: &'a KeySet,
    pub(crate) expires: Expires,
}

impl Room<'_> {
    fn len(&self, payload: usize) -> usize {
        let CookieTemplate { head, before, after, .. } = self.template;
        head.len() + self.keys.token_len(payload) + before.len() + self.expires.len() + after.len()
    }

    fn fits(&self, payload: &[u8]) -> bool {
        let limit = self.template.limit;
        (limit == 0 || self.len(payload.len()) <= limit)
            && self.keys.token_len(payload.len()) <= MAX_TOKEN
    }

    pub(crate) fn set_cookie<'py>(
        &self,
        py: Python<'py>,
        payload: &[u8],
        issued_at: u64,
    ) -> Result<Bound<'py, PyString>, Stop> {
        let CookieTemplate { head, before, after, .. } = self.template;
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
pub(crate) fn fitted(
    payload: Vec<u8>,
    compression: Compression,
    room: &Room<'_>,
) -> Result<Vec<u8>, Stop> {
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
