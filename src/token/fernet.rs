//! The Fernet token (<https://github.com/fernet/spec>, version 0x80).
//!
//! ```text
//! 0      1          9            25                     n - 32       n
//! | 0x80 | issued at | IV        | ciphertext           | MAC        |
//! | 1    | 8         | 16        | 16 k, k >= 1         | 32         |
//! ```
//!
//! Issue time: seconds since the epoch, big endian. Ciphertext: AES-128-CBC, PKCS #7 padding.
//! MAC: HMAC-SHA256 over everything before it. The whole is URL-safe base64 with padding.

use std::collections::TryReserveError;

use aes::{Aes128Dec, Aes128Enc};
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{Plaintext, base64};

const VERSION: u8 = 0x80;
const TIME: std::ops::Range<usize> = 1..9;
const IV: std::ops::Range<usize> = 9..25;
const CIPHERTEXT: usize = 25;
const BLOCK: usize = 16;
const MAC: usize = 32;
/// Bytes encrypted at a time: one block of SHA-256.
const STRETCH: usize = 64;

/// The two halves of a Fernet key, kept as keyed contexts that each token copies or borrows:
/// the AES key schedules and the HMAC state after its padded key block. Wiped on drop, but for
/// working copies that using it leaves on the stack.
///
/// Boxed, so that moving a key leaves no copy of its schedules behind.
pub struct FernetKey(Box<Contexts>);

struct Contexts {
    signing: Hmac<Sha256>,
    encrypt: Aes128Enc,
    decrypt: Aes128Dec,
}

/// A decoded token whose MAC has not been verified yet.
pub struct Unverified {
    data: Vec<u8>,
    issued_at: u64,
}

impl Unverified {
    /// Takes decoded bytes; `None` if they cannot be a token, because the version byte is another
    /// one or they are too short to hold a time.
    #[must_use]
    pub fn parse(data: Vec<u8>) -> Option<Self> {
        if data.first() != Some(&VERSION) {
            return None;
        }
        let issued_at = u64::from_be_bytes(data.get(TIME)?.try_into().ok()?);
        Some(Self { data, issued_at })
    }

    /// A copy.
    ///
    /// # Errors
    ///
    /// There is not enough memory.
    pub fn try_clone(&self) -> Result<Self, TryReserveError> {
        let mut data = Vec::new();
        data.try_reserve_exact(self.data.len())?;
        data.extend_from_slice(&self.data);
        Ok(Self { data, issued_at: self.issued_at })
    }

    /// The issue time that the token claims, in seconds since the epoch. It must not be acted upon
    /// or reported before [`FernetKey::verify`] has accepted the token.
    #[must_use]
    pub const fn issued_at(&self) -> u64 {
        self.issued_at
    }

    /// Whether the length is one that a token can have: whole blocks between header and MAC.
    #[must_use]
    pub const fn has_whole_blocks(&self) -> bool {
        self.data.len() >= raw_len(0) && (self.data.len() - raw_len(0)).is_multiple_of(BLOCK)
    }

    /// Length in bytes, header and MAC included.
    #[must_use]
    #[allow(clippy::len_without_is_empty)]
    pub const fn len(&self) -> usize {
        self.data.len()
    }
}

/// Number of base64 characters of a token over `plaintext` bytes.
#[must_use]
pub const fn token_len(plaintext: usize) -> usize {
    base64::encoded_len(raw_len(plaintext))
}

const fn raw_len(plaintext: usize) -> usize {
    CIPHERTEXT + (plaintext / BLOCK + 1) * BLOCK + MAC
}

impl FernetKey {
    /// Takes the signing key first and the encryption key second, as the specification does.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a half of 32 bytes has 16, and HMAC takes a key of any length"
    )]
    pub fn new(key: &[u8; 32]) -> Self {
        let (signing, encryption) = key.split_at(16);
        let encryption: &[u8; 16] = encryption.first_chunk().expect("half of 32 bytes");
        Self(Box::new(Contexts {
            signing: Hmac::new_from_slice(signing).expect("HMAC takes a key of any length"),
            encrypt: Aes128Enc::new(encryption.into()),
            decrypt: Aes128Dec::new(encryption.into()),
        }))
    }

    /// Fills `raw`, which must be [`raw_len`] bytes, with the token over `plaintext`, before
    /// base64.
    #[expect(clippy::indexing_slicing, reason = "the caller gives as many bytes as `raw_len` says")]
    fn seal_raw(&self, plaintext: &[u8], issued_at: u64, iv: &[u8; 16], raw: &mut [u8]) {
        let (authenticated, end) = raw.split_at_mut(raw_len(plaintext.len()) - MAC);
        authenticated[0] = VERSION;
        authenticated[TIME].copy_from_slice(&issued_at.to_be_bytes());
        authenticated[IV].copy_from_slice(iv);
        let (text, padding) = authenticated[CIPHERTEXT..].split_at_mut(plaintext.len());
        text.copy_from_slice(plaintext);
        // PKCS #7 (RFC 5652 section 6.3): each padding byte holds the number of padding bytes.
        padding.fill(u8::try_from(padding.len()).unwrap_or_default());
        end.copy_from_slice(&self.encrypt_and_mac(authenticated, iv).finalize().into_bytes());
    }

    /// Encrypts everything after the header in place, and authenticates the whole.
    ///
    /// Each stretch is hashed while the next is encrypted. CBC must wait for one block before it
    /// begins the next, so the processor has room to execute both at once.
    #[expect(
        clippy::indexing_slicing,
        reason = "each end is at most the length, and each beginning at most the end"
    )]
    fn encrypt_and_mac(&self, raw: &mut [u8], iv: &[u8; 16]) -> Hmac<Sha256> {
        let mut encryptor = cbc::Encryptor::inner_iv_init(&self.0.encrypt, iv.into());
        let mut mac = self.0.signing.clone();
        let mut encrypted = CIPHERTEXT;
        let mut hashed = 0;
        while encrypted < raw.len() {
            let end = raw.len().min(encrypted + STRETCH);
            let (blocks, _) = Array::slice_as_chunks_mut(&mut raw[encrypted..end]);
            encryptor.encrypt_blocks(blocks);
            // Whole blocks of the hash, which an earlier stretch has encrypted.
            let ready = encrypted / STRETCH * STRETCH;
            mac.update(&raw[hashed..ready]);
            hashed = ready;
            encrypted = end;
        }
        mac.update(&raw[hashed..]);
        mac
    }

    /// Fills `out`, which must be [`token_len`] bytes, with the token over `plaintext`. The raw
    /// token is made at the end of `out` and encoded in place.
    #[expect(
        clippy::indexing_slicing,
        reason = "the caller gives as many bytes as `token_len` says"
    )]
    pub fn seal_slice(&self, plaintext: &[u8], issued_at: u64, iv: &[u8; 16], out: &mut [u8]) {
        let start = out.len() - raw_len(plaintext.len());
        self.seal_raw(plaintext, issued_at, iv, &mut out[start..]);
        base64::encode_in_place(out, start);
    }

    /// Appends the token over `plaintext` to `out`.
    #[expect(clippy::indexing_slicing, reason = "the vector was just made longer than `start`")]
    pub fn seal_append(&self, plaintext: &[u8], issued_at: u64, iv: &[u8; 16], out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + token_len(plaintext.len()), 0);
        self.seal_slice(plaintext, issued_at, iv, &mut out[start..]);
    }

    /// Whether this key made the MAC. The comparison takes constant time.
    #[must_use]
    pub fn verify(&self, token: &Unverified) -> bool {
        let Some((authenticated, mac)) = token.data.split_last_chunk::<MAC>() else {
            return false;
        };
        self.mac(authenticated).verify_slice(mac).is_ok()
    }

    /// The plaintext of a token that [`verify`](Self::verify) has accepted; `None` if its length
    /// or padding is wrong, which only a holder of the key can cause.
    #[must_use]
    pub fn decrypt(&self, token: Unverified) -> Option<Plaintext> {
        let mut data = token.data;
        let iv: [u8; BLOCK] = *data.get(IV)?.first_chunk()?;
        let end = data.len().checked_sub(MAC)?;
        let padded = data.get_mut(CIPHERTEXT..end)?;
        let plaintext = cbc::Decryptor::inner_iv_init(&self.0.decrypt, (&iv).into());
        let length = unpadded_len(plaintext.decrypt_padded::<NoPadding>(padded).ok()?)?;
        Some(Plaintext::new(data, CIPHERTEXT..CIPHERTEXT + length))
    }

    fn mac(&self, data: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.signing.clone();
        mac.update(data);
        mac
    }
}

/// The length in bytes of the text before its PKCS #7 padding (RFC 5652 section 6.3); `None` if
/// the padding is wrong. No branch depends on one of its bytes, so that the time tells nothing
/// about them; `tests/system/test_instructions.py` counts the instructions.
fn unpadded_len(padded: &[u8]) -> Option<usize> {
    let last: &[u8; BLOCK] = padded.last_chunk()?;
    let [.., count] = *last;
    // Ones over the padding, or over some other number of bytes if the count is impossible.
    let is_padding = u128::MAX >> (8 * (BLOCK.wrapping_sub(usize::from(count)) % BLOCK));
    let differs = u128::from_be_bytes(*last) ^ u128::from_be_bytes([count; BLOCK]);
    // Not 0 if the count is below 1 or above 16. The comparison below is the only one.
    let is_impossible = count.wrapping_sub(1) >> 4;
    let is_wrong = differs & is_padding | u128::from(is_impossible);
    (is_wrong == 0).then(|| padded.len() - usize::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_vectors::{number, read_list, text};
    use cbc::cipher::block_padding::{Padding, Pkcs7};
    use proptest::prelude::*;
    use serde_json::Value;

    fn key(vector: &Value) -> FernetKey {
        let key = base64::decode(text(vector, "secret").as_bytes()).expect("base64");
        FernetKey::new(&key.try_into().expect("32 bytes"))
    }

    fn open(key: &FernetKey, token: &str, now: u64, ttl: u64) -> Option<Vec<u8>> {
        let raw = base64::decode(token.as_bytes())?;
        let length = raw.len();
        let token = Unverified::parse(raw)?;
        assert_eq!(token.len(), length);
        let in_time = token.issued_at() + ttl >= now && token.issued_at() <= now + 60;
        let opened = (key.verify(&token) && in_time).then(|| key.decrypt(token))?;
        opened.map(|plaintext| plaintext.to_vec())
    }

    fn seal(key: &FernetKey, plaintext: &[u8], issued_at: u64, iv: &[u8; 16]) -> String {
        let mut token = Vec::new();
        key.seal_append(plaintext, issued_at, iv, &mut token);
        assert_eq!(token.len(), token_len(plaintext.len()));
        String::from_utf8(token).expect("base64")
    }

    #[test]
    fn padding_is_judged_as_pkcs7_judges_it() {
        for count in 0..=u8::MAX {
            // Of sixteen bytes one is changed, then none.
            for changed in 0..=BLOCK {
                let mut padded = [count; 2 * BLOCK];
                if let Some(byte) = padded.get_mut(BLOCK + changed) {
                    *byte ^= 1;
                }
                let text = Pkcs7::raw_unpad(padded.last_chunk::<BLOCK>().expect("a block"));
                let expected = text.ok().map(|text| BLOCK + text.len());
                assert_eq!(unpadded_len(&padded), expected, "{padded:?}");
            }
        }
        assert_eq!(unpadded_len(&[]), None);
    }

    // Each vector also gives `now` in seconds since the epoch, so that no date parser is needed.
    #[test]
    fn generates_the_vectors_of_the_specification() {
        for vector in read_list("fernet_generate", 1) {
            let iv: Vec<u8> =
                serde_json::from_value(vector["iv"].clone()).expect("sixteen numbers");
            let token = seal(
                &key(&vector),
                text(&vector, "src").as_bytes(),
                number(&vector, "now_seconds"),
                &iv.try_into().expect("sixteen"),
            );
            assert_eq!(token, text(&vector, "token"));
        }
    }

    #[test]
    fn verifies_the_vectors_of_the_specification() {
        for vector in read_list("fernet_verify", 1) {
            let (now, ttl) = (number(&vector, "now_seconds"), number(&vector, "ttl_sec"));
            let plaintext = open(&key(&vector), text(&vector, "token"), now, ttl);
            assert_eq!(plaintext.as_deref(), Some(text(&vector, "src").as_bytes()));
        }
    }

    #[test]
    fn refuses_the_invalid_vectors_of_the_specification() {
        for vector in read_list("fernet_invalid", 8) {
            let (now, ttl) = (number(&vector, "now_seconds"), number(&vector, "ttl_sec"));
            let plaintext = open(&key(&vector), text(&vector, "token"), now, ttl);
            assert_eq!(plaintext, None, "{}", text(&vector, "desc"));
        }
    }

    /// `tests/test_fernet.py` has the same vectors for this package and for `cryptography`.
    #[test]
    fn the_fernet_crate_differs_where_the_vectors_say_so() {
        for vector in read_list("fernet_differences", 6) {
            let (now, ttl) = (number(&vector, "now_seconds"), number(&vector, "ttl_sec"));
            let oracle = fernet::Fernet::new(text(&vector, "secret")).expect("key");
            let found = std::panic::catch_unwind(|| {
                oracle.decrypt_at_time(text(&vector, "token"), Some(ttl), now).ok()
            });
            let described = text(&vector, "desc");
            // The crate adds to the time of a token without looking for an overflow.
            let overflows = vector["overflows"].as_bool() == Some(true);
            assert_eq!(found.is_err(), overflows, "{described}");
            let opened_by = vector["opened_by"].as_array().expect("a list");
            let expected =
                opened_by.contains(&"fernet crate".into()).then_some(text(&vector, "src"));
            let found = found.ok().flatten();
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{described}");
        }
    }

    proptest! {
        #[test]
        fn the_fernet_crate_opens_what_we_seal(key: [u8; 32], plaintext: Vec<u8>, iv: [u8; 16]) {
            let mut text = Vec::new();
            base64::encode_append(&key, &mut text);
            let oracle = fernet::Fernet::new(std::str::from_utf8(&text).expect("ASCII")).expect("key");
            let token = seal(&FernetKey::new(&key), &plaintext, 1_700_000_000, &iv);
            prop_assert_eq!(oracle.decrypt(&token).expect("opens"), plaintext);
        }

        #[test]
        fn we_open_what_the_fernet_crate_seals(key: [u8; 32], plaintext: Vec<u8>) {
            let mut text = Vec::new();
            base64::encode_append(&key, &mut text);
            let oracle = fernet::Fernet::new(std::str::from_utf8(&text).expect("ASCII")).expect("key");
            let token = oracle.encrypt_at_time(&plaintext, 1_700_000_000);
            let opened = open(&FernetKey::new(&key), &token, 1_700_000_000, 0);
            prop_assert_eq!(opened, Some(plaintext));
        }

        #[test]
        fn a_changed_token_opens_under_neither(
            key: [u8; 32], plaintext: Vec<u8>, at: prop::sample::Index, bit in 0..8u8,
        ) {
            let mut token = vec![0; raw_len(plaintext.len())];
            FernetKey::new(&key).seal_raw(&plaintext, 1_700_000_000, &[7; 16], &mut token);
            let at = at.index(token.len());
            token[at] ^= 1 << bit;
            let key = FernetKey::new(&key);
            let opened = Unverified::parse(token).is_some_and(|token| key.verify(&token));
            prop_assert!(!opened);
        }

        #[test]
        fn no_bytes_panic(key: [u8; 32], data: Vec<u8>) {
            let key = FernetKey::new(&key);
            if let Some(token) = Unverified::parse(data) {
                prop_assert!(!key.verify(&token));
                let _ = key.decrypt(token);
            }
        }
    }
}
