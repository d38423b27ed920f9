//! The storage thread: the one place of the server that blocks on the disk.
//!
//! ```text
//! loop ──Request──▶ bounded channel ──▶ Engine ──Completion──▶ channel ──▶ wake ──▶ loop
//! ```
//!
//! A thread of its own because a page that is not cached, and every fsync, costs milliseconds on a
//! memory card. A [`Store`] has at most one fetch and one commit out, so the channels never fill.

use super::{Completion, Engine, Request, Store, StoreError, Woken, serve};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use crate::limits::{REQUESTS_MAX, STOP_TRIES_MAX};

/// The handle of the storage thread, kept by the loop.
#[derive(Debug)]
pub struct Thread {
    requests: SyncSender<Request>,
    completions: Receiver<Completion>,
    thread: JoinHandle<()>,
}

impl Thread {
    /// Starts the thread. `wake` is called after every completion, on that thread.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the system has no thread to give.
    pub fn spawn(mut engine: Box<dyn Engine>, wake: Box<dyn Fn() + Send>) -> Result<Self, StoreError> {
        let (requests, inbox) = sync_channel::<Request>(REQUESTS_MAX);
        let (outbox, completions) = sync_channel(REQUESTS_MAX);
        let work = move || {
            while let Ok(request) = inbox.recv() {
                if outbox.send(serve(&mut *engine, request)).is_err() {
                    return;
                }
                wake();
            }
        };
        let thread = std::thread::Builder::new().name("storage".to_owned()).spawn(work).map_err(|error| {
            StoreError::Io { kind: error.kind(), detail: format!("starting the storage thread: {error}") }
        })?;
        Ok(Self { requests, completions, thread })
    }

    /// Hands over a request without waiting.
    ///
    /// # Errors
    ///
    /// [`StoreError::Stopped`] if the thread is gone or more is out than one store ever has.
    pub fn send(&self, request: Request) -> Result<(), StoreError> {
        self.requests.try_send(request).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => StoreError::Stopped,
        })
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
        drop(self.requests);
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
