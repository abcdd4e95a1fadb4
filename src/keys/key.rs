//! A key: 32 bytes, and the text that people copy.

use zeroize::Zeroizing;

use crate::token::base64;
use crate::token::derive::derive;
use crate::token::random::{self, NoRandomness};

/// Seconds by which a token may be dated ahead of this clock, as in `cryptography.fernet`.
pub const MAX_CLOCK_SKEW: u64 = 60;

/// Length in bytes of a key before base64.
pub const KEY: usize = 32;

/// Why a text is not a key. Never carries the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Not URL-safe base64 with its padding.
    NotBase64,
    /// Decodes to this many bytes instead of 32.
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

/// Reads a key: 32 bytes as canonical URL-safe base64.
///
/// # Errors
/// [`KeyError`], which never carries the text.
pub fn parse_key(text: &[u8]) -> Result<Zeroizing<[u8; KEY]>, KeyError> {
    let bytes = Zeroizing::new(base64::decode(text).ok_or(KeyError::NotBase64)?);
    let key = bytes.as_slice().try_into().map_err(|_| KeyError::WrongLength(bytes.len()))?;
    Ok(Zeroizing::new(key))
}

/// Draws a key from the operating system and gives it as URL-safe base64, 44 characters long.
///
/// # Errors
/// [`NoRandomness`] when the operating system has none to give.
pub fn generate_key() -> Result<Zeroizing<Vec<u8>>, NoRandomness> {
    let mut key = Zeroizing::new([0; KEY]);
    random::fill(&mut *key)?;
    let mut text = Zeroizing::new(Vec::with_capacity(base64::encoded_len(KEY)));
    base64::encode_append(&*key, &mut text);
    Ok(text)
}

/// Derives a key from an app's secret (HKDF-SHA256, RFC 5869).
///
/// `info` is `flask-fernet:fernet:` followed by the session interface's salt. Interfaces with
/// different salts therefore have independent keys, as have other purposes of this package.
#[must_use]
pub fn derive_key(secret: &[u8], salt: &[u8]) -> Zeroizing<[u8; KEY]> {
    let mut key = Zeroizing::new([0; KEY]);
    derive(secret, &[b"flask-fernet:fernet:", salt], &mut *key);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_vectors;

    #[test]
    fn a_key_says_what_is_wrong_with_it() {
        let text = generate_key().expect("random");
        assert_eq!(text.len(), 44);
        assert!(parse_key(&text).is_ok());
        assert_eq!(parse_key(b"not a key").err(), Some(KeyError::NotBase64));
        assert_eq!(parse_key(b"QUJD").err(), Some(KeyError::WrongLength(3)));
        assert_eq!(KeyError::NotBase64.to_string(), "is not URL-safe base64");
        assert_eq!(KeyError::WrongLength(3).to_string(), "holds 3 bytes where a key has 32");
    }

    #[test]
    fn derives_the_keys_of_the_vectors() {
        for vector in test_vectors::read_list("derived_keys", 6) {
            let field = |name: &str| test_vectors::text(&vector, name);
            let key = derive_key(field("secret").as_bytes(), field("salt").as_bytes());
            assert_eq!(parse_key(field("key").as_bytes()).expect("a key"), key);
        }
    }
}
