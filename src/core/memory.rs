//! The memory budget: who holds how much, and who goes when it comes near its bound.
//!
//! ```text
//! used ──7/8──▶ tight:  nobody new is let in; who has not logged in goes, the oldest first. Where somebody has waited
//!                       for some seconds, those who hold much go as below
//!      ─15/16─▶ scarce: nobody is bound; the slowest readers go, the largest first, then unfinished stanzas
//!      ─31/32─▶ full:   the sessions that hold most
//! ```
//!
//! Every owner keeps its own sum, so that looking costs nothing; [`Core::audit`] holds the sums to what is
//! there. What only the driver sees (TLS, sockets' rows, what the system counts as resident) it tells.
//! Sessions without a connection (XEP-0198) will go between those before their login and the slow readers.

use super::Core;
use crate::conn::{Flags, Phase};
use crate::ids::ConnId;
use crate::limits::{
    ALLOCATOR_SHARE, FETCH_BYTES_MAX, OUTBOX_ROOM_BYTES_MIN, PARTIAL_ROOM_BYTES_MIN, TIMER_BYTES, UNSEEN_FADES_SHARE,
    WAITING_BYTES,
};
use crate::storage::FetchId;
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
    /// A backup that is being made.
    pub backup: usize,
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
    /// See [`DriverMemory::backup`].
    pub backup: usize,
}

impl MemoryUse {
    /// All of it, with what the allocator adds.
    pub fn all(&self) -> usize {
        self.base + with_allocator(self.behind())
    }

    fn behind(&self) -> usize {
        self.named().iter().map(|(_, bytes)| bytes).sum::<usize>() - self.base
    }

    /// Every owner with its name.
    pub fn named(&self) -> [(&'static str, usize); 11] {
        let Self { base, connections, transport, partial, outboxes, sessions, waiting, caches, store, driver, backup } =
            *self;
        [
            ("memory_base", base),
            ("memory_connections", connections),
            ("memory_transport", transport),
            ("memory_partial", partial),
            ("memory_outboxes", outboxes),
            ("memory_sessions", sessions),
            ("memory_waiting", waiting),
            ("memory_caches", caches),
            ("memory_store", store),
            ("memory_driver", driver),
            ("memory_backup", backup),
        ]
    }
}

/// What an allocation costs beside its bytes: headers, and pages that are used in part.
pub(super) fn with_allocator(bytes: usize) -> usize {
    bytes + bytes / ALLOCATOR_SHARE
}

/// The budget's own state.
#[derive(Debug)]
pub(super) struct Budget {
    driver: DriverMemory,
    /// What the system counted last; 0 where nobody looks.
    pub(super) resident: usize,
    /// What it counted beyond what was counted here: code that was read in again, what the allocator keeps.
    pub(super) unseen: usize,
    /// Whether the system has been asked since sessions last gave way.
    pub(super) is_fresh: bool,
    pub(super) strain: Strain,
    /// What unfinished stanzas may take until the next look.
    pub(super) partial_room: usize,
    /// Since when somebody has waited for memory; 0 if nobody does.
    pub(super) waits_since_ms: u64,
    /// When it was last said that memory is short.
    pub(super) said_ms: u64,
    /// Bytes behind the phases of connections.
    pub(super) behind_conns: usize,
    /// Connections between the flip and the end of the handshake.
    pub(super) handshakes: usize,
    /// Connections in the order of their coming; those that have logged in or gone are passed over.
    pub(super) newcomers: VecDeque<ConnId>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            driver: DriverMemory::default(),
            resident: 0,
            unseen: 0,
            is_fresh: false,
            strain: Strain::Calm,
            // Until somebody has looked.
            partial_room: usize::MAX,
            waits_since_ms: 0,
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
        self.budget.is_fresh = true;
        let unseen = bytes.saturating_sub(self.memory().all());
        // What the allocator has kept once it soon keeps again: it is believed to be gone bit by bit only. Where nobody
        // looks there is nothing to believe.
        let faded = self.budget.unseen - self.budget.unseen / UNSEEN_FADES_SHARE;
        self.budget.unseen = if bytes == 0 { 0 } else { unseen.max(faded) };
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
        let DriverMemory { base, transport, driver, backup } = self.budget.driver;
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
            waiting: self.hashes.heap_bytes() + parked * WAITING_BYTES + self.fetched.capacity() * size_of::<FetchId>(),
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
            backup,
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

    /// What the outboxes may take: what the others leave, but never so little that nobody is answered.
    pub(super) fn room_for_outboxes(&self, memory: &MemoryUse) -> usize {
        let others = self.budget.unseen + memory.base + with_allocator(memory.behind() - memory.outboxes);
        let max = self.settings.memory_max;
        let room = (max - max / 32).saturating_sub(others);
        (room - room / (ALLOCATOR_SHARE + 1)).max(OUTBOX_ROOM_BYTES_MIN)
    }

    /// What unfinished stanzas may take: what the others leave below the mark where nobody is bound any more.
    pub(super) fn room_for_partials(&self, memory: &MemoryUse) -> usize {
        let others = self.budget.unseen + memory.base + with_allocator(memory.behind() - memory.partial);
        let max = self.settings.memory_max;
        let room = (max - max / 16).saturating_sub(others);
        (room - room / (ALLOCATOR_SHARE + 1)).max(PARTIAL_ROOM_BYTES_MIN)
    }

    /// A connection has been let in.
    pub(super) fn welcome(&mut self, id: ConnId) {
        let conns = &self.conns;
        let is_new = |id| conns.get(id).is_some_and(|conn| conn.flags.has(Flags::UNAUTHENTICATED));
        self.budget.welcome(id, self.admission.before_login(), is_new);
        self.budget.behind_conns += conns.get(id).map_or(0, |conn| conn.phase.heap_bytes());
        self.count_anew(id);
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
