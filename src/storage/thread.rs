//! The storage thread: the one place of the server that blocks on the disk.
//!
//! ```text
//! loop ──Request──▶ bounded channel ──▶ Engine ──Completion──▶ channel ──▶ wake ──▶ loop
//!                         ▲ chunks                └──Piece──▶ copier, while a backup is made
//! ```
//!
//! A thread of its own because a page that is not cached, and every fsync, costs milliseconds on a
//! memory card. A [`Store`] has at most one fetch and one commit out, so the channels never fill.

use super::backup::{self, Backup, BackupRoom, Tap};
use super::{Completion, Engine, Request, Store, StoreError, Woken, serve};
use crate::sys;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use crate::limits::{REQUESTS_MAX, STOP_TRIES_MAX};

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Work {
    /// What the loop asks.
    Serve(Request),
    /// A backup begins.
    Tap(Tap),
    /// How many rows there are.
    Count(Sender<Result<u64, StoreError>>),
    /// The backup wants its next rows.
    Chunk,
    /// A crowd has come or left.
    GiveBack(Gives),
    /// Everything is done.
    Stop,
}

/// What is given back to the system when a crowd has come or left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gives {
    /// Pages of the program too.
    pub(crate) code: bool,
}

impl Gives {
    /// Does it. The code last: all of this is code, too.
    pub(crate) fn give(self) {
        sys::give_memory_back();
        if self.code {
            sys::forget_code_pages();
        }
    }
}

/// The handle of the storage thread, kept by the loop.
pub struct Thread {
    requests: SyncSender<Work>,
    completions: Receiver<Completion>,
    thread: JoinHandle<()>,
    wake: Arc<dyn Fn() + Send + Sync>,
    /// It has not given back yet what it was last asked to.
    gives_back: Arc<AtomicBool>,
}

impl std::fmt::Debug for Thread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Thread").field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl Thread {
    /// Starts the thread. `wake` is called after every completion, on that thread.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the system has no thread to give.
    pub fn spawn(mut engine: Box<dyn Engine>, wake: Arc<dyn Fn() + Send + Sync>) -> Result<Self, StoreError> {
        let (requests, inbox) = sync_channel(REQUESTS_MAX);
        let (outbox, completions) = sync_channel(REQUESTS_MAX);
        let (call, gives_back) = (wake.clone(), Arc::new(AtomicBool::new(false)));
        let has_to = gives_back.clone();
        let work = move || work(&mut *engine, &inbox, &outbox, &*call, &has_to);
        let thread = std::thread::Builder::new().name("storage".to_owned()).spawn(work).map_err(|error| {
            StoreError::Io { kind: error.kind(), detail: format!("starting the storage thread: {error}") }
        })?;
        Ok(Self { requests, completions, thread, wake, gives_back })
    }

    /// Hands over a request without waiting.
    ///
    /// # Errors
    ///
    /// [`StoreError::Stopped`] if the thread is gone or more is out than one store ever has.
    pub fn send(&self, request: Request) -> Result<(), StoreError> {
        self.requests.try_send(Work::Serve(request)).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => StoreError::Stopped,
        })
    }

    /// Begins to copy the whole store into `file`, which is empty and open for reading and writing. Everything else goes
    /// on; one copy at a time, or the first ends.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the system has no thread to give.
    pub fn back_up(&self, file: File, room: BackupRoom) -> Result<Backup, StoreError> {
        backup::start(file, room, self.requests.clone(), self.wake.clone())
    }

    /// Has the thread let go of memory that the allocator keeps for it, and give back what is free. Asked again before
    /// it has come to that, it does it once: on a slow disk these would fill its inbox.
    pub(crate) fn give_back(&self, gives: Gives) {
        if !self.gives_back.swap(true, Ordering::AcqRel) && self.requests.try_send(Work::GiveBack(gives)).is_err() {
            self.gives_back.store(false, Ordering::Release);
        }
    }

    /// What is done, if anything is.
    pub fn try_recv(&self) -> Option<Completion> {
        self.completions.try_recv().ok()
    }

    /// Waits until all that `store` has finished is on disk, then ends the thread and closes the engine.
    ///
    /// `woken` receives what became durable meanwhile. Blocks for as long as the disk takes.
    ///
    /// # Errors
    ///
    /// The fault that kept the last writes off the disk, after a few tries.
    pub fn stop(self, store: &mut Store, woken: &mut Woken) -> Result<(), StoreError> {
        let flushed = self.flush(store, woken);
        // Said, and not only hung up: a backup that is being made can send requests too. It ends with the thread.
        let _gone = self.requests.send(Work::Stop);
        self.thread.join().map_err(|_| StoreError::Stopped)?;
        flushed
    }

    fn flush(&self, store: &mut Store, woken: &mut Woken) -> Result<(), StoreError> {
        let failed_before = store.counters().commits_failed;
        while !store.is_idle() {
            // At the end of time every back-off is over.
            let mut requests = Vec::new();
            store.submit(u64::MAX, &mut requests);
            for request in requests {
                self.send(request)?;
            }
            let completion = self.completions.recv().map_err(|_| StoreError::Stopped)?;
            store.complete(completion, woken);
            if store.counters().commits_failed - failed_before >= u64::from(STOP_TRIES_MAX) {
                return Err(woken.faults.last().cloned().unwrap_or(StoreError::Unavailable));
            }
        }
        Ok(())
    }
}

/// The thread's life.
fn work(
    engine: &mut dyn Engine,
    inbox: &Receiver<Work>,
    outbox: &SyncSender<Completion>,
    wake: &dyn Fn(),
    gives_back: &AtomicBool,
) {
    let mut tap: Option<Tap> = None;
    while let Ok(work) = inbox.recv() {
        match work {
            Work::Serve(request) => {
                let commit = match &request {
                    Request::Commit { batch, .. } if tap.is_some() => Some(batch.clone()),
                    Request::Commit { .. } | Request::Fetch(_) => None,
                };
                let completion = serve(engine, request);
                if let Some(commit) = commit {
                    tap.take_if(|tap| !tap.committed(&commit, &completion));
                }
                if outbox.send(completion).is_err() {
                    return;
                }
                wake();
            }
            Work::Tap(new) => tap = Some(new),
            Work::Count(to) => {
                let _left = to.send(engine.count());
            }
            Work::Chunk => drop(tap.take_if(|tap| !tap.next_chunk(engine))),
            Work::GiveBack(gives) => {
                sys::empty_thread_cache();
                gives.give();
                gives_back.store(false, Ordering::Release);
            }
            Work::Stop => return,
        }
    }
}
