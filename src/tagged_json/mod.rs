//! Flask's tagged JSON, between Python objects and bytes.
//!
//! `scan` and `write` know JSON as Python's `json` reads and writes it, and no Python; `decode`
//! and `encode` build and walk Python objects on top. What the native codec does not know
//! exactly it declines, and the caller hands the whole value to Flask's own serializer.

#[cfg(feature = "python")]
pub(crate) mod decode;
#[cfg(feature = "python")]
pub(crate) mod encode;
#[cfg(feature = "python")]
pub(crate) mod known;
#[cfg(feature = "python")]
pub(crate) mod types;

pub mod scan;
pub mod write;

/// Levels of nesting that are read or written natively; Python takes over beyond.
pub const MAX_DEPTH: usize = 64;

/// The one key of a JSON object that stands for a Python type, as
/// `flask.json.tag.TaggedJSONSerializer` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// A dict whose only key looks like a tag.
    Dict,
    /// `tuple`.
    Tuple,
    /// `bytes`, as standard base64.
    Bytes,
    /// `markupsafe.Markup`.
    Markup,
    /// `uuid.UUID`, as 32 hexadecimal digits.
    Uuid,
    /// `datetime.datetime`, as an HTTP date.
    DateTime,
}

impl Tag {
    /// The tag that a key stands for.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        // Every tag begins with a blank, almost no other key does.
        match key.as_bytes() {
            b" t" => Some(Self::Tuple),
            b" b" => Some(Self::Bytes),
            b" d" => Some(Self::DateTime),
            b" di" => Some(Self::Dict),
            b" m" => Some(Self::Markup),
            b" u" => Some(Self::Uuid),
            _ => None,
        }
    }
}
