//! Our base64 beside the `data-encoding` crate's.

#![no_main]

use data_encoding::{BASE64, BASE64URL, BASE64URL_NOPAD, Encoding};
use flask_fernet::token::base64;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    assert_eq!(base64::decode(data), canonical(&BASE64URL, data));
    assert_eq!(base64::decode_standard(data), canonical(&BASE64, data));
    let mut encoded = Vec::new();
    base64::encode_append(data, &mut encoded);
    assert_eq!(encoded, BASE64URL.encode(data).as_bytes());
    let mut buffer = vec![0; base64::encoded_len(data.len())];
    let start = buffer.len() - data.len();
    buffer[start..].copy_from_slice(data);
    base64::encode_in_place(&mut buffer, start);
    assert_eq!(buffer, encoded);
    encoded.clear();
    base64::encode_standard_append(data, &mut encoded);
    assert_eq!(encoded, BASE64.encode(data).as_bytes());
    // What is lost on the way is the padding alone.
    if let Some(found) = base64::decode_repadded(data) {
        let letters: Vec<u8> = BASE64URL_NOPAD.encode(&found).into_bytes();
        assert!(data.starts_with(&letters));
        let rest = std::str::from_utf8(&data[letters.len()..]).expect("ASCII");
        let rest = ["%3D", "%3d", "\\075"]
            .iter()
            .fold(rest.to_owned(), |rest, one| rest.replace(one, "="));
        assert!(["", "=", "=="].contains(&&*rest));
    } else {
        assert_eq!(canonical(&BASE64URL, data), None);
        assert_eq!(canonical(&BASE64URL_NOPAD, data), None);
    }
});

/// The bytes with this encoding. The crate also reads several padded texts after one another.
fn canonical(encoding: &Encoding, text: &[u8]) -> Option<Vec<u8>> {
    encoding.decode(text).ok().filter(|data| encoding.encode(data).as_bytes() == text)
}
