//! Wiping the copies of keys that moving them leaves on the stack.

use zeroize::Zeroize;

/// Bytes of stack to overwrite: more than any function uses that handles a key.
const DEPTH: usize = 16 * 1024;

/// Calls `make`, then overwrites the stack that it used. A moved value leaves a copy behind that
/// no destructor sees. Registers that are saved later may still hold parts of a key.
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
