//! Tokens that were made, changed, and opened again, in both formats: a changed token opens for
//! nobody, and Fernet tokens open exactly as the `fernet` crate opens them.

#![no_main]

use arbitrary::Arbitrary;
use flask_fernet::keys::key_set::{Format, KeySet};
use flask_fernet::token::base64;
use flask_fernet::token::fernet::FernetKey;
use flask_fernet::token::xaes::{Context, XaesKey};
use flask_fernet_fuzz::{Edit, key};
use libfuzzer_sys::fuzz_target;

const SALT: &[u8] = b"salt";
const MAX_AGE: i64 = 3600;

#[derive(Arbitrary, Debug)]
struct Input {
    is_xaes: bool,
    key: u8,
    payload: Vec<u8>,
    issued_at: u64,
    now: i64,
    iv: [u8; 24],
    name: Vec<u8>,
    edits: Vec<Edit>,
}

fuzz_target!(|input: Input| {
    let Input { is_xaes, payload, issued_at, now, iv, name, edits, .. } = input;
    let made_by = input.key % 4;
    let format = if is_xaes { Format::Xaes } else { Format::Fernet };
    let mut token = Vec::new();
    if is_xaes {
        let context = Context { salt: SALT, name: &name };
        let key = XaesKey::derive(&key(made_by), SALT);
        key.seal_append(&payload, issued_at, &iv, context, &mut token);
    } else {
        let iv = iv.first_chunk().expect("longer");
        FernetKey::new(&key(made_by)).seal_append(&payload, issued_at, iv, &mut token);
    }
    let original = token.clone();
    for edit in edits.into_iter().take(8) {
        edit.apply(&mut token);
    }
    // Three keys open; the fourth is nobody's.
    let keys = [0, 1, 2].map(key);
    let set = KeySet::new(&keys, SALT, format, &[Format::Fernet, Format::Xaes]).expect("keys");
    let opened = set.open(&token, i128::from(now), MAX_AGE, &name);
    let age = i128::from(now) - i128::from(issued_at);
    let is_in_time = (-60..=i128::from(MAX_AGE)).contains(&age);
    // Padding that was lost or escaped on the way is no change.
    let is_same = base64::decode_repadded(&token) == base64::decode(&original);
    if !is_same || made_by == 3 || !is_in_time {
        assert!(opened.is_err(), "opened");
    } else {
        let opened = opened.expect("opens");
        assert_eq!(&*opened.payload, &*payload);
        assert_eq!((opened.issued_at, opened.key), (issued_at, usize::from(made_by)));
        assert!(opened.format == format);
    }
    // Each token at its own time: the crate refuses those from the future. It adds to the time
    // without looking, so it cannot be asked about the end of all times; and it reads base64 in more
    // spellings than one.
    let raw = base64::decode(&token).unwrap_or_default();
    let its_time = raw
        .get(1..9)
        .and_then(<[u8]>::first_chunk)
        .map_or(u64::MAX, |time| u64::from_be_bytes(*time));
    if !is_xaes
        && its_time < 1 << 62
        && let Ok(text) = std::str::from_utf8(&token)
    {
        let ours = set.open(&token, i128::from(its_time), MAX_AGE, &name).ok();
        let theirs = keys.iter().find_map(|key| {
            let key = fernet::Fernet::new(&data_encoding::BASE64URL.encode(&**key)).expect("a key");
            key.decrypt_at_time(text, None, its_time).ok()
        });
        assert_eq!(ours.map(|opened| opened.payload.to_vec()), theirs);
    }
});
