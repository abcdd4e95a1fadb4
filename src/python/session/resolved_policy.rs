//! A policy together with the native path's knowledge of the interface that it is for.

use std::sync::OnceLock;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyType};

use super::policy::Policy;
use super::policy_cache::Traverse;
use super::set_cookie::CookieTemplate;
use crate::python::call::call;
use crate::python::codec::style::Style;
use crate::python::flask::baseline::TAG_CLASSES;
use crate::python::flask::objects::{FlaskObjects, json_style};
use crate::python::flask::overrides::Overrides;
use crate::python::unhandled::Unhandled;

/// A policy together with the native path's knowledge of the interface that it is for.
pub(super) struct ResolvedPolicy {
    policy: Py<Policy>,
    tags: Option<Py<PyList>>,
    session_class: Option<SessionClass>,
    /// Made when a session is first saved.
    template: OnceLock<CookieTemplate>,
}

/// The class of an interface's sessions.
pub(super) struct SessionClass {
    pub(super) class: Py<PyType>,
    /// Whether its instances are constructed like Flask's.
    pub(super) constructs_like_flask: bool,
}

impl ResolvedPolicy {
    /// :param tags: the tags of the interface's serializer, if they are Flask's own.
    /// :param session_class: the interface's session class, if it is a class.
    pub(super) const fn new(
        policy: Py<Policy>,
        tags: Option<Py<PyList>>,
        session_class: Option<SessionClass>,
    ) -> Self {
        Self { policy, tags, session_class, template: OnceLock::new() }
    }

    /// The policy.
    pub(super) fn policy(&self) -> &Policy {
        self.policy.get()
    }

    /// The policy as a Python object.
    pub(super) const fn python(&self) -> &Py<Policy> {
        &self.policy
    }

    /// The interface's session class. Declines if it is not a class.
    pub(super) fn session_class(&self) -> Result<&SessionClass, Unhandled> {
        self.session_class.as_ref().ok_or(Unhandled::Declined)
    }

    /// How sessions are written; `None` unless the serializer and the app's JSON provider are
    /// Flask's own.
    pub(super) fn style(
        &self,
        json: &Bound<'_, PyAny>,
        of_json: Overrides,
    ) -> Result<Option<Style>, Unhandled> {
        let Some(tags) = &self.tags else { return Ok(None) };
        if tags.bind(json.py()).len() != TAG_CLASSES.len() || !of_json.none() {
            return Ok(None);
        }
        json_style(json, of_json)
    }

    /// The template of the session cookie.
    pub(super) fn template(
        &self,
        py: Python<'_>,
        flask: &FlaskObjects,
    ) -> Result<&CookieTemplate, Unhandled> {
        if let Some(template) = self.template.get() {
            return Ok(template);
        }
        let attributes = self.policy().cookie().ok_or(Unhandled::Declined)?;
        let template = CookieTemplate::new(py, flask, attributes.get())?;
        Ok(self.template.get_or_init(|| template))
    }
}

impl SessionClass {
    /// An empty session.
    pub(super) fn empty<'py>(
        &self,
        py: Python<'py>,
        flask: &FlaskObjects,
    ) -> PyResult<Bound<'py, PyAny>> {
        let class = self.class.bind(py);
        if self.constructs_like_flask { flask.empty_session(class) } else { call(class, ()) }
    }

    /// A dict to read a session into: the session itself if it is constructed like Flask's, and
    /// otherwise a plain dict, which [`session_with`](Self::session_with) turns into one.
    pub(super) fn dict_to_fill<'py>(
        &self,
        py: Python<'py>,
        flask: &FlaskObjects,
    ) -> Result<Bound<'py, PyDict>, Unhandled> {
        Ok(if self.constructs_like_flask {
            self.empty(py, flask)?.cast_into::<PyDict>()?
        } else {
            PyDict::new(py)
        })
    }

    /// The session with the data in a dict from [`dict_to_fill`](Self::dict_to_fill).
    pub(super) fn session_with<'py>(
        &self,
        data: Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if self.constructs_like_flask {
            Ok(data.into_any())
        } else {
            call(self.class.bind(data.py()), (&data,))
        }
    }
}

impl Traverse for ResolvedPolicy {
    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.policy)?;
        visit.call(&self.tags)?;
        visit.call(self.session_class.as_ref().map(|class| &class.class))
    }
}
