//! Encrypted sessions for Flask and Fernet tokens for Python.
//!
//! The module's table of contents. What needs no Python comes first and is built without the
//! `python` feature; the boundary to Python is one folder.

pub mod bytes;
pub mod compress;
pub mod cookie;
pub mod tagged_json;
pub mod token;

#[cfg(feature = "python")]
mod python;
