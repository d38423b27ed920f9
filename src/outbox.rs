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
//!
//! Who passes the bound of one outbox ends. Where all together pass theirs, the largest give way, whoever
//! came last: they lose what they have not read, down to a whole stanza, so that their stream can still be
//! told why it ends.

#[cfg(test)]
mod tests;

use crate::ids::{ConnId, Id as _};
use std::collections::VecDeque;
use std::mem;

use crate::limits::{GIVEN_WAY_SHARE, LAST_BYTES_MAX};
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

impl Held {
    /// Bytes of memory behind it, itself included.
    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity()
    }
}

/// Boxed with its header: nearly every row has none.
#[derive(Debug, Default)]
struct HeldList {
    answers: VecDeque<Held>,
    /// Bytes of all of them.
    bytes: usize,
}

/// Unsent bytes of one connection.
#[derive(Debug, Default)]
struct Outbox {
    generation: u32,
    flags: u8,
    /// Bytes of `bytes` that have left already.
    sent: u32,
    /// Where a stanza ends: behind `sent`, as of the last time that something was appended.
    cut: u32,
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
/// Gave way to others: what it had not read is gone.
const SHED: u8 = 16;
/// The same, and what has left ends within a stanza: nothing can follow it.
const BROKEN: u8 = 32;

/// How an outbox stands, for whoever decides whether its connection is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes what comes.
    Open,
    /// More waits than a reader that reads leaves lying: what the same peer asks for had better wait too.
    Congested,
    /// It took more than it may hold, and takes nothing more.
    Overflown,
}

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
    /// Bytes of memory behind rows and pool: what is reserved, not what is used.
    buffer_bytes: usize,
    /// How many of those there is room for.
    room_bytes: usize,
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
            buffer_bytes: 0,
            room_bytes: usize::MAX,
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
        let mut old = mem::take(row);
        self.total_bytes -= old.bytes.len() - old.sent as usize;
        if let Some(held) = old.held.take() {
            self.forget_held(conn, &held);
        }
        self.recycle(old.bytes);
    }

    /// Lets `write` append to the outbox of `conn`. A connection that is gone, sealed or overflown
    /// takes nothing; one that passes its bound is put on the overflown list. Where all together pass
    /// theirs, the largest are.
    pub fn append(&mut self, conn: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        let limits = self.limits;
        let Some(row) = row_mut(&mut self.rows, conn) else { return };
        let bytes_max = limits.bytes_max_of(row.flags);
        if row.flags & (OVERFLOWN | SEALED) != 0 {
            return;
        }
        if row.bytes.capacity() == 0 {
            row.bytes = self.pool.pop().unwrap_or_default();
        }
        let (before, reserved) = (row.bytes.len(), row.bytes.capacity());
        write(&mut row.bytes);
        self.buffer_bytes = self.buffer_bytes + row.bytes.capacity() - reserved;
        let added = row.bytes.len().saturating_sub(before);
        if added == 0 {
            return self.give_back(conn);
        }
        if row.cut < row.sent {
            row.cut = before as u32;
        }
        self.journal.push(Mark { conn, len: before });
        self.total_bytes += added;
        self.tick_bytes += added;
        if row.bytes.len() - row.sent as usize > bytes_max {
            row.flags |= OVERFLOWN;
            self.overflown.push(conn);
        }
        if row.flags & DIRTY == 0 {
            row.flags |= DIRTY;
            self.dirty.push(conn);
        }
        self.keep_bounds();
    }

    /// Sees to it that all outboxes together stay within their bounds.
    fn keep_bounds(&mut self) {
        let (bytes_max, room) = (self.limits.total_bytes_max, self.room_bytes);
        if self.total_bytes > bytes_max || self.buffer_bytes > room {
            self.give_way(bytes_max - bytes_max / GIVEN_WAY_SHARE, room - room / GIVEN_WAY_SHARE, 0);
        }
    }

    /// How much memory there is for all outboxes from now on. What is there already stays; see [`Self::shed`].
    pub fn set_room(&mut self, bytes: usize) {
        self.room_bytes = bytes;
    }

    /// The largest give way until so many bytes of memory are free, but none that holds less than `least`; returns
    /// how many are free.
    pub fn shed(&mut self, bytes: usize, least: usize) -> usize {
        let before = self.buffer_bytes;
        self.give_way(usize::MAX, before.saturating_sub(bytes), least);
        before - self.buffer_bytes
    }

    /// The largest give way until no more is left than this, or nobody who holds `least`.
    fn give_way(&mut self, total_bytes: usize, buffer_bytes: usize, least: usize) {
        // Buffers that wait for use are nobody's.
        self.drop_pool();
        let mut holders: Vec<(usize, ConnId)> = (0_u32..)
            .zip(&self.rows)
            .filter(|(_, row)| row.flags & SHED == 0 && row.heap_bytes() >= least.max(1))
            .map(|(slot, row)| (row.heap_bytes(), ConnId::from_parts(slot, row.generation)))
            .collect();
        holders.sort_unstable();
        while self.total_bytes > total_bytes || self.buffer_bytes > buffer_bytes {
            let Some((_, conn)) = holders.pop() else { return };
            self.cut_short(conn);
        }
    }

    /// Throws away what waits to leave `conn`, but for the rest of a stanza of which a part has left.
    fn cut_short(&mut self, conn: ConnId) {
        self.drop_held(conn);
        let Some(row) = row_mut(&mut self.rows, conn) else { return };
        let (sent, cut) = (row.sent as usize, row.cut as usize);
        let old = mem::take(&mut row.bytes);
        self.total_bytes -= old.len() - sent;
        self.buffer_bytes -= old.capacity();
        let rest = old.get(sent..cut).filter(|rest| rest.len() <= LAST_BYTES_MAX && row.flags & SEALED == 0);
        let is_whole = rest.is_some();
        row.bytes = rest.unwrap_or_default().to_vec();
        row.sent = 0;
        row.cut = row.bytes.len() as u32;
        self.total_bytes += row.bytes.len();
        self.buffer_bytes += row.bytes.capacity();
        if row.flags & OVERFLOWN == 0 {
            self.overflown.push(conn);
        }
        row.flags |= OVERFLOWN | SHED | if is_whole { 0 } else { BROKEN };
    }

    /// Whether nothing can be said any more on `conn`: what has left ends within a stanza.
    pub fn is_broken(&self, conn: ConnId) -> bool {
        self.row(conn).is_some_and(|row| row.flags & BROKEN != 0)
    }

    fn row(&self, conn: ConnId) -> Option<&Outbox> {
        self.rows.get(conn.slot() as usize).filter(|row| row.generation == conn.generation())
    }

    /// Like [`Self::append`], but not before what is held for `conn`: it waits behind that for the same ticket. For
    /// what would be out of date if something older came after it, such as presence. The run is past its last read:
    /// what went behind a held answer is not taken back.
    pub fn append_in_turn(&mut self, conn: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        let limits = self.limits;
        let held = row_mut(&mut self.rows, conn).filter(|row| row.held.is_some());
        let Some(row) = held.filter(|row| row.flags & (OVERFLOWN | SEALED) == 0) else {
            return self.append(conn, write);
        };
        let bytes_max = limits.bytes_max_of(row.flags);
        let Some(held) = row.held.as_deref_mut() else { return };
        let Some(last) = held.answers.back_mut() else { return };
        let (before, reserved) = (last.bytes.len(), last.heap_bytes());
        write(&mut last.bytes);
        let added = last.bytes.len().saturating_sub(before);
        self.buffer_bytes = self.buffer_bytes + last.heap_bytes() - reserved;
        held.bytes += added;
        self.total_bytes += added;
        self.tick_bytes += added;
        if held.bytes > bytes_max {
            row.flags |= OVERFLOWN;
            self.overflown.push(conn);
        }
        self.keep_bounds();
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
        let room = mem::replace(&mut self.room_bytes, usize::MAX);
        self.append(conn, write);
        (self.limits, self.room_bytes) = (limits, room);
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
        self.row(conn).and_then(|row| row.bytes.get(row.sent as usize..)).unwrap_or_default()
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
                row.cut = row.cut.checked_sub(row.sent).unwrap_or(row.bytes.len() as u32);
                row.sent = 0;
            }
            return false;
        }
        (row.sent, row.cut) = (0, 0);
        let bytes = mem::take(&mut row.bytes);
        self.recycle(bytes);
        true
    }

    fn recycle(&mut self, mut bytes: Vec<u8>) {
        if self.pool.len() < POOLED_BUFFERS_MAX && (1..=POOLED_BUFFER_BYTES_MAX).contains(&bytes.capacity()) {
            bytes.clear();
            self.pool.push(bytes);
        } else {
            self.buffer_bytes -= bytes.capacity();
        }
    }

    fn drop_pool(&mut self) {
        let pool = mem::take(&mut self.pool);
        self.buffer_bytes -= pool.iter().map(Vec::capacity).sum::<usize>();
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

    /// How many connections have something to write.
    pub fn dirty(&self) -> usize {
        self.dirty.len()
    }

    /// Whether any connection has something to write.
    pub fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// How the outbox of `conn` stands.
    pub fn standing(&self, conn: ConnId) -> Standing {
        match self.row(conn) {
            Some(row) if row.flags & OVERFLOWN != 0 => Standing::Overflown,
            Some(row) if row.bytes.len() - row.sent as usize > self.limits.congested_bytes(row.flags) => {
                Standing::Congested
            }
            Some(_) | None => Standing::Open,
        }
    }

    /// Whether a reader that was congested has caught up.
    pub fn has_eased(&self, conn: ConnId) -> bool {
        let flags = self.row(conn).map_or(0, |row| row.flags);
        self.pending(conn).len() <= self.limits.congested_bytes(flags) / 2
    }

    /// Takes the next connection that took more than it may hold.
    pub fn next_overflown(&mut self) -> Option<ConnId> {
        self.overflown.pop()
    }

    /// A handler run starts: what it appends can be taken back or held.
    pub fn begin(&mut self) {
        self.journal.clear();
    }

    /// How often the run has appended.
    pub fn run_appends(&self) -> usize {
        self.journal.len()
    }

    /// The handler missed a row: takes back all that it appended.
    pub fn take_back(&mut self) {
        while let Some(Mark { conn, len }) = self.journal.pop() {
            if let Some(row) = row_mut(&mut self.rows, conn) {
                self.total_bytes -= row.bytes.len().saturating_sub(len);
                row.bytes.truncate(len);
                row.cut = row.cut.min(len as u32);
                // What it lost to make room does not come back.
                if row.flags & SHED != 0 {
                    continue;
                }
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
        let limits = self.limits;
        let mut journal = mem::take(&mut self.journal);
        for Mark { conn, len } in journal.drain(..) {
            // The first mark of a connection has taken all that the run appended there.
            let Some(row) = row_mut(&mut self.rows, conn).filter(|row| len < row.bytes.len()) else { continue };
            let bytes = row.bytes.get(len..).unwrap_or_default().to_vec();
            row.bytes.truncate(len);
            row.cut = row.cut.min(len as u32);
            let waits = row.bytes.len() - row.sent as usize;
            if row.held.is_none() {
                self.holding.push(conn);
            }
            // Behind what is held already, whatever it waits for: held answers stay in order.
            let held = row.held.get_or_insert_default();
            held.bytes += bytes.len();
            match held.answers.back_mut() {
                Some(last) if last.ticket == ticket => {
                    let before = last.heap_bytes();
                    last.bytes.extend_from_slice(&bytes);
                    self.buffer_bytes = self.buffer_bytes + last.heap_bytes() - before;
                }
                _ => {
                    let answer = Held { ticket, deadline_ms, bytes };
                    self.buffer_bytes += answer.heap_bytes();
                    held.answers.push_back(answer);
                }
            }
            let is_full = held.answers.len() > limits.held_max || held.bytes + waits > limits.bytes_max_of(row.flags);
            if is_full && row.flags & OVERFLOWN == 0 {
                row.flags |= OVERFLOWN;
                self.overflown.push(conn);
            }
            self.give_back(conn);
        }
        self.journal = journal;
        self.keep_bounds();
    }

    /// Everything up to `ticket` is durable: what was held for it leaves.
    pub fn release(&mut self, ticket: u64) {
        let mut holding = mem::take(&mut self.holding);
        holding.retain(|conn| self.release_row(*conn, ticket));
        // What left may have made others give way, who hold nothing any more.
        holding.retain(|conn| self.has_held(*conn));
        self.holding = holding;
    }

    /// Moves what is due from the held list to the outbox; true if some is left.
    fn release_row(&mut self, conn: ConnId, ticket: u64) -> bool {
        let Some(row) = row_mut(&mut self.rows, conn) else { return false };
        let Some(held) = row.held.as_deref_mut() else { return false };
        let mut ready: Vec<u8> = Vec::new();
        while held.answers.front().is_some_and(|held| held.ticket <= ticket) {
            let Some(item) = held.answers.pop_front() else { break };
            held.bytes -= item.bytes.len();
            self.total_bytes -= item.bytes.len();
            self.buffer_bytes -= item.heap_bytes();
            ready.extend_from_slice(&item.bytes);
        }
        let some_left = !held.answers.is_empty();
        if !some_left {
            row.held = None;
        }
        if !ready.is_empty() {
            self.append(conn, |out| out.extend_from_slice(&ready));
        }
        some_left
    }

    fn first_held_deadline_ms(&self, conn: ConnId) -> Option<u64> {
        self.row(conn)?.held.as_ref()?.answers.front().map(|held| held.deadline_ms)
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
        self.forget_held(conn, &held);
    }

    fn forget_held(&mut self, conn: ConnId, held: &HeldList) {
        self.total_bytes -= held.bytes;
        self.buffer_bytes -= held.answers.iter().map(Held::heap_bytes).sum::<usize>();
        self.holding.retain(|other| *other != conn);
    }

    /// Whether the sums are what counting says; for [`crate::core::Core::audit`].
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn audit(&self) -> Result<(), String> {
        let held = |row: &Outbox| -> usize {
            row.held.iter().flat_map(|held| &held.answers).map(|held| held.bytes.len()).sum()
        };
        let bytes: usize = self.rows.iter().map(|row| row.bytes.len() - row.sent as usize + held(row)).sum();
        if bytes != self.total_bytes {
            return Err(format!("outboxes hold {bytes} bytes, counted are {}", self.total_bytes));
        }
        let pool: usize = self.pool.iter().map(Vec::capacity).sum();
        let buffers = pool + self.rows.iter().map(Outbox::heap_bytes).sum::<usize>();
        if buffers != self.buffer_bytes {
            return Err(format!("outboxes take {buffers} bytes, counted are {}", self.buffer_bytes));
        }
        if let Some(row) = self.rows.iter().find(|row| row.cut as usize > row.bytes.len()) {
            return Err(format!("a stanza ends at {} of {} bytes", row.cut, row.bytes.len()));
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

    /// Bytes of memory behind the rows and the pool: buffers, and held answers.
    pub fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// Bytes of memory behind the column: rows, buffers, pool.
    pub fn heap_bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Outbox>() + self.buffer_bytes
    }

    /// Gives back what a past load has left; `slots`: how many rows may still be in use.
    pub fn shrink(&mut self, slots: usize) {
        self.rows.truncate(slots);
        self.rows.shrink_to_fit();
        self.drop_pool();
        self.dirty.shrink_to(POOLED_BUFFERS_MAX);
        self.overflown.shrink_to(POOLED_BUFFERS_MAX);
        self.holding.shrink_to(POOLED_BUFFERS_MAX);
        self.journal.shrink_to(POOLED_BUFFERS_MAX);
    }
}

impl Outbox {
    /// Bytes of memory behind it.
    fn heap_bytes(&self) -> usize {
        let held = self.held.iter().flat_map(|held| &held.answers);
        self.bytes.capacity() + held.map(Held::heap_bytes).sum::<usize>()
    }
}

impl OutboxLimits {
    /// More than this waits for one connection: it is congested.
    fn congested_bytes(self, flags: u8) -> usize {
        self.bytes_max_of(flags) / 4 * 3
    }

    /// What one outbox may hold.
    fn bytes_max_of(self, flags: u8) -> usize {
        if flags & WIDE == 0 { self.bytes_max } else { self.component_bytes_max }
    }
}

fn row_mut(rows: &mut [Outbox], conn: ConnId) -> Option<&mut Outbox> {
    rows.get_mut(conn.slot() as usize).filter(|row| row.generation == conn.generation())
}
