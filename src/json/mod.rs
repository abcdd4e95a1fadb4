//! JSON as Python's `json` reads and writes it, with the tags of Flask's
//! `flask.json.tag.TaggedJSONSerializer`. Knows no Python: `python/codec` builds and walks the
//! objects.

pub mod scan;
pub mod write;

/// Levels of nesting that are read or written natively. Deeper values are left to Python.
pub const MAX_DEPTH: usize = 64;

/// The single key of a JSON object that stands for a Python type.
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
    /// The tag that a key stands for. Every tag begins with a blank; almost no other key does.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
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

#[cfg(test)]
mod tests {
    use super::Tag;

    #[test]
    fn tags_are_those_of_flask() {
        for (key, tag) in [
            (" di", Tag::Dict),
            (" t", Tag::Tuple),
            (" b", Tag::Bytes),
            (" m", Tag::Markup),
            (" u", Tag::Uuid),
            (" d", Tag::DateTime),
        ] {
            assert_eq!(Tag::from_key(key), Some(tag));
            assert_eq!(Tag::from_key(key.trim()), None);
            assert_eq!(Tag::from_key(&format!("{key}_")), None);
        }
    }
}
