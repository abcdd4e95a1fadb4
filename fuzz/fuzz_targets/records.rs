//! Records that were made, changed or moved, and opened again: only an unchanged one opens, at its
//! own address.

#![no_main]

use arbitrary::Arbitrary;
use flask_fernet::token::record::{Content, RecordKey, Unverified, VERSION_RANGE};
use flask_fernet::token::xaes::Context;
use flask_fernet_fuzz::{Edit, key};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    key: u8,
    generation: [u8; 8],
    created: u64,
    renewed_at: u64,
    payload: Vec<u8>,
    nonce: [u8; 24],
    address: [u8; 32],
    opened_at: Option<[u8; 32]>,
    edits: Vec<Edit>,
}

fuzz_target!(|input: Input| {
    let Input { generation, created, renewed_at, payload, nonce, address, .. } = input;
    let keys = [0, 1, 2].map(|byte| RecordKey::derive(&key(byte), b"salt"));
    let made_by = input.key % 3;
    let content = Content { generation: &generation, created, payload: &payload };
    let context = Context { salt: b"salt", name: &address };
    let mut record = Vec::new();
    keys[usize::from(made_by)].seal(content, renewed_at, &nonce, context, &mut record);
    assert_eq!(record[VERSION_RANGE], nonce);
    let original = record.clone();
    for edit in input.edits.into_iter().take(8) {
        edit.apply(&mut record);
    }
    let at = input.opened_at.unwrap_or(address);
    let is_unchanged = record == original && at == address;
    let context = Context { salt: b"salt", name: &at };
    // The last key is not among those that open.
    let opened = Unverified::parse(record)
        .and_then(|record| record.open(keys.iter().enumerate().take(2), context));
    if !is_unchanged || made_by == 2 {
        assert!(opened.is_none());
        return;
    }
    let opened = opened.expect("opens");
    assert_eq!(&*opened.payload, &*payload);
    assert_eq!(opened.key, usize::from(made_by));
    assert_eq!((opened.generation, opened.created), (generation, created));
    assert_eq!(opened.renewed_at, renewed_at);
});
