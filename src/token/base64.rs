//! URL-safe base64 with padding (RFC 4648 section 5), the alphabet of every token.

use std::collections::TryReserveError;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig, simd::Simd};

/// Canonical form only, with padding and without stray bits: each token has exactly one spelling.
const CANONICAL: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
    .with_decode_allow_trailing_bits(false);

/// Chosen once, by the instructions that the processor has.
static URL_SAFE: std::sync::LazyLock<Simd> = std::sync::LazyLock::new(|| Simd::url_safe(CANONICAL));
static STANDARD: std::sync::LazyLock<Simd> = std::sync::LazyLock::new(|| Simd::standard(CANONICAL));

/// Chooses now.
pub(crate) fn warm_up() {
    std::sync::LazyLock::force(&URL_SAFE);
    std::sync::LazyLock::force(&STANDARD);
}

/// Length in bytes of the encoding of `length` bytes, padding included.
#[must_use]
pub const fn encoded_len(length: usize) -> usize {
    length.div_ceil(3) * 4
}

/// Fills `out`, which must be [`encoded_len`] bytes, with the URL-safe encoding of `data`.
pub fn encode_slice(data: &[u8], out: &mut [u8]) {
    let written = URL_SAFE.encode_slice(data, out);
    debug_assert_eq!(written, Ok(encoded_len(data.len())));
}

/// Replaces the bytes of `buffer` from `start` on with their URL-safe encoding, which must fill the
/// whole buffer. Writing never overtakes reading, because each three bytes read become four.
#[expect(
    clippy::indexing_slicing,
    reason = "`read` is at most the length, and `written` never ahead of it if the caller gives room as documented"
)]
pub fn encode_in_place(buffer: &mut [u8], start: usize) {
    debug_assert_eq!(buffer.len(), encoded_len(buffer.len() - start));
    let mut chunk = [0; 768];
    let (mut read, mut written) = (start, 0);
    while read < buffer.len() {
        let length = chunk.len().min(buffer.len() - read);
        chunk[..length].copy_from_slice(&buffer[read..read + length]);
        read += length;
        let end = written + encoded_len(length);
        encode_slice(&chunk[..length], &mut buffer[written..end]);
        written = end;
    }
}

/// Appends the URL-safe encoding of `data` to `out`.
pub fn encode_append(data: &[u8], out: &mut Vec<u8>) {
    append(&URL_SAFE, data, out);
}

/// Appends the encoding of `data` in the standard alphabet (RFC 4648 section 4) to `out`.
pub fn encode_standard_append(data: &[u8], out: &mut Vec<u8>) {
    append(&STANDARD, data, out);
}

#[expect(clippy::indexing_slicing, reason = "the vector was just made longer than `start`")]
fn append(engine: &Simd, data: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + encoded_len(data.len()), 0);
    let written = engine.encode_slice(data, &mut out[start..]);
    debug_assert_eq!(written, Ok(out.len() - start));
}

/// Decodes canonical URL-safe base64; `None` for anything else.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE.decode(text).ok()
}

/// The same for a text of any length.
///
/// # Errors
///
/// There is not enough memory.
pub fn try_decode(text: &[u8]) -> Result<Option<Vec<u8>>, TryReserveError> {
    let mut data = Vec::new();
    // All that decoding asks for.
    data.try_reserve_exact(text.len().div_ceil(4) * 3)?;
    Ok(URL_SAFE.decode_vec(text, &mut data).is_ok().then_some(data))
}

/// Decodes canonical URL-safe base64 whose padding was dropped or escaped on its way; `None` for
/// anything else. Clients and proxies send `%3D`, `\\075` or nothing for `=`.
#[cold]
#[must_use]
#[expect(clippy::indexing_slicing, reason = "two letters are there, and no more are asked for")]
pub fn decode_repadded(text: &[u8]) -> Option<Vec<u8>> {
    const SPELLINGS: [&[u8]; 4] = [b"=", b"%3D", b"%3d", b"\\075"];
    let (mut bare, mut found) = (text, 0);
    while let Some(rest) = SPELLINGS.iter().find_map(|padding| bare.strip_suffix(*padding)) {
        bare = rest;
        found += 1;
        if found > 2 {
            return None;
        }
    }
    let missing = bare.len().next_multiple_of(4) - bare.len();
    if found > missing {
        return None;
    }
    decode(&[bare, &b"=="[..missing.min(2)]].concat())
}

/// Decodes canonical base64 in the standard alphabet; `None` for anything else.
#[must_use]
pub fn decode_standard(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decoding_undoes_encoding(data in prop::collection::vec(any::<u8>(), 0..4000)) {
            let mut text = Vec::new();
            encode_append(&data, &mut text);
            prop_assert_eq!(text.len(), encoded_len(data.len()));
            prop_assert_eq!(decode(&text), Some(data.clone()));
            prop_assert_eq!(try_decode(&text), Ok(Some(data.clone())));
            let mut in_place = vec![0; encoded_len(data.len()) - data.len()];
            let start = in_place.len();
            in_place.extend_from_slice(&data);
            encode_in_place(&mut in_place, start);
            prop_assert_eq!(&in_place, &text);
            let mut standard = Vec::new();
            encode_standard_append(&data, &mut standard);
            prop_assert_eq!(decode_standard(&standard), Some(data));
        }

        #[test]
        fn only_one_spelling_decodes(text in "[A-Za-z0-9_=-]{0,90}") {
            prop_assert_eq!(try_decode(text.as_bytes()), Ok(decode(text.as_bytes())));
            if let Some(data) = decode(text.as_bytes()) {
                let mut canonical = Vec::new();
                encode_append(&data, &mut canonical);
                prop_assert_eq!(canonical, text.into_bytes());
            }
        }
    }

    proptest! {
        #[test]
        fn lost_and_escaped_padding_is_restored(
            data in prop::collection::vec(any::<u8>(), 1..90),
            spellings in prop::array::uniform2(prop::sample::select(
                vec!["", "=", "%3D", "%3d", "\\075"],
            )),
        ) {
            let mut text = Vec::new();
            encode_append(&data, &mut text);
            let bare = std::str::from_utf8(&text).expect("ASCII").trim_end_matches('=');
            let padding = text.len() - bare.len();
            let sent = format!("{bare}{}", spellings[..padding].concat());
            prop_assert_eq!(decode_repadded(sent.as_bytes()), Some(data));
        }
    }

    #[test]
    fn nothing_but_padding_is_restored() {
        for text in [&b"QUJD="[..], b"QR", b"Q", b"QQ===", b"QQ==%3D", b"Q=Q=", b"QQ%3", b"+/"] {
            assert_eq!(decode_repadded(text), None, "{text:?}");
        }
        assert_eq!(decode_repadded(b""), Some(Vec::new()));
    }

    #[test]
    fn stray_bits_and_missing_padding_are_refused() {
        assert_eq!(decode(b"QQ=="), Some(b"A".to_vec()));
        for text in [&b"QR=="[..], b"QQ", b"QQ=", b"Q Q=", b"+/==", b"QQ==\n"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }
}
