//! The memory budget: who holds how much, and who goes when it comes near its bound.
//!
//! ```text
//! used ──7/8──▶ tight:  nobody new is let in; who has not logged in goes, the oldest first
//!      ─15/16─▶ scarce: nobody is bound; the slowest readers go, the largest first, then unfinished stanzas
//!      ─31/32─▶ full:   the sessions that hold most
//! ```
//!
//! Every owner keeps its own sum, so that looking costs nothing; [`Core::audit`] holds the sums to what is
//! there. What only the driver sees (TLS, sockets' rows, what the system counts as resident) it tells.
//! Sessions without a connection (XEP-0198) will go between those before their login and the slow readers.

use super::Core;
use crate::action::Action;
use crate::clock::Now;
use crate::conn::{Flags, Partial, Phase};
use crate::ids::{ConnId, Id as _, SessionId};
use crate::limits::{
    ALLOCATOR_SHARE, FETCH_BYTES_MAX, GIVE_WAY_MS, HASH_TASK_BYTES, OUTBOX_ROOM_BYTES_MIN, PARTIAL_ROOM_BYTES_MIN,
    SHED_BYTES_MIN, SHED_PER_TICK_MAX, STRAIN_SAID_EVERY_MS, TIMER_BYTES, WAITING_BYTES,
};
use crate::storage::FetchId;
use crate::stream::error::StreamCondition;
use std::collections::VecDeque;

/// How near the budget is to its bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strain {
    /// There is room.
    #[default]
    Calm,
    /// Above seven eighths.
    Tight,
    /// Above fifteen sixteenths.
    Scarce,
    /// All but full.
    Full,
}

/// What the driver holds, and what the system says of the whole process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverMemory {
    /// The process before its first connection: code, stacks, certificates, configuration.
    pub base: usize,
    /// TLS states and ciphertext that the kernel has not taken.
    pub transport: usize,
    /// Rows of sockets, queues, shared buffers.
    pub driver: usize,
}

/// Bytes by owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// See [`DriverMemory::base`].
    pub base: usize,
    /// Rows of connections, what they negotiate, their timers, counts of addresses.
    pub connections: usize,
    /// TLS and ciphertext.
    pub transport: usize,
    /// Stanzas that have not come whole, or wait behind a gate.
    pub partial: usize,
    /// What waits to leave, answers that wait for the disk, buffers to be used again.
    pub outboxes: usize,
    /// Sessions, contacts, presence, block lists.
    pub sessions: usize,
    /// Passwords that wait, frames that wait for rows.
    pub waiting: usize,
    /// Verifiers, failed logins, paced addresses, recipients, goodbyes.
    pub caches: usize,
    /// The database's cache, writes not yet on disk, rows fetched.
    pub store: usize,
    /// See [`DriverMemory::driver`].
    pub driver: usize,
}

impl MemoryUse {
    /// All of it, with what the allocator adds.
    pub fn all(&self) -> usize {
        self.base + with_allocator(self.behind())
    }

    fn behind(&self) -> usize {
        let Self { base: _, connections, transport, partial, outboxes, sessions, waiting, caches, store, driver } =
            *self;
        connections + transport + partial + outboxes + sessions + waiting + caches + store + driver
    }

    /// Every owner with its name.
    pub fn named(&self) -> [(&'static str, usize); 10] {
        [
            ("memory_base", self.base),
            ("memory_connections", self.connections),
            ("memory_transport", self.transport),
            ("memory_partial", self.partial),
            ("memory_outboxes", self.outboxes),
            ("memory_sessions", self.sessions),
            ("memory_waiting", self.waiting),
            ("memory_caches", self.caches),
            ("memory_store", self.store),
            ("memory_driver", self.driver),
        ]
    }
}

/// What an allocation costs beside its bytes: headers, and pages that are used in part.
fn with_allocator(bytes: usize) -> usize {
    bytes + bytes / ALLOCATOR_SHARE
}

/// The budget's own state.
#[derive(Debug)]
pub(super) struct Budget {
    driver: DriverMemory,
    /// What the system counted last; 0 where nobody looks.
    resident: usize,
    /// What it counted beyond what was counted here: code that was read in again, what the allocator keeps.
    unseen: usize,
    pub(super) strain: Strain,
    /// What unfinished stanzas may take until the next look.
    pub(super) partial_room: usize,
    /// When it was last said that memory is short.
    said_ms: u64,
    /// Bytes behind the phases of connections.
    pub(super) behind_conns: usize,
    /// Connections between the flip and the end of the handshake.
    pub(super) handshakes: usize,
    /// Connections in the order of their coming; those that have logged in or gone are passed over.
    newcomers: VecDeque<ConnId>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            driver: DriverMemory::default(),
            resident: 0,
            unseen: 0,
            strain: Strain::Calm,
            // Until somebody has looked.
            partial_room: usize::MAX,
            said_ms: 0,
            behind_conns: 0,
            handshakes: 0,
            newcomers: VecDeque::new(),
        }
    }
}

impl Budget {
    /// Somebody has come; `before_login`: how many there are that have not logged in.
    pub(super) fn welcome(&mut self, id: ConnId, before_login: usize, is_new: impl Fn(ConnId) -> bool) {
        if self.newcomers.len() > 2 * before_login + 64 {
            self.newcomers.retain(|id| is_new(*id));
        }
        self.newcomers.push_back(id);
    }

    pub(super) fn shrink(&mut self) {
        self.newcomers.shrink_to_fit();
    }
}

impl Core {
    /// Takes note of what the driver holds.
    pub fn note_driver(&mut self, memory: DriverMemory) {
        self.budget.driver = memory;
    }

    /// Takes note of what the system counts as resident.
    pub fn note_resident(&mut self, bytes: usize) {
        self.budget.resident = bytes;
        self.budget.unseen = bytes.saturating_sub(self.memory().all());
    }

    /// How near the budget is to its bound, as of the last tick.
    pub fn strain(&self) -> Strain {
        self.budget.strain
    }

    /// Whether anybody is there who has not logged in.
    pub fn has_newcomers(&self) -> bool {
        self.admission.before_login() > 0
    }

    /// Whether so much that the system counts is nowhere to be seen that the allocator should be asked for it.
    pub fn is_much_unseen(&self, resident: usize) -> bool {
        resident.saturating_sub(self.memory().all()) > self.settings.memory_max / 8
    }

    /// How near so many bytes are to the bound.
    pub fn strain_of(&self, bytes: usize) -> Strain {
        let max = self.settings.memory_max;
        match bytes {
            bytes if bytes > max - max / 32 => Strain::Full,
            bytes if bytes > max - max / 16 => Strain::Scarce,
            bytes if bytes > max - max / 8 => Strain::Tight,
            _ => Strain::Calm,
        }
    }

    /// What is held, by owner. Costs a few additions.
    pub fn memory(&self) -> MemoryUse {
        let DriverMemory { base, transport, driver } = self.budget.driver;
        let (outbox_rows, buffers) =
            (self.outboxes.heap_bytes() - self.outboxes.buffer_bytes(), self.outboxes.buffer_bytes());
        let rows = self.conns.heap_bytes() + outbox_rows + self.budget.newcomers.capacity() * size_of::<ConnId>();
        let parked = self.parked.len() + self.binding.len() + self.held.len() + self.store.parked();
        MemoryUse {
            base,
            connections: rows
                + self.budget.behind_conns
                + self.timers.len() * TIMER_BYTES
                + self.admission.heap_bytes(),
            transport,
            partial: self.partial_bytes,
            outboxes: buffers,
            sessions: self.directory.heap_bytes(),
            waiting: self.hashes.len() * HASH_TASK_BYTES
                + parked * WAITING_BYTES
                + self.fetched.capacity() * size_of::<FetchId>(),
            caches: self.verifiers.heap_bytes()
                + self.throttle.heap_bytes()
                + self.registrations.heap_bytes()
                + self.recipients.heap_bytes()
                + self.goodbyes.heap_bytes(),
            store: self.settings.store_cache_bytes
                // One fetch on its way, whose rows are counted when they are here: with what holds them, twice their bytes.
                + FETCH_BYTES_MAX
                + self.store.overlay_bytes()
                + 2 * self.store.fetched_bytes(),
            driver,
        }
    }

    /// What is counted, and what the system counts if that is more.
    pub(super) fn memory_counters(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let memory = self.memory();
        let whole = [
            ("memory_all", memory.all()),
            ("memory_resident", self.budget.resident),
            ("memory_max", self.settings.memory_max),
            ("handshakes_under_way", self.budget.handshakes),
        ];
        memory.named().into_iter().chain(whole)
    }

    /// Keeps the budget.
    pub(super) fn relieve(&mut self, now: Now) {
        let memory = self.memory();
        // Between two looks of the system's, what is counted here tells how it goes on.
        let used = memory.all() + self.budget.unseen;
        self.budget.strain = self.strain_of(used);
        self.outboxes.set_room(self.room_for_outboxes(&memory));
        self.budget.partial_room = self.room_for_partials(&memory);
        if self.budget.strain == Strain::Calm {
            return;
        }
        self.say_strain(used, now);
        let strain = self.budget.strain;
        if self.shed_newcomers(now) > 0 || strain == Strain::Tight {
            return;
        }
        let max = self.settings.memory_max;
        let too_much = used.saturating_sub(max - max / 8);
        let freed = with_allocator(self.outboxes.shed(too_much, SHED_BYTES_MIN));
        self.end_overflown(now);
        let freed = freed + with_allocator(self.shed_partials(too_much.saturating_sub(freed), SHED_BYTES_MIN, now));
        if strain == Strain::Full && freed < too_much {
            self.shed_sessions(too_much - freed, now);
        }
    }

    /// What the outboxes may take: what the others leave, but never so little that nobody is answered.
    fn room_for_outboxes(&self, memory: &MemoryUse) -> usize {
        let others = self.budget.unseen + memory.base + with_allocator(memory.behind() - memory.outboxes);
        let max = self.settings.memory_max;
        let room = (max - max / 32).saturating_sub(others);
        (room - room / (ALLOCATOR_SHARE + 1)).max(OUTBOX_ROOM_BYTES_MIN)
    }

    /// What unfinished stanzas may take: what the others leave below the mark where nobody is bound any more.
    fn room_for_partials(&self, memory: &MemoryUse) -> usize {
        let others = self.budget.unseen + memory.base + with_allocator(memory.behind() - memory.partial);
        let max = self.settings.memory_max;
        let room = (max - max / 16).saturating_sub(others);
        (room - room / (ALLOCATOR_SHARE + 1)).max(PARTIAL_ROOM_BYTES_MIN)
    }

    fn say_strain(&mut self, used: usize, now: Now) {
        if self.budget.said_ms != 0 && now.mono_ms < self.budget.said_ms + STRAIN_SAID_EVERY_MS {
            return;
        }
        self.budget.said_ms = now.mono_ms;
        let max = self.settings.memory_max;
        log::warn!("memory is short: {used} bytes of memory_max = {max} are in use; nobody new is let in");
    }

    /// Who has not logged in goes, the oldest first; returns how many.
    fn shed_newcomers(&mut self, now: Now) -> usize {
        let mut count = 0;
        while count < SHED_PER_TICK_MAX {
            let Some(id) = self.oldest_newcomer() else { break };
            self.budget.newcomers.pop_front();
            self.metrics.shed_before_login += 1;
            log::debug!("{id}: gives way: memory is short");
            self.break_off(id, now);
            count += 1;
        }
        count
    }

    /// Who came first among those that have not logged in.
    fn oldest_newcomer(&mut self) -> Option<ConnId> {
        while let Some(id) = self.budget.newcomers.front().copied() {
            if self.is_new(id) {
                return Some(id);
            }
            self.budget.newcomers.pop_front();
        }
        None
    }

    fn is_new(&self, id: ConnId) -> bool {
        self.conns.get(id).is_some_and(|conn| conn.flags.has(Flags::UNAUTHENTICATED))
    }

    /// A connection has been let in.
    pub(super) fn welcome(&mut self, id: ConnId) {
        let conns = &self.conns;
        let is_new = |id| conns.get(id).is_some_and(|conn| conn.flags.has(Flags::UNAUTHENTICATED));
        self.budget.welcome(id, self.admission.before_login(), is_new);
        self.budget.behind_conns += conns.get(id).map_or(0, |conn| conn.phase.heap_bytes());
        self.count_anew(id);
    }

    /// Somebody waits for a place, and all places before the login are taken: who has had one for long without
    /// logging in gives it up. Returns when the next one would, if nobody has yet.
    pub fn make_place(&mut self, now: Now) -> Option<u64> {
        if !self.is_full_of_newcomers() || self.strain() > Strain::Calm {
            return None;
        }
        for _ in 0..SHED_PER_TICK_MAX {
            let id = self.oldest_newcomer()?;
            let gives_way_ms = self.came_ms(id) + GIVE_WAY_MS;
            if now.mono_ms < gives_way_ms {
                return Some(gives_way_ms);
            }
            self.budget.newcomers.pop_front();
            self.metrics.shed_before_login += 1;
            log::debug!("{id}: gives its place to somebody new");
            self.break_off(id, now);
        }
        None
    }

    /// When it was let in; for one that is closing already, long ago.
    fn came_ms(&self, id: ConnId) -> u64 {
        let Some(conn) = self.conns.get(id) else { return 0 };
        let is_closing = matches!(conn.phase, Phase::Closing { .. });
        let came_ms = conn.deadline_ms.saturating_sub(self.settings.negotiation_timeout_ms);
        if is_closing { 0 } else { came_ms }
    }

    /// Unfinished stanzas: their streams end, the largest first, until so many bytes are free. Those below
    /// `least` are left alone. Returns how many are free.
    pub(super) fn shed_partials(&mut self, bytes: usize, least: usize, now: Now) -> usize {
        let before = self.partial_bytes;
        if bytes == 0 {
            return 0;
        }
        let size = |partial: &Option<Box<Partial>>| partial.as_deref().map_or(0, Partial::heap_bytes);
        let sizes = self.conns.iter().map(|(id, conn)| (size(&conn.partial), id));
        let mut holders: Vec<(usize, ConnId)> = sizes.filter(|(size, _)| *size >= least.max(1)).collect();
        holders.sort_unstable();
        while before - self.partial_bytes < bytes {
            let Some((size, id)) = holders.pop() else { break };
            log::debug!("{id}: its unfinished stanza takes {size} bytes, the most of all; its stream ends");
            self.metrics.shed_partial += 1;
            self.drop_partial(id);
            self.end_stream(id, StreamCondition::ResourceConstraint, None, now);
        }
        before.saturating_sub(self.partial_bytes)
    }

    /// Sessions go, those first that hold most.
    fn shed_sessions(&mut self, bytes: usize, now: Now) {
        let weights = self.directory.iter().map(|(id, session)| (self.directory.weight(session), id));
        let mut holders: Vec<(usize, SessionId)> = weights.collect();
        holders.sort_unstable_by_key(|(weight, id)| (*weight, id.generation()));
        let mut freed = 0;
        while with_allocator(freed) < bytes {
            let Some((weight, id)) = holders.pop() else { return };
            freed += weight;
            self.metrics.shed_sessions += 1;
            if let Some(conn) = self.directory.get(id).map(|session| session.conn) {
                log::debug!("{conn}: its session takes {weight} bytes, the most of all; its stream ends");
                self.end_stream(conn, StreamCondition::ResourceConstraint, None, now);
            }
        }
    }

    /// Ends a connection at once and without a word, whatever it is doing.
    pub(super) fn break_off(&mut self, id: ConnId, now: Now) {
        let Some(conn) = self.conns.get(id) else { return };
        if let Phase::Bound(bound) = &conn.phase {
            let session = bound.session;
            self.dispatch(now).end_session(session);
        }
        self.cut(id, now);
        self.actions.push(Action::Drop { conn: id });
    }

    /// What a connection that negotiates holds has changed.
    pub(super) fn count_anew(&mut self, id: ConnId) {
        let Some(Phase::Negotiating(negotiating)) = self.conns.get_mut(id).map(|conn| &mut conn.phase) else { return };
        let bytes = negotiating.heap_bytes();
        self.budget.behind_conns = self.budget.behind_conns + bytes - negotiating.counted;
        negotiating.counted = bytes;
    }

    /// Whether the sums are what counting says.
    pub(super) fn audit_memory(&self) -> Result<(), String> {
        let behind: usize = self.conns.iter().map(|(_, conn)| conn.phase.heap_bytes()).sum();
        let handshakes = self.conns.iter().filter(|(_, conn)| conn.flags.has(Flags::HANDSHAKING)).count();
        let sums = [
            ("bytes behind connections", self.budget.behind_conns, behind),
            ("handshakes", self.budget.handshakes, handshakes),
        ];
        if let Some((what, counted, real)) = sums.into_iter().find(|(_, counted, real)| counted != real) {
            return Err(format!("{what}: counted {counted}, there are {real}"));
        }
        let listed: std::collections::BTreeSet<ConnId> = self.budget.newcomers.iter().copied().collect();
        let is_lost = |(id, _): &(ConnId, _)| self.is_new(*id) && !listed.contains(id);
        if let Some((id, _)) = self.conns.iter().find(is_lost) {
            return Err(format!("{id} has not logged in and is not listed"));
        }
        self.directory.audit()
    }
}
