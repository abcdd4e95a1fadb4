//! Settings as they were when they were last looked at closely, good for as long as the objects
//! in the configuration are the same ones.
//!
//! Flask reads its configuration at each request, and so does this: each value is looked at and
//! compared by identity with the one that a snapshot was made from. Only immutable values, and
//! lists of them, are ever compared so; anything else makes a snapshot that is used once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDelta, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use super::entries::{Entries, Place, with_entries};
use super::stop::Stop;

/// A value as it was seen.
enum Watched {
    /// The setting was not there.
    Absent,
    /// An immutable object.
    Same(Py<PyAny>),
    /// The immutable objects in a list; which list does not matter.
    List(Vec<Py<PyAny>>),
}

impl Watched {
    /// `None` for what can change without becoming another object.
    fn new(value: Option<&Bound<'_, PyAny>>) -> Option<Self> {
        let Some(value) = value else { return Some(Self::Absent) };
        if immutable(value) {
            return Some(Self::Same(value.clone().unbind()));
        }
        let list = value.cast_exact::<PyList>().ok()?;
        let items = list.iter().map(|item| immutable(&item).then(|| item.unbind()));
        Some(Self::List(items.collect::<Option<_>>()?))
    }

    /// Whether `value` is this one still.
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

    /// Where an object is that has not changed as long as it is this one.
    fn address(&self) -> Option<usize> {
        if let Self::Same(known) = self { Some(known.as_ptr().addr()) } else { None }
    }
}

/// A setting as it was seen.
struct Seen {
    value: Watched,
    /// Where, and the address of the value, if that is all that matters of it.
    found: Option<(Place, usize)>,
}

impl Seen {
    fn new(config: &Bound<'_, PyDict>, name: &Bound<'_, PyString>) -> PyResult<Option<Self>> {
        let Some(value) = Watched::new(config.get_item(name)?.as_ref()) else { return Ok(None) };
        let place = with_entries(config, |entries| entries.place_of(name))?;
        let found = place.zip(value.address());
        Ok(Some(Self { value, found }))
    }

    #[inline]
    fn is_still(
        &self,
        entries: &Entries<'_, '_>,
        config: &Bound<'_, PyDict>,
        name: &Bound<'_, PyString>,
    ) -> bool {
        if let Some((place, address)) = &self.found
            && entries.value_at(place) == Some(*address)
        {
            return true;
        }
        config.get_item(name).is_ok_and(|value| self.value.is(value.as_ref()))
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

/// What was made from settings and from other objects, with both.
struct Snapshot<T, const N: usize, const OTHERS: usize> {
    /// Address of the app: whose snapshot to replace, and no proof of anything.
    app: usize,
    seen: [Seen; N],
    others: [Py<PyAny>; OTHERS],
    generation: u64,
    made: Arc<T>,
}

/// What was last made from `N` settings and from `OTHERS` other objects, of which it only matters
/// which they are, an app: one interface may serve several apps.
pub(crate) struct Snapshots<T, const N: usize, const OTHERS: usize> {
    all: RwLock<Vec<Snapshot<T, N, OTHERS>>>,
    generation: AtomicU64,
}

/// Settings, by their names, in a configuration that is a plain dict at heart.
pub(crate) struct Settings<'a, 'py, const N: usize> {
    pub(crate) config: &'a Bound<'py, PyDict>,
    pub(crate) names: [&'a Bound<'py, PyString>; N],
}

impl<'py, const N: usize> Settings<'_, 'py, N> {
    /// Their values, `None` for those that are not there.
    pub(crate) fn values(&self) -> PyResult<[Option<Bound<'py, PyAny>>; N]> {
        let mut values = [const { None }; N];
        for (value, name) in values.iter_mut().zip(self.names) {
            *value = self.config.get_item(name)?;
        }
        Ok(values)
    }

    /// `None` where one of them can change without becoming another object.
    fn seen(&self) -> PyResult<Option<[Seen; N]>> {
        let mut all = Vec::with_capacity(N);
        for name in self.names {
            let Some(seen) = Seen::new(self.config, name)? else { return Ok(None) };
            all.push(seen);
        }
        Ok(all.try_into().ok())
    }

    fn are(&self, seen: &[Seen; N]) -> bool {
        with_entries(self.config, |entries| {
            seen.iter()
                .zip(self.names)
                .all(|(seen, name)| seen.is_still(entries, self.config, name))
        })
    }
}

/// What has Python objects that the garbage collector has to know of.
pub(crate) trait Traverse {
    /// Visits each of them.
    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError>;
}

impl<T: Traverse, const N: usize, const OTHERS: usize> Snapshots<T, N, OTHERS> {
    /// Visits what can be part of a cycle: settings are immutable, or lists of such.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Ok(snapshots) = self.all.try_read() else { return Ok(()) };
        for snapshot in snapshots.iter() {
            snapshot.others.iter().try_for_each(|other| visit.call(other))?;
            snapshot.made.traverse(visit)?;
        }
        Ok(())
    }
}

impl<T, const N: usize, const OTHERS: usize> Snapshots<T, N, OTHERS> {
    const MOST: usize = 8;

    pub(crate) const fn new() -> Self {
        Self { all: RwLock::new(Vec::new()), generation: AtomicU64::new(0) }
    }

    /// Makes everything anew at its next use.
    pub(crate) fn forget(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// What was made from these very settings and objects before, as long as it `is_good`, or what
    /// `make` makes from them now.
    pub(crate) fn get(
        &self,
        app: &Bound<'_, PyAny>,
        settings: &Settings<'_, '_, N>,
        others: [&Bound<'_, PyAny>; OTHERS],
        is_good: impl Fn(&T) -> bool,
        make: impl FnOnce() -> Result<T, Stop>,
    ) -> Result<Arc<T>, Stop> {
        let generation = self.generation.load(Ordering::Relaxed);
        let app = app.as_ptr().addr();
        // Nobody waits here; see `Classes::facts`.
        if let Ok(snapshots) = self.all.try_read()
            && let Some(snapshot) = snapshots.iter().find(|snapshot| snapshot.app == app)
            && snapshot.generation == generation
            && snapshot.others.iter().zip(others).all(|(known, other)| known.is(other))
            && settings.are(&snapshot.seen)
            && is_good(&snapshot.made)
        {
            return Ok(Arc::clone(&snapshot.made));
        }
        // Before making, which reads the configuration again: what changes meanwhile must show
        // as a change the next time.
        let seen = settings.seen()?;
        let made = Arc::new(make()?);
        let mut dropped = None;
        if let Some(seen) = seen
            && let Ok(mut snapshots) = self.all.try_write()
        {
            // The former one of this app goes at once, and the keys in it with it.
            let former = snapshots.iter().position(|snapshot| snapshot.app == app);
            if former.is_some() || snapshots.len() == Self::MOST {
                dropped = Some(snapshots.remove(former.unwrap_or(Self::MOST - 1)));
            }
            let others = others.map(|other| other.clone().unbind());
            let made = Arc::clone(&made);
            snapshots.insert(0, Snapshot { app, seen, others, generation, made });
        }
        // With the lock released: the end of an object can run Python.
        drop(dropped);
        Ok(made)
    }
}
