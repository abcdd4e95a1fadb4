//! A forked process draws nothing that its parent or another child has drawn. The tests in Python
//! show the same through the extension.
//!
//! A program of its own, so that no other test runs while it forks.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, reason = "a test")]

use std::collections::HashSet;
use std::ffi::c_int;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;

use flask_fernet::token::random::iv;

/// Draws of each process: more than a pool holds.
const DRAWS: usize = 200;
/// Generations of processes below the first, each of which forks twice.
const DEPTH: u32 = 2;

#[expect(unsafe_code, reason = "functions of the C library")]
mod libc {
    use std::ffi::c_int;

    unsafe extern "C" {
        pub(crate) safe fn fork() -> c_int;
        pub(crate) safe fn _exit(status: c_int) -> !;
        pub(crate) unsafe fn pipe(ends: *mut c_int) -> c_int;
        pub(crate) unsafe fn waitpid(child: c_int, status: *mut c_int, options: c_int) -> c_int;
    }
}

fn draws(count: usize) -> Vec<u8> {
    (0..count).flat_map(|_| iv().expect("the system has randomness")).collect()
}

/// What this process and all that it forks draw from now on.
fn drawn(depth: u32) -> Vec<u8> {
    let mut all = Vec::new();
    // The first child is forked before this process has drawn.
    let children = if depth > 0 { 2 } else { 0 };
    for _ in 0..children {
        let (mut reader, mut writer) = pipe();
        let child = libc::fork();
        assert!(child >= 0);
        if child == 0 {
            drop(reader);
            let written = writer.write_all(&drawn(depth - 1));
            libc::_exit(c_int::from(written.is_err()));
        }
        drop(writer);
        all.extend(draws(DRAWS));
        reader.read_to_end(&mut all).expect("the child writes");
        assert_eq!(status_of(child), 0);
    }
    all.extend(draws(DRAWS));
    all
}

#[expect(unsafe_code, reason = "functions of the C library")]
fn pipe() -> (File, File) {
    let mut ends = [0; 2];
    // SAFETY: there is room for two descriptors, and both are owned by nobody else.
    unsafe {
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1]))
    }
}

#[expect(unsafe_code, reason = "functions of the C library")]
fn status_of(child: c_int) -> c_int {
    let mut status = -1;
    // SAFETY: there is room for the status.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    status
}

#[test]
fn no_two_processes_draw_the_same() {
    // This fills the pool and uses a part of it.
    let mut all = draws(7);
    all.extend(drawn(DEPTH));
    let distinct: HashSet<_> = all.chunks(16).collect();
    assert_eq!(distinct.len(), all.len() / 16);
    // The first process, its two children, and theirs: each draws after each fork and at the end.
    assert_eq!(distinct.len(), 7 + DRAWS * (3 + 2 * 3 + 4));
}
