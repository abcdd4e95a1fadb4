//! The roles that objects have in a request, and for each the attributes that the native path skips.

/// The role that an object has in a request.
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
    /// The class that constructs sessions.
    NewSession,
    /// A session that is saved.
    SavedSession,
}

pub(super) const ROLES: usize = 9;

/// The hooks of a session interface, each of which may be overridden alone. Their positions here are
/// those in the [`Overrides`] of an interface.
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

/// Position of `get_cookie_name`, the only hook that opening a session calls.
pub(super) const COOKIE_NAME: usize = 0;
/// Position, after the hooks, of the check that `__getattribute__` is not overridden.
pub(super) const GETATTRIBUTE: usize = HOOKS.len();
const OF_INTERFACE: [&str; GETATTRIBUTE + 1] = {
    let mut all = ["__getattribute__"; GETATTRIBUTE + 1];
    all.split_at_mut(GETATTRIBUTE).0.copy_from_slice(&HOOKS);
    all
};

/// Maximum number of class values per role.
pub(super) const VALUES: usize = 3;

impl Role {
    /// In the order of their declaration.
    pub(super) const ALL: [Self; ROLES] = [
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

    /// Module and name of Flask's class for this role, and those of its attributes that the native
    /// path skips.
    pub(super) const fn flask_class(self) -> (&'static str, &'static str, &'static [&'static str]) {
        match self {
            Self::Interface => ("flask.sessions", "SecureCookieSessionInterface", &OF_INTERFACE),
            // The base of Flask's apps and of Quart's.
            Self::App => (
                "flask.sansio.app",
                "App",
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

    /// Attributes, at most [`VALUES`], whose values the native path takes from the class if the
    /// instance has none of its own.
    pub(super) const fn class_values(self) -> &'static [&'static str] {
        match self {
            Self::Interface => &["salt", "serializer", "session_class"],
            Self::Json => &["sort_keys", "ensure_ascii"],
            Self::SavedSession => &["accessed", "modified"],
            _ => &[],
        }
    }
}
