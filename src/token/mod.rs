//! Tokens and the keys that make them: bytes in, bytes out, no Python.

pub mod base64;
mod error;
pub mod fernet;
mod fork;
pub mod keys;
pub mod random;

pub use error::{KeyError, TokenError};
