//! Every way in which a token or a key can be refused.

/// Why a session token was refused.
///
/// `Expired` and `FromFuture` are only ever reported for a token whose MAC has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Not a token at all: wrong alphabet, length or version byte.
    Malformed,
    /// The MAC matches under no key. A wrong key and a changed token look alike.
    Unauthentic,
    /// Authentic, and older than the lifetime given.
    Expired,
    /// Authentic, and dated further ahead than the clock skew allowed.
    FromFuture,
    /// Longer than the limit; it has not been decoded.
    TooLarge,
    /// Authentic, but the padding or the compressed stream is not what we or anyone who follows
    /// the format would have written.
    Undecodable,
}

/// Why a text is not a key. Never carries the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Not URL-safe base64 with its padding.
    NotBase64,
    /// Decodes to another number of bytes than 32; the number it has.
    WrongLength(usize),
}

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotBase64 => f.write_str("is not URL-safe base64"),
            Self::WrongLength(bytes) => write!(f, "holds {bytes} bytes where a key has 32"),
        }
    }
}

impl std::error::Error for KeyError {}
