//! Flask's and Werkzeug's objects, and whether a given one is still as they made it.

use std::convert::Infallible;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDelta, PyDict, PyList, PyString, PyTuple, PyType};

use super::baseline::TAG_CLASSES;
use super::overrides::Overrides;
use super::roles::HOOKS;
use crate::python::call::{attribute, call, call_method, import};
use crate::python::clock::{Now, microseconds};
use crate::python::codec::style::Style;
use crate::python::dict::{instance_dict, with_locked};
use crate::python::unhandled::Unhandled;

/// Positions in [`TAG_CLASSES`] of the tags without a name.
const UNNAMED_TAGS: [usize; 2] = [1, 3];

/// Classes and functions that are looked up when the module is imported.
pub(crate) struct FlaskObjects {
    environ_headers: Py<PyType>,
    headers: Py<PyType>,
    serializer: Py<PyType>,
    dict_new: Py<PyAny>,
    on_update: Py<PyAny>,
    tag_classes: Vec<Py<PyType>>,
    pub(crate) dump_cookie: Py<PyAny>,
    pub(crate) vary_cookie: Py<PyTuple>,
    /// The namespace of the module `flask.sessions`.
    flask_sessions: Py<PyDict>,
    datetime: Py<PyType>,
    utc: Py<PyAny>,
    /// The epoch, as an aware `datetime`.
    epoch: Py<PyAny>,
}

static OBJECTS: PyOnceLock<FlaskObjects> = PyOnceLock::new();

impl FlaskObjects {
    /// The objects, looked up at the first call.
    pub(crate) fn get(py: Python<'_>) -> PyResult<&'static Self> {
        OBJECTS.get_or_try_init(py, || {
            let class = |module, name| -> PyResult<Py<PyType>> {
                Ok(import(py, module, name)?.cast_into::<PyType>()?.unbind())
            };
            // `SecureCookieSession.__init__` creates an equal callback for each session. One serves
            // all of them, because it takes the session as its argument.
            let session = call(&import(py, "flask.sessions", "SecureCookieSession")?, ())?;
            let datetime = import(py, "datetime", "datetime")?;
            let utc = attribute(&import(py, "datetime", "timezone")?, intern!(py, "utc"))?;
            Ok(Self {
                environ_headers: class("werkzeug.datastructures", "EnvironHeaders")?,
                headers: class("werkzeug.datastructures", "Headers")?,
                dict_new: attribute(&py.get_type::<PyDict>(), intern!(py, "__new__"))?.unbind(),
                on_update: attribute(&session, intern!(py, "on_update"))?.unbind(),
                tag_classes: TAG_CLASSES
                    .iter()
                    .map(|name| class("flask.json.tag", name))
                    .collect::<PyResult<_>>()?,
                serializer: class("flask.json.tag", "TaggedJSONSerializer")?,
                dump_cookie: import(py, "werkzeug.http", "dump_cookie")?.unbind(),
                vary_cookie: PyTuple::new(py, ["Vary", "Cookie"])?.unbind(),
                flask_sessions: py.import("flask.sessions")?.dict().unbind(),
                epoch: call_method(&datetime, intern!(py, "fromtimestamp"), (0, &utc))?.unbind(),
                datetime: datetime.cast_into::<PyType>()?.unbind(),
                utc: utc.unbind(),
            })
        })
    }

    /// `datetime.now(timezone.utc)` as `flask.sessions` calls it, in microseconds since the epoch.
    /// Declines if that raises.
    ///
    /// A test may have replaced that class (freezegun), its method (time-machine) or neither, so
    /// it is called, unless it is Python's own and `now`, from `time.time`, is the system's time.
    pub(crate) fn datetime_now(&self, py: Python<'_>, now: &Now<'_>) -> Result<i64, Unhandled> {
        let datetime = self.flask_sessions.bind(py).get_item(intern!(py, "datetime"))?;
        let datetime = datetime.ok_or(Unhandled::Declined)?;
        if datetime.is(&self.datetime) && now.is_of_system() {
            return Ok(now.microseconds()?);
        }
        let since_epoch = call_method(&datetime, intern!(py, "now"), (&self.utc,))
            .and_then(|now| now.sub(&self.epoch))
            .map_err(|_| Unhandled::Declined)?;
        let since_epoch = since_epoch.cast_into::<PyDelta>()?;
        microseconds(&since_epoch)?.ok_or(Unhandled::Declined)
    }

    /// An empty session of a class that is constructed like Flask's.
    pub(crate) fn empty_session<'py>(
        &self,
        class: &Bound<'py, PyType>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let session = call(self.dict_new.bind(class.py()), (class,))?;
        session.setattr(intern!(class.py(), "on_update"), &self.on_update)?;
        Ok(session)
    }

    /// The raw `Cookie` header of a request whose class reads it like Flask's; `None` if the request
    /// has none. Declines if the request's `cookies` or `headers` were replaced.
    pub(crate) fn cookie_header<'py>(
        &self,
        request: &Bound<'py, PyAny>,
    ) -> Result<Option<Bound<'py, PyString>>, Unhandled> {
        let py = request.py();
        let own = instance_dict(request)?;
        if own.contains(intern!(py, "cookies"))? {
            return Err(Unhandled::Declined);
        }
        let headers = own.get_item(intern!(py, "headers"))?.ok_or(Unhandled::Declined)?;
        if !headers.get_type().is(&self.environ_headers) {
            return Err(Unhandled::Declined);
        }
        let environ = instance_dict(&headers)?;
        let environ = environ.get_item(intern!(py, "environ"))?.ok_or(Unhandled::Declined)?;
        let environ = environ.cast_into_exact::<PyDict>()?;
        let header = environ.get_item(intern!(py, "HTTP_COOKIE"))?;
        Ok(header.map(Bound::cast_into_exact::<PyString>).transpose()?)
    }

    /// The list behind a response's headers. Declines if `set_cookie` or `headers` were replaced.
    pub(crate) fn header_list<'py>(
        &self,
        response: &Bound<'py, PyAny>,
    ) -> Result<Bound<'py, PyList>, Unhandled> {
        let py = response.py();
        let own = instance_dict(response)?;
        if own.contains(intern!(py, "set_cookie"))? {
            return Err(Unhandled::Declined);
        }
        let headers = own.get_item(intern!(py, "headers"))?.ok_or(Unhandled::Declined)?;
        if !headers.get_type().is(&self.headers) {
            return Err(Unhandled::Declined);
        }
        let list = instance_dict(&headers)?.get_item(intern!(py, "_list"))?;
        Ok(list.ok_or(Unhandled::Declined)?.cast_into_exact::<PyList>()?)
    }

    /// The list of tags of a serializer, if it has Flask's class and Flask's tags in Flask's order.
    /// That holds as long as the list keeps its length: registering a tag makes it longer.
    pub(crate) fn intact_tags<'py>(
        &self,
        serializer: &Bound<'py, PyAny>,
    ) -> Result<Option<Bound<'py, PyList>>, Unhandled> {
        let py = serializer.py();
        if !serializer.get_type().is(&self.serializer) {
            return Ok(None);
        }
        let order = attribute(serializer, intern!(py, "order"))?.cast_into_exact::<PyList>()?;
        let tags = attribute(serializer, intern!(py, "tags"))?.cast_into_exact::<PyDict>()?;
        let mut named = Vec::with_capacity(tags.len());
        // An app may register a tag meanwhile.
        let Ok(()) = with_locked(&tags, |tags| {
            tags.try_for_each(|_, tag| {
                named.push(tag);
                Ok::<_, Infallible>(())
            })
        });
        let mut named = named.iter();
        let intact = order.len() == self.tag_classes.len()
            && order.iter().zip(&self.tag_classes).enumerate().all(|(position, (tag, class))| {
                tag.get_type().is(class)
                    && (UNNAMED_TAGS.contains(&position)
                        || named.next().is_some_and(|known| known.is(&tag)))
            });
        Ok((intact && named.next().is_none()).then_some(order))
    }
}

/// The style of an app's JSON provider, whose class is Flask's; `None` if the instance has its own
/// methods.
pub(crate) fn json_style(
    json: &Bound<'_, PyAny>,
    of_class: Overrides,
) -> Result<Option<Style>, Unhandled> {
    let py = json.py();
    let own = instance_dict(json)?;
    // An untouched provider has only its app as an attribute.
    let untouched = own.len() == 1 && own.contains(intern!(py, "_app"))?;
    let [sort_keys, ensure_ascii, _] = of_class.class_values();
    if untouched
        && let (Some(sort_keys), Some(ensure_ascii)) = (sort_keys.flag(), ensure_ascii.flag())
    {
        return Ok(Some(Style { sort_keys, ensure_ascii }));
    }
    if own.contains(intern!(py, "dumps"))? || own.contains(intern!(py, "loads"))? {
        return Ok(None);
    }
    Ok(Some(Style {
        sort_keys: attribute(json, intern!(py, "sort_keys"))?.is_truthy()?,
        ensure_ascii: attribute(json, intern!(py, "ensure_ascii"))?.is_truthy()?,
    }))
}

/// An app's configuration and JSON provider, which Flask keeps in the app's instance dict.
pub(crate) fn config_and_json<'py>(
    app: &Bound<'py, PyAny>,
) -> Result<(Bound<'py, PyAny>, Bound<'py, PyAny>), Unhandled> {
    let (py, own) = (app.py(), instance_dict(app)?);
    let attribute = |name| own.get_item(name)?.ok_or(Unhandled::Declined);
    Ok((attribute(intern!(py, "config"))?, attribute(intern!(py, "json"))?))
}

/// The overrides of an interface: those of its class, and the hooks set on the instance, whose dict
/// is `own`.
pub(crate) fn hooks(own: &Bound<'_, PyDict>, of_class: Overrides) -> Result<Overrides, Unhandled> {
    if of_class.unrelated() {
        return Err(Unhandled::Declined);
    }
    let mut hooks = of_class;
    if !own.is_empty() {
        for (position, name) in HOOKS.iter().enumerate() {
            if own.contains(*name)? {
                hooks = hooks.marked(position);
            }
        }
        // The Python fallback raises the error that names it.
        if own.contains("get_signing_serializer")? {
            return Err(Unhandled::Declined);
        }
    }
    Ok(hooks)
}
