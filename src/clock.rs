//! The clock: the only file that asks the operating system for the time.
//!
//! Everything else is given a [`Now`], read once a tick, so that a test can be the clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The time of one tick: one reading for everything that happens in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the process started; never goes back. For deadlines.
    pub mono_ms: u64,
    /// Milliseconds since 1970-01-01 UTC; may jump. For stamps and certificates.
    pub unix_ms: u64,
}

impl Now {
    /// Whole seconds since 1970-01-01 UTC.
    pub fn unix_s(self) -> u64 {
        self.unix_ms / 1000
    }
}

/// Reads the system's clocks.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
}

impl Default for Clock {
    #[allow(clippy::disallowed_methods)] // This is the one place.
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock {
    /// A clock whose monotonic side starts now.
    pub fn new() -> Self {
        Self::default()
    }

    /// Microseconds since the process started, to measure with.
    pub fn mono_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Both readings.
    #[allow(clippy::disallowed_methods)] // This is the one place.
    pub fn now(&self) -> Now {
        let mono = self.start.elapsed().as_millis();
        // Before 1970 there is no certificate that could be valid: zero is as wrong as any other answer.
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Now { mono_ms: u64::try_from(mono).unwrap_or(u64::MAX), unix_ms: u64::try_from(unix).unwrap_or(u64::MAX) }
    }
}
