//! What a class does as Flask does it, looked at attribute by attribute, once a class.
//!
//! The fast path may read a request or write a response natively only where it can show that
//! the Python it goes around is Flask's own. A class is compared with its Flask ancestor in
//! just the attributes that matter, so that a subclass with other additions keeps the fast path.

use std::sync::RwLock;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyType};

use super::flask_objects::TAG_CLASSES;

/// The part that an object plays in a request.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    /// The session interface.
    Interface,
    /// The Flask app.
    App,
    /// Its configuration.
    Config,
    /// Its JSON provider.
    Json,
    /// The interface's serializer.
    Serializer,
    /// The request that a session is opened from.
    Request,
    /// The response that a session is saved to.
    Response,
    /// The class that makes a session from a dict.
    NewSession,
    /// A session that is saved.
    SavedSession,
}

const ROLES: usize = 9;

/// What an interface has besides its hooks: whether its attributes are what they are.
pub(crate) const GETATTRIBUTE: usize = HOOKS.len();
const OF_INTERFACE: [&str; GETATTRIBUTE + 1] = {
    let mut all = ["__getattribute__"; GETATTRIBUTE + 1];
    all.split_at_mut(GETATTRIBUTE).0.copy_from_slice(&HOOKS);
    all
};

/// The hooks of a session interface; each may be overridden alone. Positions in [`Facts`].
pub(crate) const HOOKS: [&str; 9] = [
    "get_cookie_name",
    "get_cookie_domain",
    "get_cookie_path",
    "get_cookie_secure",
    "get_cookie_partitioned",
    "get_cookie_samesite",
    "get_cookie_httponly",
    "should_set_cookie",
    "get_expiration_time",
];

impl Role {
    /// In the order of their declaration.
    const ALL: [Self; ROLES] = [
        Self::Interface,
        Self::App,
        Self::Config,
        Self::Json,
        Self::Serializer,
        Self::Request,
        Self::Response,
        Self::NewSession,
        Self::SavedSession,
    ];

    /// Module and name of the class that Flask has for this, and the attributes of it that the
    /// fast path goes around.
    const fn stock(self) -> (&'static str, &'static str, &'static [&'static str]) {
        match self {
            Self::Interface => ("flask.sessions", "SecureCookieSessionInterface", &OF_INTERFACE),
            Self::App => (
                "flask",
                "Flask",
                &["secret_key", "permanent_session_lifetime", "config", "json", "__getattribute__"],
            ),
            Self::Config => {
                ("flask", "Config", &["__getitem__", "get", "__missing__", "__getattribute__"])
            }
            Self::Json => (
                "flask.json.provider",
                "DefaultJSONProvider",
                &["dumps", "loads", "__getattribute__"],
            ),
            Self::Serializer => (
                "flask.json.tag",
                "TaggedJSONSerializer",
                &["dumps", "loads", "tag", "untag", "_untag_scan", "__getattribute__"],
            ),
            Self::Request => (
                "flask",
                "Request",
                &[
                    "cookies",
                    "dict_storage_class",
                    "headers",
                    "__init__",
                    "__getattribute__",
                    "__getattr__",
                ],
            ),
            Self::Response => (
                "flask",
                "Response",
                &["set_cookie", "vary", "headers", "max_cookie_size", "__getattribute__"],
            ),
            Self::NewSession => (
                "flask.sessions",
                "SecureCookieSession",
                &["__new__", "__init__", "__setattr__", "on_update"],
            ),
            Self::SavedSession => (
                "flask.sessions",
                "SecureCookieSession",
                &[
                    "accessed",
                    "modified",
                    "__len__",
                    "__bool__",
                    "__iter__",
                    "__getitem__",
                    "__contains__",
                    "keys",
                    "items",
                    "values",
                    "get",
                    "permanent",
                    "__getattribute__",
                ],
            ),
        }
    }

    /// Attributes whose values the fast path takes from the class where an instance has none of
    /// its own: no more than [`VALUES`].
    const fn values(self) -> &'static [&'static str] {
        match self {
            Self::Interface => &["salt", "serializer", "session_class"],
            Self::Json => &["sort_keys", "ensure_ascii"],
            Self::SavedSession => &["accessed", "modified"],
            _ => &[],
        }
    }

    fn examine(self, class: &Bound<'_, PyType>) -> PyResult<Facts> {
        let py = class.py();
        let stock = &Stock::get(py)?.roles[self as usize];
        if !class.is_subclass(stock.class.bind(py))? {
            return Ok(Facts::FOREIGN);
        }
        let mut facts = Facts::STOCK;
        for (position, differs) in stock.differences(class)?.into_iter().enumerate() {
            if differs {
                facts = facts.with(position);
            }
        }
        for (position, name) in self.values().iter().enumerate() {
            facts.values[position] = ClassValue::of(class, name)?;
        }
        if matches!(self, Self::Serializer) && !Stock::get(py)?.has_stock_tags(py)? {
            return Ok(Facts::FOREIGN);
        }
        if matches!(self, Self::NewSession | Self::SavedSession)
            && !follows(class, stock.class.bind(py))
        {
            // What comes between Flask's class and its bases is called by it.
            return Ok(Facts::FOREIGN);
        }
        if matches!(self, Self::NewSession) {
            // A metaclass may make its instances in a way of its own.
            let call = class.get_type().getattr("__call__")?;
            if !call.is(&py.get_type::<PyType>().getattr("__call__")?) {
                return Ok(Facts::FOREIGN);
            }
        }
        Ok(facts)
    }
}

/// Flask's classes as they were when this module was imported: what is put in place of a method
/// later is not Flask's.
pub(crate) struct Stock {
    roles: [StockClass; ROLES],
    tags: Vec<StockClass>,
}

/// An attribute as a class has it, or the first of its bases that does, and not what it makes of
/// itself when it is asked for: as `inspect.getattr_static`.
fn attribute<'py>(class: &Bound<'py, PyType>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    for base in class.mro() {
        let own = base.getattr("__dict__")?;
        if own.contains(name)? {
            return own.get_item(name).map(Some);
        }
    }
    Ok(None)
}

/// Whether the bases of `class`, from `stock` on, are those of `stock`.
fn follows(class: &Bound<'_, PyType>, stock: &Bound<'_, PyType>) -> bool {
    let (all, theirs) = (class.mro(), stock.mro());
    let from = all.iter().position(|base| base.is(stock)).unwrap_or(all.len());
    all.len() - from == theirs.len()
        && all.iter().skip(from).zip(theirs.iter()).all(|(one, other)| one.is(&other))
}

struct StockClass {
    class: Py<PyType>,
    attributes: Vec<(&'static str, Option<Py<PyAny>>)>,
}

impl StockClass {
    fn new(
        py: Python<'_>,
        module: &str,
        name: &str,
        attributes: &[&'static str],
    ) -> PyResult<Self> {
        let class = py.import(module)?.getattr(name)?.cast_into::<PyType>()?;
        let attribute =
            |name: &&'static str| Ok((*name, attribute(&class, name)?.map(Bound::unbind)));
        let attributes = attributes.iter().map(attribute).collect::<PyResult<_>>()?;
        Ok(Self { class: class.unbind(), attributes })
    }

    /// Whether `class` has another attribute in place of each of these.
    fn differences(&self, class: &Bound<'_, PyType>) -> PyResult<Vec<bool>> {
        let differs = |(name, flask): &(&str, Option<Py<PyAny>>)| {
            Ok(match (attribute(class, name)?, flask) {
                (Some(theirs), Some(flask)) => !theirs.is(flask),
                (theirs, flask) => theirs.is_some() || flask.is_some(),
            })
        };
        self.attributes.iter().map(differs).collect()
    }
}

static STOCK: PyOnceLock<Stock> = PyOnceLock::new();

impl Stock {
    pub(crate) fn get(py: Python<'_>) -> PyResult<&'static Self> {
        STOCK.get_or_try_init(py, || {
            let role = |role: &Role| {
                let (module, name, attributes) = role.stock();
                StockClass::new(py, module, name, attributes)
            };
            let roles = Role::ALL.iter().map(role).collect::<PyResult<Vec<_>>>()?;
            let roles = roles.try_into().unwrap_or_else(|_| unreachable!("as many as roles"));
            let attributes = ["check", "key", "tag", "to_json", "to_python"];
            let tag = |name: &&str| StockClass::new(py, "flask.json.tag", name, &attributes);
            let tags = TAG_CLASSES.iter().map(tag).collect::<PyResult<_>>()?;
            Ok(Self { roles, tags })
        })
    }

    fn has_stock_tags(&self, py: Python<'_>) -> PyResult<bool> {
        for tag in &self.tags {
            if tag.differences(tag.class.bind(py))?.contains(&true) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What was found out about a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// A bit an attribute, set where a class has another than Flask's; every bit set for a class
    /// that is no subclass at all.
    differs: u16,
    values: [ClassValue; VALUES],
}

/// Attributes of a class whose values matter, at most.
const VALUES: usize = 3;

/// An attribute of a class, as its instances have it if they have none of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClassValue {
    /// Not there, or computed anew for each instance.
    Computed,
    /// `True` or `False`.
    Flag(bool),
    /// Any other value.
    Plain,
}

impl ClassValue {
    fn of(class: &Bound<'_, PyType>, name: &str) -> PyResult<Self> {
        let Some(value) = attribute(class, name)? else { return Ok(Self::Computed) };
        if value.get_type().hasattr("__get__")? {
            return Ok(Self::Computed);
        }
        Ok(value.cast_exact::<PyBool>().map_or(Self::Plain, |flag| Self::Flag(flag.is_true())))
    }

    /// Its truth, where that is a matter of the class.
    pub(crate) const fn flag(self) -> Option<bool> {
        if let Self::Flag(flag) = self { Some(flag) } else { None }
    }
}

impl Facts {
    const STOCK: Self = Self { differs: 0, values: [ClassValue::Computed; VALUES] };
    const FOREIGN: Self = Self { differs: u16::MAX, ..Self::STOCK };

    /// Whether every attribute is Flask's.
    pub(crate) const fn stock(self) -> bool {
        self.differs == 0
    }

    /// Whether the class has nothing to do with Flask's.
    pub(crate) const fn foreign(self) -> bool {
        self.differs == u16::MAX
    }

    pub(crate) const fn overrides(self, attribute: usize) -> bool {
        self.differs >> attribute & 1 == 1
    }

    pub(crate) const fn with(self, attribute: usize) -> Self {
        Self { differs: self.differs | 1 << attribute, ..self }
    }

    /// The values of the class, in the order of [`Role::values`].
    pub(crate) const fn values(self) -> [ClassValue; VALUES] {
        self.values
    }
}

/// The classes that have been met in each role.
pub(crate) struct Classes(RwLock<[Vec<Met>; ROLES]>);

type Met = (Py<PyType>, Facts);

impl Classes {
    /// An app has a handful of classes a role; a test suite that makes them by the hundred must
    /// not keep them all alive.
    const MOST: usize = 32;

    pub(crate) const fn new() -> Self {
        Self(RwLock::new([const { Vec::new() }; ROLES]))
    }

    /// What is known about the class of each object, or found out now.
    pub(crate) fn facts<const N: usize>(
        &self,
        subjects: [(Role, &Bound<'_, PyAny>); N],
    ) -> PyResult<[Facts; N]> {
        let mut facts = [None; N];
        // Nothing waits for a lock while it holds the interpreter, or in a forked child for a
        // thread that is no more: a lock that is taken means finding out again.
        if let Ok(met) = self.0.try_read() {
            for (fact, (role, subject)) in facts.iter_mut().zip(subjects) {
                let class = subject.get_type_ptr().cast();
                let mut known = met[role as usize].iter();
                *fact = known.find(|(met, _)| met.as_ptr() == class).map(|(_, facts)| *facts);
            }
        }
        let mut all = [Facts::FOREIGN; N];
        for ((fact, known), (role, subject)) in all.iter_mut().zip(facts).zip(subjects) {
            *fact = match known {
                Some(facts) => facts,
                None => self.find_out(role, &subject.get_type())?,
            };
        }
        Ok(all)
    }

    /// What is known about one class, or found out now.
    pub(crate) fn facts_of_class(&self, role: Role, class: &Bound<'_, PyType>) -> PyResult<Facts> {
        if let Ok(met) = self.0.try_read()
            && let Some((_, facts)) = met[role as usize].iter().find(|(met, _)| met.is(class))
        {
            return Ok(*facts);
        }
        self.find_out(role, class)
    }

    #[cold]
    fn find_out(&self, role: Role, class: &Bound<'_, PyType>) -> PyResult<Facts> {
        let facts = role.examine(class)?;
        let mut dropped = Vec::new();
        if let Ok(mut met) = self.0.try_write() {
            let met = &mut met[role as usize];
            if met.len() == Self::MOST {
                dropped = std::mem::take(met);
            }
            met.push((class.clone().unbind(), facts));
        }
        // With the lock released: the end of a class can run Python.
        drop(dropped);
        Ok(facts)
    }

    pub(crate) fn traverse(
        &self,
        visit: &pyo3::gc::PyVisit<'_>,
    ) -> Result<(), pyo3::gc::PyTraverseError> {
        if let Ok(met) = self.0.try_read() {
            met.iter().flatten().try_for_each(|(class, _)| visit.call(class))?;
        }
        Ok(())
    }
}
