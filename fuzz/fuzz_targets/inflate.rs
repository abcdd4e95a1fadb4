//! What zlib-rs inflates beside miniz_oxide, and what we deflate. Under `--cfg fuzzing`, which
//! `cargo fuzz` sets unless it is told `--no-cfg-fuzzing`, miniz_oxide looks at no checksum.

#![no_main]

use flask_fernet::compress::{Effort, MARK, MAX_INFLATED, deflate, inflate};
use libfuzzer_sys::fuzz_target;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

fuzz_target!(|data: &[u8]| {
    let packed = [&[MARK], data].concat();
    let ours = inflate(&packed).expect("memory");
    let theirs = decompress_to_vec_zlib_with_limit(data, MAX_INFLATED).ok();
    match (ours, theirs) {
        (Some(ours), theirs) => assert_eq!(theirs, Some(ours)),
        // It ignores what follows the stream, which ours refuses.
        (None, Some(_)) => {
            let shorter = decompress_to_vec_zlib_with_limit(&data[..data.len() - 1], MAX_INFLATED);
            assert!(shorter.is_ok());
        }
        (None, None) => {}
    }
    for effort in [Effort::Fast, Effort::Thorough] {
        let packed = deflate(data, effort).expect("memory");
        assert_eq!(inflate(&packed).expect("memory").as_deref(), Some(data));
    }
});
