//! Flask's and Werkzeug's own objects, and whether one in hand is still as they made it.

use std::sync::RwLock;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyString, PyTuple, PyType};

use super::classes::{Facts, HOOKS};
use super::stop::Stop;
use crate::tagged_json::encode::Style;

/// The tags of `TaggedJSONSerializer`, in the order in which it asks them; two of them have no
/// name and only pass plain values on.
pub(crate) const TAG_CLASSES: [&str; 8] = [
    "TagDict",
    "PassDict",
    "TagTuple",
    "PassList",
    "TagBytes",
    "TagMarkup",
    "TagUUID",
    "TagDateTime",
];
const UNNAMED_TAGS: [usize; 2] = [1, 3];

/// Looked up when the module is imported.
pub(crate) struct FlaskObjects {
    environ_headers: Py<PyType>,
    headers: Py<PyType>,
    serializer: Py<PyType>,
    dict_new: Py<PyAny>,
    on_update: Py<PyAny>,
    tag_classes: Vec<Py<PyType>>,
    last_stock_serializer: RwLock<Option<Py<PyAny>>>,
    pub(crate) dump_cookie: Py<PyAny>,
    pub(crate) vary_cookie: Py<PyTuple>,
}

static OBJECTS: PyOnceLock<FlaskObjects> = PyOnceLock::new();

impl FlaskObjects {
    pub(crate) fn get(py: Python<'_>) -> PyResult<&'static Self> {
        OBJECTS.get_or_try_init(py, || {
            let import = |module: &str, name: &str| py.import(module)?.getattr(name);
            let class = |module, name| -> PyResult<Py<PyType>> {
                Ok(import(module, name)?.cast_into::<PyType>()?.unbind())
            };
            // `SecureCookieSession.__init__` makes its callback anew for each session, always
            // the same one: it takes the session as its argument.
            let session = import("flask.sessions", "SecureCookieSession")?.call0()?;
            Ok(Self {
                environ_headers: class("werkzeug.datastructures", "EnvironHeaders")?,
                headers: class("werkzeug.datastructures", "Headers")?,
                dict_new: py.get_type::<PyDict>().getattr("__new__")?.unbind(),
                on_update: session.getattr("on_update")?.unbind(),
                tag_classes: TAG_CLASSES
                    .iter()
                    .map(|name| class("flask.json.tag", name))
                    .collect::<PyResult<_>>()?,
                serializer: class("flask.json.tag", "TaggedJSONSerializer")?,
                last_stock_serializer: RwLock::new(None),
                dump_cookie: import("werkzeug.http", "dump_cookie")?.unbind(),
                vary_cookie: PyTuple::new(py, ["Vary", "Cookie"])?.unbind(),
            })
        })
    }

    /// An empty session of a class that is made as Flask's is.
    pub(crate) fn empty_session<'py>(
        &self,
        class: &Bound<'py, PyType>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let session = self.dict_new.bind(class.py()).call1((class,))?;
        session.setattr(intern!(class.py(), "on_update"), &self.on_update)?;
        Ok(session)
    }

    /// The `Cookie` header of a request whose class reads it as Flask's does. `None` for an
    /// ASCII-less, replaced or otherwise unusual one.
    pub(crate) fn cookie_header<'py>(
        &self,
        request: &Bound<'py, PyAny>,
    ) -> Result<Option<Bound<'py, PyString>>, Stop> {
        let py = request.py();
        let attributes = request.getattr(intern!(py, "__dict__"))?.cast_into_exact::<PyDict>()?;
        if attributes.contains(intern!(py, "cookies"))? {
            return Err(Stop::Decline);
        }
        let headers = attributes.get_item(intern!(py, "headers"))?.ok_or(Stop::Decline)?;
        if !headers.get_type().is(&self.environ_headers) {
            return Err(Stop::Decline);
        }
        let environ = headers.getattr(intern!(py, "environ"))?.cast_into_exact::<PyDict>()?;
        let header = environ.get_item(intern!(py, "HTTP_COOKIE"))?;
        Ok(header.map(Bound::cast_into_exact::<PyString>).transpose()?)
    }

    /// The list behind a response's headers.
    pub(crate) fn header_list<'py>(
        &self,
        response: &Bound<'py, PyAny>,
    ) -> Result<Bound<'py, PyList>, Stop> {
        let py = response.py();
        let attributes = response.getattr(intern!(py, "__dict__"))?.cast_into_exact::<PyDict>()?;
        if attributes.contains(intern!(py, "set_cookie"))? {
            return Err(Stop::Decline);
        }
        let headers = attributes.get_item(intern!(py, "headers"))?.ok_or(Stop::Decline)?;
        if !headers.get_type().is(&self.headers) {
            return Err(Stop::Decline);
        }
        Ok(headers.getattr(intern!(py, "_list"))?.cast_into_exact::<PyList>()?)
    }

    /// Whether a serializer is Flask's own, with Flask's tags in Flask's order. Each is looked
    /// at closely once; after that it is asked whether a tag has been registered.
    pub(crate) fn is_stock_serializer(&self, serializer: &Bound<'_, PyAny>) -> Result<bool, Stop> {
        let py = serializer.py();
        if !serializer.get_type().is(&self.serializer) {
            return Ok(false);
        }
        let order = serializer.getattr(intern!(py, "order"))?.cast_into_exact::<PyList>()?;
        if order.len() != self.tag_classes.len() {
            return Ok(false);
        }
        // Nobody waits here; see `Classes::facts`.
        if let Ok(last) = self.last_stock_serializer.try_read()
            && last.as_ref().is_some_and(|last| last.is(serializer))
        {
            return Ok(true);
        }
        let tags = serializer.getattr(intern!(py, "tags"))?.cast_into_exact::<PyDict>()?;
        let mut named = tags.iter();
        let stock =
            order.iter().zip(&self.tag_classes).enumerate().all(|(position, (tag, class))| {
                tag.get_type().is(class)
                    && (UNNAMED_TAGS.contains(&position)
                        || named.next().is_some_and(|(_, known)| known.is(&tag)))
            });
        let stock = stock && named.next().is_none();
        if stock && let Ok(mut last) = self.last_stock_serializer.try_write() {
            let former = last.replace(serializer.clone().unbind());
            drop(last);
            drop(former);
        }
        Ok(stock)
    }
}

/// How an app's JSON provider, of Flask's class, writes; `None` if it was told to do otherwise.
pub(crate) fn json_style(json: &Bound<'_, PyAny>) -> Result<Option<Style>, Stop> {
    let py = json.py();
    let attributes = json.getattr(intern!(py, "__dict__"))?.cast_into_exact::<PyDict>()?;
    if attributes.contains(intern!(py, "dumps"))? || attributes.contains(intern!(py, "loads"))? {
        return Ok(None);
    }
    Ok(Some(Style {
        sort_keys: json.getattr(intern!(py, "sort_keys"))?.is_truthy()?,
        ensure_ascii: json.getattr(intern!(py, "ensure_ascii"))?.is_truthy()?,
    }))
}

/// The hooks of an interface's class, and those set on the instance.
pub(crate) fn hooks(interface: &Bound<'_, PyAny>, of_class: Facts) -> Result<Facts, Stop> {
    if of_class.foreign() {
        return Err(Stop::Decline);
    }
    let attributes = interface.getattr(intern!(interface.py(), "__dict__"))?;
    let attributes = attributes.cast_into_exact::<PyDict>()?;
    let mut hooks = of_class;
    if !attributes.is_empty() {
        for (position, name) in HOOKS.iter().enumerate() {
            if attributes.contains(*name)? {
                hooks = hooks.with(position);
            }
        }
        // Named errors are the portable path's to raise.
        if attributes.contains("get_signing_serializer")? {
            return Err(Stop::Decline);
        }
    }
    Ok(hooks)
}
