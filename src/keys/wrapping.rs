//! A document encrypted under a secret. A key ring kept so is useless without the secret.
//!
//! ```text
//! 0      1          5       17                n - 16       n
//! | 0xA2 | key hint | nonce | ciphertext      | tag        |
//! | 1    | 4        | 12    | as the document | 16         |
//! ```
//!
//! AES-256-GCM (NIST SP 800-38D); everything before the ciphertext is associated data. The whole
//! is URL-safe base64 with padding. The key is derived from the secret with HKDF-SHA256 (RFC 5869,
//! no salt of HKDF's own, `info` is `flask-fernet:ring`), and the key hint from the key in the same
//! way with `flask-fernet:ring:hint`. The hint identifies the secret and reveals nothing about it.
//! Nonces are random: a ring changes a few times a year, and 2^32 messages are allowed
//! (section 8.3).

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use zeroize::Zeroizing;

use crate::token::base64;
use crate::token::derive::derive;
use crate::token::random::{self, NoRandomness};

const VERSION: u8 = 0xa2;
const HINT: std::ops::Range<usize> = 1..5;
const NONCE: std::ops::Range<usize> = 5..17;
const CIPHERTEXT: usize = 17;
const TAG: usize = 16;

struct WrappingKey {
    cipher: Aes256Gcm,
    hint: [u8; 4],
}

impl WrappingKey {
    fn derive(secret: &[u8]) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        derive(secret, &[b"flask-fernet:ring"], &mut *key);
        let mut hint = [0; 4];
        derive(&*key, &[b"flask-fernet:ring:hint"], &mut hint);
        Self { cipher: Aes256Gcm::new((&*key).into()), hint }
    }
}

/// Encrypts `document` under `secret` and gives the text.
///
/// # Errors
/// [`NoRandomness`] when the operating system has none to give.
pub fn wrap(secret: &[u8], document: &[u8]) -> Result<Vec<u8>, NoRandomness> {
    let mut nonce = [0; 12];
    random::fill(&mut nonce)?;
    Ok(wrap_with(secret, document, nonce))
}

#[expect(clippy::expect_used, reason = "only a document of 64 GiB is too long")]
fn wrap_with(secret: &[u8], document: &[u8], nonce: [u8; 12]) -> Vec<u8> {
    let key = WrappingKey::derive(secret);
    let mut wrapped = vec![VERSION];
    wrapped.extend_from_slice(&key.hint);
    wrapped.extend_from_slice(&nonce);
    wrapped.extend_from_slice(document);
    let (header, text) = wrapped.split_at_mut(CIPHERTEXT);
    let tag = key.cipher.encrypt_inout_detached(&nonce.into(), header, text.into());
    wrapped.extend_from_slice(&tag.expect("shorter than 64 GiB"));
    let mut text = Vec::new();
    base64::encode_append(&wrapped, &mut text);
    text
}

/// Decrypts a text that [`wrap`] made under `secret`; `None` for any other text.
#[must_use]
#[expect(clippy::indexing_slicing, reason = "the header was cut off at its fixed length")]
pub fn unwrap(secret: &[u8], text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let wrapped = Zeroizing::new(base64::decode(text)?);
    let (header, rest) = wrapped.split_at_checked(CIPHERTEXT)?;
    let (text, tag) = rest.split_last_chunk::<TAG>()?;
    let key = WrappingKey::derive(secret);
    if header[0] != VERSION || header[HINT] != key.hint {
        return None;
    }
    let nonce = Nonce::try_from(&header[NONCE]).ok()?;
    let mut document = Zeroizing::new(text.to_vec());
    let decrypted = key.cipher.decrypt_inout_detached(
        &nonce,
        header,
        document.as_mut_slice().into(),
        tag.into(),
    );
    decrypted.ok().map(|()| document)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_vectors;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn opens_under_its_secret_alone(
            secret: Vec<u8>, other: Vec<u8>, document: Vec<u8>, at: prop::sample::Index, bit in 0..8_u8,
        ) {
            let text = wrap(&secret, &document).expect("random");
            let opened = unwrap(&secret, &text);
            prop_assert_eq!(opened.as_deref(), Some(&document));
            if other != secret {
                prop_assert!(unwrap(&other, &text).is_none());
            }
            let mut raw = base64::decode(&text).expect("base64");
            let at = at.index(raw.len());
            raw[at] ^= 1 << bit;
            let mut changed = Vec::new();
            base64::encode_append(&raw, &mut changed);
            prop_assert!(unwrap(&secret, &changed).is_none());
        }

        #[test]
        fn no_bytes_panic(raw: Vec<u8>) {
            for raw in [raw.clone(), [&[VERSION][..], &raw].concat()] {
                let mut text = Vec::new();
                base64::encode_append(&raw, &mut text);
                prop_assert!(unwrap(b"", &text).is_none());
            }
        }
    }

    #[test]
    fn wraps_as_the_vectors_have_it() {
        for vector in test_vectors::read_list("wrapped_rings", 3) {
            let field = |name: &str| test_vectors::text(&vector, name).as_bytes();
            let nonce = base64::decode(field("nonce")).expect("base64");
            let nonce = nonce.try_into().expect("twelve bytes");
            let wrapped = wrap_with(field("secret"), field("document"), nonce);
            assert_eq!(wrapped, field("wrapped"));
        }
    }
}
