//! The wall clock, read cheaply and never by Python, so that no test can stop it.

/// A time since the epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: i64,
}

impl Time {
    pub(crate) const EPOCH: Self = Self { seconds: 0, nanoseconds: 0 };

    /// Whether this time is not before `earlier`, and less than `seconds` after it.
    pub(crate) const fn is_within(self, seconds: u64, earlier: Self) -> bool {
        let since = (self.seconds as i128 - earlier.seconds as i128) * 1_000_000_000
            + (self.nanoseconds as i128 - earlier.nanoseconds as i128);
        since >= 0 && since < seconds as i128 * 1_000_000_000
    }
}

/// Now, to some milliseconds.
#[cfg(target_os = "linux")]
pub(crate) fn now() -> Time {
    // Takes a third of the time of the exact clock.
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    Time { seconds: now.tv_sec, nanoseconds: now.tv_nsec }
}

/// Now.
#[cfg(not(target_os = "linux"))]
pub(crate) fn now() -> Time {
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    let now = now.unwrap_or_default();
    Time {
        seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: i64::from(now.subsec_nanos()),
    }
}
