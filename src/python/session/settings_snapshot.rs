//! The settings of a configuration, remembered so that any change of one shows.
//!
//! Flask reads its configuration at each request, and so does this module; but it only compares the
//! identity of the values, which is much cheaper than reading them.

use std::sync::RwLock;
use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDelta, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet,
    PyString, PyTuple,
};
use zeroize::Zeroizing;

use crate::python::dict::{LastEntry, LockedDict, with_locked};

/// The settings that a value depends on: names, and how many of them matter in a given call.
#[derive(Clone, Copy)]
pub(super) struct Watched<'a, 'py> {
    pub(super) config: &'a Bound<'py, PyDict>,
    /// The names of all settings that the value was derived from.
    pub(super) names: &'a [Py<PyString>],
    /// How many of them, from the first on, must be unchanged.
    pub(super) relevant: usize,
    /// Types, in addition to built-in ones, whose instances never change.
    pub(super) immutable: &'a Bound<'py, PyTuple>,
}

/// A setting's value, remembered so that any change of it shows.
enum Value {
    /// An immutable object. Held, so that no other object can get its address.
    Immutable(Py<PyAny>),
    /// The items of a container, in the order of iteration. The container may be replaced by another
    /// of its kind.
    Items(Container, Vec<Self>),
    /// The contents of a `bytearray`, which may be a secret.
    Bytes(Zeroizing<Vec<u8>>),
    /// An object that can change in a way that a comparison would not show. It never matches.
    Unknown,
}

impl Value {
    /// Levels of containers that are compared item by item.
    const MAX_DEPTH: usize = 3;

    /// Remembers a value, with containers inside it down to `depth` levels.
    fn of(value: &Bound<'_, PyAny>, depth: usize, immutable: &Bound<'_, PyTuple>) -> Self {
        if is_immutable(value, immutable) {
            return Self::Immutable(value.clone().unbind());
        }
        if let Ok(bytes) = value.cast_exact::<PyByteArray>() {
            return Self::Bytes(Zeroizing::new(bytes.to_vec()));
        }
        match (depth.checked_sub(1), items_of(value)) {
            (Some(depth), Some((container, items))) => Self::Items(
                container,
                items.iter().map(|item| Self::of(item, depth, immutable)).collect(),
            ),
            _ => Self::Unknown,
        }
    }

    /// [`matches`](Self::matches) for the setting `name` of a configuration.
    #[inline]
    fn is_unchanged(
        &self,
        locked: &LockedDict<'_, '_>,
        config: &Bound<'_, PyDict>,
        name: &Bound<'_, PyString>,
    ) -> bool {
        match self {
            Self::Immutable(value) => locked.holds(name, value.as_ptr()),
            _ => config.get_item(name).is_ok_and(|now| now.is_some_and(|now| self.matches(&now))),
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Immutable(value) => visit.call(value),
            Self::Items(_, items) => items.iter().try_for_each(|item| item.traverse(visit)),
            Self::Bytes(_) | Self::Unknown => Ok(()),
        }
    }

    /// Whether a value is still the one remembered.
    fn matches(&self, value: &Bound<'_, PyAny>) -> bool {
        match self {
            Self::Immutable(known) => known.is(value),
            Self::Items(known_as, known) => items_of(value).is_some_and(|(container, items)| {
                container == *known_as
                    && items.len() == known.len()
                    && known.iter().zip(&items).all(|(known, item)| known.matches(item))
            }),
            Self::Bytes(known) => value
                .cast_exact::<PyByteArray>()
                .is_ok_and(|bytes| Zeroizing::new(bytes.to_vec()) == *known),
            Self::Unknown => false,
        }
    }
}

/// All settings of a configuration that a value depends on.
pub(super) struct SettingsSnapshot {
    /// The configuration itself: another dict may have other keys in the same places.
    config: Py<PyDict>,
    /// The settings that are present: their position among the names, and their value.
    present: Vec<(usize, Value)>,
    /// The positions of those that are absent.
    absent: Vec<usize>,
    /// The configuration's last entry. While it is the last, no absent setting has been added.
    last: RwLock<Option<LastEntry>>,
    checks: AtomicU32,
}

impl SettingsSnapshot {
    /// One in so many checks looks every absent setting up by its name, for the case that the last
    /// entry does not show: see [`LastEntry`].
    const FULL_CHECK: u32 = 4;

    /// Remembers the settings as they are now.
    pub(super) fn take(watched: Watched<'_, '_>) -> PyResult<Self> {
        let Watched { config, names, immutable, .. } = watched;
        let last = with_locked(config, |locked| locked.last_entry());
        let (mut present, mut absent) = (Vec::with_capacity(names.len()), Vec::new());
        for (position, name) in names.iter().enumerate() {
            match config.get_item(name.bind(config.py()))? {
                None => absent.push(position),
                Some(value) => {
                    present.push((position, Value::of(&value, Value::MAX_DEPTH, immutable)));
                }
            }
        }
        let (last, checks) = (RwLock::new(last), AtomicU32::new(0));
        Ok(Self { config: config.clone().unbind(), present, absent, last, checks })
    }

    /// Whether the relevant settings are unchanged.
    #[expect(clippy::indexing_slicing, reason = "the positions are those of these very names")]
    pub(super) fn is_unchanged(&self, watched: Watched<'_, '_>) -> bool {
        let Watched { config, names, relevant, .. } = watched;
        let name = |position: usize| names[position].bind(config.py());
        self.config.is(config)
            && with_locked(config, |locked| {
                let mut present =
                    self.present.iter().take_while(|(position, _)| *position < relevant);
                self.none_was_added(locked, |position| locked.lacks(name(position)))
                    && present.all(|(position, value)| {
                        value.is_unchanged(locked, config, name(*position))
                    })
            })
    }

    /// Whether no absent setting has been added.
    fn none_was_added(
        &self,
        locked: &LockedDict<'_, '_>,
        is_absent: impl Fn(usize) -> bool,
    ) -> bool {
        let checks = self.checks.fetch_add(1, Ordering::Relaxed);
        let is_last = self
            .last
            .try_read()
            .is_ok_and(|last| last.as_ref().is_some_and(|last| !locked.has_grown_since(last)));
        if is_last && !checks.is_multiple_of(Self::FULL_CHECK) {
            return true;
        }
        if !self.absent.iter().all(|position| is_absent(*position)) {
            return false;
        }
        if !is_last && let Ok(mut last) = self.last.try_write() {
            // Unrelated entries were added: the next check compares with the new last one.
            *last = locked.last_entry();
        }
        true
    }

    /// Visits the objects that can be part of a cycle.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.config)?;
        if let Ok(last) = self.last.try_read() {
            visit.call(last.as_ref().map(LastEntry::key))?;
        }
        self.present.iter().try_for_each(|(_, value)| value.traverse(visit))
    }
}

/// A kind of container whose items are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    List,
    Tuple,
    Set,
}

/// The items of a list, a tuple or a set, in the order of iteration.
#[expect(clippy::disallowed_methods, reason = "a set's own iterator runs no Python code")]
fn items_of<'py>(value: &Bound<'py, PyAny>) -> Option<(Container, Vec<Bound<'py, PyAny>>)> {
    if let Ok(list) = value.cast_exact::<PyList>() {
        return Some((Container::List, list.iter().collect()));
    }
    if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        return Some((Container::Tuple, tuple.iter().collect()));
    }
    let is_set =
        value.is_exact_instance_of::<PySet>() || value.is_exact_instance_of::<PyFrozenSet>();
    if !is_set {
        return None;
    }
    Some((Container::Set, value.try_iter().ok()?.collect::<PyResult<_>>().ok()?))
}

/// Whether `value` never changes: it has exactly a built-in type that is immutable, or one of the
/// given types.
fn is_immutable(value: &Bound<'_, PyAny>, types: &Bound<'_, PyTuple>) -> bool {
    value.is_none()
        || value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyBool>()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyBytes>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyDelta>()
        || value.is_instance(types).unwrap_or(false)
}

#[cfg(all(test, feature = "python-tests"))]
mod tests {
    use std::ffi::CString;

    use super::*;

    /// A configuration with this setting, and a snapshot of it.
    struct Case<'py> {
        config: Bound<'py, PyDict>,
        names: Vec<Py<PyString>>,
        immutable: Bound<'py, PyTuple>,
    }

    impl<'py> Case<'py> {
        fn new(py: Python<'py>, setting: &str) -> Self {
            let config = PyDict::new(py);
            config.set_item("FIRST", 1).expect("set");
            config.set_item("SETTING", evaluate(py, setting)).expect("set");
            config.set_item("LAST", 2).expect("set");
            let names = ["SETTING", "ABSENT"].map(|name| PyString::intern(py, name).unbind());
            let immutable = evaluate(py, "(__import__('pathlib').PurePath,)");
            let immutable = immutable.cast_into().expect("a tuple");
            Self { config, names: names.into(), immutable }
        }

        fn watched(&self) -> Watched<'_, 'py> {
            let Self { config, names, immutable } = self;
            Watched { config, names, relevant: names.len(), immutable }
        }

        fn snapshot(&self) -> SettingsSnapshot {
            SettingsSnapshot::take(self.watched()).expect("readable")
        }

        fn run(&self, code: &str) {
            let code = CString::new(code).expect("no NUL");
            self.config.py().run(&code, None, Some(&self.config)).expect("runs");
        }
    }

    fn evaluate<'py>(py: Python<'py>, code: &str) -> Bound<'py, PyAny> {
        py.eval(&CString::new(code).expect("no NUL"), None, None).expect("evaluates")
    }

    const KINDS: [&str; 10] = [
        "'text'",
        "b'bytes'",
        "None",
        "0.5",
        "['a', 'b']",
        "('a', ['b'])",
        "{'a', 'b'}",
        "frozenset({'a'})",
        "bytearray(b'secret')",
        "__import__('datetime').timedelta(1)",
    ];

    #[test]
    fn an_unchanged_configuration_stays_unchanged() {
        Python::attach(|py| {
            for kind in KINDS.into_iter().chain(["__import__('pathlib').Path('ring')"]) {
                let case = Case::new(py, kind);
                let snapshot = case.snapshot();
                for _ in 0..3 {
                    assert!(snapshot.is_unchanged(case.watched()), "{kind}");
                }
            }
        });
    }

    #[test]
    fn every_change_shows() {
        Python::attach(|py| {
            for kind in KINDS {
                for change in ["SETTING = ['other']", "del SETTING", "ABSENT = None"] {
                    let case = Case::new(py, kind);
                    let snapshot = case.snapshot();
                    case.run(change);
                    assert!(!snapshot.is_unchanged(case.watched()), "{kind}: {change}");
                }
            }
            for (kind, change) in [
                ("['a']", "SETTING.append('b')"),
                ("['a']", "SETTING[0] = 'b'"),
                ("['a']", "SETTING = ('a',)"),
                ("['a']", "SETTING = {'a'}"),
                ("('a', ['b'])", "SETTING[1].clear()"),
                ("{'a'}", "SETTING.add('b')"),
                ("bytearray(b'secret')", "SETTING[0] ^= 1"),
                ("[bytearray(b'secret')]", "SETTING[0].append(1)"),
            ] {
                let case = Case::new(py, kind);
                let snapshot = case.snapshot();
                case.run(change);
                assert!(!snapshot.is_unchanged(case.watched()), "{kind}: {change}");
            }
        });
    }

    #[test]
    fn other_keys_may_come_and_go() {
        Python::attach(|py| {
            let case = Case::new(py, "'text'");
            let snapshot = case.snapshot();
            for change in ["OTHER = 1", "del OTHER", "del LAST", "MORE = 1; LAST = 3", "FIRST = 5"]
            {
                case.run(change);
                assert!(snapshot.is_unchanged(case.watched()), "{change}");
            }
            case.run("ABSENT = 1");
            assert!(!snapshot.is_unchanged(case.watched()));
        });
    }

    #[test]
    fn a_last_key_that_was_set_again_hides_an_addition_for_a_few_checks_at_most() {
        Python::attach(|py| {
            for change in [
                "kept = dict(SELF); SELF.clear(); \
                 SELF.update({'ABSENT' if k == 'FIRST' else k: v for k, v in kept.items()})",
                "SELF.popitem(); SELF.popitem(); SELF.update(ABSENT=1, LAST=2)",
                "del SELF['FIRST']; kept = SELF.pop('LAST'); SELF.update(ABSENT=1, LAST=kept)",
            ] {
                let case = Case::new(py, "'text'");
                let snapshot = case.snapshot();
                assert!(snapshot.is_unchanged(case.watched()));
                let names = PyDict::new(py);
                names.set_item("SELF", &case.config).expect("set");
                let code = CString::new(change).expect("no NUL");
                py.run(&code, None, Some(&names)).expect("runs");
                let seen = (0..SettingsSnapshot::FULL_CHECK)
                    .any(|_| !snapshot.is_unchanged(case.watched()));
                assert!(seen, "{change}");
            }
        });
    }

    #[test]
    fn another_configuration_is_a_change() {
        Python::attach(|py| {
            let case = Case::new(py, "'text'");
            let snapshot = case.snapshot();
            let equal = case.config.copy().expect("copied");
            assert!(!snapshot.is_unchanged(Watched { config: &equal, ..case.watched() }));
        });
    }

    #[test]
    fn only_the_relevant_settings_count() {
        Python::attach(|py| {
            let case = Case::new(py, "'text'");
            case.config.set_item("ABSENT", 1).expect("set");
            let snapshot = case.snapshot();
            case.config.set_item("ABSENT", "other").expect("set");
            assert!(snapshot.is_unchanged(Watched { relevant: 1, ..case.watched() }));
            assert!(!snapshot.is_unchanged(case.watched()));
        });
    }

    #[test]
    fn an_object_of_an_unknown_type_never_counts_as_unchanged() {
        Python::attach(|py| {
            for kind in ["{'a': 1}", "object()", "[[[[['deep']]]]]", "iter([])"] {
                let case = Case::new(py, kind);
                let snapshot = case.snapshot();
                assert!(!snapshot.is_unchanged(case.watched()), "{kind}");
                // It does not matter where it is not relevant.
                assert!(snapshot.is_unchanged(Watched { relevant: 0, ..case.watched() }), "{kind}");
            }
        });
    }
}
