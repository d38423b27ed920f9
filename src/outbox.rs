//! Outboxes: the bytes that wait to leave each connection.
//!
//! ```text
//! handler ──append──▶ Outbox (plain bytes) ──write turn──▶ transport ──▶ socket
//!            │ journal: what this handler run appended, to take back or to hold
//! ```
//!
//! Handlers append at once and to any connection. While a handler runs, a journal keeps where each
//! outbox stood, so that a run that missed a row leaves nothing behind, and an answer that promises
//! something is held until that is durable (`docs/architecture.md`, "Storage").
//!
//! An idle outbox holds no memory: when it drains, its buffer goes to a bounded pool that the next
//! dirty outbox takes from, so that a relayed message allocates nothing.

use crate::ids::{ConnId, Id as _};
use std::collections::VecDeque;
use std::mem;

pub use crate::limits::{POOLED_BUFFER_BYTES_MAX, POOLED_BUFFERS_MAX};

/// What may be kept for slow readers.
#[derive(Clone, Copy, Debug)]
pub struct OutboxLimits {
    /// Unsent and held bytes of one connection.
    pub bytes_max: usize,
    /// The same for a component, which is written to for all of its users.
    pub component_bytes_max: usize,
    /// Unsent and held bytes of all connections together.
    pub total_bytes_max: usize,
    /// Held answers of one connection.
    pub held_max: usize,
}

/// An answer that waits for a commit.
#[derive(Debug)]
struct Held {
    ticket: u64,
    deadline_ms: u64,
    bytes: Vec<u8>,
}

/// Boxed with its header: nearly every row has none.
#[derive(Debug, Default)]
struct HeldList(VecDeque<Held>);

/// Unsent bytes of one connection.
#[derive(Debug, Default)]
struct Outbox {
    generation: u32,
    flags: u8,
    /// Bytes of `bytes` that have left already.
    sent: u32,
    bytes: Vec<u8>,
    held: Option<Box<HeldList>>,
}

/// In the dirty list.
const DIRTY: u8 = 1;
/// Took more than it may hold: its connection must be closed with `resource-constraint`.
const OVERFLOWN: u8 = 2;
/// Takes no more bytes: the end of the stream was written.
const SEALED: u8 = 4;
/// A component's: it may hold more.
const WIDE: u8 = 8;

/// Where an outbox stood before the running handler appended to it.
#[derive(Clone, Copy, Debug)]
struct Mark {
    conn: ConnId,
    len: usize,
}

/// The column of outboxes.
#[derive(Debug)]
pub struct Outboxes {
    rows: Vec<Outbox>,
    dirty: Vec<ConnId>,
    overflown: Vec<ConnId>,
    pool: Vec<Vec<u8>>,
    journal: Vec<Mark>,
    limits: OutboxLimits,
    total_bytes: usize,
    /// Bytes appended in this tick.
    tick_bytes: usize,
    /// Connections with held answers, each once.
    holding: Vec<ConnId>,
}

impl Outboxes {
    /// No outbox yet.
    pub fn new(limits: OutboxLimits) -> Self {
        Self {
            rows: Vec::new(),
            dirty: Vec::new(),
            overflown: Vec::new(),
            pool: Vec::new(),
            journal: Vec::new(),
            limits,
            total_bytes: 0,
            tick_bytes: 0,
            holding: Vec::new(),
        }
    }

    /// Opens the row of a new connection.
    pub fn open(&mut self, conn: ConnId) {
        let slot = conn.slot() as usize;
        if self.rows.len() <= slot {
            self.rows.resize_with(slot + 1, Outbox::default);
        }
        if let Some(row) = self.rows.get_mut(slot) {
            *row = Outbox { generation: conn.generation(), ..Outbox::default() };
        }
    }

    /// From now on the connection is a component's, and may hold as much as one of those.
    pub fn widen(&mut self, conn: ConnId) {
        if let Some(row) = row_mut(&mut self.rows, conn) {
            row.flags |= WIDE;
        }
    }

    /// Whether a component's outbox is at least half full: what can do without is left out.
    pub fn is_half_full(&self, conn: ConnId) -> bool {
        let half = (self.limits.component_bytes_max / 2).min(self.limits.total_bytes_max / 2);
        self.pending(conn).len() >= half
    }

    /// Drops whatever a connection still has to send and gives its memory back.
    pub fn close(&mut self, conn: ConnId) {
        let Some(row) = row_mut(&mut self.rows, conn) else { return };
        let old = mem::take(row);
        self.total_bytes -= old.bytes.len() - old.sent as usize;
        if let Some(held) = old.held {
            self.holding.retain(|other| *other != conn);
            self.total_bytes -= held.0.iter().map(|held| held.bytes.len()).sum::<usize>();
        }
        self.recycle(old.bytes);
    }

    /// Lets `write` append to the outbox of `conn`. A connection that is gone, sealed or overflown
    /// takes nothing; one that passes its bound is put on the overflown list.
    pub fn append(&mut self, conn: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        let OutboxLimits { bytes_max, component_bytes_max, total_bytes_max: total_max, .. } = self.limits;
        let Some(row) = row_mut(&mut self.rows, conn) else { return };
        let bytes_max = if row.flags & WIDE == 0 { bytes_max } else { component_bytes_max };
        if row.flags & (OVERFLOWN | SEALED) != 0 {
            return;
        }
        if row.bytes.capacity() == 0 {
            row.bytes = self.pool.pop().unwrap_or_default();
        }
        let before = row.bytes.len();
        write(&mut row.bytes);
        let added = row.bytes.len().saturating_sub(before);
        if added == 0 {
            return self.give_back(conn);
        }
        self.journal.push(Mark { conn, len: before });
        self.total_bytes += added;
        self.tick_bytes += added;
        if row.bytes.len() - row.sent as usize > bytes_max || self.total_bytes > total_max {
            row.flags |= OVERFLOWN;
            self.overflown.push(conn);
        }
        if row.flags & DIRTY == 0 {
            row.flags |= DIRTY;
            self.dirty.push(conn);
        }
    }

    /// Like [`Self::append`], but not before what is held for `conn`: it waits behind that for the same ticket. For
    /// what would be out of date if something older came after it, such as presence. The run is past its last read:
    /// what went behind a held answer is not taken back.
    pub fn append_in_turn(&mut self, conn: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        let OutboxLimits { bytes_max, component_bytes_max, total_bytes_max: total_max, .. } = self.limits;
        let held = row_mut(&mut self.rows, conn).filter(|row| row.held.is_some());
        let Some(row) = held.filter(|row| row.flags & (OVERFLOWN | SEALED) == 0) else {
            return self.append(conn, write);
        };
        let bytes_max = if row.flags & WIDE == 0 { bytes_max } else { component_bytes_max };
        let Some(HeldList(held)) = row.held.as_deref_mut() else { return };
        let Some(last) = held.back_mut() else { return };
        let before = last.bytes.len();
        write(&mut last.bytes);
        let added = last.bytes.len().saturating_sub(before);
        self.total_bytes += added;
        self.tick_bytes += added;
        let held_bytes: usize = held.iter().map(|held| held.bytes.len()).sum();
        if held_bytes > bytes_max || self.total_bytes > total_max {
            row.flags |= OVERFLOWN;
            self.overflown.push(conn);
        }
    }

    /// Writes the last bytes of a stream: past the bound if need be, then nothing more is taken.
    /// What is held is dropped: its fate is told by the stream's end.
    pub fn append_last(&mut self, conn: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        self.drop_held(conn);
        if let Some(row) = row_mut(&mut self.rows, conn) {
            row.flags &= !OVERFLOWN;
        }
        let limits = mem::replace(
            &mut self.limits,
            OutboxLimits {
                bytes_max: usize::MAX,
                component_bytes_max: usize::MAX,
                total_bytes_max: usize::MAX,
                held_max: 0,
            },
        );
        self.append(conn, write);
        self.limits = limits;
        self.seal(conn);
    }

    /// From now on the outbox takes no more bytes; what is held will never leave, and is dropped.
    pub fn seal(&mut self, conn: ConnId) {
        self.drop_held(conn);
        if let Some(row) = row_mut(&mut self.rows, conn) {
            row.flags |= SEALED;
        }
    }

    /// Throws away what waits to leave `conn`, and takes no more.
    pub fn discard(&mut self, conn: ConnId) {
        self.drop_held(conn);
        let count = self.pending(conn).len();
        self.consume(conn, count);
        self.seal(conn);
    }

    /// What waits to leave `conn`.
    pub fn pending(&self, conn: ConnId) -> &[u8] {
        let row = self.rows.get(conn.slot() as usize).filter(|row| row.generation == conn.generation());
        row.and_then(|row| row.bytes.get(row.sent as usize..)).unwrap_or_default()
    }

    /// Takes `count` sent bytes off the front; true if the outbox is drained now.
    pub fn consume(&mut self, conn: ConnId, count: usize) -> bool {
        let Some(row) = row_mut(&mut self.rows, conn) else { return true };
        let count = count.min(row.bytes.len() - row.sent as usize);
        row.sent += count as u32;
        self.total_bytes -= count;
        if (row.sent as usize) < row.bytes.len() {
            // Keep the unsent tail small: a reader that lags would otherwise keep what it has read.
            if row.sent as usize > POOLED_BUFFER_BYTES_MAX {
                row.bytes.drain(..row.sent as usize);
                row.sent = 0;
            }
            return false;
        }
        row.sent = 0;
        let bytes = mem::take(&mut row.bytes);
        self.recycle(bytes);
        true
    }

    fn recycle(&mut self, mut bytes: Vec<u8>) {
        if self.pool.len() < POOLED_BUFFERS_MAX && (1..=POOLED_BUFFER_BYTES_MAX).contains(&bytes.capacity()) {
            bytes.clear();
            self.pool.push(bytes);
        }
    }

    /// An idle outbox keeps no buffer.
    fn give_back(&mut self, conn: ConnId) {
        let Some(row) = row_mut(&mut self.rows, conn).filter(|row| row.bytes.is_empty()) else { return };
        let bytes = mem::take(&mut row.bytes);
        self.recycle(bytes);
    }

    /// Whether answers of `conn` wait for a commit.
    pub fn has_held(&self, conn: ConnId) -> bool {
        self.first_held_deadline_ms(conn).is_some()
    }

    /// Takes the next connection that has something to write.
    pub fn next_dirty(&mut self) -> Option<ConnId> {
        while let Some(conn) = self.dirty.pop() {
            if let Some(row) = row_mut(&mut self.rows, conn) {
                row.flags &= !DIRTY;
                return Some(conn);
            }
        }
        None
    }

    /// Whether any connection has something to write.
    pub fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Whether `conn` took more than it may hold, and takes nothing more.
    pub fn is_overflown(&self, conn: ConnId) -> bool {
        let row = self.rows.get(conn.slot() as usize).filter(|row| row.generation == conn.generation());
        row.is_some_and(|row| row.flags & OVERFLOWN != 0)
    }

    /// Takes the next connection that took more than it may hold.
    pub fn next_overflown(&mut self) -> Option<ConnId> {
        self.overflown.pop()
    }

    /// A handler run starts: what it appends can be taken back or held.
    pub fn begin(&mut self) {
        self.journal.clear();
    }

    /// The handler missed a row: takes back all that it appended.
    pub fn take_back(&mut self) {
        while let Some(Mark { conn, len }) = self.journal.pop() {
            if let Some(row) = row_mut(&mut self.rows, conn) {
                self.total_bytes -= row.bytes.len().saturating_sub(len);
                row.bytes.truncate(len);
                // It was not overflown before: else it would have taken nothing.
                row.flags &= !OVERFLOWN;
            }
            self.overflown.retain(|other| *other != conn);
            self.give_back(conn);
        }
    }

    /// The handler's promise waits for `ticket`: moves all that it appended to the held lists. A
    /// connection that holds more than it may goes on the overflown list.
    pub fn hold(&mut self, ticket: u64, deadline_ms: u64) {
        let OutboxLimits { bytes_max, component_bytes_max, held_max, .. } = self.limits;
        let mut journal = mem::take(&mut self.journal);
        for Mark { conn, len } in journal.drain(..) {
            // The first mark of a connection has taken all that the run appended there.
            let Some(row) = row_mut(&mut self.rows, conn).filter(|row| len < row.bytes.len()) else { continue };
            let bytes = row.bytes.split_off(len);
            if row.held.is_none() {
                self.holding.push(conn);
            }
            // Behind what is held already, whatever it waits for: held answers stay in order.
            let held = &mut row.held.get_or_insert_default().0;
            match held.back_mut() {
                Some(last) if last.ticket == ticket => last.bytes.extend_from_slice(&bytes),
                _ => held.push_back(Held { ticket, deadline_ms, bytes }),
            }
            let bytes_max = if row.flags & WIDE == 0 { bytes_max } else { component_bytes_max };
            let held_bytes: usize = held.iter().map(|held| held.bytes.len()).sum();
            let is_over = held.len() > held_max || held_bytes > bytes_max;
            if is_over && row.flags & OVERFLOWN == 0 {
                row.flags |= OVERFLOWN;
                self.overflown.push(conn);
            }
            self.give_back(conn);
        }
        self.journal = journal;
    }

    /// Everything up to `ticket` is durable: what was held for it leaves.
    pub fn release(&mut self, ticket: u64) {
        let mut holding = mem::take(&mut self.holding);
        holding.retain(|conn| self.release_row(*conn, ticket));
        self.holding = holding;
    }

    /// Moves what is due from the held list to the outbox; true if some is left.
    fn release_row(&mut self, conn: ConnId, ticket: u64) -> bool {
        let Some(row) = row_mut(&mut self.rows, conn) else { return false };
        let Some(HeldList(held)) = row.held.as_deref_mut() else { return false };
        let mut ready: Vec<u8> = Vec::new();
        while held.front().is_some_and(|held| held.ticket <= ticket) {
            let Some(item) = held.pop_front() else { break };
            self.total_bytes -= item.bytes.len();
            ready.extend_from_slice(&item.bytes);
        }
        let some_left = !held.is_empty();
        if !some_left {
            row.held = None;
        }
        if !ready.is_empty() {
            self.append(conn, |out| out.extend_from_slice(&ready));
        }
        some_left
    }

    fn first_held_deadline_ms(&self, conn: ConnId) -> Option<u64> {
        let row = self.rows.get(conn.slot() as usize).filter(|row| row.generation == conn.generation())?;
        row.held.as_ref()?.0.front().map(|held| held.deadline_ms)
    }

    /// The connections whose held answers have waited past their deadline: their fate is unknown.
    pub fn overdue(&self, now_ms: u64) -> Vec<ConnId> {
        let overdue = |conn: &ConnId| self.first_held_deadline_ms(*conn).is_some_and(|deadline| deadline <= now_ms);
        self.holding.iter().copied().filter(overdue).collect()
    }

    /// When the first held answer becomes overdue.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.holding.iter().filter_map(|conn| self.first_held_deadline_ms(*conn)).min()
    }

    fn drop_held(&mut self, conn: ConnId) {
        let Some(row) = row_mut(&mut self.rows, conn) else { return };
        let Some(held) = row.held.take() else { return };
        self.total_bytes -= held.0.iter().map(|held| held.bytes.len()).sum::<usize>();
        self.holding.retain(|other| *other != conn);
    }

    /// Whether the sums are what counting says; for [`crate::core::Core::audit`].
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn audit(&self) -> Result<(), String> {
        let held = |row: &Outbox| row.held.as_ref().map_or(0, |held| held.0.iter().map(|held| held.bytes.len()).sum());
        let bytes: usize = self.rows.iter().map(|row| row.bytes.len() - row.sent as usize + held(row)).sum();
        if bytes != self.total_bytes {
            return Err(format!("outboxes hold {bytes} bytes, counted are {}", self.total_bytes));
        }
        let holding = self.rows.iter().filter(|row| row.held.is_some()).count();
        let listed = self.holding.iter().filter(|conn| self.first_held_deadline_ms(**conn).is_some()).count();
        if holding != listed || listed != self.holding.len() {
            return Err(format!("{holding} outboxes hold answers, {listed} of {} listed", self.holding.len()));
        }
        match self.rows.iter().filter(|row| row.bytes.is_empty() && row.bytes.capacity() > 0).count() {
            0 => Ok(()),
            idle => Err(format!("{idle} idle outboxes keep a buffer")),
        }
    }

    /// Unsent and held bytes of all connections.
    pub fn total_bytes(&self) -> usize {
        self.total_bytes
    }

    /// Bytes appended since the last [`Outboxes::end_tick`].
    pub fn tick_bytes(&self) -> usize {
        self.tick_bytes
    }

    /// What was appended is about to be written.
    pub fn end_tick(&mut self) {
        self.tick_bytes = 0;
        // What was appended outside of a run stays: a login, a goodbye. No run reaches over the end of a tick.
        self.journal.clear();
    }

    /// Bytes of memory behind the column: rows, buffers, pool.
    pub fn heap_bytes(&self) -> usize {
        let rows = self.rows.capacity() * size_of::<Outbox>();
        let buffers: usize = self.rows.iter().map(|row| row.bytes.capacity()).sum();
        let pool: usize = self.pool.iter().map(Vec::capacity).sum();
        rows + buffers + pool
    }

    /// Gives back what a past load has left; `slots`: how many rows may still be in use.
    pub fn shrink(&mut self, slots: usize) {
        self.rows.truncate(slots);
        self.rows.shrink_to_fit();
        self.pool = Vec::new();
        self.dirty.shrink_to(POOLED_BUFFERS_MAX);
        self.overflown.shrink_to(POOLED_BUFFERS_MAX);
        self.holding.shrink_to(POOLED_BUFFERS_MAX);
        self.journal.shrink_to(POOLED_BUFFERS_MAX);
    }
}

fn row_mut(rows: &mut [Outbox], conn: ConnId) -> Option<&mut Outbox> {
    rows.get_mut(conn.slot() as usize).filter(|row| row.generation == conn.generation())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Table;

    fn two() -> (Outboxes, ConnId, ConnId) {
        let mut table: Table<ConnId, ()> = Table::new();
        let (a, b) = (table.insert(()), table.insert(()));
        let mut outboxes =
            Outboxes::new(OutboxLimits { bytes_max: 100, component_bytes_max: 120, total_bytes_max: 150, held_max: 2 });
        outboxes.open(a);
        outboxes.open(b);
        (outboxes, a, b)
    }

    fn put(outboxes: &mut Outboxes, conn: ConnId, text: &str) {
        outboxes.append(conn, |out| out.extend_from_slice(text.as_bytes()));
    }

    #[test]
    fn bytes_leave_in_order_and_memory_is_given_back() {
        let (mut outboxes, a, _) = two();
        put(&mut outboxes, a, "one");
        put(&mut outboxes, a, "two");
        assert_eq!(outboxes.next_dirty(), Some(a));
        assert_eq!(outboxes.next_dirty(), None);
        assert!(!outboxes.consume(a, 4));
        assert_eq!(outboxes.pending(a), b"wo");
        assert!(outboxes.consume(a, 2));
        assert_eq!(outboxes.total_bytes(), 0);
        assert_eq!(outboxes.rows[a.slot() as usize].bytes.capacity(), 0);
    }

    #[test]
    fn a_missed_run_leaves_nothing_behind() {
        let (mut outboxes, a, b) = two();
        put(&mut outboxes, a, "before");
        outboxes.begin();
        put(&mut outboxes, a, "x");
        put(&mut outboxes, b, "y");
        put(&mut outboxes, a, "z");
        outboxes.take_back();
        assert_eq!(outboxes.pending(a), b"before");
        assert_eq!(outboxes.pending(b), b"");
        assert_eq!(outboxes.total_bytes(), 6);
    }

    #[test]
    fn held_answers_wait_in_order_and_others_flow_past() {
        let (mut outboxes, a, _) = two();
        outboxes.begin();
        put(&mut outboxes, a, "1");
        put(&mut outboxes, a, "2");
        outboxes.hold(7, 1000);
        outboxes.begin();
        put(&mut outboxes, a, "chat");
        assert_eq!(outboxes.pending(a), b"chat");
        outboxes.release(6);
        assert_eq!(outboxes.pending(a), b"chat");
        outboxes.release(7);
        assert_eq!(outboxes.pending(a), b"chat12");
        assert_eq!(outboxes.total_bytes(), 6);
        assert_eq!(outboxes.next_deadline_ms(), None);
    }

    #[test]
    fn overdue_answers_are_named_and_too_many_overflow() {
        let (mut outboxes, a, _) = two();
        for ticket in 1..=3 {
            outboxes.begin();
            put(&mut outboxes, a, "x");
            outboxes.hold(ticket, 1000);
        }
        assert_eq!(outboxes.next_deadline_ms(), Some(1000));
        assert_eq!(outboxes.overdue(999), vec![]);
        assert_eq!(outboxes.overdue(1000), vec![a]);
        assert_eq!(outboxes.next_overflown(), Some(a));
    }

    #[test]
    fn a_slow_reader_overflows_alone_and_can_still_be_told() {
        let (mut outboxes, a, b) = two();
        put(&mut outboxes, a, &"x".repeat(101));
        put(&mut outboxes, a, "ignored");
        put(&mut outboxes, b, "fine");
        assert_eq!(outboxes.next_overflown(), Some(a));
        assert_eq!(outboxes.next_overflown(), None);
        outboxes.append_last(a, |out| out.extend_from_slice(b"end"));
        put(&mut outboxes, a, "ignored");
        assert!(outboxes.pending(a).ends_with(b"xend"));
    }

    #[test]
    fn a_closed_row_takes_nothing() {
        let (mut outboxes, a, b) = two();
        put(&mut outboxes, a, "x");
        outboxes.close(a);
        put(&mut outboxes, a, "x");
        assert_eq!(outboxes.pending(a), b"");
        assert_eq!(outboxes.next_dirty(), None);
        assert_eq!(outboxes.total_bytes(), 0);
        put(&mut outboxes, b, "y");
        assert_eq!(outboxes.total_bytes(), 1);
    }
}
