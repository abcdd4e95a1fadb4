//! The attributes that a class overrides.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyString, PyTuple, PyType};

use super::roles::{COOKIE_NAME, GETATTRIBUTE, VALUES};
use crate::python::call::{attribute, attribute_opt, call_method};

/// The attributes that a class overrides, and the values of some that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overrides {
    /// One bit per attribute, set if the class overrides it. All bits are set for a class that is not
    /// a subclass of Flask's.
    bits: u16,
    pub(super) values: [ClassValue; VALUES],
}

/// The value of a class attribute, which instances share unless they have their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClassValue {
    /// Absent, or computed for each instance by a descriptor.
    Computed,
    /// `True` or `False`.
    Flag(bool),
    /// Any other value.
    Shared,
}

impl ClassValue {
    pub(super) fn of(class: &Bound<'_, PyType>, name: &str) -> PyResult<Self> {
        let Some(value) = getattr_static(class, name)? else { return Ok(Self::Computed) };
        if attribute_opt(&value.get_type(), intern!(class.py(), "__get__"))?.is_some() {
            return Ok(Self::Computed);
        }
        Ok(value.cast_exact::<PyBool>().map_or(Self::Shared, |flag| Self::Flag(flag.is_true())))
    }

    /// The flag, if the class decides it.
    pub(crate) const fn flag(self) -> Option<bool> {
        if let Self::Flag(flag) = self { Some(flag) } else { None }
    }
}

impl Overrides {
    pub(super) const NONE: Self = Self { bits: 0, values: [ClassValue::Computed; VALUES] };
    pub(super) const UNRELATED: Self = Self { bits: u16::MAX, ..Self::NONE };

    /// Whether every attribute is Flask's.
    pub(crate) const fn none(self) -> bool {
        self.bits == 0
    }

    /// Whether the class is not a subclass of Flask's.
    pub(crate) const fn unrelated(self) -> bool {
        self.bits == u16::MAX
    }

    /// Whether an interface overrides `get_cookie_name`.
    pub(crate) const fn has_cookie_name(self) -> bool {
        self.has(COOKIE_NAME)
    }

    /// Whether an interface overrides `__getattribute__`.
    pub(crate) const fn has_getattribute(self) -> bool {
        self.has(GETATTRIBUTE)
    }

    const fn has(self, attribute: usize) -> bool {
        self.bits >> attribute & 1 == 1
    }

    /// The same, with one more attribute overridden.
    pub(crate) const fn marked(self, attribute: usize) -> Self {
        Self { bits: self.bits | 1 << attribute, ..self }
    }

    /// The values of the class, in the order of [`Role::class_values`](super::roles::Role).
    pub(crate) const fn class_values(self) -> [ClassValue; VALUES] {
        self.values
    }
}

/// The class and its bases, in the order in which attributes are looked up.
pub(super) fn mro<'py>(class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyTuple>> {
    Ok(attribute_of_type(class, intern!(class.py(), "__mro__"))?.cast_into()?)
}

/// An attribute of a class as `type` defines it, whatever the metaclass says.
fn attribute_of_type<'py>(
    class: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    let defined = attribute(&py.get_type::<PyType>(), intern!(py, "__dict__"))?.get_item(name)?;
    call_method(&defined, intern!(py, "__get__"), (class,))
}

/// Looks `name` up along the MRO without invoking descriptors, like `inspect.getattr_static`.
pub(super) fn getattr_static<'py>(
    class: &Bound<'py, PyType>,
    name: &str,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    for base in &mro(class)? {
        let own = attribute_of_type(&base, intern!(base.py(), "__dict__"))?;
        if own.contains(name)? {
            return own.get_item(name).map(Some);
        }
    }
    Ok(None)
}
