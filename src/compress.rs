//! Compression of a session that does not fit into a cookie otherwise.
//!
//! A compressed payload is a `.` and a zlib stream (RFC 1950). JSON never begins with a dot.

use std::io::{Read, Write};

use flate2::{read::ZlibDecoder, write::ZlibEncoder};

/// First byte of a compressed payload.
pub const MARK: u8 = b'.';

/// Maximum number of bytes that a compressed payload may inflate to: 1 MiB.
pub const MAX_INFLATED: usize = 1 << 20;

/// When sessions are compressed: `SESSION_COMPRESSION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Only a session that does not fit into its cookie otherwise.
    Fit,
    /// Every session that compression makes shorter.
    Always,
    /// None.
    Never,
}

impl Compression {
    /// The value that the setting names.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "fit" => Some(Self::Fit),
            "always" => Some(Self::Always),
            "never" => Some(Self::Never),
            _ => None,
        }
    }

    /// Its name in the setting.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fit => "fit",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

/// The mark and the zlib stream over `payload`.
///
/// # Panics
/// Never: writing to memory does not fail.
#[must_use]
pub fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(vec![MARK], flate2::Compression::default());
    encoder.write_all(payload).expect("memory takes every byte");
    encoder.finish().expect("memory takes every byte")
}

/// Undoes [`deflate`] for a payload that begins with the mark. `None` if the stream is broken, is
/// followed by other bytes, or inflates to more than [`MAX_INFLATED`] bytes; at most one byte above
/// that limit is ever produced.
#[must_use]
pub fn inflate(payload: &[u8]) -> Option<Vec<u8>> {
    let (&MARK, stream) = payload.split_first()? else { return None };
    let mut decoder = ZlibDecoder::new(stream);
    let mut out = Vec::with_capacity((stream.len() * 4).min(MAX_INFLATED));
    let limit = MAX_INFLATED as u64 + 1;
    decoder.by_ref().take(limit).read_to_end(&mut out).ok()?;
    let whole = out.len() <= MAX_INFLATED && decoder.total_in() == stream.len() as u64;
    whole.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn inflating_undoes_deflating(payload: Vec<u8>) {
            let packed = deflate(&payload);
            prop_assert_eq!(packed[0], MARK);
            prop_assert_eq!(inflate(&packed), Some(payload));
        }

        #[test]
        fn no_bytes_panic(mut packed: Vec<u8>) {
            packed.insert(0, MARK);
            let _ = inflate(&packed);
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        assert_eq!(
            inflate(&deflate(&vec![0; MAX_INFLATED])).map(|out| out.len()),
            Some(MAX_INFLATED)
        );
        assert_eq!(inflate(&deflate(&vec![0; MAX_INFLATED + 1])), None);
        assert_eq!(inflate(&deflate(&vec![0; 64 * MAX_INFLATED])), None);
    }

    #[test]
    fn a_stream_cut_short_or_followed_by_something_is_refused() {
        let packed = deflate(b"a session");
        assert_eq!(inflate(&packed[..packed.len() - 1]), None);
        assert_eq!(inflate(&[&packed[..], b"x"].concat()), None);
        assert_eq!(inflate(b""), None);
        assert_eq!(inflate(b"{}"), None);
    }
}
