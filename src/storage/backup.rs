//! A copy of the whole store, made while it is in use.
//!
//! ```text
//! storage thread ──rows, a chunk at a time; behind them what commits change in them──▶ copier ──▶ file
//!       ▲ the next chunk ──────────────────────────────────────────────────────────────┘
//! ```
//!
//! Rows are read in the order of their keys, each chunk in a read transaction of its own: an open reader pins every page
//! freed since. A chunk is a request in the storage thread's queue like any other, so nobody waits for more than one. A
//! commit that comes between two chunks may change rows that are copied already; those changes are sent behind them. So
//! when the last chunk is there, the copy is the store as it is at that moment: every commit before it is in it whole, no
//! later one in part. After a commit whose fate is unknown that could not be said, and the copy is given up.
//!
//! The copier is a thread of its own because the file may be on a disk that is slower than the store's.

use super::disk::DiskCopy;
use super::range::after;
use super::thread::Work;
use super::{Batch, Completion, Engine, KeyRange, Row, StoreError};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel};

use crate::limits::{
    BACKUP_BEHIND_BYTES_MAX, BACKUP_BEHIND_SHARE, BACKUP_CHUNK_ROWS, DISK_CACHE_BYTES, FETCH_BYTES_MAX,
};

/// What a copy of a store in use may take.
#[derive(Clone, Copy, Debug)]
pub struct BackupRoom {
    /// Bytes of its disk that are left free.
    pub spare_bytes: u64,
    /// Bytes of changes that may wait for its file: the server never waits.
    pub behind_bytes_max: usize,
}

impl BackupRoom {
    /// Of a process that may take so many bytes of memory.
    pub fn within(memory_max: usize, spare_bytes: u64) -> Self {
        Self { spare_bytes, behind_bytes_max: BACKUP_BEHIND_BYTES_MAX.min(memory_max / BACKUP_BEHIND_SHARE) }
    }
}

/// A way through all rows, in the order of their keys.
#[derive(Debug)]
struct Scan {
    /// The first key that has not been read; none when all have.
    next: Option<Vec<u8>>,
}

impl Scan {
    fn new() -> Self {
        Self { next: Some(Vec::new()) }
    }

    fn is_complete(&self) -> bool {
        self.next.is_none()
    }

    fn chunk(&mut self, engine: &mut dyn Engine) -> Result<Vec<Row>, StoreError> {
        let Some(from) = self.next.take() else { return Ok(Vec::new()) };
        let range = KeyRange { from, ..KeyRange::under(b"", BACKUP_CHUNK_ROWS) };
        let read = engine.range(&range)?;
        self.next = match read.rows.last() {
            Some((key, _)) if !read.complete => Some(after(key)),
            Some(_) | None => None,
        };
        Ok(read.rows)
    }

    /// What a commit has changed in what has been read.
    fn changes(&self, commit: &Batch) -> Batch {
        let mut changes = Batch::new();
        let Some(next) = &self.next else { return changes };
        for (key, value) in commit.range(&[], next) {
            match value {
                Some(value) => changes.put(key, value),
                None => changes.delete(key),
            }
        }
        changes
    }
}

/// What the storage thread tells the copier, in the order in which it happened.
#[derive(Debug)]
enum Piece {
    Chunk { rows: Vec<Row>, is_last: bool },
    Changes(Batch),
    Failed(StoreError),
}

/// The storage thread's end: where it is, and who is told.
#[derive(Debug)]
pub(super) struct Tap {
    scan: Scan,
    pieces: Sender<Piece>,
    state: Arc<State>,
    behind_bytes_max: usize,
}

impl Tap {
    /// Reads the next chunk. False once there is nothing more to do.
    pub(super) fn next_chunk(&mut self, engine: &mut dyn Engine) -> bool {
        let piece = match self.scan.chunk(engine) {
            Ok(rows) => Piece::Chunk { rows, is_last: self.scan.is_complete() },
            Err(error) => Piece::Failed(error),
        };
        let goes_on = matches!(piece, Piece::Chunk { is_last: false, .. });
        self.pieces.send(piece).is_ok() && goes_on
    }

    /// After a commit of the store. False once there is nothing more to do.
    pub(super) fn committed(&mut self, commit: &Batch, completion: &Completion) -> bool {
        if let Completion::CommitFailed { error, .. } = completion {
            let _left = self.pieces.send(Piece::Failed(error.clone()));
            return false;
        }
        let changes = self.scan.changes(commit);
        if changes.is_empty() {
            return true;
        }
        let behind = self.state.behind_bytes.fetch_add(changes.bytes(), Ordering::AcqRel);
        // One commit alone is always taken: it is no larger than the overlay.
        if behind > 0 && behind + changes.bytes() > self.behind_bytes_max {
            let _left = self.pieces.send(Piece::Failed(trouble(
                io::ErrorKind::TimedOut,
                "the file of the backup takes what is written meanwhile too slowly",
            )));
            return false;
        }
        self.pieces.send(Piece::Changes(changes)).is_ok()
    }
}

/// How far a copy is, and whether it is still wanted.
#[derive(Debug, Default)]
struct State {
    rows: AtomicU64,
    total: AtomicU64,
    /// Bytes of changes that the copier has not taken yet.
    behind_bytes: AtomicUsize,
    is_cancelled: AtomicBool,
}

/// A copy that is being made. Dropping it gives the copy up.
#[derive(Debug)]
pub struct Backup {
    state: Arc<State>,
    outcome: Receiver<Result<u64, StoreError>>,
}

impl Backup {
    /// Rows copied, and about how many there are.
    pub fn progress(&self) -> (u64, u64) {
        (self.state.rows.load(Ordering::Relaxed), self.state.total.load(Ordering::Relaxed))
    }

    /// Bytes of memory that it takes: a chunk on its way and one being written, the cache of the file, what has changed
    /// meanwhile.
    pub fn heap_bytes(&self) -> usize {
        2 * FETCH_BYTES_MAX + DISK_CACHE_BYTES + self.state.behind_bytes.load(Ordering::Relaxed)
    }

    /// How it has ended: the rows that are in the file, which is on disk. None while it goes on.
    pub fn outcome(&self) -> Option<Result<u64, StoreError>> {
        match self.outcome.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(StoreError::Stopped)),
        }
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        self.state.is_cancelled.store(true, Ordering::Relaxed);
    }
}

/// Starts the copier. It has the storage thread's queue for its own requests; `wake` is called when there is news.
pub(super) fn start(
    file: File,
    room: BackupRoom,
    requests: SyncSender<Work>,
    wake: Arc<dyn Fn() + Send + Sync>,
) -> Result<Backup, StoreError> {
    let state = Arc::new(State::default());
    let (done, outcome) = channel();
    let backup = Backup { state: state.clone(), outcome };
    let work = move || {
        let copied = copy_live(file, room, &requests, &state, &*wake);
        let _nobody_waits = done.send(copied);
        wake();
    };
    std::thread::Builder::new().name("backup".to_owned()).spawn(work).map_err(|error| StoreError::Io {
        kind: error.kind(),
        detail: format!("starting a thread for the backup: {error}"),
    })?;
    Ok(backup)
}

fn copy_live(
    file: File,
    room: BackupRoom,
    requests: &SyncSender<Work>,
    state: &Arc<State>,
    wake: &dyn Fn(),
) -> Result<u64, StoreError> {
    let mut copy = DiskCopy::new(file, room.spare_bytes)?;
    let (pieces, inbox) = channel();
    let tap = Tap { scan: Scan::new(), pieces, state: state.clone(), behind_bytes_max: room.behind_bytes_max };
    requests.send(Work::Tap(tap)).map_err(|_| StoreError::Stopped)?;
    let (total, count) = channel();
    requests.send(Work::Count(total)).map_err(|_| StoreError::Stopped)?;
    state.total.store(count.recv().map_err(|_| StoreError::Stopped)??, Ordering::Relaxed);
    requests.send(Work::Chunk).map_err(|_| StoreError::Stopped)?;
    loop {
        if state.is_cancelled.load(Ordering::Relaxed) {
            return Err(trouble(io::ErrorKind::Interrupted, "the backup was given up"));
        }
        match inbox.recv().map_err(|_| StoreError::Stopped)? {
            Piece::Chunk { rows, is_last } => {
                copy.add(&rows)?;
                state.rows.store(copy.rows(), Ordering::Relaxed);
                if is_last {
                    return copy.finish();
                }
                requests.send(Work::Chunk).map_err(|_| StoreError::Stopped)?;
                wake();
            }
            Piece::Changes(changes) => {
                copy.change(&changes)?;
                state.behind_bytes.fetch_sub(changes.bytes(), Ordering::AcqRel);
            }
            Piece::Failed(error) => return Err(error),
        }
    }
}

/// Copies a store that nobody else uses into an empty file; `on_progress` is told the rows copied and about how many there
/// are. Returns the rows, which are on disk then.
///
/// # Errors
///
/// [`StoreError`] of either side. What is in the file is then worth nothing.
pub fn copy_to(
    engine: &mut dyn Engine,
    file: File,
    spare_bytes: u64,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<u64, StoreError> {
    let total = engine.count()?;
    let mut copy = DiskCopy::new(file, spare_bytes)?;
    let mut scan = Scan::new();
    while !scan.is_complete() {
        copy.add(&scan.chunk(engine)?)?;
        on_progress(copy.rows(), total);
    }
    copy.finish()
}

fn trouble(kind: io::ErrorKind, detail: &str) -> StoreError {
    StoreError::Io { kind, detail: detail.to_owned() }
}

#[cfg(test)]
mod tests;
