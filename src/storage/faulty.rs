//! An engine that fails when it is told to, for tests and simulation.
//!
//! Wraps any engine: what it does with a full disk or a broken read must not depend on which.

use super::{Batch, Engine, KeyRange, Rows, StoreError};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The switches of a [`Faulty`] engine; clones turn the same ones.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    commits_full: Arc<AtomicU32>,
    commits_lost: Arc<AtomicU32>,
    fetches_failed: Arc<AtomicU32>,
}

impl Faults {
    /// Everything works.
    pub fn none() -> Self {
        Self::default()
    }

    /// The next `count` commits find the disk full and write nothing.
    pub fn fill_disk(&self, count: u32) {
        self.commits_full.store(count, Ordering::SeqCst);
    }

    /// The next `count` commits are written, and then fail: their fate is unknown to the caller.
    pub fn lose_answers(&self, count: u32) {
        self.commits_lost.store(count, Ordering::SeqCst);
    }

    /// The next `count` fetches fail.
    pub fn fail_fetches(&self, count: u32) {
        self.fetches_failed.store(count, Ordering::SeqCst);
    }
}

/// Whether one fault was left, which it then no longer is.
fn strikes(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1)).is_ok()
}

/// An engine behind [`Faults`].
#[derive(Debug)]
pub struct Faulty<E> {
    engine: E,
    faults: Faults,
}

impl<E: Engine> Faulty<E> {
    /// Puts `faults` before `engine`.
    pub fn new(engine: E, faults: Faults) -> Self {
        Self { engine, faults }
    }

    fn io_error(detail: &str) -> StoreError {
        StoreError::Io { kind: io::ErrorKind::Other, detail: detail.to_owned() }
    }
}

impl<E: Engine> Engine for Faulty<E> {
    fn fetch(&mut self, ranges: &[KeyRange]) -> Result<Vec<Rows>, StoreError> {
        if strikes(&self.faults.fetches_failed) {
            return Err(Self::io_error("the read failed"));
        }
        self.engine.fetch(ranges)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if strikes(&self.faults.commits_full) {
            return Err(StoreError::DiskFull { free: 0, needed: batch.bytes() as u64 });
        }
        self.engine.commit(batch)?;
        if strikes(&self.faults.commits_lost) {
            return Err(Self::io_error("the answer was lost"));
        }
        Ok(())
    }

    fn count(&mut self) -> Result<u64, StoreError> {
        self.engine.count()
    }
}
