//! The codec's memory between calls. An app's sessions mostly have the same few keys.

use std::sync::{Mutex, TryLockError};

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
        Err(TryLockError::WouldBlock) => call(&mut T::default()),
        // A panic has left it in any state.
        Err(TryLockError::Poisoned(poisoned)) => {
            cache.clear_poison();
            let mut cache = poisoned.into_inner();
            *cache = T::default();
            call(&mut cache)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_cache_is_emptied_after_a_panic_and_used_again() {
        let cache = Mutex::new(vec![1]);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            with_cache(&cache, |cache| {
                cache.push(2);
                panic!("a bug")
            })
        }));
        assert!(panicked.is_err());
        with_cache(&cache, |cache| {
            assert!(cache.is_empty());
            cache.push(3);
        });
        with_cache(&cache, |cache| assert_eq!(*cache, [3]));
    }
}
