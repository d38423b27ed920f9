//! A bar on the terminal, with rate and time left, for steps that take longer than two seconds; nothing at all
//! when nobody watches.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::clock::{MS_NS, SECOND_NS};

/// A step that is shorter is not worth a bar.
const SHOWN_AFTER_NS: u64 = 2 * SECOND_NS;
/// Longest silence between two updates.
const UPDATE_NS: u64 = 200 * MS_NS;

/// The progress of one step.
#[derive(Debug)]
pub(crate) struct Progress {
    begun_ns: u64,
    deadline_ns: u64,
    updated_ns: u64,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// A step that begins now and may last until `deadline_ns`.
    pub(crate) fn new(now_ns: u64, deadline_ns: u64) -> Self {
        Self { begun_ns: now_ns, deadline_ns, updated_ns: now_ns, bar: None }
    }

    /// Shows what is counted, how far it is, and how far it goes; without an end the deadline is it.
    pub(crate) fn show(&mut self, now_ns: u64, (what, done, total): (&'static str, u64, Option<u64>)) {
        if now_ns < self.updated_ns + UPDATE_NS || now_ns < self.begun_ns + SHOWN_AFTER_NS {
            return;
        }
        self.updated_ns = now_ns;
        let spent_ns = now_ns - self.begun_ns;
        let rate = done as f64 * SECOND_NS as f64 / spent_ns as f64;
        let (at, end) = match total {
            Some(total) => (done, total),
            None => (spent_ns / MS_NS, (self.deadline_ns - self.begun_ns) / MS_NS),
        };
        let message = format!("{what}: {done} ({rate:.0}/s)");
        let bar = self.bar.get_or_insert_with(|| begin(Duration::from_nanos(spent_ns)).with_message(message.clone()));
        bar.set_length(end);
        bar.set_position(at);
        bar.set_message(message);
    }
}

/// A terminal's own affair: elsewhere the bar draws nothing.
fn begin(spent: Duration) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_elapsed(spent);
    let left = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
        // Writing to memory cannot fail.
        let _ = write!(text, "{:.0} s left", state.eta().as_secs_f64());
    };
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {left}") {
        bar.set_style(style.with_key("left", left));
    }
    bar
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
