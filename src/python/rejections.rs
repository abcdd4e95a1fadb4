//! How many cookies were refused, and why.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// A count a reason, under the names of `flask_fernet.Reason`.
#[derive(Default, Serialize)]
pub(crate) struct Rejections {
    malformed: AtomicU64,
    unauthentic: AtomicU64,
    expired: AtomicU64,
    from_future: AtomicU64,
    too_large: AtomicU64,
    undecodable: AtomicU64,
}

impl Rejections {
    /// Counts one; `None` for a name that is no reason.
    pub(crate) fn count(&self, reason: &str) -> Option<()> {
        let counter = match reason {
            "malformed" => &self.malformed,
            "unauthentic" => &self.unauthentic,
            "expired" => &self.expired,
            "from_future" => &self.from_future,
            "too_large" => &self.too_large,
            "undecodable" => &self.undecodable,
            _ => return None,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Some(())
    }
}
