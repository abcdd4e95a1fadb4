//! Compression of a session that does not fit into a cookie otherwise.
//!
//! A compressed payload is a `.` and a zlib stream (RFC 1950). JSON never begins with a dot.
//!
//! libdeflate writes the stream, because it is the fastest for texts of this length; it is written in
//! C, and compresses only what this app has just serialised. zlib-rs, in Rust, reads what comes from
//! outside, and only after its MAC was verified.

use std::collections::TryReserveError;
use std::sync::Mutex;

use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::{CompressionLvl, Compressor};

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

/// How much time compression takes for a shorter result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// For every response: two thirds of the time, for a result up to 15 % longer.
    Fast,
    /// For a session that may not fit otherwise.
    Thorough,
}

impl Effort {
    const fn level(self) -> i32 {
        match self {
            Self::Fast => 1,
            Self::Thorough => 8,
        }
    }

    fn compressor(self) -> Compressor {
        Compressor::new(CompressionLvl::new(self.level()).unwrap_or_default())
    }
}

/// A state kept from one call to the next, because making one takes longer than compressing a
/// session. One for each effort and direction serves the whole process; a call that finds it in use
/// makes its own.
struct Kept<T>(Mutex<Option<T>>);

static FAST: Kept<Compressor> = Kept(Mutex::new(None));
static THOROUGH: Kept<Compressor> = Kept(Mutex::new(None));
static INFLATING: Kept<Decompress> = Kept(Mutex::new(None));

impl<T> Kept<T> {
    /// Calls `work` with the kept state or with a new one. Never blocks, so that a forked child does
    /// not wait for a thread of its parent.
    fn with<R>(&self, new: impl Fn() -> T, work: impl Fn(&mut T) -> R) -> R {
        let kept = self.0.try_lock().ok().and_then(|mut kept| kept.take());
        let mut state = kept.unwrap_or_else(new);
        let result = work(&mut state);
        if let Ok(mut kept) = self.0.try_lock() {
            *kept = Some(state);
        }
        result
    }
}

/// The mark and the zlib stream over `payload`.
///
/// # Panics
/// Never: there is room for the longest stream.
///
/// # Errors
/// There is not enough memory.
#[expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "one byte for the mark and as many as the compressor's own bound are there"
)]
pub fn deflate(payload: &[u8], effort: Effort) -> Result<Vec<u8>, TryReserveError> {
    let state = match effort {
        Effort::Fast => &FAST,
        Effort::Thorough => &THOROUGH,
    };
    state.with(
        || effort.compressor(),
        |state| {
            let room = 1 + state.zlib_compress_bound(payload.len());
            let mut out = Vec::new();
            out.try_reserve_exact(room)?;
            out.resize(room, 0);
            out[0] = MARK;
            let length = state.zlib_compress(payload, &mut out[1..]).expect("the bound suffices");
            out.truncate(1 + length);
            Ok(out)
        },
    )
}

/// Undoes [`deflate`] for a payload that begins with the mark. `None` if the stream is broken, is
/// followed by other bytes, or inflates to more than [`MAX_INFLATED`] bytes. Memory is bounded by
/// that limit.
///
/// # Errors
/// There is not enough memory.
pub fn inflate(payload: &[u8]) -> Result<Option<Vec<u8>>, TryReserveError> {
    let Some((&MARK, stream)) = payload.split_first() else { return Ok(None) };
    INFLATING.with(
        || Decompress::new(true),
        |state| {
            state.reset(true);
            let mut out = Vec::new();
            out.try_reserve_exact((stream.len() * 6).clamp(64, MAX_INFLATED))?;
            loop {
                let rest =
                    usize::try_from(state.total_in()).ok().and_then(|read| stream.get(read..));
                let status =
                    rest.map(|rest| state.decompress_vec(rest, &mut out, FlushDecompress::Finish));
                match status {
                    Some(Ok(Status::StreamEnd)) => break,
                    // It ends early if there is room left for more, and otherwise needs more room.
                    Some(Ok(_)) if out.len() == out.capacity() && out.len() <= MAX_INFLATED => {
                        out.try_reserve_exact(out.len().min(MAX_INFLATED + 1 - out.len()))?;
                    }
                    _ => return Ok(None),
                }
            }
            let whole = out.len() <= MAX_INFLATED && state.total_in() == stream.len() as u64;
            Ok(whole.then_some(out))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::{Compression, Effort, MARK, MAX_INFLATED};
    use proptest::prelude::*;

    fn deflate(payload: &[u8], effort: Effort) -> Vec<u8> {
        super::deflate(payload, effort).expect("memory")
    }

    fn inflate(payload: &[u8]) -> Option<Vec<u8>> {
        super::inflate(payload).expect("memory")
    }

    proptest! {
        #[test]
        fn inflating_undoes_deflating(
            payload in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..5000),
                prop::collection::vec(b'a'..b'd', 0..50_000),
            ],
            effort in prop_oneof![Just(Effort::Fast), Just(Effort::Thorough)],
        ) {
            let packed = deflate(&payload, effort);
            // A state that was used before gives what a new one gives.
            let mut expected = vec![0; payload.len() * 2 + 64];
            let length = effort.compressor().zlib_compress(&payload, &mut expected).expect("room");
            prop_assert_eq!(&packed[1..], &expected[..length]);
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
    fn settings_have_their_names() {
        for (name, setting) in [
            ("fit", Compression::Fit),
            ("always", Compression::Always),
            ("never", Compression::Never),
        ] {
            assert_eq!((setting.name(), Compression::from_name(name)), (name, Some(setting)));
        }
        assert_eq!(Compression::from_name("Fit"), None);
    }

    #[test]
    fn more_effort_makes_a_text_shorter() {
        let text: String = (0..500).map(|number| format!("item {};", number * number)).collect();
        let [fast, thorough] =
            [Effort::Fast, Effort::Thorough].map(|effort| deflate(text.as_bytes(), effort).len());
        assert!(thorough < fast && fast < text.len(), "{thorough}, {fast}, {}", text.len());
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let longest = inflate(&deflate(&vec![0; MAX_INFLATED], Effort::Thorough)).expect("zeros");
        assert_eq!(longest.len(), MAX_INFLATED);
        assert!(longest.capacity() <= MAX_INFLATED + 1);
        assert_eq!(inflate(&deflate(&vec![0; MAX_INFLATED + 1], Effort::Thorough)), None);
        assert_eq!(inflate(&deflate(&vec![0; 64 * MAX_INFLATED], Effort::Thorough)), None);
    }

    #[test]
    fn a_stream_cut_short_or_followed_by_something_is_refused() {
        let packed = deflate(b"a session", Effort::Fast);
        assert_eq!(inflate(&packed).as_deref(), Some(&b"a session"[..]));
        let zeros = vec![0; 100_000];
        assert_eq!(inflate(&deflate(&zeros, Effort::Fast)), Some(zeros));
        assert_eq!(inflate(&packed[..packed.len() - 1]), None);
        assert_eq!(inflate(&[&packed[..], b"x"].concat()), None);
        assert_eq!(inflate(b""), None);
        assert_eq!(inflate(b"{}"), None);
    }
}
