//! What the fuzz targets share: keys, and changes to a token.

use arbitrary::Arbitrary;
use flask_fernet::keys::key::KEY;
use zeroize::Zeroizing;

/// A key made of one byte. The targets need no secret.
#[must_use]
pub fn key(byte: u8) -> Zeroizing<[u8; KEY]> {
    Zeroizing::new([byte; KEY])
}

/// A change to bytes or text.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Edit {
    /// Another byte in this place.
    Replace(u16, u8),
    /// One bit flipped.
    Flip(u16, u8),
    /// A byte more.
    Insert(u16, u8),
    /// A byte less.
    Remove(u16),
    /// Everything from this place on is cut off.
    Truncate(u16),
    /// A piece is repeated.
    Repeat(u16, u8),
    /// Two pieces change places.
    Swap(u16, u16),
}

impl Edit {
    /// Carries the change out.
    pub fn apply(self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        let place = |at: u16| usize::from(at) % length.max(1);
        match self {
            Self::Insert(at, byte) => bytes.insert(usize::from(at) % (length + 1), byte),
            _ if length == 0 => {}
            Self::Replace(at, byte) => bytes[place(at)] = byte,
            Self::Flip(at, bit) => bytes[place(at)] ^= 1 << (bit % 8),
            Self::Remove(at) => {
                bytes.remove(place(at));
            }
            Self::Truncate(at) => bytes.truncate(place(at)),
            Self::Repeat(at, count) => {
                let end = length.min(place(at) + usize::from(count));
                bytes.extend_from_within(place(at)..end);
            }
            Self::Swap(a, b) => bytes.swap(place(a), place(b)),
        }
    }
}
