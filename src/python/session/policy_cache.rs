//! A cache of values derived from an app's configuration, one per app.
//!
//! An entry is valid while the app lives and each setting that the value was derived from is
//! unchanged, which `settings_snapshot` tells.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock, Weak};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple, PyWeakrefReference};

use super::settings_snapshot::{SettingsSnapshot, Watched};
use crate::python::unhandled::Unhandled;

/// The number of objects, besides the settings, whose identity a value depends on.
pub(super) const OBJECTS: usize = 3;

/// A value derived from the configuration of an app.
struct Entry<T> {
    app: Py<PyWeakrefReference>,
    settings: SettingsSnapshot,
    objects: [Py<PyAny>; OBJECTS],
    generation: u64,
    value: Arc<T>,
}

impl<T> Entry<T> {
    /// Whether the app has gone.
    fn is_dead(&self) -> bool {
        Python::attach(|py| self.app.bind(py).upgrade().is_none())
    }
}

type Entries<T> = HashMap<usize, Entry<T>, BuildHasherDefault<AddressHasher>>;

/// Spreads addresses, whose lowest bits are always zero.
#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(31).wrapping_add(u64::from(*byte));
        }
    }

    fn write_usize(&mut self, address: usize) {
        self.0 = (address as u64 >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// For each app of an interface the value derived last from its configuration.
pub(super) struct PolicyCache<T> {
    /// By the address of the app. An address can be reused, so each entry also has a weak reference
    /// to its app, which also removes the entry when the app goes.
    entries: Arc<Shared<T>>,
    generation: AtomicU64,
}

/// The entries, which the weak references to apps share.
struct Shared<T> {
    by_address: RwLock<Entries<T>>,
    /// Whether an app has gone while its entry could not be removed.
    has_dead: AtomicBool,
}

/// A cached value with Python objects that the garbage collector must visit.
pub(super) trait Traverse {
    /// Visits each of them.
    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError>;
}

impl<T: Traverse> PolicyCache<T> {
    /// Visits every Python object in the cache.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Ok(entries) = self.entries.by_address.try_read() else { return Ok(()) };
        for entry in entries.values() {
            visit.call(&entry.app)?;
            entry.settings.traverse(visit)?;
            entry.objects.iter().try_for_each(|object| visit.call(object))?;
            entry.value.traverse(visit)?;
        }
        Ok(())
    }
}

impl<T: Send + Sync + 'static> PolicyCache<T> {
    /// An empty cache.
    pub(super) fn new() -> Self {
        let by_address = RwLock::new(Entries::default());
        let shared = Shared { by_address, has_dead: AtomicBool::new(false) };
        Self { entries: Arc::new(shared), generation: AtomicU64::new(0) }
    }

    /// Makes all entries invalid.
    pub(super) fn invalidate(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// The value derived from these settings and objects: the cached one if it is still valid and
    /// `is_current`, otherwise the one that `derive` makes now.
    pub(super) fn get(
        &self,
        app: &Bound<'_, PyAny>,
        watched: Watched<'_, '_>,
        objects: [&Bound<'_, PyAny>; OBJECTS],
        is_current: impl Fn(&T) -> bool,
        derive: impl FnOnce() -> Result<T, Unhandled>,
    ) -> Result<Arc<T>, Unhandled> {
        let generation = self.generation.load(Ordering::Relaxed);
        // Never block here: this thread holds the interpreter, and in a forked child the lock's
        // owner may not exist. If the lock is taken, derive the value again.
        if let Ok(entries) = self.entries.by_address.try_read()
            && let Some(entry) = entries.get(&app.as_ptr().addr())
            && entry.generation == generation
            && entry.objects.iter().zip(objects).all(|(known, object)| known.is(object))
            && entry.settings.is_unchanged(watched)
            && is_current(&entry.value)
            && entry.app.bind(app.py()).upgrade().is_some_and(|known| known.is(app))
        {
            return Ok(Arc::clone(&entry.value));
        }
        // Remember the settings before deriving the value, which reads them again: a change in
        // between then shows at the next call.
        let settings = SettingsSnapshot::take(watched)?;
        let value = Arc::new(derive()?);
        if let Some(app_reference) = self.reference_to(app) {
            let objects = objects.map(|object| object.clone().unbind());
            let value = Arc::clone(&value);
            let entry = Entry { app: app_reference, settings, objects, generation, value };
            self.insert(app.as_ptr().addr(), entry);
        }
        Ok(value)
    }

    fn insert(&self, address: usize, entry: Entry<T>) {
        let mut removed = Vec::new();
        match self.entries.by_address.try_write() {
            Ok(mut entries) => {
                if self.entries.has_dead.swap(false, Ordering::Relaxed) {
                    removed.extend(
                        entries.extract_if(|_, entry| entry.is_dead()).map(|(_, entry)| entry),
                    );
                }
                removed.extend(entries.insert(address, entry));
            }
            Err(_) => removed.push(entry),
        }
        // Dropped after the lock is released: deallocating an object can run Python code.
        drop(removed);
    }

    /// A weak reference to an app that removes the app's entry when the app goes, and the keys with
    /// it. `None` for an object that has no weak references.
    fn reference_to(&self, app: &Bound<'_, PyAny>) -> Option<Py<PyWeakrefReference>> {
        let (address, entries) = (app.as_ptr().addr(), Arc::downgrade(&self.entries));
        let remove = move |_: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| {
            remove_dead(&entries, address);
        };
        let callback = PyCFunction::new_closure(app.py(), None, None, remove).ok()?;
        PyWeakrefReference::new_with(app, callback).ok().map(Bound::unbind)
    }
}

/// Removes the entry at an address, unless a new app has the address already.
fn remove_dead<T>(entries: &Weak<Shared<T>>, address: usize) {
    let Some(entries) = entries.upgrade() else { return };
    let removed = match entries.by_address.try_write() {
        Ok(mut entries) if entries.get(&address).is_some_and(Entry::is_dead) => {
            entries.remove(&address)
        }
        Ok(_) => None,
        Err(_) => {
            // In use. The next insertion removes the entry.
            entries.has_dead.store(true, Ordering::Relaxed);
            None
        }
    };
    drop(removed);
}

#[cfg(all(test, feature = "python-tests"))]
mod tests {
    use std::cell::Cell;
    use std::ffi::CString;

    use super::*;

    /// An object with weak references, in the role of an app.
    fn app<'py>(py: Python<'py>) -> Bound<'py, PyAny> {
        let code = CString::new("type('App', (), {})()").expect("no NUL");
        py.eval(&code, None, None).expect("evaluates")
    }

    /// Gets the value, and whether it was derived now.
    fn get(
        cache: &PolicyCache<u32>,
        app: &Bound<'_, PyAny>,
        config: &Bound<'_, PyDict>,
        object: &Bound<'_, PyAny>,
        is_current: bool,
    ) -> bool {
        let derived = Cell::new(false);
        let immutable = PyTuple::empty(app.py());
        let watched = Watched { config, names: &[], relevant: 0, immutable: &immutable };
        let value = cache.get(
            app,
            watched,
            [object; OBJECTS],
            |_| is_current,
            || {
                derived.set(true);
                Ok(5)
            },
        );
        assert!(value.is_ok_and(|value| *value == 5));
        derived.get()
    }

    #[test]
    fn each_app_has_its_own_value_until_it_ends() {
        Python::attach(|py| {
            let (cache, config, object) = (PolicyCache::new(), PyDict::new(py), app(py));
            let apps: Vec<_> = (0..50).map(|_| app(py)).collect();
            for expected in [true, false] {
                for app in &apps {
                    assert_eq!(get(&cache, app, &config, &object, true), expected);
                }
            }
            assert!(get(&cache, &apps[0], &config, &object, false), "ended");
            assert!(get(&cache, &apps[0], &config, &app(py), true), "another object");
            cache.invalidate();
            assert!(apps.iter().all(|app| get(&cache, app, &config, &object, true)));
        });
    }

    #[test]
    fn an_entry_goes_with_its_app() {
        Python::attach(|py| {
            let (cache, config, object) = (PolicyCache::new(), PyDict::new(py), app(py));
            for _ in 0..100 {
                // Mostly at the address of the one before.
                assert!(get(&cache, &app(py), &config, &object, true));
                assert!(cache.entries.by_address.read().expect("free").is_empty());
            }
        });
    }

    #[test]
    fn a_cache_in_use_is_bypassed() {
        Python::attach(|py| {
            let (cache, config, object) = (PolicyCache::new(), PyDict::new(py), app(py));
            let app = app(py);
            get(&cache, &app, &config, &object, true);
            let entries = cache.entries.by_address.write().expect("free");
            assert!(get(&cache, &app, &config, &object, true));
            drop(entries);
            assert!(!get(&cache, &app, &config, &object, true));
        });
    }

    #[test]
    fn an_app_that_goes_while_the_cache_is_in_use_is_removed_later() {
        Python::attach(|py| {
            let (cache, config, object) = (PolicyCache::new(), PyDict::new(py), app(py));
            let short_lived = app(py);
            get(&cache, &short_lived, &config, &object, true);
            let in_use = cache.entries.by_address.read().expect("free");
            drop(short_lived);
            drop(in_use);
            assert_eq!(cache.entries.by_address.read().expect("free").len(), 1);
            let other = app(py);
            get(&cache, &other, &config, &object, true);
            assert_eq!(cache.entries.by_address.read().expect("free").len(), 1);
        });
    }
}
