//! The codec's memory between calls. An app's sessions mostly have the same few keys.

use std::sync::Mutex;

use super::key_cache::KeyCache;
use super::layout_cache::LayoutCache;

/// One cache for decoding and one for encoding.
#[derive(Default)]
pub(crate) struct CodecCaches {
    pub(crate) keys: Mutex<KeyCache>,
    pub(crate) layouts: Mutex<LayoutCache>,
}

/// Calls `call` with the cache, or with an empty one if it is in use. Never blocks: the codec can
/// run Python code, and with it other threads.
pub(super) fn with_cache<T: Default, R>(cache: &Mutex<T>, call: impl FnOnce(&mut T) -> R) -> R {
    match cache.try_lock() {
        Ok(mut cache) => call(&mut cache),
        Err(_) => call(&mut T::default()),
    }
}
