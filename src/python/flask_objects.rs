//! Flask's and Werkzeug's own objects, and whether one in hand is still as they made it.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyString, PyTuple, PyType};

use super::classes::{Facts, HOOKS};
use super::entries::attributes;
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
        let own = attributes(request)?;
        if own.contains(intern!(py, "cookies"))? {
            return Err(Stop::Decline);
        }
        let headers = own.get_item(intern!(py, "headers"))?.ok_or(Stop::Decline)?;
        if !headers.get_type().is(&self.environ_headers) {
            return Err(Stop::Decline);
        }
        let environ = attributes(&headers)?;
        let environ = environ.get_item(intern!(py, "environ"))?.ok_or(Stop::Decline)?;
        let environ = environ.cast_into_exact::<PyDict>()?;
        let header = environ.get_item(intern!(py, "HTTP_COOKIE"))?;
        Ok(header.map(Bound::cast_into_exact::<PyString>).transpose()?)
    }

    /// The list behind a response's headers.
    pub(crate) fn header_list<'py>(
        &self,
        response: &Bound<'py, PyAny>,
    ) -> Result<Bound<'py, PyList>, Stop> {
        let py = response.py();
        let own = attributes(response)?;
        if own.contains(intern!(py, "set_cookie"))? {
            return Err(Stop::Decline);
        }
        let headers = own.get_item(intern!(py, "headers"))?.ok_or(Stop::Decline)?;
        if !headers.get_type().is(&self.headers) {
            return Err(Stop::Decline);
        }
        let list = attributes(&headers)?.get_item(intern!(py, "_list"))?;
        Ok(list.ok_or(Stop::Decline)?.cast_into_exact::<PyList>()?)
    }

    /// The list of tags of a serializer that is Flask's own, with Flask's tags in Flask's order;
    /// it stays so for as long as the list gets no longer, which it does when a tag is registered.
    pub(crate) fn stock_tags<'py>(
        &self,
        serializer: &Bound<'py, PyAny>,
    ) -> Result<Option<Bound<'py, PyList>>, Stop> {
        let py = serializer.py();
        if !serializer.get_type().is(&self.serializer) {
            return Ok(None);
        }
        let order = serializer.getattr(intern!(py, "order"))?.cast_into_exact::<PyList>()?;
        let tags = serializer.getattr(intern!(py, "tags"))?.cast_into_exact::<PyDict>()?;
        let mut named = tags.iter();
        let stock = order.len() == self.tag_classes.len()
            && order.iter().zip(&self.tag_classes).enumerate().all(|(position, (tag, class))| {
                tag.get_type().is(class)
                    && (UNNAMED_TAGS.contains(&position)
                        || named.next().is_some_and(|(_, known)| known.is(&tag)))
            });
        Ok((stock && named.next().is_none()).then_some(order))
    }
}

/// How an app's JSON provider, of Flask's class, writes; `None` if it was told to do otherwise.
pub(crate) fn json_style(json: &Bound<'_, PyAny>, of_class: Facts) -> Result<Option<Style>, Stop> {
    let py = json.py();
    let own = attributes(json)?;
    // The app is all that a provider has of its own, if nobody set anything.
    let untouched = own.len() == 1 && own.contains(intern!(py, "_app"))?;
    let [sort_keys, ensure_ascii, _] = of_class.values();
    if untouched
        && let (Some(sort_keys), Some(ensure_ascii)) = (sort_keys.flag(), ensure_ascii.flag())
    {
        return Ok(Some(Style { sort_keys, ensure_ascii }));
    }
    if own.contains(intern!(py, "dumps"))? || own.contains(intern!(py, "loads"))? {
        return Ok(None);
    }
    Ok(Some(Style {
        sort_keys: json.getattr(intern!(py, "sort_keys"))?.is_truthy()?,
        ensure_ascii: json.getattr(intern!(py, "ensure_ascii"))?.is_truthy()?,
    }))
}

/// An app's configuration and JSON provider, which Flask keeps as attributes of the app's own.
pub(crate) fn config_and_json<'py>(
    app: &Bound<'py, PyAny>,
) -> Result<(Bound<'py, PyAny>, Bound<'py, PyAny>), Stop> {
    let (py, own) = (app.py(), attributes(app)?);
    let attribute = |name| own.get_item(name)?.ok_or(Stop::Decline);
    Ok((attribute(intern!(py, "config"))?, attribute(intern!(py, "json"))?))
}

/// The hooks of an interface's class, and those set on the instance, whose attributes are given.
pub(crate) fn hooks(own: &Bound<'_, PyDict>, of_class: Facts) -> Result<Facts, Stop> {
    if of_class.foreign() {
        return Err(Stop::Decline);
    }
    let mut hooks = of_class;
    if !own.is_empty() {
        for (position, name) in HOOKS.iter().enumerate() {
            if own.contains(*name)? {
                hooks = hooks.with(position);
            }
        }
        // Named errors are the portable path's to raise.
        if own.contains("get_signing_serializer")? {
            return Err(Stop::Decline);
        }
    }
    Ok(hooks)
}
