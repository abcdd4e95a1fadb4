//! Every reason for which a token can be refused.

/// Why a session token was refused.
///
/// `Expired`, `FromFuture` and `Undecodable` are only reported for a token whose MAC or tag has
/// been verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Not a token: wrong alphabet, length or version byte.
    Malformed,
    /// The MAC matches under no key. A wrong key and a changed token look alike.
    Unauthentic,
    /// Authentic, and older than the lifetime given.
    Expired,
    /// Authentic, and dated further ahead than the allowed clock skew.
    FromFuture,
    /// Longer than the limit. It has not been decoded.
    TooLarge,
    /// Authentic, but its padding or its compressed stream is not one that a writer of this format
    /// produces.
    Undecodable,
}
