//! The first steps of opening and saving alike: admitting the objects, and the policy.

use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyType};

use super::policy::Policy;
use super::resolved_policy::{ResolvedPolicy, SessionClass};
use super::settings_snapshot::Watched;
use super::state::NativeState;
use crate::python::call::{attribute, call_method};
use crate::python::codec::style::Style;
use crate::python::dict::instance_dict;
use crate::python::flask::objects::{FlaskObjects, config_and_json, hooks, json_style};
use crate::python::flask::overrides::{ClassValue, Overrides};
use crate::python::flask::roles::Role;
use crate::python::unhandled::Unhandled;

/// An interface and an app whose Python code the native path may skip.
pub(super) struct Admitted<'a, 'py> {
    state: &'a NativeState,
    pub(super) interface: &'a Bound<'py, PyAny>,
    pub(super) app: &'a Bound<'py, PyAny>,
    config: Bound<'py, PyDict>,
    json: Bound<'py, PyAny>,
    of_json: Overrides,
    /// The interface's instance dict.
    own: Bound<'py, PyDict>,
    of_interface: Overrides,
    /// The overrides of the interface, those set on the instance included.
    pub(super) hooks: Overrides,
}

/// The settings that must be unchanged for a cached policy to be used.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// Opening a session: the settings of the cookie's attributes do not matter.
    Open,
    /// Everything else.
    Save,
}

impl<'a, 'py> Admitted<'a, 'py> {
    /// Declines an app or a configuration that overrides an attribute which the native path skips,
    /// and an interface that overrides `__getattribute__`.
    pub(super) fn new(
        state: &'a NativeState,
        interface: &'a Bound<'py, PyAny>,
        app: &'a Bound<'py, PyAny>,
    ) -> Result<Self, Unhandled> {
        state.require_enabled()?;
        let (config, json) = config_and_json(app)?;
        let [of_interface, of_app, of_config, of_json] = state.classes.overrides_of([
            (Role::Interface, interface),
            (Role::App, app),
            (Role::Config, &config),
            (Role::Json, &json),
        ])?;
        let own = instance_dict(interface)?;
        let hooks = hooks(&own, of_interface)?;
        if !of_app.none() || !of_config.none() || hooks.has_getattribute() {
            return Err(Unhandled::Declined);
        }
        let config = config.cast_into::<PyDict>()?;
        Ok(Self { state, interface, app, config, json, of_json, own, of_interface, hooks })
    }

    /// The app's policy: the cached one while nothing that it depends on has changed, otherwise the
    /// one that the interface's `_resolve_policy` gives now.
    pub(super) fn policy(&self, purpose: Purpose) -> Result<Arc<ResolvedPolicy>, Unhandled> {
        let py = self.app.py();
        let class = self.interface.get_type().into_any();
        let values;
        let is_computed = |value: &ClassValue| *value == ClassValue::Computed;
        let objects =
            if self.own.is_empty() && !self.of_interface.class_values().iter().any(is_computed) {
                // The class decides all of them.
                [&class, &class, &class]
            } else {
                values = [
                    attribute(self.interface, intern!(py, "salt"))?,
                    attribute(self.interface, intern!(py, "serializer"))?,
                    attribute(self.interface, intern!(py, "session_class"))?,
                ];
                values.each_ref()
            };
        let names = &self.state.settings;
        let relevant = match purpose {
            Purpose::Open => self.state.opening_settings,
            Purpose::Save => names.len(),
        };
        let immutable = self.state.immutable_types.bind(py);
        let watched = Watched { config: &self.config, names, relevant, immutable };
        let is_current = |resolved: &ResolvedPolicy| resolved.policy().is_current();
        self.state.policies.get(self.app, watched, objects, is_current, || {
            let policy = call_method(self.interface, intern!(py, "_resolve_policy"), (self.app,))?;
            self.resolved(policy.cast_into::<Policy>()?.unbind())
        })
    }

    fn resolved(&self, policy: Py<Policy>) -> Result<ResolvedPolicy, Unhandled> {
        let py = self.app.py();
        if policy.get().opens_references() {
            self.state.note_storage();
        }
        let tags = intact_tags(self.state, &attribute(self.interface, intern!(py, "serializer"))?)?;
        let class = attribute(self.interface, intern!(py, "session_class"))?;
        let session_class = match class.cast_into::<PyType>() {
            Ok(class) => {
                let overrides = self.state.classes.overrides_of_class(Role::NewSession, &class)?;
                let constructs_like_flask = overrides.none();
                Some(SessionClass { class: class.unbind(), constructs_like_flask })
            }
            Err(_) => None,
        };
        Ok(ResolvedPolicy::new(policy, tags.map(Bound::unbind), session_class))
    }

    /// How sessions are written; `None` unless the serializer and the app's JSON provider are
    /// Flask's own.
    pub(super) fn style(&self, policy: &ResolvedPolicy) -> Result<Option<Style>, Unhandled> {
        policy.style(&self.json, self.of_json)
    }
}

/// The style of the app's JSON provider; `None` unless it and the interface's serializer are Flask's
/// own.
pub(super) fn style_without_policy(
    state: &NativeState,
    interface: &Bound<'_, PyAny>,
    app: &Bound<'_, PyAny>,
) -> Result<Option<Style>, Unhandled> {
    state.require_enabled()?;
    let serializer = attribute(interface, intern!(app.py(), "serializer"))?;
    let (_, json) = config_and_json(app)?;
    let [of_json] = state.classes.overrides_of([(Role::Json, &json)])?;
    if !of_json.none() || intact_tags(state, &serializer)?.is_none() {
        return Ok(None);
    }
    json_style(&json, of_json)
}

/// The tags of a serializer, if it and they are Flask's own.
fn intact_tags<'py>(
    state: &NativeState,
    serializer: &Bound<'py, PyAny>,
) -> Result<Option<Bound<'py, PyList>>, Unhandled> {
    let [overrides] = state.classes.overrides_of([(Role::Serializer, serializer)])?;
    if !overrides.none() {
        return Ok(None);
    }
    FlaskObjects::get(serializer.py())?.intact_tags(serializer)
}
