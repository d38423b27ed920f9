//! The hashing thread: PBKDF2 off the loop.
//!
//! A thread of its own because one password takes milliseconds, and a loop that hashes serves nobody
//! meanwhile. It has one task at a time in hand and at most [`HASHES_IN_FLIGHT_MAX`] before it; the
//! queue proper, bounded and fair, is the core's.

use crate::core::HashTask;
use crate::ids::ConnId;
use crate::sasl::HashOutcome;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use crate::limits::WIPED_HASH_STACK_BYTES;
pub(super) use crate::limits::{HASH_NICENESS, HASHES_IN_FLIGHT_MAX};

/// Where there are fewer processors than threads, the loop comes first.
fn give_way() {
    // Elsewhere than on Linux the whole process would.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(HASH_NICENESS) {
        log::debug!("the hashing thread does not give way: {error}");
    }
}

/// The thread and the way to it.
#[derive(Debug)]
pub(super) struct Hasher {
    tasks: Option<Sender<HashTask>>,
    outcomes: Receiver<(ConnId, HashOutcome)>,
    in_flight: usize,
    thread: Option<JoinHandle<()>>,
}

impl Hasher {
    /// Starts the thread; it calls `wake` after each outcome.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn start(wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (tasks, todo) = channel::<HashTask>();
        let (done, outcomes) = channel();
        let work = move || {
            give_way();
            while let Ok(task) = todo.recv() {
                let (conn, outcome) = (task.conn, task.job.run());
                crate::sys::wipe_stack::<WIPED_HASH_STACK_BYTES>();
                if done.send((conn, outcome)).is_err() {
                    return;
                }
                wake();
            }
        };
        let thread = Builder::new().name("hash".into()).stack_size(64 * 1024).spawn(work)?;
        Ok(Self { tasks: Some(tasks), outcomes, in_flight: 0, thread: Some(thread) })
    }

    /// Whether it takes another task now.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight < HASHES_IN_FLIGHT_MAX
    }

    /// Hands over a task.
    pub(super) fn hash(&mut self, task: HashTask) {
        if let Some(tasks) = &self.tasks {
            self.in_flight += usize::from(tasks.send(task).is_ok());
        }
    }

    /// Takes an outcome, if one is there.
    pub(super) fn outcome(&mut self) -> Option<(ConnId, HashOutcome)> {
        let outcome = self.outcomes.try_recv().ok()?;
        self.in_flight -= 1;
        Some(outcome)
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            // A panic there is a bug that the panic hook has reported.
            let _ended = thread.join();
        }
    }
}
