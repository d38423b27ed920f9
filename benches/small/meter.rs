//! The meter: what is measured, by time, by allocations, or by somebody who looks from outside.
//!
//! A case runs what a peer does, and sets up, outside of [`Meter::run`]. Callgrind counts only what happens inside
//! [`measured`], which `benches/instructions.py` names; so a case costs the same whatever its set-up does.

use crate::counting::{allocations, counted};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// What is asked for.
enum Mode {
    /// Nothing: this is a set-up.
    Quiet,
    /// Allocations. Counting them takes time, so the clock then tells nothing.
    Allocations,
    /// Time.
    Time,
}

/// What the measured part of one case has cost so far.
pub(crate) struct Meter {
    mode: Mode,
    pub(crate) spent: Duration,
    pub(crate) allocations: usize,
}

impl Meter {
    fn new(mode: Mode) -> Self {
        Self { mode, spent: Duration::ZERO, allocations: 0 }
    }

    /// For what comes before and between.
    pub(crate) fn quiet() -> Self {
        Self::new(Mode::Quiet)
    }

    pub(crate) fn of_allocations() -> Self {
        Self::new(Mode::Allocations)
    }

    pub(crate) fn of_time() -> Self {
        Self::new(Mode::Time)
    }

    /// Runs a part that is measured.
    pub(crate) fn run<T>(&mut self, work: impl FnOnce() -> T) -> T {
        match self.mode {
            Mode::Quiet => work(),
            Mode::Allocations => {
                let before = allocations();
                let result = counted(|| measured(work));
                self.allocations += allocations() - before;
                result
            }
            Mode::Time => {
                let start = Instant::now();
                let result = measured(work);
                self.spent += start.elapsed();
                result
            }
        }
    }
}

/// Never inlined, and never left by a jump into `work`: its beginning and its end are where counting begins and ends.
#[inline(never)]
fn measured<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}
