//! Bytes that nobody has made with a key never open, and asking about them never fails.

#![no_main]

use flask_fernet::keys::key_set::{Format, KeySet};
use flask_fernet::token::{base64, record, reference, xaes};
use flask_fernet_fuzz::key;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let keys = [key(1), key(2)];
    let all = [Format::Fernet, Format::Xaes];
    let set = KeySet::new(&keys, b"salt", Format::Fernet, &all).expect("keys");
    let mut encoded = Vec::new();
    base64::encode_append(data, &mut encoded);
    for token in [data, &encoded] {
        assert!(set.open(token, 1_700_000_000, i64::MAX, b"session").is_err());
        let _ = set.may_be_newer(token);
        let _ = base64::decode_repadded(token);
    }
    let address = set.address(b"id");
    assert!(set.open_record(data.to_vec(), &address).is_err());
    let _ = set.record_may_be_newer(data.to_vec());
    let _ = (xaes::Unverified::parse(data.to_vec()), record::Unverified::parse(data.to_vec()));
    if let Some(both) = reference::parse(data) {
        assert!(reference::is_reference(data));
        assert_eq!(reference::write(&both), data);
    }
});
