//! Flask's tagged JSON, between Python objects and bytes.
//!
//! The codec declines everything that it does not know exactly, and Flask's own serializer then
//! handles the whole value.

pub(crate) mod caches;
pub(crate) mod decode;
pub(crate) mod encode;
mod key_cache;
mod layout_cache;
pub(crate) mod style;
pub(crate) mod test_support;
pub(crate) mod types;
