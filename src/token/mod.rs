//! Tokens: bytes in, bytes out.

pub mod base64;
pub mod derive;
mod error;
pub mod fernet;
mod fork;
mod gcm;
mod plaintext;
pub mod random;
pub mod record;
pub mod reference;
pub mod xaes;

pub use error::TokenError;
pub use plaintext::Plaintext;

/// Does now what would otherwise happen at first use: asks the processor which instructions it
/// has, and the kernel for the page that reveals a fork.
pub fn warm_up() {
    base64::warm_up();
    fork::generation();
}
