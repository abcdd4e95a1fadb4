//! The record of a stored session: what the store holds.
//!
//! ```text
//! 0      1          5            13      37               n - 16      n
//! | 0xA3 | key hint | renewed at | nonce | ciphertext     | tag       |
//! | 1    | 4        | 8          | 24    | 16 + payload   | 16        |
//!
//! plaintext:  0            8         16
//!             | generation | created | payload |
//!             | 8          | 8       |         |
//! ```
//!
//! XAES-256-GCM as in [`super::xaes`], without base64. Times: seconds since the epoch, big endian.
//! *Renewed at* is when the record's expiry was last set. Associated data: everything before the
//! ciphertext, then the length of the salt as four bytes, big endian, the salt, and the address.
//! The nonce is the record's version: each write draws another one.
//!
//! The address is a hash of the session's id, and the owner tag a keyed hash of its user, so that a
//! dump of the store shows neither.

use std::ops::Range;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Plaintext;
use super::derive::derive;
use super::gcm::TAG;
use super::xaes::{Context, NONCE_LEN, XaesKey};
use crate::compress::MAX_INFLATED;

/// First byte of a record.
pub const VERSION: u8 = 0xa3;
/// Bytes of an address.
pub const ADDRESS: usize = 32;
/// Bytes of an owner tag.
pub const OWNER_TAG: usize = 16;
/// Bytes of a generation.
pub const GENERATION: usize = 8;
/// Where the version lies in a record.
pub const VERSION_RANGE: Range<usize> = 13..37;

const HINT: Range<usize> = 1..5;
const RENEWED: Range<usize> = 5..13;
const CIPHERTEXT: usize = 37;
/// Bytes of plaintext before the payload.
const PREFIX: usize = GENERATION + 8;

/// The address of the session `id` of an interface with this salt: SHA-256 of
/// `flask-fernet:address`, the length of the salt as four bytes, big endian, the salt, and the id.
/// There is no key in it, so that a rotation moves no record.
#[must_use]
pub fn address(salt: &[u8], id: &[u8]) -> [u8; ADDRESS] {
    let length = u32::try_from(salt.len()).unwrap_or(u32::MAX).to_be_bytes();
    let parts: [&[u8]; 4] = [b"flask-fernet:address", &length, salt, id];
    let hash = parts.into_iter().fold(Sha256::new(), Digest::chain_update);
    hash.finalize().into()
}

/// Bytes of the longest record that is opened: that of a session of [`MAX_INFLATED`] bytes, with its
/// mark if it is compressed.
pub const MAX: usize = len(MAX_INFLATED + 1);

/// Bytes of a record of a payload.
#[must_use]
pub const fn len(payload: usize) -> usize {
    CIPHERTEXT + PREFIX + payload + TAG
}

/// A key of records and owner tags. Wiped on drop.
pub struct RecordKey {
    xaes: XaesKey,
    owner: Zeroizing<[u8; 32]>,
}

/// What a record keeps secret.
#[derive(Clone, Copy)]
pub struct Content<'a> {
    /// Changes at each log-in and log-out, while the id stays.
    pub generation: &'a [u8; GENERATION],
    /// Seconds since the epoch of the session's beginning or last log-in.
    pub created: u64,
    /// The session, serialised.
    pub payload: &'a [u8],
}

/// An authentic record.
pub struct Opened {
    /// Changes at each log-in and log-out, while the id stays.
    pub generation: [u8; GENERATION],
    /// Seconds since the epoch of the session's beginning or last log-in.
    pub created: u64,
    /// Seconds since the epoch at which the expiry was last set.
    pub renewed_at: u64,
    /// The session, serialised.
    pub payload: Plaintext,
    /// Position of the key that made the record; 0 is the newest.
    pub key: usize,
}

impl RecordKey {
    /// Derives a session interface's key from a key of its configuration: HKDF-SHA256 (RFC 5869),
    /// `info` is `flask-fernet:record:` for records and `flask-fernet:owner:` for owner tags,
    /// followed by the interface's salt.
    #[must_use]
    pub fn derive(key: &[u8; 32], salt: &[u8]) -> Self {
        let mut owner = Zeroizing::new([0; 32]);
        derive(key, &[b"flask-fernet:owner:", salt], &mut *owner);
        Self { xaes: XaesKey::derive_for(b"flask-fernet:record:", key, salt), owner }
    }

    /// Appends a record in this context, whose name is the address, to `record`, which is empty.
    pub fn seal(
        &self,
        content: Content<'_>,
        renewed_at: u64,
        nonce: &[u8; NONCE_LEN],
        context: Context<'_>,
        record: &mut Vec<u8>,
    ) {
        let length = PREFIX + content.payload.len();
        record.push(VERSION);
        record.extend_from_slice(&self.xaes.hint());
        record.extend_from_slice(&renewed_at.to_be_bytes());
        record.extend_from_slice(nonce);
        record.extend_from_slice(content.generation);
        record.extend_from_slice(&content.created.to_be_bytes());
        record.extend_from_slice(content.payload);
        let (header, text) = record.split_at_mut(CIPHERTEXT);
        let salt_length = context.salt_length();
        let associated = context.associated(header, &salt_length);
        let tag = self.xaes.message(nonce, length).encrypt(associated, text);
        record.extend_from_slice(&tag);
    }

    /// The tag of a user: the beginning of HMAC-SHA256 over a byte for the type of the user's id,
    /// and the id.
    #[must_use]
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length and gives 32 bytes")]
    pub fn owner_tag(&self, kind: u8, user: &[u8]) -> [u8; OWNER_TAG] {
        let mac = Hmac::<Sha256>::new_from_slice(&*self.owner).expect("any length is a key");
        let mac = mac.chain_update([kind]).chain_update(user).finalize().into_bytes();
        *mac.first_chunk().expect("32 bytes")
    }
}

/// A record that has not been authenticated yet.
pub struct Unverified(Vec<u8>);

impl Unverified {
    /// Takes the bytes of a record; `None` when they cannot be one.
    #[must_use]
    pub fn parse(data: Vec<u8>) -> Option<Self> {
        let is_long_enough = data.len() >= CIPHERTEXT + PREFIX + TAG;
        (data.first() == Some(&VERSION) && is_long_enough).then_some(Self(data))
    }

    /// Whether the hint in this record is that of `key`.
    #[must_use]
    #[expect(
        clippy::indexing_slicing,
        reason = "`parse` takes no record that is shorter than its header"
    )]
    pub fn has_hint_of(&self, key: &RecordKey) -> bool {
        self.0[HINT] == key.xaes.hint()
    }

    /// The contents, if one of the keys made this record for this context.
    #[must_use]
    #[expect(
        clippy::indexing_slicing,
        reason = "`parse` takes no record that is shorter than header, generation, time and tag"
    )]
    pub fn open<'k>(
        mut self,
        keys: impl Iterator<Item = (usize, &'k RecordKey)>,
        context: Context<'_>,
    ) -> Option<Opened> {
        let hint: [u8; 4] = *self.0[HINT].first_chunk()?;
        let renewed_at = u64::from_be_bytes(*self.0[RENEWED].first_chunk()?);
        let nonce: [u8; NONCE_LEN] = *self.0[VERSION_RANGE].first_chunk()?;
        let tag: [u8; TAG] = *self.0.last_chunk()?;
        let end = self.0.len() - TAG;
        let (header, rest) = self.0.split_at_mut(CIPHERTEXT);
        let text = &mut rest[..end - CIPHERTEXT];
        let salt_length = context.salt_length();
        let associated = context.associated(header, &salt_length);
        let mut keys = keys.filter(|(_, key)| key.xaes.hint() == hint);
        let (key, _) = keys.find(|(_, key)| {
            let message = key.xaes.message(&nonce, text.len());
            message.decrypt(associated, text, &tag).is_some()
        })?;
        let generation = *text.first_chunk()?;
        let created = u64::from_be_bytes(*text[GENERATION..].first_chunk()?);
        let payload = Plaintext::new(self.0, CIPHERTEXT + PREFIX..end);
        Some(Opened { generation, created, renewed_at, payload, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_vectors::{number, read, text};
    use crate::token::base64;
    use proptest::prelude::*;

    fn bytes(value: &serde_json::Value, name: &str) -> Vec<u8> {
        base64::decode(text(value, name).as_bytes()).expect("base64")
    }

    fn key_of(vector: &serde_json::Value) -> RecordKey {
        let key = bytes(vector, "key").try_into().expect("32 bytes");
        RecordKey::derive(&key, text(vector, "salt").as_bytes())
    }

    #[test]
    fn records_as_the_vectors_have_them() {
        let vectors = read("records");
        let cases = vectors["records"].as_array().expect("a list");
        assert!(cases.len() >= 3);
        for case in cases {
            let salt = text(case, "salt").as_bytes();
            let address = address(salt, &bytes(case, "id"));
            assert_eq!(address.as_slice(), bytes(case, "address"));
            let payload = bytes(case, "payload");
            let content = Content {
                generation: &bytes(case, "generation").try_into().expect("8 bytes"),
                created: number(case, "created"),
                payload: &payload,
            };
            let nonce = bytes(case, "nonce").try_into().expect("24 bytes");
            let context = Context { salt, name: &address };
            let mut record = Vec::new();
            key_of(case).seal(content, number(case, "renewed_at"), &nonce, context, &mut record);
            assert_eq!(record.len(), len(content.payload.len()));
            assert_eq!(record, bytes(case, "record"));
        }
    }

    #[test]
    fn the_longest_record_has_the_longest_session_and_its_mark() {
        let content = Content { generation: &[0; 8], created: 0, payload: &[0; MAX_INFLATED + 1] };
        let context = Context { salt: b"", name: b"" };
        let mut record = Vec::new();
        RecordKey::derive(&[1; 32], b"").seal(content, 0, &[0; NONCE_LEN], context, &mut record);
        assert_eq!(record.len(), MAX);
    }

    #[test]
    fn owner_tags_as_the_vectors_have_them() {
        let vectors = read("records");
        let cases = vectors["owners"].as_array().expect("a list");
        assert!(cases.len() >= 3);
        for case in cases {
            let kind = text(case, "kind").as_bytes()[0];
            let tag = key_of(case).owner_tag(kind, &bytes(case, "user"));
            assert_eq!(tag.as_slice(), bytes(case, "tag"));
        }
    }

    fn open(record: Vec<u8>, key: &RecordKey, context: Context<'_>) -> Option<Opened> {
        Unverified::parse(record)?.open(std::iter::once((0, key)), context)
    }

    proptest! {
        #[test]
        fn opens_at_its_own_address_only(
            payload: Vec<u8>, salt: Vec<u8>, id: [u8; 32], other: [u8; 32],
            generation: [u8; 8], created: u64, renewed_at: u64,
            at: prop::sample::Index, bit in 0..8_u8,
        ) {
            let key = RecordKey::derive(&[1; 32], &salt);
            let here = address(&salt, &id);
            let context = Context { salt: &salt, name: &here };
            let content = Content { generation: &generation, created, payload: &payload };
            let mut record = Vec::new();
            key.seal(content, renewed_at, &[7; 24], context, &mut record);
            prop_assert_eq!(record.len(), payload.len() + 69);
            prop_assert_eq!(&record[VERSION_RANGE], &[7; 24]);
            let opened = open(record.clone(), &key, context).expect("authentic");
            prop_assert_eq!(opened.generation, generation);
            prop_assert_eq!((opened.created, opened.renewed_at), (created, renewed_at));
            prop_assert_eq!(&*opened.payload, &payload[..]);
            if other != id {
                let context = Context { salt: &salt, name: &address(&salt, &other) };
                prop_assert!(open(record.clone(), &key, context).is_none());
            }
            let stranger = RecordKey::derive(&[2; 32], &salt);
            prop_assert!(open(record.clone(), &stranger, context).is_none());
            let mut changed = record;
            let at = at.index(changed.len());
            changed[at] ^= 1 << bit;
            prop_assert!(open(changed, &key, context).is_none());
        }

        #[test]
        fn no_bytes_panic(data: Vec<u8>) {
            let key = RecordKey::derive(&[1; 32], b"");
            let context = Context { salt: b"", name: b"" };
            for data in [data.clone(), [&[VERSION][..], &data].concat()] {
                prop_assert!(open(data, &key, context).is_none());
            }
        }
    }

    #[test]
    fn a_token_is_no_record() {
        let key = XaesKey::derive(&[1; 32], b"salt");
        let context = Context { salt: b"salt", name: b"session" };
        let mut token = Vec::new();
        key.seal_append(&[0; 64], 5, &[7; 24], context, &mut token);
        let mut raw = base64::decode(&token).expect("base64");
        assert!(Unverified::parse(raw.clone()).is_none());
        raw[0] = VERSION;
        assert!(open(raw, &RecordKey::derive(&[1; 32], b"salt"), context).is_none());
    }
}
