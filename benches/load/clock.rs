//! The load generator's own clock: nanoseconds since it started, and a pause.

use std::time::{Duration, Instant};

/// Nanoseconds in a second.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;
/// Nanoseconds in a millisecond.
pub(crate) const MS_NS: u64 = 1_000_000;

/// A monotonic clock that starts at zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that reads zero now.
    #[allow(clippy::disallowed_methods)] // The generator measures time: this is its one place.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Nanoseconds since the start; good for 584 years.
    pub(crate) fn ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Waits about `ms`; for moments when no connection needs to be served.
pub(crate) fn pause(ms: u64) {
    // Parking may end early, which is no harm: every caller looks and waits again.
    std::thread::park_timeout(Duration::from_millis(ms));
}
