//! The Python types that tagged JSON has in addition to JSON's own.

use crate::python::call::{attribute, import};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// Looked up once per process.
pub(crate) struct Types {
    pub(crate) markup: Py<PyType>,
    pub(crate) uuid: Py<PyType>,
    pub(crate) datetime: Py<PyType>,
    pub(crate) utc: Py<PyAny>,
    pub(crate) int: Py<PyType>,
}

static TYPES: PyOnceLock<Types> = PyOnceLock::new();

impl Types {
    pub(crate) fn get(py: Python<'_>) -> PyResult<&'static Self> {
        TYPES.get_or_try_init(py, || {
            let class = |module, name| -> PyResult<Py<PyType>> {
                Ok(import(py, module, name)?.cast_into::<PyType>()?.unbind())
            };
            Ok(Self {
                markup: class("markupsafe", "Markup")?,
                uuid: class("uuid", "UUID")?,
                datetime: class("datetime", "datetime")?,
                utc: attribute(&import(py, "datetime", "timezone")?, intern!(py, "utc"))?.unbind(),
                int: class("builtins", "int")?,
            })
        })
    }
}
