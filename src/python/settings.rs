//! Settings as they were when they were last looked at closely, good for as long as the objects
//! in the configuration are the same ones.
//!
//! Flask reads its configuration at each request, and so does this: each value is fetched and
//! compared by identity with the one that a snapshot was made from. Only immutable values, and
//! lists of them, are ever compared so; anything else makes a snapshot that is used once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDelta, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use super::stop::Stop;

/// A value as it was seen.
enum Watched {
    /// The setting was not there.
    Absent,
    /// An object that has not changed as long as it is this one.
    Same(Py<PyAny>),
    /// The immutable objects in a list; which list does not matter.
    List(Vec<Py<PyAny>>),
}

impl Watched {
    /// `None` for what can change without becoming another object.
    fn new(value: Option<&Bound<'_, PyAny>>) -> Option<Self> {
        let Some(value) = value.filter(|value| !immutable(value)) else {
            return Some(Self::object(value));
        };
        let list = value.cast_exact::<PyList>().ok()?;
        let items = list.iter().map(|item| immutable(&item).then(|| item.unbind()));
        Some(Self::List(items.collect::<Option<_>>()?))
    }

    fn object(value: Option<&Bound<'_, PyAny>>) -> Self {
        value.map_or(Self::Absent, |value| Self::Same(value.clone().unbind()))
    }

    fn is(&self, value: Option<&Bound<'_, PyAny>>) -> bool {
        match (self, value) {
            (Self::Absent, None) => true,
            (Self::Same(known), Some(value)) => known.is(value),
            (Self::List(items), Some(value)) => value.cast_exact::<PyList>().is_ok_and(|list| {
                list.len() == items.len()
                    && items.iter().zip(list.iter()).all(|(known, item)| known.is(&item))
            }),
            _ => false,
        }
    }
}

fn immutable(value: &Bound<'_, PyAny>) -> bool {
    value.is_none()
        || value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyBool>()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyBytes>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyDelta>()
        || value
            .cast_exact::<PyTuple>()
            .is_ok_and(|tuple| tuple.iter().all(|item| immutable(&item)))
}

/// What was made from a set of values, with the values.
struct Snapshot<T, const N: usize> {
    /// Address of the app: whose snapshot to replace, and no proof of anything.
    app: usize,
    watched: [Watched; N],
    generation: u64,
    made: Arc<T>,
}

/// What was last made from `N` values, an app: one interface may serve several apps. Of the last
/// `BY_IDENTITY` of them nothing matters but which object it is.
pub(crate) struct Snapshots<T, const N: usize, const BY_IDENTITY: usize> {
    all: RwLock<Vec<Snapshot<T, N>>>,
    generation: AtomicU64,
}

/// Values of settings, `None` for those that are not there.
pub(crate) type Values<'py, const N: usize> = [Option<Bound<'py, PyAny>>; N];

impl<T, const N: usize, const BY_IDENTITY: usize> Snapshots<T, N, BY_IDENTITY> {
    const MOST: usize = 8;

    pub(crate) const fn new() -> Self {
        Self { all: RwLock::new(Vec::new()), generation: AtomicU64::new(0) }
    }

    /// Makes everything anew at its next use.
    pub(crate) fn forget(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// What was made from these very values before, as long as it `is_good`, or what `make` makes
    /// from them now.
    pub(crate) fn get(
        &self,
        app: &Bound<'_, PyAny>,
        values: &Values<'_, N>,
        is_good: impl Fn(&T) -> bool,
        make: impl FnOnce() -> Result<T, Stop>,
    ) -> Result<Arc<T>, Stop> {
        let generation = self.generation.load(Ordering::Relaxed);
        // Nobody waits here; see `Classes::facts`.
        if let Ok(snapshots) = self.all.try_read() {
            let same = |snapshot: &&Snapshot<T, N>| {
                snapshot.watched.iter().zip(values).all(|(known, value)| known.is(value.as_ref()))
            };
            if let Some(snapshot) = snapshots.iter().find(same)
                && snapshot.generation == generation
                && is_good(&snapshot.made)
            {
                return Ok(Arc::clone(&snapshot.made));
            }
        }
        // Before making, which reads the configuration again: what changes meanwhile must show
        // as a change the next time.
        let (by_value, by_identity) = values.split_at(N - BY_IDENTITY);
        let by_value = by_value.iter().map(|value| Watched::new(value.as_ref()));
        let by_identity = by_identity.iter().map(|value| Some(Watched::object(value.as_ref())));
        let watched: Option<Vec<_>> = by_value.chain(by_identity).collect();
        let made = Arc::new(make()?);
        let app = app.as_ptr().addr();
        let mut dropped = None;
        if let Some(watched) = watched.and_then(|watched| watched.try_into().ok())
            && let Ok(mut snapshots) = self.all.try_write()
        {
            // The former one of this app goes at once, and the keys in it with it.
            let former = snapshots.iter().position(|snapshot| snapshot.app == app);
            if former.is_some() || snapshots.len() == Self::MOST {
                dropped = Some(snapshots.remove(former.unwrap_or(Self::MOST - 1)));
            }
            snapshots.insert(0, Snapshot { app, watched, generation, made: Arc::clone(&made) });
        }
        // With the lock released: the end of an object can run Python.
        drop(dropped);
        Ok(made)
    }
}

/// Fetches settings from a configuration that is a plain dict at heart. Values beyond the names
/// are left to the caller.
pub(crate) fn fetch<'py, const N: usize>(
    config: &Bound<'py, PyDict>,
    names: &[&Bound<'py, PyString>],
) -> PyResult<Values<'py, N>> {
    let mut values = [const { None }; N];
    for (value, name) in values.iter_mut().zip(names) {
        *value = config.get_item(name)?;
    }
    Ok(values)
}
