//! Keys are wiped when they are dropped: no block of memory that is freed still holds one.
//!
//! A program of its own, because it replaces the allocator: each block is searched when it is
//! freed.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use flask_fernet::keys::key::{KEY, derive_key, parse_key};
use flask_fernet::keys::key_set::{Format, KeySet};
use flask_fernet::keys::wrapping::{unwrap, wrap};
use flask_fernet::token::base64;
use zeroize::Zeroizing;

/// How many freed blocks held a half of the key or the secret.
static FOUND: AtomicUsize = AtomicUsize::new(0);

/// The halves of the key, the secret, and the key in base64, as far as a block must hold them to be
/// noticed.
const PATTERNS: [[u8; 16]; 4] = [
    *b"signing half of ",
    *b"the key; AES one",
    *b"a secret that no",
    // Of the first half.
    *b"c2lnbmluZyBoYWxm",
];

struct Searching;

#[expect(unsafe_code, reason = "an allocator is unsafe by its nature")]
// SAFETY: everything is left to the system's allocator. Before a block is freed it is read, byte by
// byte, inside its bounds; it is still allocated then.
unsafe impl GlobalAlloc for Searching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on as it came. Zeroed, so that what is read below was always written.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        for start in 0..layout.size().saturating_sub(15) {
            let holds = |pattern: &[u8; 16]| {
                // SAFETY: `start + at` is inside the block, which is freed below.
                (0..16).all(|at| unsafe { block.add(start + at).read_volatile() } == pattern[at])
            };
            if PATTERNS.iter().any(holds) {
                FOUND.fetch_add(1, Ordering::Relaxed);
            }
        }
        // SAFETY: passed on as it came.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Searching = Searching;

fn freed_with_a_key(work: impl FnOnce()) -> usize {
    let before = FOUND.load(Ordering::Relaxed);
    work();
    FOUND.load(Ordering::Relaxed) - before
}

fn key() -> Zeroizing<[u8; KEY]> {
    let mut key = Zeroizing::new([0; KEY]);
    key[..16].copy_from_slice(&PATTERNS[0]);
    key[16..].copy_from_slice(&PATTERNS[1]);
    key
}

/// One test, because another thread's blocks would count too.
#[test]
fn no_freed_block_holds_a_key() {
    // The search finds a key that was not wiped.
    assert!(freed_with_a_key(|| drop(key().to_vec())) > 0);

    let all = [Format::Fernet, Format::Xaes];
    for writes in all {
        let found = freed_with_a_key(|| {
            let keys = KeySet::new(&[key()], b"salt", writes, &all).expect("a key");
            let mut token = Vec::new();
            keys.seal(b"{}", 1_700_000_000, b"session", &mut token).expect("random bytes");
            assert!(keys.open(&token, 1_700_000_000, 60, b"session").is_ok());
            assert!(keys.open(&token[1..], 1_700_000_000, 60, b"session").is_err());
        });
        assert_eq!(found, 0, "{}", writes.name());
    }
    let found = freed_with_a_key(|| {
        let mut text = Zeroizing::new(Vec::with_capacity(44));
        base64::encode_append(&*key(), &mut text);
        assert_eq!(*parse_key(&text).expect("a key"), *key());
        assert!(parse_key(&text[1..]).is_err());
        let secret = Zeroizing::new(b"a secret that nobody knows".to_vec());
        let _ = derive_key(&secret, b"salt");
    });
    assert_eq!(found, 0, "keys of texts");
    let found = freed_with_a_key(|| {
        // The keys of a ring are its document.
        let wrapped = wrap(b"a secret that nobody knows", &*key()).expect("random bytes");
        assert_eq!(unwrap(b"a secret that nobody knows", &wrapped).expect("ours")[..], key()[..]);
        assert!(unwrap(b"another", &wrapped).is_none());
    });
    assert_eq!(found, 0, "a wrapped ring");
}
