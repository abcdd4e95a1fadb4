//! The JSON settings that are visible in what is written.

/// The settings of Flask's `DefaultJSONProvider` that change its output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    /// Whether the keys of an object are sorted.
    pub(crate) sort_keys: bool,
    /// Whether everything but printable ASCII is escaped.
    pub(crate) ensure_ascii: bool,
}
