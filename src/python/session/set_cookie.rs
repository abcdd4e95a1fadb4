//! The `Set-Cookie` value of a session: written once by Werkzeug, and filled in natively.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::policy::CookieAttributes;
use crate::compress::{self, Compression, Effort};
use crate::http_date::append_date;
use crate::keys::key_set::{KeySet, MAX_TOKEN};
use crate::python::call::call_with_keywords;
use crate::python::flask::objects::FlaskObjects;
use crate::python::memory::{no_memory, room_for};
use crate::python::unhandled::Unhandled;

/// A `Set-Cookie` value as Werkzeug writes it, without the cookie's value and the date of `Expires`.
pub(super) struct CookieTemplate {
    /// `name=`
    head: String,
    /// The attributes before `Expires`: `; Domain=…`, or nothing.
    before: String,
    /// The attributes after it: `; Secure; HttpOnly; Path=/` and the like.
    after: String,
    /// `MAX_COOKIE_SIZE` in bytes; 0 for no limit.
    limit: usize,
    /// `SESSION_REFRESH_EACH_REQUEST`.
    pub(super) refreshes: bool,
}

/// The time of an `Expires` attribute, in seconds since the epoch.
#[derive(Clone, Copy)]
pub(super) struct Expires(pub(super) i64);

impl Expires {
    const NAME: &str = "; Expires=";
    /// Bytes of the attribute with its date.
    const LEN: usize = Self::NAME.len() + 29;

    fn append(self, out: &mut Vec<u8>) -> Result<(), Unhandled> {
        out.extend_from_slice(Self::NAME.as_bytes());
        if append_date(self.0, out) { Ok(()) } else { Err(Unhandled::Declined) }
    }
}

impl CookieTemplate {
    /// Asks Werkzeug for a cookie with these attributes, and cuts it at the parts that change.
    pub(super) fn new(
        py: Python<'_>,
        flask: &FlaskObjects,
        attributes: &CookieAttributes,
    ) -> Result<Self, Unhandled> {
        /// Stands for the date. No attribute can contain it.
        const MARK: &str = "\u{1}";
        let limit = attributes.max_size.extract(py).map_err(|_: PyErr| Unhandled::Declined)?;
        let refreshes = attributes.refresh_each_request.bind(py).is_truthy()?;
        let arguments = PyDict::new(py);
        arguments.set_item("expires", MARK)?;
        arguments.set_item("path", &attributes.path)?;
        arguments.set_item("domain", &attributes.domain)?;
        arguments.set_item("secure", &attributes.secure)?;
        arguments.set_item("partitioned", &attributes.partitioned)?;
        arguments.set_item("samesite", &attributes.samesite)?;
        arguments.set_item("httponly", &attributes.httponly)?;
        arguments.set_item("max_size", 0)?;
        let dump_cookie = flask.dump_cookie.bind(py);
        let cookie: String =
            call_with_keywords(dump_cookie, (&attributes.name, ""), &arguments)?.extract()?;
        let name: String = attributes.name.extract(py)?;
        let (before, after) = cookie.split_once("; Expires=\u{1}").ok_or(Unhandled::Declined)?;
        let (head, before) = before.split_at_checked(name.len() + 1).ok_or(Unhandled::Declined)?;
        let is_plain = cookie.is_ascii() && !cookie.contains(['\r', '\n']) && !after.contains(MARK);
        if !is_plain || head.strip_suffix('=') != Some(&name) {
            return Err(Unhandled::Declined);
        }
        let (head, before, after) = (head.to_owned(), before.to_owned(), after.to_owned());
        Ok(Self { head, before, after, limit, refreshes })
    }
}

/// Everything of a cookie except its value, and how long it may become.
pub(super) struct CookieBudget<'a> {
    pub(super) template: &'a CookieTemplate,
    pub(super) keys: &'a KeySet,
    /// `None` for a cookie that ends with the browser session.
    pub(super) expires: Option<Expires>,
}

impl CookieBudget<'_> {
    /// Bytes of the cookie over a payload of this many bytes.
    fn len(&self, payload: usize) -> usize {
        let CookieTemplate { head, before, after, .. } = self.template;
        let expires = if self.expires.is_some() { Expires::LEN } else { 0 };
        head.len() + self.keys.token_len(payload) + before.len() + expires + after.len()
    }

    fn fits(&self, payload: &[u8]) -> bool {
        let limit = self.template.limit;
        (limit == 0 || self.len(payload.len()) <= limit)
            && self.keys.token_len(payload.len()) <= MAX_TOKEN
    }

    /// The finished `Set-Cookie` value over `payload`.
    #[expect(clippy::indexing_slicing, reason = "a template is cut behind the equals sign")]
    pub(super) fn set_cookie<'py>(
        &self,
        py: Python<'py>,
        payload: &[u8],
        issued_at: u64,
    ) -> Result<Bound<'py, PyString>, Unhandled> {
        let CookieTemplate { head, before, after, .. } = self.template;
        let mut cookie = room_for(self.len(payload.len()))?;
        cookie.extend_from_slice(head.as_bytes());
        let name = &head.as_bytes()[..head.len() - 1];
        self.keys.seal(payload, issued_at, name, &mut cookie).map_err(PyErr::from)?;
        cookie.extend_from_slice(before.as_bytes());
        if let Some(expires) = self.expires {
            expires.append(&mut cookie)?;
        }
        cookie.extend_from_slice(after.as_bytes());
        Ok(PyString::from_bytes(py, &cookie)?)
    }
}

/// The payload as it is sealed: compressed if the setting says so. Declines a payload that does not
/// fit even then, and one of a custom serializer that would be taken for compressed.
pub(super) fn compress_to_fit(
    payload: Vec<u8>,
    compression: Compression,
    budget: &CookieBudget<'_>,
) -> Result<Vec<u8>, Unhandled> {
    let is_ambiguous = payload.first() == Some(&compress::MARK);
    let is_too_large = !budget.fits(&payload);
    if is_ambiguous || payload.len() > compress::MAX_INFLATED {
        return Err(Unhandled::Declined);
    }
    let efforts: &[Effort] = match compression {
        Compression::Always => &[Effort::Fast, Effort::Thorough],
        Compression::Fit if is_too_large => &[Effort::Thorough],
        Compression::Fit | Compression::Never => &[],
    };
    for effort in efforts {
        let packed = compress::deflate(&payload, *effort).map_err(no_memory)?;
        if packed.len() >= payload.len() {
            break;
        }
        if budget.fits(&packed) {
            return Ok(packed);
        }
    }
    if is_too_large { Err(Unhandled::Declined) } else { Ok(payload) }
}
