//! Key derivation: HKDF-SHA256 (RFC 5869) without a salt of HKDF's own.

use hkdf::Hkdf;
use sha2::Sha256;

/// Fills `out` with a key derived from `secret`. `info`, whose parts are concatenated, names this
/// package and the purpose, so that each purpose gets an independent key.
///
/// # Panics
/// If `out` is longer than the 8,160 bytes that HKDF-SHA256 can give. Every caller's is constant.
#[expect(clippy::expect_used, reason = "every derived key is shorter than HKDF's limit")]
pub fn derive(secret: &[u8], info: &[&[u8]], out: &mut [u8]) {
    let expanded = Hkdf::<Sha256>::new(None, secret).expand_multi_info(info, out);
    expanded.expect("every derived key is shorter than HKDF's limit");
}
