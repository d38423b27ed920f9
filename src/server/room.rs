//! Room: descriptors to have it, memory to give it back.
//!
//! ```text
//! connections fall below half of their peak ──[`CALM_MS`], quiet──▶ columns shrink ──▶ allocator gives back
//! ```
//!
//! One wake-up after a crowd has left, and none while nothing changes.

use super::Server;
use crate::clock::Now;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub(super) use crate::limits::{CALM_MS, CROWD_MIN, DESCRIPTORS_RESERVED};

/// What is known about past loads.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Room {
    /// Most connections since memory was last given back.
    peak: usize,
    /// When it is time, 0 for never.
    due_ms: u64,
}

impl Room {
    /// When [`Server::give_back`] wants to be called.
    pub(super) fn due_ms(&self) -> Option<u64> {
        (self.due_ms != 0).then_some(self.due_ms)
    }

    /// Takes note of the number of connections, and of the rows that the columns keep for them; true when it
    /// is time to give back.
    fn is_due(&mut self, connections: usize, rows: usize, is_calm: bool, now_ms: u64) -> bool {
        self.peak = self.peak.max(connections);
        let crowd_left = self.peak >= CROWD_MIN && connections < self.peak / 2;
        // A handful in the last rows of a crowd keeps all the rows.
        let last_left = rows >= CROWD_MIN && connections == 0;
        if !crowd_left && !last_left {
            self.due_ms = 0;
            return false;
        }
        if self.due_ms == 0 || (now_ms >= self.due_ms && !is_calm) {
            self.due_ms = now_ms + CALM_MS;
        }
        if now_ms < self.due_ms {
            return false;
        }
        *self = Self { peak: connections, due_ms: 0 };
        true
    }
}

impl Server {
    /// Gives memory back some time after a crowd has left.
    pub(super) fn give_back(&mut self, now: Now) {
        let is_calm = self.ready_bound.is_empty() && self.ready_other.is_empty() && self.write_queue.is_empty();
        if !self.room.is_due(self.core.connections(), self.links.len(), is_calm, now.mono_ms) {
            return;
        }
        self.core.shrink(now);
        self.links.truncate(self.core.slots());
        self.links.shrink_to_fit();
        self.ready_bound.shrink_to_fit();
        self.ready_other.shrink_to_fit();
        self.write_queue.shrink_to_fit();
        self.closed.shrink_to_fit();
        self.buffers.shrink();
        crate::sys::give_memory_back();
        log::debug!("memory given back; {} connections are left", self.core.connections());
    }
}

/// Makes the process a server's own, before it starts: one arena for all threads, as many descriptors as
/// the system allows. For the program; a host that embeds the server decides for itself.
pub fn settle_process() {
    crate::sys::share_one_arena();
    raise_descriptor_limit();
}

/// Gives back what only the start needed: the memory of what was read, and pages of the code that read it.
/// For the program, once it listens.
pub fn forget_start() {
    crate::sys::give_memory_back();
    crate::sys::forget_code_pages();
}

fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => log::info!("descriptors: {} instead of {}", said(limit.maximum), said(limit.current)),
        Err(error) => log::warn!("descriptors: the limit stays {}: {error}", said(limit.current)),
    }
}

fn said(limit: Option<u64>) -> String {
    limit.map_or("unlimited".to_owned(), |limit| limit.to_string())
}

/// How many of the `wanted` connections the process has descriptors for.
pub(super) fn connections_max(wanted: usize) -> usize {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return wanted };
    let max = places(wanted, limit);
    if max < wanted {
        log::info!("at most {max} connections instead of {wanted}: the process may open {limit} files (`ulimit -n`)");
    }
    max
}

fn places(wanted: usize, limit: u64) -> usize {
    let places = usize::try_from(limit.saturating_sub(DESCRIPTORS_RESERVED)).unwrap_or(usize::MAX);
    wanted.min(places.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_once_and_when_it_is_calm() {
        let mut room = Room::default();
        assert!(!room.is_due(1_000, 0, true, 10));
        assert!(!room.is_due(500, 0, true, 20) && room.due_ms().is_none());
        assert!(!room.is_due(499, 0, true, 30));
        assert_eq!(room.due_ms(), Some(30 + CALM_MS));
        // They come back: nothing to do.
        assert!(!room.is_due(600, 0, true, 40) && room.due_ms().is_none());
        assert!(!room.is_due(100, 0, true, 50));
        // A busy moment is put off.
        assert!(!room.is_due(90, 0, false, 50 + CALM_MS));
        assert_eq!(room.due_ms(), Some(50 + 2 * CALM_MS));
        assert!(room.is_due(90, 0, true, 50 + 2 * CALM_MS));
        assert!(room.due_ms().is_none());
        // What is left is the peak from now on; a handful is no crowd.
        assert!(!room.is_due(44, 0, true, 100_000) && room.due_ms().is_some());
        assert!(room.is_due(44, 0, true, 200_000));
        assert!(!room.is_due(0, 0, true, 300_000) && room.due_ms().is_none());
        // Unless it was the rest of one.
        assert!(!room.is_due(0, 1_000, true, 300_000) && room.is_due(0, 1_000, true, 400_000));
        assert!(!room.is_due(0, 0, true, 500_000) && room.due_ms().is_none());
    }

    #[test]
    fn places_leave_room_for_what_is_no_connection() {
        assert_eq!(places(50_000, 1_024), 1_024 - DESCRIPTORS_RESERVED as usize);
        assert_eq!(places(100, 1_024), 100);
        assert_eq!(places(100, 8), 1);
        assert_eq!(places(100, u64::MAX), 100);
    }
}
