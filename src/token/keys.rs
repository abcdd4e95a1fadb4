//! Keys as people write them, and sets of them.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::fernet::{FernetKey, Plaintext, Unverified};
use super::random::{self, NoRandomness};
use super::{KeyError, TokenError, base64};

/// Seconds by which a token may be dated ahead, as in `cryptography.fernet`.
pub const MAX_CLOCK_SKEW: u64 = 60;

/// Longest session token that is decoded, in bytes of base64: 1 MiB.
pub const MAX_TOKEN: usize = 1 << 20;

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

/// A session payload and what its token says of it.
pub struct Opened {
    /// The decrypted bytes.
    pub payload: Plaintext,
    /// Authenticated issue time, in seconds since the epoch.
    pub issued_at: u64,
    /// Position of the key in its set; 0 is the newest.
    pub key: usize,
}

/// The keys of one app's sessions: the first encrypts, all open.
pub struct KeySet(Vec<FernetKey>);

impl KeySet {
    /// `None` without a key.
    #[must_use]
    pub fn new(keys: Vec<FernetKey>) -> Option<Self> {
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// Appends a token over `payload`, under the newest key, to `out`.
    ///
    /// # Errors
    /// [`NoRandomness`] when the operating system has none to give.
    pub fn seal(
        &self,
        payload: &[u8],
        issued_at: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), NoRandomness> {
        self.0[0].seal_append(payload, issued_at, &random::iv()?, out);
        Ok(())
    }

    /// Opens a token that is at most `max_age` seconds old at `now`.
    ///
    /// # Errors
    /// [`TokenError`]; nothing about the token's age before its MAC has been checked.
    pub fn open(&self, token: &[u8], now: i128, max_age: i64) -> Result<Opened, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLarge);
        }
        let raw = base64::decode(token).ok_or(TokenError::Malformed)?;
        let token = Unverified::parse(raw).ok_or(TokenError::Malformed)?;
        let key = self.0.iter().position(|key| key.verify(&token));
        let key = key.ok_or(TokenError::Unauthentic)?;
        let issued_at = token.issued_at();
        let age = now.saturating_sub(i128::from(issued_at));
        if age > i128::from(max_age) {
            return Err(TokenError::Expired);
        }
        if age < -i128::from(MAX_CLOCK_SKEW) {
            return Err(TokenError::FromFuture);
        }
        let payload = self.0[key].decrypt(token).ok_or(TokenError::Undecodable)?;
        Ok(Opened { payload, issued_at, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(keys: &[u8]) -> KeySet {
        KeySet::new(keys.iter().map(|byte| FernetKey::new(&[*byte; KEY])).collect()).expect("keys")
    }

    fn sealed(keys: &KeySet, issued_at: u64) -> Vec<u8> {
        let mut token = Vec::new();
        keys.seal(b"{}", issued_at, &mut token).expect("random");
        token
    }

    #[test]
    fn the_first_key_seals_and_every_key_opens() {
        let token = sealed(&set(&[1, 2]), 100);
        assert_eq!(set(&[1]).open(&token, 100, 0).map(|opened| opened.key), Ok(0));
        assert_eq!(set(&[3, 2, 1]).open(&token, 100, 0).map(|opened| opened.key), Ok(2));
        assert_eq!(
            set(&[2]).open(&token, 100, 0).map(|opened| opened.key),
            Err(TokenError::Unauthentic)
        );
    }

    #[test]
    fn age_is_judged_after_the_mac() {
        let keys = set(&[1]);
        let token = sealed(&keys, 1000);
        let verdict =
            |keys: &KeySet, now| keys.open(&token, now, 10).map(|opened| opened.issued_at);
        assert_eq!(verdict(&keys, 1010), Ok(1000));
        assert_eq!(verdict(&keys, 1011), Err(TokenError::Expired));
        assert_eq!(verdict(&keys, 940), Ok(1000));
        assert_eq!(verdict(&keys, 939), Err(TokenError::FromFuture));
        assert_eq!(verdict(&set(&[2]), 1011), Err(TokenError::Unauthentic));
        assert_eq!(verdict(&set(&[2]), 939), Err(TokenError::Unauthentic));
    }

    #[test]
    fn times_at_the_ends_of_the_range_do_not_overflow() {
        let keys = set(&[1]);
        for (issued_at, now) in [(u64::MAX, 0), (u64::MAX, i128::MIN), (0, i128::MAX)] {
            let verdict = keys.open(&sealed(&keys, issued_at), now, 1).map(|opened| opened.key);
            assert!(verdict.is_err());
        }
        assert!(keys.open(&sealed(&keys, 0), i64::MAX.into(), i64::MAX).is_ok());
    }

    #[test]
    fn a_token_over_the_limit_is_not_decoded() {
        let keys = set(&[1]);
        let limit = keys.open(&vec![b'!'; MAX_TOKEN], 0, 0).map(|opened| opened.key);
        assert_eq!(limit, Err(TokenError::Malformed));
        let beyond = keys.open(&vec![b'!'; MAX_TOKEN + 1], 0, 0).map(|opened| opened.key);
        assert_eq!(beyond, Err(TokenError::TooLarge));
    }

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
