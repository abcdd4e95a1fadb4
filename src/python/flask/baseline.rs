//! Flask's classes with the attributes that matter, to compare an app's classes with.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use super::overrides::{getattr_static, mro};
use super::roles::{ROLES, Role};
use crate::python::call::import;

/// The tags of `TaggedJSONSerializer`, in the order in which it asks them. Two of them have no name
/// and only pass untagged containers on.
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

/// Flask's classes as they were when this module was imported. A method that is replaced later is
/// not Flask's.
pub(crate) struct FlaskClasses {
    pub(super) roles: [Baseline; ROLES],
    tags: Vec<Baseline>,
}

/// Whether the MRO of `class`, from `flask_class` on, is that of `flask_class`.
pub(super) fn mro_is_intact(
    class: &Bound<'_, PyType>,
    flask_class: &Bound<'_, PyType>,
) -> PyResult<bool> {
    let (all, theirs) = (mro(class)?, mro(flask_class)?);
    let from = all.iter().position(|base| base.is(flask_class)).unwrap_or(all.len());
    Ok(all.len() - from == theirs.len()
        && all.iter().skip(from).zip(theirs.iter()).all(|(one, other)| one.is(&other)))
}

/// One of Flask's classes with the attributes that matter.
pub(super) struct Baseline {
    pub(super) class: Py<PyType>,
    attributes: Vec<(&'static str, Option<Py<PyAny>>)>,
}

impl Baseline {
    fn new(
        py: Python<'_>,
        module: &str,
        name: &str,
        attributes: &[&'static str],
    ) -> PyResult<Self> {
        let class = import(py, module, name)?.cast_into::<PyType>()?;
        let attribute =
            |name: &&'static str| Ok((*name, getattr_static(&class, name)?.map(Bound::unbind)));
        let attributes = attributes.iter().map(attribute).collect::<PyResult<_>>()?;
        Ok(Self { class: class.unbind(), attributes })
    }

    /// For each attribute, whether `class` has another one in its place.
    pub(super) fn differences(&self, class: &Bound<'_, PyType>) -> PyResult<Vec<bool>> {
        let differs = |(name, flask): &(&str, Option<Py<PyAny>>)| {
            Ok(match (getattr_static(class, name)?, flask) {
                (Some(theirs), Some(flask)) => !theirs.is(flask),
                (theirs, flask) => theirs.is_some() || flask.is_some(),
            })
        };
        self.attributes.iter().map(differs).collect()
    }
}

static FLASK_CLASSES: PyOnceLock<FlaskClasses> = PyOnceLock::new();

impl FlaskClasses {
    /// The classes, looked up at the first call.
    #[expect(clippy::unreachable, reason = "there are as many baselines as roles, one for each")]
    pub(crate) fn get(py: Python<'_>) -> PyResult<&'static Self> {
        FLASK_CLASSES.get_or_try_init(py, || {
            let role = |role: &Role| {
                let (module, name, attributes) = role.flask_class();
                Baseline::new(py, module, name, attributes)
            };
            let roles = Role::ALL.iter().map(role).collect::<PyResult<Vec<_>>>()?;
            let roles = roles.try_into().unwrap_or_else(|_| unreachable!("as many as roles"));
            let attributes = ["check", "key", "tag", "to_json", "to_python"];
            let tag = |name: &&str| Baseline::new(py, "flask.json.tag", name, &attributes);
            let tags = TAG_CLASSES.iter().map(tag).collect::<PyResult<_>>()?;
            Ok(Self { roles, tags })
        })
    }

    /// Whether the tags' own methods are still Flask's.
    pub(super) fn tags_are_intact(&self, py: Python<'_>) -> PyResult<bool> {
        for tag in &self.tags {
            if tag.differences(tag.class.bind(py))?.contains(&true) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
