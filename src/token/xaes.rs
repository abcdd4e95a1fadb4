//! The session token `xaes-256-gcm`: XAES-256-GCM (<https://c2sp.org/XAES-256-GCM>).
//!
//! ```text
//! 0      1          5           13         37                n - 16       n
//! | 0xA1 | key hint | issued at | nonce    | ciphertext      | tag        |
//! | 1    | 4        | 8         | 24       | as the payload  | 16         |
//! ```
//!
//! Issue time: seconds since the epoch, big endian. Associated data: everything before the
//! ciphertext, then the length of the salt as four bytes, big endian, the salt, and the cookie's
//! name. The key hint is derived from the key; it tells which key to try and reveals nothing
//! about it. The whole is URL-safe base64 with padding.

use aes::Aes256Enc;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use zeroize::{Zeroize, Zeroizing};

use super::derive::derive;
use super::gcm::{Associated, Message, TAG};
use super::{Plaintext, base64};

/// First byte of a token. A Fernet token begins with 0x80.
pub const VERSION: u8 = 0xa1;
/// Begins the `info` of the keys of tokens.
const TOKENS: &[u8] = b"flask-fernet:xaes-256-gcm:";
const HINT: std::ops::Range<usize> = 1..5;
const TIME: std::ops::Range<usize> = 5..13;
const NONCE: std::ops::Range<usize> = 13..37;
const CIPHERTEXT: usize = 37;
/// Bytes of a nonce.
pub const NONCE_LEN: usize = 24;

/// A key of XAES-256-GCM, from which each message's own key is derived. Wiped on drop.
pub struct XaesKey(Box<Contexts>);

struct Contexts {
    cipher: Aes256Enc,
    subkey: [u8; 16],
    hint: [u8; 4],
}

impl Drop for Contexts {
    fn drop(&mut self) {
        self.subkey.zeroize();
    }
}

/// Number of base64 characters of a token over `payload` bytes.
#[must_use]
pub const fn token_len(payload: usize) -> usize {
    base64::encoded_len(raw_len(payload))
}

const fn raw_len(payload: usize) -> usize {
    CIPHERTEXT + payload + TAG
}

/// The context that a token is bound to, in addition to its header.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The session interface's salt.
    pub salt: &'a [u8],
    /// The cookie's name.
    pub name: &'a [u8],
}

impl<'a> Context<'a> {
    pub(super) fn salt_length(self) -> [u8; 4] {
        u32::try_from(self.salt.len()).unwrap_or(u32::MAX).to_be_bytes()
    }

    /// The associated data of a token with this header.
    pub(super) fn associated(self, header: &'a [u8], salt_length: &'a [u8; 4]) -> Associated<'a> {
        [header, salt_length, self.salt, self.name]
    }
}

impl XaesKey {
    /// Derives a session interface's key from a key of its configuration: HKDF-SHA256 (RFC 5869),
    /// `info` is `flask-fernet:xaes-256-gcm:` followed by the interface's salt. A configured key
    /// that also serves `fernet` tokens is therefore never used directly here.
    #[must_use]
    pub fn derive(key: &[u8; 32], salt: &[u8]) -> Self {
        Self::derive_for(TOKENS, key, salt)
    }

    /// Derives a key for a purpose, whose name begins `info`. The salt ends it.
    pub(super) fn derive_for(purpose: &[u8], key: &[u8; 32], salt: &[u8]) -> Self {
        let mut derived = Zeroizing::new([0; 32]);
        derive(key, &[purpose, salt], &mut *derived);
        Self::with_hint_for(purpose, &derived)
    }

    /// Uses a key without derivation.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self::with_hint_for(TOKENS, key)
    }

    fn with_hint_for(purpose: &[u8], key: &[u8; 32]) -> Self {
        let cipher = Aes256Enc::new(key.into());
        let mut block = aes::Block::default();
        cipher.encrypt_block(&mut block);
        let doubled = u128::from_be_bytes(block.into());
        let carry = if doubled >> 127 == 1 { 0b1000_0111 } else { 0 };
        let mut hint = [0; 4];
        derive(key, &[purpose, b"hint"], &mut hint);
        block.zeroize();
        Self(Box::new(Contexts { cipher, subkey: (doubled << 1 ^ carry).to_be_bytes(), hint }))
    }

    /// Tells which key to try, and reveals nothing about it.
    pub(super) const fn hint(&self) -> [u8; 4] {
        self.0.hint
    }

    /// A message of `length` bytes. Its key is derived from the first half of the nonce.
    #[expect(clippy::expect_used, reason = "two blocks of 16 bytes are 32, and a nonce has 24")]
    pub(super) fn message<'n>(&self, nonce: &'n [u8; NONCE_LEN], length: usize) -> Message<'n> {
        let mut key = Zeroizing::new([[0; 16]; 2]);
        for (half, number) in key.iter_mut().zip(1_u8..) {
            *half = [0, number, b'X', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            half[4..].copy_from_slice(&nonce[..12]);
            let whitened = u128::from_ne_bytes(*half) ^ u128::from_ne_bytes(self.0.subkey);
            *half = whitened.to_ne_bytes();
        }
        self.0.cipher.encrypt_blocks(Array::cast_slice_from_core_mut(&mut *key));
        let key: &[u8; 32] = key.as_flattened().first_chunk().expect("two halves");
        Message::new(key, nonce.last_chunk().expect("longer than twelve"), length)
    }

    /// Appends the token over `payload` to `out`.
    #[expect(
        clippy::indexing_slicing,
        reason = "the vector was just made long enough for the whole token"
    )]
    pub fn seal_append(
        &self,
        payload: &[u8],
        issued_at: u64,
        nonce: &[u8; NONCE_LEN],
        context: Context<'_>,
        out: &mut Vec<u8>,
    ) {
        let begin = out.len();
        out.resize(begin + token_len(payload.len()), 0);
        let token = &mut out[begin..];
        let start = token.len() - raw_len(payload.len());
        let (header, rest) = token[start..].split_at_mut(CIPHERTEXT);
        header[0] = VERSION;
        header[HINT].copy_from_slice(&self.0.hint);
        header[TIME].copy_from_slice(&issued_at.to_be_bytes());
        header[NONCE].copy_from_slice(nonce);
        let (text, tag) = rest.split_at_mut(payload.len());
        text.copy_from_slice(payload);
        let length = context.salt_length();
        let associated = context.associated(header, &length);
        tag.copy_from_slice(&self.message(nonce, payload.len()).encrypt(associated, text));
        base64::encode_in_place(token, start);
    }
}

/// A decoded token that has not been authenticated yet.
pub struct Unverified(Vec<u8>);

impl Unverified {
    /// Takes decoded bytes; `None` when they cannot be a token.
    #[must_use]
    pub fn parse(data: Vec<u8>) -> Option<Self> {
        (data.first() == Some(&VERSION) && data.len() >= raw_len(0)).then_some(Self(data))
    }

    /// Whether one of the keys has the hint in this token.
    #[must_use]
    #[expect(
        clippy::indexing_slicing,
        reason = "`parse` takes no token that is shorter than its header"
    )]
    pub fn is_known_to<'k>(&self, mut keys: impl Iterator<Item = &'k XaesKey>) -> bool {
        keys.any(|key| key.0.hint == self.0[HINT])
    }

    /// The plaintext and its issue time, if `key` made this token for this context.
    #[must_use]
    #[expect(
        clippy::indexing_slicing,
        reason = "`parse` takes no token that is shorter than header and tag"
    )]
    pub fn open<'k>(
        mut self,
        keys: impl Iterator<Item = (usize, &'k XaesKey)>,
        context: Context<'_>,
    ) -> Option<(Plaintext, u64, usize)> {
        let hint: [u8; 4] = *self.0[HINT].first_chunk()?;
        let nonce: [u8; NONCE_LEN] = *self.0[NONCE].first_chunk()?;
        let issued_at = u64::from_be_bytes(*self.0[TIME].first_chunk()?);
        let tag: [u8; TAG] = *self.0.last_chunk()?;
        let end = self.0.len() - TAG;
        let (header, rest) = self.0.split_at_mut(CIPHERTEXT);
        let text = &mut rest[..end - CIPHERTEXT];
        let length = context.salt_length();
        let associated = context.associated(header, &length);
        let mut keys = keys.filter(|(_, key)| key.0.hint == hint);
        let (position, _) = keys.find(|(_, key)| {
            key.message(&nonce, text.len()).decrypt(associated, text, &tag).is_some()
        })?;
        Some((Plaintext::new(self.0, CIPHERTEXT..end), issued_at, position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_vectors::{number, read, text};
    use proptest::prelude::*;
    use shake::digest::{ExtendableOutput, Update, XofReader};

    fn hex(text: &str) -> Vec<u8> {
        let digit =
            |byte: u8| u8::try_from(char::from(byte).to_digit(16).expect("hex")).expect("4");
        text.as_bytes().chunks_exact(2).map(|two| digit(two[0]) << 4 | digit(two[1])).collect()
    }

    fn to_hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn sealed(key: &XaesKey, nonce: &[u8; 24], plaintext: &[u8], associated: &[u8]) -> Vec<u8> {
        let mut text = plaintext.to_vec();
        let associated = [associated, b"", b"", b""];
        let tag = key.message(nonce, text.len()).encrypt(associated, &mut text);
        let mut back = text.clone();
        assert!(key.message(nonce, text.len()).decrypt(associated, &mut back, &tag).is_some());
        assert_eq!(back, plaintext);
        text.extend_from_slice(&tag);
        text
    }

    #[test]
    fn the_vectors_of_the_specification() {
        let vectors = read("xaes_256_gcm");
        let cases = vectors["c2sp"].as_array().expect("a list");
        assert_eq!(cases.len(), 2);
        for case in cases {
            let field = |name: &str| hex(text(case, name));
            let key = XaesKey::new(&field("key").try_into().expect("32"));
            let nonce = field("nonce").try_into().expect("24");
            let ciphertext = sealed(&key, &nonce, &field("plaintext"), &field("associated"));
            assert_eq!(to_hex(&ciphertext), text(case, "ciphertext"));
        }
    }

    /// From the specification too: many random messages, and a hash over all ciphertexts.
    #[test]
    fn the_accumulated_vectors() {
        let vectors = read("xaes_256_gcm");
        let vectors = vectors["accumulated"].as_array().expect("a list");
        assert_eq!(vectors.len(), 2);
        let mut source = shake::Shake128::default().finalize_xof();
        let mut all = shake::Shake128::default();
        let mut draw = |length: usize| {
            let mut bytes = vec![0; length];
            source.read(&mut bytes);
            bytes
        };
        let mut rounds = 0;
        for vector in vectors {
            while rounds < number(vector, "iterations") {
                let key = XaesKey::new(&draw(32).try_into().expect("32"));
                let nonce = draw(24).try_into().expect("24");
                let length = usize::from(draw(1)[0]);
                let plaintext = draw(length);
                let length = usize::from(draw(1)[0]);
                let associated = draw(length);
                all.update(&sealed(&key, &nonce, &plaintext, &associated));
                rounds += 1;
            }
            let mut hash = [0; 32];
            all.clone().finalize_xof().read(&mut hash);
            assert_eq!(to_hex(&hash), text(vector, "hash"));
        }
    }

    #[test]
    fn tokens_as_the_vectors_have_them() {
        let vectors = read("xaes_256_gcm");
        let cases = vectors["tokens"].as_array().expect("a list");
        assert!(cases.len() >= 3);
        for case in cases {
            let field = |name: &str| text(case, name);
            let salt = field("salt").as_bytes();
            let key = base64::decode(field("key").as_bytes()).expect("base64");
            let key = key.try_into().expect("32 bytes");
            let key = XaesKey::derive(&key, salt);
            let context = Context { salt, name: field("cookie").as_bytes() };
            let mut token = Vec::new();
            key.seal_append(
                field("payload").as_bytes(),
                number(case, "issued_at"),
                &hex(field("nonce")).try_into().expect("24"),
                context,
                &mut token,
            );
            assert_eq!(std::str::from_utf8(&token), Ok(field("token")));
        }
    }

    fn open(raw: Vec<u8>, key: &XaesKey, context: Context<'_>) -> Option<(Vec<u8>, u64)> {
        let opened = Unverified::parse(raw)?.open(std::iter::once((0, key)), context)?;
        Some((opened.0.to_vec(), opened.1))
    }

    proptest! {
        #[test]
        fn opens_in_its_context_only(
            payload: Vec<u8>, salt: Vec<u8>, name: Vec<u8>, other: Vec<u8>,
            at: prop::sample::Index, bit in 0..8_u8,
        ) {
            let key = XaesKey::derive(&[1; 32], &salt);
            let context = Context { salt: &salt, name: &name };
            let mut token = Vec::new();
            key.seal_append(&payload, 5, &[7; 24], context, &mut token);
            prop_assert_eq!(token.len(), token_len(payload.len()));
            let raw = base64::decode(&token).expect("base64");
            prop_assert_eq!(open(raw.clone(), &key, context), Some((payload, 5)));
            if other != name {
                let context = Context { salt: &salt, name: &other };
                prop_assert_eq!(open(raw.clone(), &key, context), None);
            }
            // The same bytes cut elsewhere are another context.
            if let Some((first, rest)) = name.split_first() {
                let longer = [&salt[..], &[*first]].concat();
                let cut = Context { salt: &longer, name: rest };
                prop_assert!(open(raw.clone(), &key, cut).is_none());
            }
            let stranger = XaesKey::derive(&[2; 32], &salt);
            prop_assert_eq!(open(raw.clone(), &stranger, context), None);
            let mut changed = raw;
            let at = at.index(changed.len());
            changed[at] ^= 1 << bit;
            prop_assert_eq!(open(changed, &key, context), None);
        }

        #[test]
        fn no_bytes_panic(data: Vec<u8>) {
            let key = XaesKey::new(&[1; 32]);
            let context = Context { salt: b"", name: b"" };
            for data in [data.clone(), [&[VERSION][..], &data].concat()] {
                if let Some(token) = Unverified::parse(data) {
                    prop_assert!(token.open(std::iter::once((0, &key)), context).is_none());
                }
            }
        }
    }
}
