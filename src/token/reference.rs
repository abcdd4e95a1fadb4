//! The reference to a stored session: the payload of its cookie.
//!
//! `{"flask-fernet:stored":"…"}`, where `…` is 54 characters of URL-safe base64 without padding: the
//! session's id, 32 bytes, and its generation, 8 bytes.

use super::base64;

/// What a reference begins with, and no other payload: an app cannot set this key.
pub const PREFIX: &[u8] = br#"{"flask-fernet:stored":""#;
const SUFFIX: &[u8] = br#""}"#;
/// Bytes of an id.
pub const ID: usize = 32;
/// Bytes of id and generation.
const LENGTH: usize = ID + 8;
/// Characters of base64 of id and generation.
const CHARACTERS: usize = 54;

/// Whether a payload is a reference, well formed or not, and not the data of a session.
#[must_use]
pub fn is_reference(payload: &[u8]) -> bool {
    payload.starts_with(PREFIX)
}

/// The id and the generation in a reference; `None` if it is malformed.
#[must_use]
pub fn parse(payload: &[u8]) -> Option<[u8; LENGTH]> {
    let text = payload.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let text: &[u8; CHARACTERS] = text.try_into().ok()?;
    base64::decode_repadded(text)?.try_into().ok()
}

/// The reference to an id and a generation.
#[must_use]
pub fn write(both: &[u8; LENGTH]) -> Vec<u8> {
    let mut payload = PREFIX.to_vec();
    base64::encode_append(both, &mut payload);
    payload.truncate(PREFIX.len() + CHARACTERS);
    payload.extend_from_slice(SUFFIX);
    payload
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_what_it_writes(both: [u8; LENGTH]) {
            let payload = write(&both);
            prop_assert_eq!(payload.len(), 80);
            prop_assert!(is_reference(&payload));
            prop_assert!(!is_reference(&payload[1..]));
            prop_assert_eq!(parse(&payload), Some(both));
        }

        #[test]
        fn refuses_all_else(text in "[A-Za-z0-9_=\"}-]{50,58}") {
            let payload = format!(r#"{{"flask-fernet:stored":"{text}"}}"#);
            let parsed = parse(payload.as_bytes());
            let again = parsed.map(|both| write(&both));
            prop_assert!(again.is_none_or(|again| again == payload.as_bytes()));
        }
    }
}
