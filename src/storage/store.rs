//! The loop's side of storage: overlay generations, fetched rows, tickets. Pure; it is told the time.
//!
//! ```text
//! begin ─ get, range, put, delete ─ finish ──▶ filling ──submit──▶ in flight ──Committed──▶ gone
//!   ▲            │ Miss                                               │ CommitFailed
//! resume ◀─ Woken ◀─ Fetched ◀─ submit ◀─ abandon                     └─▶ sent again after a back-off
//! ```
//!
//! All ticks that write while a generation is in flight fill the next one together: that is the group
//! commit. It is handed over whole at the end of a tick, so no tick is ever split. A ticket is the
//! number of a generation. Nothing is taken back when a commit fails: what handlers have read stays
//! true in memory, and what waits for the ticket goes on waiting.

use super::batch::row_bytes;
use super::flight::Flight;
use super::overlay::{Piece, View};
use super::{Batch, Completion, KeyRange, Request, Row, Rows, StoreError, Want};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

pub use crate::limits::{FETCH_BATCH_MAX, FETCHED_BYTES_MAX, OVERLAY_BYTES_MAX};
/// The number of a generation of writes; what an answer waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

impl Ticket {
    /// Depends on nothing; always durable.
    pub const NONE: Self = Self(0);

    /// The number itself: later tickets have higher ones.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// A parked frame's place in the store. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(u64);

/// A row that is needed is not in memory: give this to [`Store::abandon`] and park the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a handler that missed has to be abandoned and run again"]
pub struct Miss {
    ranges: Vec<KeyRange>,
}

impl Miss {
    /// This, and what another read misses: one fetch for both.
    pub fn and(mut self, other: Self) -> Self {
        self.ranges.extend(other.ranges);
        self
    }

    /// What has to be fetched; at least one.
    pub fn ranges(&self) -> &[KeyRange] {
        &self.ranges
    }
}

/// The overlay is full: answer `resource-constraint` (wait) and [`Store::discard`] the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreFull;

impl fmt::Display for StoreFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too much is waiting for the disk")
    }
}

impl std::error::Error for StoreFull {}

/// How near the overlay is to its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// At most half full.
    Calm,
    /// Above half: frames that would write should wait in the kernel.
    High,
    /// At the bound: writes are refused.
    Full,
}

/// What completions have set free; the caller empties it.
#[derive(Debug, Default)]
pub struct Woken {
    /// Frames whose rows are there: [`Store::resume`] and run the handler again.
    pub ready: Vec<FetchId>,
    /// Frames whose rows could not be read: answer `internal-server-error`. Their ids are released.
    pub failed: Vec<FetchId>,
    /// The highest ticket that has become durable.
    pub durable: Ticket,
    /// What went wrong, to be logged.
    pub faults: Vec<StoreError>,
}

impl Woken {
    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.failed.is_empty() && self.faults.is_empty() && self.durable == Ticket::NONE
    }
}

/// What has been counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCounters {
    /// Generations that became durable.
    pub commits: u64,
    /// Rows in them.
    pub rows_committed: u64,
    /// Commits that failed, each try.
    pub commits_failed: u64,
    /// Rows that handlers have read, again in each run.
    pub rows_read: u64,
    /// Bytes of them.
    pub bytes_read: u64,
    /// Handler runs that missed.
    pub misses: u64,
    /// Fetches that failed.
    pub fetches_failed: u64,
    /// Writes refused because the overlay was full.
    pub writes_refused: u64,
}

/// What a parked frame has, and what it waits for.
#[derive(Debug, Default)]
struct Waiting {
    pieces: Vec<Piece>,
    /// Ranges that have not come yet.
    ranges: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Store {
    overlay_bytes_max: usize,
    /// The writes of the handler that runs now.
    draft: Batch,
    /// The highest ticket that it has read.
    read: Ticket,
    /// Whose rows it reads, if it was parked before.
    current: Option<FetchId>,
    filling: Batch,
    filling_ticket: Ticket,
    flight: Option<Flight>,
    durable: Ticket,
    next_fetch: u64,
    parked: BTreeMap<FetchId, Waiting>,
    fetched_bytes: usize,
    wanted: VecDeque<Want>,
    is_fetching: bool,
    written: u64,
    counters: StoreCounters,
}

impl Default for Store {
    fn default() -> Self {
        Self::new(OVERLAY_BYTES_MAX)
    }
}

impl Store {
    /// A store with nothing in memory that holds at most `overlay_bytes_max` of writes.
    pub fn new(overlay_bytes_max: usize) -> Self {
        Self {
            overlay_bytes_max,
            draft: Batch::default(),
            read: Ticket::NONE,
            current: None,
            filling: Batch::default(),
            filling_ticket: Ticket(1),
            flight: None,
            durable: Ticket::NONE,
            next_fetch: 1,
            parked: BTreeMap::new(),
            fetched_bytes: 0,
            wanted: VecDeque::new(),
            is_fetching: false,
            written: 0,
            counters: StoreCounters::default(),
        }
    }

    /// A handler run starts, for a frame that has not been parked.
    pub fn begin(&mut self) {
        self.draft.clear();
        self.read = Ticket::NONE;
        self.current = None;
    }

    /// A parked frame's handler starts again from its top: it also sees the rows fetched for `id`.
    pub fn resume(&mut self, id: FetchId) {
        self.begin();
        self.current = Some(id);
    }

    /// Reads a row.
    ///
    /// # Errors
    ///
    /// [`Miss`] if it is not in memory: return it up to whoever called [`Store::begin`].
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Miss> {
        let Some((value, ticket)) = self.view().get(key) else {
            return Err(Miss { ranges: vec![KeyRange::one(key)] });
        };
        self.read = self.read.max(ticket);
        self.count_read(1, value.as_ref().map_or(0, Vec::len));
        Ok(value)
    }

    /// Reads up to `range.limit` rows.
    ///
    /// # Errors
    ///
    /// As for [`Store::get`].
    pub fn range(&mut self, range: &KeyRange) -> Result<Vec<Row>, Miss> {
        let (rows, ticket) = self.view().range(range).map_err(|range| Miss { ranges: vec![range] })?;
        self.read = self.read.max(ticket);
        self.count_read(rows.len(), rows.iter().map(|(key, value)| key.len() + value.len()).sum());
        Ok(rows)
    }

    fn count_read(&mut self, rows: usize, bytes: usize) {
        self.counters.rows_read += rows as u64;
        self.counters.bytes_read += bytes as u64;
    }

    /// Sees to it that all these rows are in memory, so that a run that needs many of them is parked once and not once
    /// for each.
    ///
    /// # Errors
    ///
    /// [`Miss`] with all those that are not in memory.
    pub fn need<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Result<(), Miss> {
        let view = self.view();
        let missing = keys.into_iter().filter(|key| view.get(key.as_ref()).is_none());
        let ranges: Vec<KeyRange> = missing.map(|key| KeyRange::one(key.as_ref())).collect();
        if ranges.is_empty() { Ok(()) } else { Err(Miss { ranges }) }
    }

    fn view(&self) -> View<'_> {
        // Nothing in flight: an empty batch of any ticket does.
        let (flight, flight_ticket) = match &self.flight {
            Some(flight) => (&*flight.batch, flight.ticket),
            None => (&EMPTY, Ticket::NONE),
        };
        let pieces = self.current.and_then(|id| self.parked.get(&id));
        View {
            // What this run writes itself is counted in `finish`.
            layers: [(&self.draft, Ticket::NONE), (&self.filling, self.filling_ticket), (flight, flight_ticket)],
            pieces: pieces.map_or(&[], |waiting| waiting.pieces.as_slice()),
        }
    }

    /// Sets a row. The handler sees it at once, others after [`Store::finish`].
    ///
    /// # Errors
    ///
    /// [`StoreFull`] if the overlay would pass its bound.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreFull> {
        self.make_room(row_bytes(key.len(), Some(value)))?;
        self.draft.put(key, value);
        Ok(())
    }

    /// Removes a row.
    ///
    /// # Errors
    ///
    /// [`StoreFull`] if the overlay would pass its bound: a tombstone takes room too.
    pub fn delete(&mut self, key: &[u8]) -> Result<(), StoreFull> {
        self.make_room(row_bytes(key.len(), None))?;
        self.draft.delete(key);
        Ok(())
    }

    /// Writes all of `batch`, or nothing of it.
    ///
    /// # Errors
    ///
    /// [`StoreFull`] if the overlay would pass its bound.
    pub fn apply(&mut self, mut batch: Batch) -> Result<(), StoreFull> {
        self.make_room(batch.bytes())?;
        self.draft.absorb(&mut batch);
        Ok(())
    }

    fn make_room(&mut self, bytes: usize) -> Result<(), StoreFull> {
        if self.overlay_bytes().saturating_add(bytes) > self.overlay_bytes_max {
            self.counters.writes_refused += 1;
            return Err(StoreFull);
        }
        Ok(())
    }

    /// The handler is done: its writes join the tick's. Returns the ticket that its answer, and every
    /// push that it causes, must wait for: the highest that it wrote, or read from the overlay.
    pub fn finish(&mut self) -> Ticket {
        let mut ticket = self.read;
        if !self.draft.is_empty() {
            self.filling.absorb(&mut self.draft);
            self.written += 1;
            ticket = self.filling_ticket;
        }
        self.end_run();
        ticket
    }

    /// The handler gives up, on [`StoreFull`] or by its own decision: nothing of it is written. Returns
    /// the ticket that an answer made of what it read must wait for.
    pub fn discard(&mut self) -> Ticket {
        let ticket = self.read;
        self.end_run();
        ticket
    }

    fn end_run(&mut self) {
        if let Some(id) = self.current {
            self.release(id);
        }
        self.begin();
    }

    /// The handler missed: its writes are dropped, what it misses is queued. A frame that misses again
    /// keeps its id and the rows it has.
    pub fn abandon(&mut self, miss: Miss) -> FetchId {
        self.counters.misses += 1;
        let id = self.current.unwrap_or_else(|| {
            self.next_fetch += 1;
            FetchId(self.next_fetch)
        });
        self.parked.entry(id).or_default().ranges += miss.ranges.len();
        self.wanted.extend(miss.ranges.into_iter().map(|range| Want { id, range }));
        self.begin();
        id
    }

    /// Forgets a parked frame that will not run again, such as a closed connection's.
    pub fn release(&mut self, id: FetchId) {
        if self.unpark(id) {
            self.wanted.retain(|want| want.id != id);
        }
    }

    fn unpark(&mut self, id: FetchId) -> bool {
        let Some(waiting) = self.parked.remove(&id) else { return false };
        self.fetched_bytes -= waiting.pieces.iter().map(Piece::bytes).sum::<usize>();
        true
    }

    /// The end of a tick: hands over what was written, as one unit, and what is missed, as one batch.
    ///
    /// At most one commit and one fetch are out at a time; what comes meanwhile goes with the next.
    pub fn submit(&mut self, now_ms: u64, out: &mut Vec<Request>) {
        if !self.wanted.is_empty() && !self.is_fetching {
            // Never none: a frame that holds rows may need more of them to finish.
            let batch_max = if self.fetched_bytes > FETCHED_BYTES_MAX { 1 } else { FETCH_BATCH_MAX };
            let count = self.wanted.len().min(batch_max);
            out.push(Request::Fetch(self.wanted.drain(..count).collect()));
            self.is_fetching = true;
        }
        if self.flight.is_none() && !self.filling.is_empty() {
            self.flight = Some(Flight::new(self.filling_ticket, std::mem::take(&mut self.filling), now_ms));
            self.filling_ticket = Ticket(self.filling_ticket.0 + 1);
        }
        if let Some(flight) = &mut self.flight {
            out.extend(flight.due(now_ms));
        }
    }

    /// When [`Store::submit`] must be called again for a failed commit, even if nothing else happens.
    pub fn retry_at_ms(&self) -> Option<u64> {
        self.flight.as_ref()?.retry_at_ms()
    }

    /// Takes in what the engine has done. Completions come in the order of the work.
    pub fn complete(&mut self, completion: Completion, woken: &mut Woken) {
        match completion {
            Completion::Fetched(answers) => {
                self.is_fetching = false;
                for (want, rows) in answers {
                    self.fetched(want, rows, woken);
                }
            }
            Completion::FetchFailed { ids, error } => {
                self.is_fetching = false;
                self.counters.fetches_failed += 1;
                for id in ids {
                    // Once, however many of its ranges were asked for.
                    if self.unpark(id) {
                        self.wanted.retain(|want| want.id != id);
                        woken.failed.push(id);
                    }
                }
                woken.faults.push(error);
            }
            Completion::Committed(ticket) => self.committed(ticket, woken),
            Completion::CommitFailed { ticket, error } => self.commit_failed(ticket, error, woken),
        }
    }

    fn fetched(&mut self, want: Want, rows: Rows, woken: &mut Woken) {
        // Released meanwhile: nobody waits.
        let Some(waiting) = self.parked.get_mut(&want.id) else { return };
        if rows.rows.is_empty() && !rows.complete {
            // The ranges before it used the batch up.
            self.wanted.push_back(want);
            return;
        }
        let piece = Piece::new(want.range, rows);
        self.fetched_bytes += piece.bytes();
        // In the order of their first keys: a run that fetched thousands of rows finds each at once.
        let at = waiting.pieces.partition_point(|other| other.from() <= piece.from());
        waiting.pieces.insert(at, piece);
        waiting.ranges = waiting.ranges.saturating_sub(1);
        if waiting.ranges == 0 {
            woken.ready.push(want.id);
        }
    }

    fn committed(&mut self, ticket: Ticket, woken: &mut Woken) {
        let Some(flight) = self.flight.take_if(|flight| flight.ticket == ticket) else { return };
        // Rows fetched before the commit do not have its writes; they must not come back to light.
        for piece in self.parked.values_mut().flat_map(|waiting| &mut waiting.pieces) {
            self.fetched_bytes -= piece.bytes();
            piece.apply(&flight.batch);
            self.fetched_bytes += piece.bytes();
        }
        self.durable = ticket;
        self.counters.commits += 1;
        self.counters.rows_committed += flight.batch.len() as u64;
        woken.durable = ticket;
    }

    fn commit_failed(&mut self, ticket: Ticket, error: StoreError, woken: &mut Woken) {
        let Some(flight) = self.flight.as_mut().filter(|flight| flight.ticket == ticket) else { return };
        flight.fail();
        self.counters.commits_failed += 1;
        woken.faults.push(error);
    }

    /// The ticket of what is being gathered now: the writes of the last run that wrote.
    pub fn filling(&self) -> Ticket {
        self.filling_ticket
    }

    /// Whether everything up to `ticket` is on disk.
    pub fn is_durable(&self, ticket: Ticket) -> bool {
        ticket <= self.durable
    }

    /// The highest ticket that is on disk.
    pub fn durable(&self) -> Ticket {
        self.durable
    }

    /// Whether all that was finished is on disk and nobody waits for rows.
    pub fn is_idle(&self) -> bool {
        self.filling.is_empty() && self.flight.is_none() && self.wanted.is_empty() && !self.is_fetching
    }

    /// How near the overlay is to its bound.
    pub fn pressure(&self) -> Pressure {
        match self.overlay_bytes() {
            bytes if bytes >= self.overlay_bytes_max => Pressure::Full,
            bytes if bytes > self.overlay_bytes_max / 2 => Pressure::High,
            _ => Pressure::Calm,
        }
    }

    /// Bytes of writes that are not known to be on disk.
    pub fn overlay_bytes(&self) -> usize {
        self.draft.bytes() + self.filling.bytes() + self.flight.as_ref().map_or(0, |flight| flight.batch.bytes())
    }

    /// Bytes of rows held for parked frames.
    pub fn fetched_bytes(&self) -> usize {
        self.fetched_bytes
    }

    /// Rows that handlers have read since the start, and their bytes.
    pub fn read(&self) -> (u64, u64) {
        (self.counters.rows_read, self.counters.bytes_read)
    }

    /// Runs that have written, since the start.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// How many frames are parked.
    pub fn parked(&self) -> usize {
        self.parked.len()
    }

    /// What has been counted.
    pub fn counters(&self) -> StoreCounters {
        self.counters
    }
}

/// Stands in for a generation that is not there.
static EMPTY: Batch = Batch::new();
