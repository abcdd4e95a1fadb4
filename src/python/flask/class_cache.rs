//! The overrides of classes, found once per class.
//!
//! The native path may skip Python code only if that code is Flask's own. It compares just the
//! attributes that matter, so that a subclass with other additions keeps the native path.

use std::sync::RwLock;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::baseline::{FlaskClasses, mro_is_intact};
use super::overrides::{ClassValue, Overrides};
use super::roles::{ROLES, Role};
use crate::python::call::attribute;

/// The overrides of the classes seen so far, by role.
pub(crate) struct ClassCache(RwLock<[Vec<KnownClass>; ROLES]>);

struct KnownClass {
    class: Py<PyType>,
    overrides: Overrides,
}

impl ClassCache {
    /// Classes per role. An app has a handful; a test suite that makes them by the hundred must not
    /// keep them all alive.
    const CAPACITY: usize = 32;

    /// An empty cache.
    pub(crate) const fn new() -> Self {
        Self(RwLock::new([const { Vec::new() }; ROLES]))
    }

    /// The overrides of each object's class.
    pub(crate) fn overrides_of<const N: usize>(
        &self,
        subjects: [(Role, &Bound<'_, PyAny>); N],
    ) -> PyResult<[Overrides; N]> {
        let mut all = [Overrides::UNRELATED; N];
        if !self.find_all(&subjects, &mut all) {
            for (overrides, (role, subject)) in all.iter_mut().zip(subjects) {
                *overrides = self.overrides_of_class(role, &subject.get_type())?;
            }
        }
        Ok(all)
    }

    /// Fills in the overrides of each object's class; `false` unless all of them are in the cache.
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "there is an entry for each role")]
    fn find_all(&self, subjects: &[(Role, &Bound<'_, PyAny>)], all: &mut [Overrides]) -> bool {
        // Never block here: this thread holds the interpreter, and in a forked child the lock's
        // owner may not exist. If the lock is taken, examine the class again.
        let Ok(known) = self.0.try_read() else { return false };
        subjects.iter().zip(all).all(|((role, subject), overrides)| {
            let class = subject.get_type_ptr().cast();
            let found = known[*role as usize].iter().find(|known| known.class.as_ptr() == class);
            found.map(|known| *overrides = known.overrides).is_some()
        })
    }

    /// The overrides of one class.
    #[expect(clippy::indexing_slicing, reason = "there is an entry for each role")]
    pub(crate) fn overrides_of_class(
        &self,
        role: Role,
        class: &Bound<'_, PyType>,
    ) -> PyResult<Overrides> {
        if let Ok(known) = self.0.try_read()
            && let Some(known) = known[role as usize].iter().find(|known| known.class.is(class))
        {
            return Ok(known.overrides);
        }
        self.examine(role, class)
    }

    #[cold]
    #[expect(clippy::indexing_slicing, reason = "there is an entry for each role")]
    fn examine(&self, role: Role, class: &Bound<'_, PyType>) -> PyResult<Overrides> {
        let overrides = examine(role, class)?;
        let mut evicted = Vec::new();
        if let Ok(mut known) = self.0.try_write() {
            let known = &mut known[role as usize];
            if known.len() == Self::CAPACITY {
                evicted = std::mem::take(known);
            }
            known.push(KnownClass { class: class.clone().unbind(), overrides });
        }
        // Dropped after the lock is released: deallocating a class can run Python code.
        drop(evicted);
        Ok(overrides)
    }

    /// Visits the classes, for the garbage collector.
    pub(crate) fn traverse(
        &self,
        visit: &pyo3::gc::PyVisit<'_>,
    ) -> Result<(), pyo3::gc::PyTraverseError> {
        if let Ok(known) = self.0.try_read() {
            known.iter().flatten().try_for_each(|known| visit.call(&known.class))?;
        }
        Ok(())
    }
}

/// Compares a class with Flask's in the attributes that matter.
#[expect(clippy::indexing_slicing, reason = "there is an entry for each role")]
fn examine(role: Role, class: &Bound<'_, PyType>) -> PyResult<Overrides> {
    let py = class.py();
    let baseline = &FlaskClasses::get(py)?.roles[role as usize];
    if !class.is_subclass(baseline.class.bind(py))? {
        return Ok(Overrides::UNRELATED);
    }
    let mut overrides = Overrides::NONE;
    for (position, differs) in baseline.differences(class)?.into_iter().enumerate() {
        if differs {
            overrides = overrides.marked(position);
        }
    }
    for (position, name) in role.class_values().iter().enumerate() {
        overrides.values[position] = ClassValue::of(class, name)?;
    }
    if matches!(role, Role::Serializer) && !FlaskClasses::get(py)?.tags_are_intact(py)? {
        return Ok(Overrides::UNRELATED);
    }
    if matches!(role, Role::NewSession | Role::SavedSession)
        && !mro_is_intact(class, baseline.class.bind(py))?
    {
        // A class inserted between Flask's and its bases would be reached by Flask's `super()`.
        return Ok(Overrides::UNRELATED);
    }
    if matches!(role, Role::NewSession) {
        // A metaclass may construct its instances in its own way.
        let call = attribute(&class.get_type(), intern!(py, "__call__"))?;
        if !call.is(&attribute(&py.get_type::<PyType>(), intern!(py, "__call__"))?) {
            return Ok(Overrides::UNRELATED);
        }
    }
    Ok(overrides)
}

#[cfg(all(test, feature = "python-tests"))]
mod tests {
    use std::ffi::CString;

    use super::*;
    use pyo3::types::PyDict;

    /// The overrides of a class `C` that the code defines, in one role.
    fn overrides(cache: &ClassCache, py: Python<'_>, role: Role, code: &str) -> Overrides {
        let names = PyDict::new(py);
        let imports = "import flask, flask.sessions\n".to_owned();
        let code = CString::new(imports + code).expect("no NUL");
        py.run(&code, None, Some(&names)).expect("runs");
        let class = names.get_item("C").expect("a dict").expect("defined");
        cache.overrides_of_class(role, class.cast::<PyType>().expect("a class")).expect("examined")
    }

    #[test]
    fn a_subclass_with_additions_overrides_nothing() {
        Python::attach(|py| {
            let cache = ClassCache::new();
            let code = "class C(flask.Request):\n more = property(lambda self: 1)";
            assert!(overrides(&cache, py, Role::Request, code).none());
            assert!(overrides(&cache, py, Role::Request, "C = flask.Request").none());
        });
    }

    #[test]
    fn an_attribute_that_matters_is_an_override() {
        Python::attach(|py| {
            let cache = ClassCache::new();
            for (role, code) in [
                (Role::Request, "class C(flask.Request):\n cookies = {}"),
                (Role::Response, "class C(flask.Response):\n def set_cookie(self): pass"),
                (Role::Config, "class C(flask.Config):\n def __missing__(self, key): pass"),
                (Role::App, "class C(flask.Flask):\n secret_key = 'x'"),
                (
                    Role::SavedSession,
                    "class C(flask.sessions.SecureCookieSession):\n def __len__(self): return 0",
                ),
            ] {
                let found = overrides(&cache, py, role, code);
                assert!(!found.none() && !found.unrelated(), "{code}");
            }
        });
    }

    #[test]
    fn a_foreign_class_and_a_changed_mro_are_unrelated() {
        Python::attach(|py| {
            let cache = ClassCache::new();
            assert!(overrides(&cache, py, Role::Request, "class C: pass").unrelated());
            let code = "
class Between(dict): pass
class C(flask.sessions.SecureCookieSession, Between): pass";
            assert!(overrides(&cache, py, Role::SavedSession, code).unrelated());
        });
    }

    #[test]
    fn a_hook_is_told_from_the_others() {
        Python::attach(|py| {
            let cache = ClassCache::new();
            let interface = "class C(flask.sessions.SecureCookieSessionInterface):\n";
            for (code, has_name) in [
                (" def get_cookie_name(self, app): pass", true),
                (" def should_set_cookie(self): 1", false),
            ] {
                let found = overrides(&cache, py, Role::Interface, &format!("{interface}{code}"));
                assert_eq!(found.has_cookie_name(), has_name);
                assert!(!found.none() && !found.has_getattribute());
            }
        });
    }

    #[test]
    fn the_cache_is_bounded() {
        Python::attach(|py| {
            let cache = ClassCache::new();
            for _ in 0..3 * ClassCache::CAPACITY {
                overrides(&cache, py, Role::Request, "class C(flask.Request): pass");
                let known = cache.0.read().expect("free")[Role::Request as usize].len();
                assert!((1..=ClassCache::CAPACITY).contains(&known));
            }
        });
    }
}
