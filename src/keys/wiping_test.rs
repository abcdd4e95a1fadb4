//! Keys are wiped when they are dropped: no block of memory that is freed still holds one, nor does
//! a stack that was wiped.
//!
//! A program of its own, because it replaces the allocator: each block is searched when it is
//! freed.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use flask_fernet::keys::key::{KEY, derive_key, parse_key};
use flask_fernet::keys::key_set::{Format, KeySet};
use flask_fernet::keys::wipe::with_wiped_stack;
use flask_fernet::keys::wrapping::{unwrap, wrap};
use flask_fernet::token::base64;
use flask_fernet::token::derive::derive;
use flask_fernet::token::record::Content;
use zeroize::Zeroizing;

/// How many freed blocks held a half of a key, or the secret.
static FOUND: AtomicUsize = AtomicUsize::new(0);

const SECRET: &[u8] = b"a secret that nobody knows";

/// The halves of the key, the secret, and the key in base64, as far as a block must hold them to be
/// noticed.
const GIVEN: [[u8; 16]; 4] = [
    *b"signing half of ",
    *b"the key; AES one",
    *b"a secret that no",
    // Of the first half.
    *b"c2lnbmluZyBoYWxm",
];

/// The halves of the keys that are derived from them with the salt `salt`, in the order of
/// [`derived`]. Computed by the HKDF of Python's `cryptography`.
const DERIVED: [[u8; 16]; 10] = [
    0xa0927fe9_3f8ceff7_f9dcbd2e_e417402c_u128.to_be_bytes(),
    0x84b13cc2_76cd55ab_c8534b00_db1d4c09_u128.to_be_bytes(),
    0x6df306f5_4b087c6a_1db65a53_e937f8ac_u128.to_be_bytes(),
    0x5d6fca6f_e0d675b7_cd869fa7_3f305662_u128.to_be_bytes(),
    0x0bebe2a8_78a772ad_b1bf49c7_29fa2091_u128.to_be_bytes(),
    0xfca49a9e_1039bd1a_5d912dc1_19900d75_u128.to_be_bytes(),
    0x265c3607_81fae1af_bf57aa45_42b97f40_u128.to_be_bytes(),
    0x6157be9d_2677b978_1dd861a6_eb85bc7c_u128.to_be_bytes(),
    0xe7b125a9_670003ba_b72a3303_92272c74_u128.to_be_bytes(),
    0x38a6b8ae_8dc0e918_3839acac_d184c3b1_u128.to_be_bytes(),
];

/// The subkeys of XAES-256-GCM (K1, <https://c2sp.org/XAES-256-GCM>) of the keys of tokens and of
/// records. Computed by the AES of Python's `cryptography`.
const SUBKEYS: [[u8; 16]; 2] = [
    0xb13f22fa_e4d9a84e_5254a5fa_0b37b412_u128.to_be_bytes(),
    0x6af84665_5a43345c_37146f4e_21aad807_u128.to_be_bytes(),
];

/// All that no memory may keep.
fn secrets() -> impl Iterator<Item = &'static [u8; 16]> {
    GIVEN.iter().chain(&DERIVED).chain(&SUBKEYS)
}

/// The keys of tokens, records and owner tags, of a wrapped ring, and of a secret.
fn derived() -> [[u8; KEY]; 5] {
    let key = key();
    [
        (&key[..], &b"xaes-256-gcm:salt"[..]),
        (&key[..], b"record:salt"),
        (&key[..], b"owner:salt"),
        (SECRET, b"ring"),
        (SECRET, b"fernet:salt"),
    ]
    .map(|(from, purpose)| {
        let mut derived = [0; KEY];
        derive(from, &[b"flask-fernet:", purpose], &mut derived);
        derived
    })
}

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
            if secrets().any(holds) {
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
    key[..16].copy_from_slice(&GIVEN[0]);
    key[16..].copy_from_slice(&GIVEN[1]);
    key
}

/// One test, because another thread's blocks would count too.
#[test]
fn no_freed_block_and_no_wiped_stack_holds_a_key() {
    no_freed_block_holds_a_key();
    #[cfg(target_os = "linux")]
    no_wiped_stack_holds_a_key();
}

fn no_freed_block_holds_a_key() {
    // The search finds a key that was not wiped.
    assert!(freed_with_a_key(|| drop(key().to_vec())) > 0);
    assert_eq!(derived().as_flattened(), DERIVED.as_flattened());

    let all = [Format::Fernet, Format::Xaes];
    for writes in all {
        let found = freed_with_a_key(|| {
            let [first, last] = [1, 2].map(|byte| Zeroizing::new([byte; KEY]));
            let keys = KeySet::new(&[key(), first, last], b"salt", writes, &all).expect("keys");
            let mut token = Vec::new();
            keys.seal(b"{}", 1_700_000_000, b"session", &mut token).expect("random bytes");
            assert!(keys.open(&token, 1_700_000_000, 60, b"session").is_ok());
            assert!(keys.open(&token[1..], 1_700_000_000, 60, b"session").is_err());
            let content = Content { generation: &[0; 8], created: 0, payload: b"{}" };
            let mut record = Vec::new();
            keys.seal_record(content, 0, b"address", &mut record).expect("random bytes");
            assert!(keys.open_record(record, b"address").is_ok());
            assert_eq!(keys.owner_tags(0, b"1").count(), 3);
        });
        assert_eq!(found, 0, "{}", writes.name());
    }
    let found = freed_with_a_key(|| {
        let mut text = Zeroizing::new(Vec::with_capacity(44));
        base64::encode_append(&*key(), &mut text);
        assert_eq!(*parse_key(&text).expect("a key"), *key());
        assert!(parse_key(&text[1..]).is_err());
        let secret = Zeroizing::new(SECRET.to_vec());
        let _ = derive_key(&secret, b"salt");
    });
    assert_eq!(found, 0, "keys of texts");
    let found = freed_with_a_key(|| {
        // The keys of a ring are its document.
        let wrapped = wrap(SECRET, &*key()).expect("random bytes");
        assert_eq!(unwrap(SECRET, &wrapped).expect("ours")[..], key()[..]);
        assert!(unwrap(b"another", &wrapped).is_none());
    });
    assert_eq!(found, 0, "a wrapped ring");
}

/// A thread whose stack is a block of this test's own, and can be read once the thread has ended.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "functions of the C library")]
mod stack {
    use std::ffi::{c_int, c_void};
    use std::ptr;

    const LENGTH: usize = 1 << 20;

    type Start = extern "C" fn(*mut c_void) -> *mut c_void;

    unsafe extern "C" {
        fn pthread_attr_init(attributes: *mut [u64; 16]) -> c_int;
        fn pthread_attr_setstack(
            attributes: *mut [u64; 16],
            stack: *mut c_void,
            size: usize,
        ) -> c_int;
        fn pthread_create(
            thread: *mut usize,
            attributes: *const [u64; 16],
            start: Start,
            argument: *mut c_void,
        ) -> c_int;
        fn pthread_join(thread: usize, result: *mut *mut c_void) -> c_int;
    }

    /// The stack of a thread after some work.
    pub(crate) fn after(work: fn()) -> Vec<u8> {
        extern "C" fn start(work: *mut c_void) -> *mut c_void {
            // SAFETY: it points to the function below, which outlives the thread.
            unsafe { (*work.cast::<fn()>())() };
            ptr::null_mut()
        }
        let mut stack = vec![0_u128; LENGTH / 16];
        // The C libraries of Linux need 56 or 64 bytes for the attributes; here are 128.
        let (mut attributes, mut thread, mut work) = ([0; 16], 0, work);
        // SAFETY: all pointers are valid until the thread was joined, and nothing else uses the
        // block meanwhile.
        unsafe {
            assert_eq!(pthread_attr_init(&raw mut attributes), 0);
            let block = stack.as_mut_ptr().cast();
            assert_eq!(pthread_attr_setstack(&raw mut attributes, block, LENGTH), 0);
            let argument = (&raw mut work).cast();
            assert_eq!(pthread_create(&raw mut thread, &raw const attributes, start, argument), 0);
            assert_eq!(pthread_join(thread, ptr::null_mut()), 0);
        }
        stack.into_iter().flat_map(u128::to_ne_bytes).collect()
    }
}

#[cfg(target_os = "linux")]
fn no_wiped_stack_holds_a_key() {
    #[inline(never)]
    fn leaves_keys() {
        let mut copies = [[0; 16]; 700];
        copies.fill(GIVEN[0]);
        std::hint::black_box(&copies);
    }
    #[inline(never)]
    fn makes_keys() -> KeySet {
        KeySet::new(&[key()], b"salt", Format::Fernet, &[Format::Xaes]).expect("keys")
    }
    let found = |work: fn()| {
        let stack = stack::after(work);
        let holds = |pattern| stack.windows(16).any(|part| part == pattern);
        secrets().filter(|&pattern| holds(pattern)).count()
    };
    // The search finds keys that were not wiped.
    assert_eq!(found(leaves_keys), 1);
    assert!(found(|| drop(makes_keys())) > 0);
    assert_eq!(found(|| with_wiped_stack(leaves_keys)), 0);
    assert_eq!(found(|| drop(with_wiped_stack(makes_keys))), 0);
}
