//! Wrapped key rings that were made, changed, and unwrapped again, and text that is none.

#![no_main]

use arbitrary::Arbitrary;
use flask_fernet::keys::wrapping::{unwrap, wrap};
use flask_fernet_fuzz::Edit;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    secret: Vec<u8>,
    other: Option<Vec<u8>>,
    document: Vec<u8>,
    edits: Vec<Edit>,
    text: Vec<u8>,
}

fuzz_target!(|input: Input| {
    let Input { secret, other, document, edits, text } = input;
    assert!(unwrap(&secret, &text).is_none());
    let mut wrapped = wrap(&secret, &document).expect("random bytes");
    let original = wrapped.clone();
    for edit in edits.into_iter().take(8) {
        edit.apply(&mut wrapped);
    }
    let with = other.as_deref().unwrap_or(&secret);
    let found = unwrap(with, &wrapped).map(|found| found.to_vec());
    if wrapped != original || with != secret {
        assert_eq!(found, None);
    } else {
        assert_eq!(found, Some(document));
    }
});
