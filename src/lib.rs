//! Encrypted sessions for Flask and Fernet tokens for Python.
//!
//! This file is the table of contents, from the bottom up. Everything but `python` is pure Rust:
//! bytes in, bytes out, built and tested without the `python` feature. `python` is the only
//! folder that names PyO3. docs/architecture.md shows how a cookie travels through these files.

#![cfg_attr(
    test,
    allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

pub mod compress;
pub mod cookie;
pub mod http_date;
pub mod json;
pub mod keys;
pub mod search;
pub mod token;

#[cfg(test)]
mod test_vectors;

#[cfg(feature = "python")]
mod python;
