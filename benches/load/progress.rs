//! One line on the terminal for steps that take a while; nothing at all when nobody watches.

use std::io::{IsTerminal, Write, stderr};

use crate::clock::{MS_NS, SECOND_NS};

/// Longest silence between two updates.
const UPDATE_NS: u64 = 200 * MS_NS;

/// The progress of one step.
#[derive(Debug)]
pub(crate) struct Progress {
    watched: bool,
    begun_ns: u64,
    shown_ns: u64,
}

impl Progress {
    /// A step that begins now.
    pub(crate) fn new(now_ns: u64) -> Self {
        Self { watched: stderr().is_terminal(), begun_ns: now_ns, shown_ns: now_ns }
    }

    /// Shows `done` of `total` (zero: nobody knows), the rate and the time left.
    pub(crate) fn show(&mut self, now_ns: u64, what: &str, done: u64, total: u64) {
        if !self.watched || now_ns < self.shown_ns + UPDATE_NS {
            return;
        }
        self.shown_ns = now_ns;
        let seconds = (now_ns - self.begun_ns) as f64 / SECOND_NS as f64;
        let rate = done as f64 / seconds.max(0.001);
        let left = match total.checked_sub(done) {
            Some(left) if total > 0 && rate > 0.0 => format!(" of {total}, {:.0} s left", left as f64 / rate),
            _ => String::new(),
        };
        // A terminal that is gone is no reason to stop measuring.
        let _ = write!(stderr(), "\r\x1b[2K{what}: {done}{left} ({rate:.0}/s)");
        let _ = stderr().flush();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.watched {
            let _ = write!(stderr(), "\r\x1b[2K");
        }
    }
}
