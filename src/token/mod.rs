//! Tokens and the keys that make them: bytes in, bytes out, no Python.

pub mod base64;
mod error;
pub mod fernet;
mod fork;
mod gcm;
pub mod key_set;
pub mod keys;
mod plaintext;
pub mod random;
pub mod wipe;
pub mod wrapping;
pub mod xaes;

/// Does what is otherwise done at first use: asks the processor what it can do, and the kernel
/// for the page that shows a fork.
pub fn warm_up() {
    base64::warm_up();
    fork::generation();
}

pub use error::{KeyError, TokenError};
pub use plaintext::Plaintext;
