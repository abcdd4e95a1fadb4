//! The plaintext of a token, in the buffer in which it was decrypted.

use std::ops::{Deref, Range};

/// Decrypted bytes between the header of a token and its end.
pub struct Plaintext {
    data: Vec<u8>,
    range: Range<usize>,
}

impl Plaintext {
    /// The part of `data` that is the plaintext.
    pub(super) const fn new(data: Vec<u8>, range: Range<usize>) -> Self {
        Self { data, range }
    }
}

impl Deref for Plaintext {
    type Target = [u8];

    #[expect(clippy::indexing_slicing, reason = "the range is where the text was decrypted")]
    fn deref(&self) -> &[u8] {
        &self.data[self.range.clone()]
    }
}
