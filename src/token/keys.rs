//! Keys as people write them.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::random::{self, NoRandomness};
use super::{KeyError, base64};

/// Seconds by which a token may be dated ahead, as in `cryptography.fernet`.
pub const MAX_CLOCK_SKEW: u64 = 60;

/// Length in bytes of a key before base64.
pub const KEY: usize = 32;

/// Reads a key: 32 bytes as canonical URL-safe base64.
///
/// # Errors
/// [`KeyError`], which never carries the text.
pub fn parse_key(text: &[u8]) -> Result<Zeroizing<[u8; KEY]>, KeyError> {
    let bytes = Zeroizing::new(base64::decode(text).ok_or(KeyError::NotBase64)?);
    let key = bytes.as_slice().try_into().map_err(|_| KeyError::WrongLength(bytes.len()))?;
    Ok(Zeroizing::new(key))
}

/// Draws a key from the operating system and writes it as URL-safe base64: 44 characters.
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

/// Derives a key from an app's secret (RFC 5869, HKDF-SHA256, no salt of HKDF's own).
///
/// `info` is `flask-fernet:fernet:` and the session interface's salt, so that keys for another
/// purpose, or for another format of this package, are other keys.
#[must_use]
pub fn derive_key(secret: &[u8], salt: &[u8]) -> Zeroizing<[u8; KEY]> {
    let mut key = Zeroizing::new([0; KEY]);
    Hkdf::<Sha256>::new(None, secret)
        .expand_multi_info(&[b"flask-fernet:fernet:", salt], &mut *key)
        .expect("32 bytes are fewer than HKDF can give");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_is_wrong_with_it() {
        let text = generate_key().expect("random");
        assert_eq!(text.len(), 44);
        assert!(parse_key(&text).is_ok());
        assert_eq!(parse_key(b"not a key").err(), Some(KeyError::NotBase64));
        assert_eq!(parse_key(b"QUJD").err(), Some(KeyError::WrongLength(3)));
    }

    #[test]
    fn derives_the_keys_of_the_vectors() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/derived_keys.json");
        let text = std::fs::read_to_string(path).expect("vectors");
        let vectors: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
        assert!(vectors.len() >= 6);
        for vector in vectors {
            let field = |name: &str| vector[name].as_str().expect("text");
            let key = derive_key(field("secret").as_bytes(), field("salt").as_bytes());
            assert_eq!(parse_key(field("key").as_bytes()).expect("a key"), key);
        }
    }
}
