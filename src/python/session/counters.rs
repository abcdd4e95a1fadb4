//! Counters that an operator reads: refused cookies, and sessions in another format.
//!
//! They are atomic, so that counting never blocks and survives a fork in the middle of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use serde::Serialize;

use super::policy::SIGNED;
use crate::keys::key_set::Format;
use crate::token::TokenError;

/// The number of refused cookies by reason, under the names of `flask_fernet.Reason`.
#[derive(Default, Serialize)]
pub(super) struct Rejections {
    malformed: AtomicU64,
    unauthentic: AtomicU64,
    expired: AtomicU64,
    from_future: AtomicU64,
    too_large: AtomicU64,
    undecodable: AtomicU64,
}

impl Rejections {
    /// Counts a refused cookie. Returns the number of cookies refused for this reason so far.
    pub(super) fn count(&self, reason: TokenError) -> u64 {
        let counter = match reason {
            TokenError::Malformed => &self.malformed,
            TokenError::Unauthentic => &self.unauthentic,
            TokenError::Expired => &self.expired,
            TokenError::FromFuture => &self.from_future,
            TokenError::TooLarge => &self.too_large,
            TokenError::Undecodable => &self.undecodable,
        };
        counter.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// The sessions that came in another format than the one written, by format.
#[derive(Default)]
pub(super) struct Migrations([Migration; Self::FORMATS.len()]);

#[derive(Default, Serialize)]
struct Migration {
    count: AtomicU64,
    /// When the last one came, in seconds since the epoch.
    last_seen: AtomicI64,
}

impl Migrations {
    const FORMATS: [&str; 3] = [Format::Fernet.name(), Format::Xaes.name(), SIGNED];

    /// Counts a session that came at `now`, in seconds since the epoch. `None` for an unknown
    /// format.
    pub(super) fn count(&self, format: &str, now: i64) -> Option<()> {
        let position = Self::FORMATS.iter().position(|name| *name == format)?;
        let migration = &self.0[position];
        migration.count.fetch_add(1, Ordering::Relaxed);
        migration.last_seen.store(now, Ordering::Relaxed);
        Some(())
    }

    /// The formats of which at least one session came.
    pub(super) fn seen(&self) -> impl Serialize {
        let all = Self::FORMATS.into_iter().zip(&self.0);
        all.filter(|(_, migration)| migration.count.load(Ordering::Relaxed) > 0)
            .collect::<BTreeMap<_, _>>()
    }
}
