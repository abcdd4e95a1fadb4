//! Keys and wrapped documents, for the Python side.

pub(crate) mod record_keys;
pub(crate) mod session_keys;
pub(crate) mod wrapping;
