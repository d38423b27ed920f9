//! Storage: ordered byte keys, a few verbs, and promises that are kept.
//!
//! ```text
//! handler ──get/range/put──▶ Store ──Request──▶ Thread ▶ Engine (Disk | Memory)
//!    ▲  Miss: park, run again   ▲                 │
//!    └──────── Woken ───────────┴───Completion────┘
//! ```
//!
//! The loop owns a [`Store`]: what is not yet on disk (the overlay), rows fetched for parked frames,
//! tickets. It does no I/O. An [`Engine`] is the database behind it; it blocks and therefore lives in
//! the storage [`Thread`], or is stepped by [`pump`] in tests and simulation. Completions must reach
//! the store in the order in which the engine finished the work: that is what makes a generation
//! leave the overlay only after a new read can see it.

mod backup;
mod batch;
mod disk;
mod error;
mod faulty;
mod flight;
pub mod keys;
mod lock;
mod memory;
pub mod offline;
mod overlay;
mod range;
mod salvage;
mod store;
mod thread;

pub use backup::{Backup, BackupRoom, copy_to};
pub use batch::Batch;
pub use disk::{Compacted, DISK_CACHE_BYTES, DISK_RESERVE_BYTES, Disk, DiskOptions, FORMAT_VERSION};
pub use error::StoreError;
pub use faulty::{Faults, Faulty};
pub use flight::{RETRY_MS_MAX, RETRY_MS_MIN};
pub use memory::Memory;
pub use range::{KeyRange, Row, Rows};
pub use salvage::{Salvaged, salvage};
pub use store::{
    FETCH_BATCH_MAX, FETCHED_BYTES_MAX, FetchId, Miss, OVERLAY_BYTES_MAX, Pressure, Store, StoreCounters, StoreFull,
    Ticket, Woken,
};
pub(crate) use thread::Gives;
pub use thread::Thread;

use std::sync::Arc;

pub use crate::limits::{FETCH_BYTES_MAX, FETCH_ROWS_MAX};
/// The file in the data folder that holds the store.
pub const STORE_FILE_NAME: &str = "store.redb";

/// A database of ordered byte keys. Its calls block.
pub trait Engine: Send {
    /// Reads every range in one read transaction, which sees all earlier commits and is closed on return.
    ///
    /// The answer has one entry for each range, in the same order. No entry has more than
    /// [`FETCH_ROWS_MAX`] rows, and all together stop at [`FETCH_BYTES_MAX`]: an entry may then be
    /// empty and not complete.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database cannot be read now; the caller may ask again later.
    fn fetch(&mut self, ranges: &[KeyRange]) -> Result<Vec<Rows>, StoreError>;

    /// Writes the whole batch in one transaction and returns when it is durable.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it is not known to be durable: it may be on disk whole or not at all, never
    /// in part. Committing the same batch again is right in both cases.
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError>;

    /// How many rows there are.
    ///
    /// # Errors
    ///
    /// As for [`Engine::fetch`].
    fn count(&mut self) -> Result<u64, StoreError>;

    /// Reads one row.
    ///
    /// # Errors
    ///
    /// As for [`Engine::fetch`].
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.range(&KeyRange::one(key))?.rows.pop().map(|(_, value)| value))
    }

    /// Reads one range.
    ///
    /// # Errors
    ///
    /// As for [`Engine::fetch`].
    fn range(&mut self, range: &KeyRange) -> Result<Rows, StoreError> {
        Ok(self.fetch(std::slice::from_ref(range))?.pop().unwrap_or_default())
    }
}

impl<E: Engine + ?Sized> Engine for Box<E> {
    fn fetch(&mut self, ranges: &[KeyRange]) -> Result<Vec<Rows>, StoreError> {
        (**self).fetch(ranges)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        (**self).commit(batch)
    }

    fn count(&mut self) -> Result<u64, StoreError> {
        (**self).count()
    }
}

/// Work for the storage thread.
#[derive(Clone, Debug)]
pub enum Request {
    /// Read these, in one transaction.
    Fetch(Vec<Want>),
    /// Write this generation, in one transaction.
    Commit {
        /// The generation's number.
        ticket: Ticket,
        /// Its rows, shared with the overlay.
        batch: Arc<Batch>,
    },
}

/// One range that one parked frame waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Who waits.
    pub id: FetchId,
    /// What for.
    pub range: KeyRange,
}

/// What became of a [`Request`].
#[derive(Debug)]
pub enum Completion {
    /// The rows of a fetch, in the order of the request.
    Fetched(Vec<(Want, Rows)>),
    /// Nothing could be read.
    FetchFailed {
        /// Who waited.
        ids: Vec<FetchId>,
        /// Why.
        error: StoreError,
    },
    /// The generation is durable, and a read that begins now sees it.
    Committed(Ticket),
    /// The generation is not known to be durable.
    CommitFailed {
        /// The generation's number.
        ticket: Ticket,
        /// Why.
        error: StoreError,
    },
}

/// Does one request on the engine.
pub fn serve(engine: &mut dyn Engine, request: Request) -> Completion {
    match request {
        Request::Fetch(wants) => {
            let ranges: Vec<KeyRange> = wants.iter().map(|want| want.range.clone()).collect();
            match engine.fetch(&ranges) {
                Ok(rows) => Completion::Fetched(wants.into_iter().zip(rows).collect()),
                Err(error) => Completion::FetchFailed { ids: wants.iter().map(|want| want.id).collect(), error },
            }
        }
        Request::Commit { ticket, batch } => match engine.commit(&batch) {
            Ok(()) => Completion::Committed(ticket),
            Err(error) => Completion::CommitFailed { ticket, error },
        },
    }
}

/// One end of tick without a thread: submits, does the work on the spot, completes.
///
/// For tests, simulation and the command line; the server uses [`Thread`].
pub fn pump(store: &mut Store, engine: &mut dyn Engine, now_ms: u64, woken: &mut Woken) {
    let mut requests = Vec::new();
    store.submit(now_ms, &mut requests);
    for request in requests {
        store.complete(serve(engine, request), woken);
    }
}
