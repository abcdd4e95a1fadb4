//! Counters that an operator reads: refused cookies, sessions in another format, and the work of a
//! store.
//!
//! They are atomic, so that counting never blocks and survives a fork in the middle of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use serde::Serialize;

use super::policy::SIGNED;
use crate::keys::key_set::Format;
use crate::python::errors::reason_name;
use crate::token::TokenError;

/// The names of `flask_fernet.Reason`, under which refused cookies are counted.
pub(super) const REASONS: [&str; 9] = [
    reason_name(TokenError::Malformed),
    reason_name(TokenError::Unauthentic),
    reason_name(TokenError::Expired),
    reason_name(TokenError::FromFuture),
    reason_name(TokenError::TooLarge),
    reason_name(TokenError::Undecodable),
    // Of stored sessions.
    "gone",
    "superseded",
    "revoked",
];

/// The names under which the work of a store is counted.
pub(super) const STORE_EVENTS: [&str; 9] = [
    "breaker",
    "created",
    "ended",
    "merged",
    "read",
    "superseded",
    "unavailable",
    "unchanged",
    "written",
];

/// A counter for each of some names.
pub(super) struct Counters<const N: usize> {
    names: [&'static str; N],
    counts: [AtomicU64; N],
}

impl<const N: usize> Counters<N> {
    pub(super) fn new(names: [&'static str; N]) -> Self {
        Self { names, counts: [const { AtomicU64::new(0) }; N] }
    }

    /// Counts one more of a name. Returns how many were counted so far; `None` for an unknown name.
    #[expect(clippy::indexing_slicing, reason = "the position is that of a name that was found")]
    pub(super) fn count(&self, name: &str) -> Option<u64> {
        let position = self.names.iter().position(|known| *known == name)?;
        Some(self.counts[position].fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// What was counted, by name.
    pub(super) fn all(&self) -> impl Serialize {
        self.names.into_iter().zip(&self.counts).collect::<BTreeMap<_, _>>()
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
    /// The last one stands for a session in its cookie, in an app whose sessions are stored.
    const FORMATS: [&str; 4] = [Format::Fernet.name(), Format::Xaes.name(), SIGNED, "cookie"];

    /// Counts a session that came at `now`, in seconds since the epoch. `None` for an unknown
    /// format.
    #[expect(clippy::indexing_slicing, reason = "the position is that of a name that was found")]
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
