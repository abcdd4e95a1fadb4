//! Leaving no copies of keys on the stack.

use zeroize::Zeroize;

/// Bytes of stack that are overwritten: more than anything that handles a key uses.
const DEPTH: usize = 16 * 1024;

/// Calls `make` and overwrites the stack below: a value that is moved leaves a copy where it was,
/// which no destructor sees.
pub fn with_wiped_stack<T>(make: impl FnOnce() -> T) -> T {
    let made = deeper(make);
    wipe();
    made
}

#[inline(never)]
fn deeper<T>(make: impl FnOnce() -> T) -> T {
    make()
}

#[inline(never)]
fn wipe() {
    let mut stack = [0_u8; DEPTH];
    stack.zeroize();
    std::hint::black_box(&stack);
}
