//! AES-256-GCM (NIST SP 800-38D) for a key that serves a single message, as XAES-256-GCM derives
//! them.
//!
//! The `aes-gcm` crate prepares a key for many messages and takes twice as long for a session of
//! 100 bytes, because it calls the block cipher and the hash often, each time for few blocks. This
//! composition encrypts the hash's key, the tag's mask and the key stream in one call, and hashes
//! the associated data and the text in one call. The tests compare it with the crate. See the
//! record in docs/architecture.md.

use aes::Aes256Enc;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Bytes of a tag.
pub(super) const TAG: usize = 16;
const BLOCK: usize = 16;
/// Blocks encrypted, or hashed, in the first call: enough for most sessions.
const HEAD_BLOCKS: usize = 32;
/// Blocks of the key stream encrypted in each later call.
const CHUNK_BLOCKS: usize = 64;
/// Blocks before the key stream: the hash's key and the tag's mask.
const RESERVED_BLOCKS: usize = 2;

type Block = [u8; BLOCK];

/// The associated data: the concatenation of these parts.
pub(super) type Associated<'a> = [&'a [u8]; 4];

/// One message under its own key.
pub(super) struct Message<'a> {
    cipher: Aes256Enc,
    nonce: &'a [u8; 12],
    /// The hash's key, the tag's mask, and the beginning of the key stream.
    head: [Block; HEAD_BLOCKS],
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        // The key stream reveals no more than the text, which is not wiped either.
        self.head[..RESERVED_BLOCKS].as_flattened_mut().zeroize();
    }
}

impl<'a> Message<'a> {
    /// For a text of `length` bytes.
    #[expect(
        clippy::indexing_slicing,
        reason = "`blocks` is at least one and at most the length of the array"
    )]
    pub(super) fn new(key: &[u8; 32], nonce: &'a [u8; 12], length: usize) -> Self {
        let cipher = Aes256Enc::new(key.into());
        let mut head = [[0; BLOCK]; HEAD_BLOCKS];
        let blocks = HEAD_BLOCKS.min(RESERVED_BLOCKS + length.div_ceil(BLOCK));
        // Block 0 holds zeros (section 7.1, step 1), block 1 the initial counter (step 2).
        fill_counters(&mut head[1..blocks], nonce, 1);
        cipher.encrypt_blocks(Array::cast_slice_from_core_mut(&mut head[..blocks]));
        Self { cipher, nonce, head }
    }

    /// Encrypts `text` in place and gives the tag.
    pub(super) fn encrypt(&self, associated: Associated<'_>, text: &mut [u8]) -> [u8; TAG] {
        self.apply_key_stream(text);
        self.tag(associated, text)
    }

    /// Decrypts `text` in place if the tag is right. The comparison takes constant time.
    pub(super) fn decrypt(
        &self,
        associated: Associated<'_>,
        text: &mut [u8],
        tag: &[u8; TAG],
    ) -> Option<()> {
        let right: bool = self.tag(associated, text).ct_eq(tag).into();
        right.then(|| self.apply_key_stream(text))
    }

    fn apply_key_stream(&self, text: &mut [u8]) {
        let head = text.len().min((HEAD_BLOCKS - RESERVED_BLOCKS) * BLOCK);
        let (text, rest) = text.split_at_mut(head);
        xor(text, &self.head[RESERVED_BLOCKS..]);
        if !rest.is_empty() {
            self.apply_later_key_stream(rest);
        }
    }

    #[cold]
    #[expect(clippy::indexing_slicing, reason = "`blocks` is at most the length of the array")]
    fn apply_later_key_stream(&self, text: &mut [u8]) {
        let mut stream = [[0; BLOCK]; CHUNK_BLOCKS];
        let mut counter = u32::try_from(HEAD_BLOCKS).unwrap_or_default();
        for chunk in text.chunks_mut(CHUNK_BLOCKS * BLOCK) {
            let blocks = chunk.len().div_ceil(BLOCK);
            fill_counters(&mut stream[..blocks], self.nonce, counter);
            counter += u32::try_from(blocks).unwrap_or_default();
            self.cipher.encrypt_blocks(Array::cast_slice_from_core_mut(&mut stream[..blocks]));
            xor(chunk, &stream);
        }
    }

    /// Section 7.1, steps 5 and 6.
    #[expect(
        clippy::indexing_slicing,
        reason = "the buffer has room for all that was counted, in whole blocks"
    )]
    fn tag(&self, associated: Associated<'_>, text: &[u8]) -> [u8; TAG] {
        let length = associated.iter().map(|part| part.len()).sum::<usize>();
        let lengths = u128::from(bits(length)) << 64 | u128::from(bits(text.len()));
        let begin = length.next_multiple_of(BLOCK);
        let end = begin + text.len().next_multiple_of(BLOCK);
        let mut hash = GHash::new(&self.head[0].into());
        let mut input = [[0; BLOCK]; HEAD_BLOCKS];
        if end < size_of_val(&input) {
            let bytes = input.as_flattened_mut();
            let mut rest = &mut bytes[..];
            for part in associated {
                let (here, after) = rest.split_at_mut(part.len());
                here.copy_from_slice(part);
                rest = after;
            }
            bytes[begin..begin + text.len()].copy_from_slice(text);
            bytes[end..end + BLOCK].copy_from_slice(&lengths.to_be_bytes());
            hash.update(Array::cast_slice_from_core(&input[..end / BLOCK + 1]));
        } else {
            hash.update_padded(&associated.concat());
            hash.update_padded(text);
            hash.update(&[lengths.to_be_bytes().into()]);
        }
        let mask = u128::from_ne_bytes(self.head[1]);
        (u128::from_ne_bytes(hash.finalize().into()) ^ mask).to_ne_bytes()
    }
}

/// A length in bits. Nothing in memory is long enough to overflow it.
fn bits(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or_default() * 8
}

/// Fills `blocks` with counter blocks, beginning with `counter` (section 6.5).
#[inline]
fn fill_counters(blocks: &mut [Block], nonce: &[u8; 12], counter: u32) {
    for (block, counter) in blocks.iter_mut().zip(counter..) {
        block[..12].copy_from_slice(nonce);
        block[12..].copy_from_slice(&counter.to_be_bytes());
    }
}

#[inline]
fn xor(text: &mut [u8], stream: &[Block]) {
    let (blocks, rest) = text.as_chunks_mut::<BLOCK>();
    for (block, key) in blocks.iter_mut().zip(stream) {
        *block = (u128::from_ne_bytes(*block) ^ u128::from_ne_bytes(*key)).to_ne_bytes();
    }
    if let Some(key) = stream.get(blocks.len()) {
        rest.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aes_gcm::Aes256Gcm;
    use aes_gcm::aead::AeadInOut;
    use proptest::prelude::*;

    proptest! {
        /// Lengths cluster around the limits at which the implementation changes its way.
        #[test]
        fn does_what_the_crate_does(
            key: [u8; 32],
            nonce: [u8; 12],
            parts in prop::array::uniform4(prop::collection::vec(any::<u8>(), 0..60)),
            length in prop_oneof![0..700_usize, 1400..1600_usize, 2400..2600_usize],
            at: prop::sample::Index,
            bit in 0..8_u8,
        ) {
            let plain: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
            let associated = parts.each_ref().map(Vec::as_slice);
            let mut text = plain.clone();
            let tag = Message::new(&key, &nonce, length).encrypt(associated, &mut text);
            let mut expected = plain.clone();
            let expected_tag = Aes256Gcm::new(&key.into())
                .encrypt_inout_detached(
                    &nonce.into(),
                    &parts.concat(),
                    expected.as_mut_slice().into(),
                )
                .expect("short");
            prop_assert_eq!(&text, &expected);
            prop_assert_eq!(&tag[..], &expected_tag[..]);

            let mut back = text.clone();
            let message = Message::new(&key, &nonce, length);
            prop_assert!(message.decrypt(associated, &mut back, &tag).is_some());
            prop_assert_eq!(back, plain);
            // With one bit changed anywhere, nothing is decrypted.
            let mut changed = [&text[..], &tag].concat();
            let at = at.index(changed.len());
            changed[at] ^= 1 << bit;
            let (changed, tag) = changed.split_last_chunk::<TAG>().expect("a tag");
            let mut text = changed.to_vec();
            prop_assert!(message.decrypt(associated, &mut text, tag).is_none());
            prop_assert_eq!(text, changed);
        }
    }
}
