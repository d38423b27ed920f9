//! Who gives way when memory is short, or when somebody waits for a place.
//!
//! ```text
//! relieve, each tick: newcomers ─▶ slow readers ─▶ unfinished stanzas ─▶ sessions, as far as the strain goes
//! make_place, while somebody waits: who has had a place before the login for long; where memory is tight, who holds much
//! ```

use super::Core;
use super::memory::{MemoryUse, Strain, with_allocator};
use crate::action::Action;
use crate::clock::Now;
use crate::conn::{Flags, Partial, Phase};
use crate::ids::{ConnId, Id as _, SessionId};
use crate::limits::{
    GIVE_WAY_MS, SHED_BYTES_MIN, SHED_PER_TICK_MAX, SHED_SESSION_BYTES_MIN, SHED_SESSIONS_SHARE, STRAIN_SAID_EVERY_MS,
};
use crate::stream::error::StreamCondition;

impl Core {
    /// Keeps the budget.
    pub(super) fn relieve(&mut self, now: Now) {
        let memory = self.memory();
        // Between two looks of the system's, what is counted here tells how it goes on.
        let used = memory.all() + self.budget.unseen;
        self.budget.strain = self.strain_of(used);
        self.outboxes.set_room(self.room_for_outboxes(&memory));
        self.budget.partial_room = self.room_for_partials(&memory);
        if self.budget.strain == Strain::Calm {
            self.budget.waits_since_ms = 0;
            return;
        }
        self.say_strain(used, now);
        let strain = self.budget.strain;
        if self.shed_newcomers(now) > 0 || strain == Strain::Tight {
            return;
        }
        let max = self.settings.memory_max;
        let too_much = used.saturating_sub(max - max / 8);
        let freed = self.shed_readers(too_much, now);
        if strain == Strain::Full && freed < too_much {
            self.shed_some_sessions(&memory, too_much - freed, now);
        }
    }

    /// Some of those that hold most go, then it is seen what that has freed: what the allocator keeps, and may give back in
    /// a moment, is no reason to end everybody.
    fn shed_some_sessions(&mut self, memory: &MemoryUse, too_much: usize, now: Now) {
        let is_known = self.strain_of(memory.all()) == Strain::Full || self.budget.resident == 0;
        let is_seen = std::mem::take(&mut self.budget.is_fresh) && self.strain_of(self.budget.resident) == Strain::Full;
        if is_known || is_seen {
            let most = (self.directory.len() / SHED_SESSIONS_SHARE).max(1);
            self.shed_sessions(too_much, 0, most, now);
        }
    }

    /// The slowest readers go, then unfinished stanzas; returns how many bytes are free.
    fn shed_readers(&mut self, too_much: usize, now: Now) -> usize {
        let freed = with_allocator(self.outboxes.shed(too_much, SHED_BYTES_MIN));
        self.end_overflown(now);
        freed + with_allocator(self.shed_partials(too_much.saturating_sub(freed), SHED_BYTES_MIN, now))
    }

    /// Somebody waits while memory is tight, and no newcomer is left to give way: those who hold much and let it lie must
    /// not keep everybody else out for ever. Returns when they give way, if they have not yet.
    fn make_room(&mut self, now: Now) -> Option<u64> {
        if self.budget.waits_since_ms == 0 {
            self.budget.waits_since_ms = now.mono_ms.max(1);
        }
        let gives_way_ms = self.budget.waits_since_ms + GIVE_WAY_MS;
        if now.mono_ms < gives_way_ms {
            return Some(gives_way_ms);
        }
        self.budget.waits_since_ms = now.mono_ms.max(1);
        let (used, max) = (self.memory().all() + self.budget.unseen, self.settings.memory_max);
        // And a little more: for those who wait.
        let too_much = used.saturating_sub(max - max / 8) + max / 64;
        let freed = self.shed_readers(too_much, now);
        if freed < too_much {
            self.shed_sessions(too_much - freed, SHED_SESSION_BYTES_MIN, usize::MAX, now);
        }
        Some(now.mono_ms + GIVE_WAY_MS)
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

    pub(super) fn is_new(&self, id: ConnId) -> bool {
        self.conns.get(id).is_some_and(|conn| conn.flags.has(Flags::UNAUTHENTICATED))
    }

    /// Somebody waits for a place, and all places before the login are taken: who has had one for long without
    /// logging in gives it up. Where memory is what is missing, who holds most of it does. Returns when the next one
    /// would, if nobody has yet.
    pub fn make_place(&mut self, now: Now) -> Option<u64> {
        if self.strain() == Strain::Tight && !self.has_newcomers() {
            return self.make_room(now);
        }
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

    /// At most so many sessions go, those first that hold most. Those below `least` are left alone.
    fn shed_sessions(&mut self, bytes: usize, least: usize, most: usize, now: Now) {
        let weights = self.directory.iter().map(|(id, session)| (self.directory.weight(session), id));
        let mut holders: Vec<(usize, SessionId)> = weights.filter(|(weight, _)| *weight >= least).collect();
        holders.sort_unstable_by_key(|(weight, id)| (*weight, id.generation()));
        let memory = self.memory();
        // Its connection goes as well.
        let connection = (memory.connections + memory.transport) / self.connections().max(1);
        let (mut freed, mut count) = (0, 0);
        while with_allocator(freed) < bytes && count < most {
            let Some((weight, id)) = holders.pop() else { return };
            freed += weight + connection;
            count += 1;
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
}
