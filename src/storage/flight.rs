//! The generation that was handed over: with the engine, or waiting to be sent again.
//!
//! ```text
//! Waiting ──due──▶ Sent ──CommitFailed──▶ Failed ──next submit, which knows the time──▶ Waiting
//! ```

use super::store::Ticket;
use super::{Batch, Request};
use std::sync::Arc;

pub use crate::limits::{RETRY_MS_MAX, RETRY_MS_MIN};

const _: () = assert!(RETRY_MS_MIN <= RETRY_MS_MAX);

/// A generation between [`super::Store::submit`] and its commit.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) ticket: Ticket,
    pub(super) batch: Arc<Batch>,
    failures: u32,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// With the engine.
    Sent,
    /// Came back; how long to wait is decided when the time is known.
    Failed,
    /// To be sent at this time.
    Waiting { until_ms: u64 },
}

impl Flight {
    /// A generation that is due at once.
    pub(super) fn new(ticket: Ticket, batch: Batch, now_ms: u64) -> Self {
        Self { ticket, batch: Arc::new(batch), failures: 0, state: State::Waiting { until_ms: now_ms } }
    }

    /// The request to send now, if it is time for one.
    pub(super) fn due(&mut self, now_ms: u64) -> Option<Request> {
        if self.state == State::Failed {
            self.state = State::Waiting { until_ms: now_ms.saturating_add(retry_ms(self.failures)) };
        }
        match self.state {
            State::Waiting { until_ms } if until_ms <= now_ms => {
                self.state = State::Sent;
                Some(Request::Commit { ticket: self.ticket, batch: Arc::clone(&self.batch) })
            }
            State::Waiting { .. } | State::Sent | State::Failed => None,
        }
    }

    /// The engine could not write it.
    pub(super) fn fail(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.state = State::Failed;
    }

    /// When [`Flight::due`] has to be asked again.
    pub(super) fn retry_at_ms(&self) -> Option<u64> {
        match self.state {
            State::Sent => None,
            State::Failed => Some(0),
            State::Waiting { until_ms } => Some(until_ms),
        }
    }
}

/// The wait after so many failures in a row: doubled each time.
pub(super) fn retry_ms(failures: u32) -> u64 {
    let doublings = failures.saturating_sub(1).min(16);
    (RETRY_MS_MIN << doublings).min(RETRY_MS_MAX)
}
