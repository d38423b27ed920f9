//! Room: descriptors to have it, memory to give it back.
//!
//! ```text
//! a quarter more connections, half of them gone ──[`CALM_MS`], quiet──▶ columns shrink ──▶ pages go back
//! ```
//!
//! A crowd that comes leaves the holes of its handshakes and the code of its logins behind, one that goes
//! its rows. One wake-up for each of that, and none while nothing changes.

use super::Server;
use crate::clock::Now;
use crate::storage::Gives;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub(super) use crate::limits::{CALM_MS, CALM_WAIT_MS_MAX, DESCRIPTORS_AT_START, DESCRIPTORS_RESERVED};

/// What is known about past loads.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Room {
    /// Connections when memory was last given back.
    settled: usize,
    /// Most connections since.
    peak: usize,
    /// Connections at the last look.
    seen: usize,
    /// When it first was worth giving back; counts while `due_ms` is set.
    since_ms: u64,
    /// When it is time, 0 for never.
    due_ms: u64,
}

impl Room {
    /// When [`Server::give_back`] wants to be called.
    pub(super) fn due_ms(&self) -> Option<u64> {
        (self.due_ms != 0).then_some(self.due_ms)
    }

    /// Takes note of the number of connections; true when it is time to give back.
    fn is_due(&mut self, connections: usize, is_calm: bool, now_ms: u64) -> bool {
        let has_moved = connections != self.seen;
        self.seen = connections;
        self.peak = self.peak.max(connections);
        let have_come = connections > self.settled + self.settled / 4;
        let have_left = connections < self.peak.div_ceil(2);
        if !have_come && !have_left {
            self.due_ms = 0;
            return false;
        }
        if self.due_ms == 0 {
            (self.since_ms, self.due_ms) = (now_ms, now_ms + CALM_MS);
        } else if has_moved {
            // Not in the middle of a rush; but a crowd whose last never stop coming and going does not keep it up.
            self.due_ms = (now_ms + CALM_MS).min((self.since_ms + CALM_WAIT_MS_MAX).max(self.due_ms));
        } else if now_ms >= self.due_ms && !is_calm {
            self.due_ms = now_ms + CALM_MS;
        }
        if now_ms < self.due_ms {
            return false;
        }
        if has_moved {
            // Once more when it has come to rest, or when as long again has passed.
            (self.since_ms, self.due_ms) = (now_ms, now_ms + CALM_MS);
        } else {
            *self = Self { settled: connections, peak: connections, seen: connections, since_ms: 0, due_ms: 0 };
        }
        true
    }
}

impl Server {
    /// Gives memory back some time after a crowd has come or left.
    pub(super) fn give_back(&mut self, now: Now) {
        let is_calm = self.ready_bound.is_empty() && self.ready_other.is_empty() && self.write_queue.is_empty();
        if !self.room.is_due(self.core.connections(), is_calm, now.mono_ms) {
            return;
        }
        self.core.shrink(now);
        self.links.truncate(self.core.slots());
        self.links.shrink_to_fit();
        self.ready_bound.shrink_to_fit();
        self.ready_other.shrink_to_fit();
        self.write_queue.shrink_to_fit();
        self.closed.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.buffers.shrink();
        crate::sys::empty_thread_cache();
        // The process is the server's own where it minds signals.
        let gives = Gives { code: self.signals.is_some() };
        match &self.storage {
            // It has a cache of its own to empty first, and may take its time.
            Some(storage) => storage.give_back(gives),
            None => gives.give(),
        }
        log::debug!("memory given back; there are {} connections", self.core.connections());
    }
}

/// Makes the process a server's own, before it starts: one arena for all threads, large blocks apart, as many descriptors as
/// the system allows, no privileges by way of another program. For the program; a host that embeds the server decides for
/// itself.
pub fn settle_process() {
    crate::sys::settle_allocator();
    raise_descriptor_limit();
    // Without threads it takes no time.
    super::descriptors::make_room(DESCRIPTORS_AT_START);
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_no_new_privs(true) {
        log::warn!("the system does not rule out new privileges: {error}");
    }
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
        assert!(!room.is_due(0, true, 5) && room.due_ms().is_none(), "an empty server sleeps");
        assert!(!room.is_due(500, true, 10));
        assert_eq!(room.due_ms(), Some(10 + CALM_MS));
        // Still coming: later.
        assert!(!room.is_due(1_000, true, 10 + CALM_MS));
        assert_eq!(room.due_ms(), Some(10 + 2 * CALM_MS));
        // A busy moment is put off.
        assert!(!room.is_due(1_000, false, 10 + 2 * CALM_MS));
        assert!(room.is_due(1_000, true, 10 + 3 * CALM_MS) && room.due_ms().is_none());
        // Neither a quarter more nor fewer than half: nothing to do.
        assert!(!room.is_due(1_250, true, 10_000) && room.due_ms().is_none());
        assert!(!room.is_due(1_000, true, 20_000) && room.due_ms().is_none());
        assert!(!room.is_due(600, true, 30_000) && room.due_ms().is_some());
        // They come back.
        assert!(!room.is_due(1_100, true, 30_001) && room.due_ms().is_none());
        assert!(!room.is_due(400, true, 40_000) && room.is_due(400, true, 40_000 + CALM_MS));
        // A handful that stays, and goes.
        assert!(!room.is_due(1, true, 50_000) && room.is_due(1, true, 60_000));
        assert!(!room.is_due(1, true, 65_000) && room.due_ms().is_none());
        assert!(!room.is_due(0, true, 70_000) && room.is_due(0, true, 80_000));
        assert!(!room.is_due(0, true, 90_000) && room.due_ms().is_none());
    }

    #[test]
    fn coming_and_going_without_end_does_not_put_it_off_for_ever() {
        let mut room = Room { settled: 1_000, peak: 1_000, seen: 1_000, ..Room::default() };
        let given = (0..1_000).find(|step| room.is_due(10 + step % 2, true, *step as u64 * CALM_MS / 2));
        assert_eq!(given.map(|step| step as u64 * CALM_MS / 2), Some(CALM_WAIT_MS_MAX));
        assert!(!room.is_due(10, true, CALM_WAIT_MS_MAX + CALM_MS - 1));
        assert!(room.is_due(10, true, CALM_WAIT_MS_MAX + CALM_MS) && room.due_ms().is_none(), "at rest");
    }

    #[test]
    fn places_leave_room_for_what_is_no_connection() {
        assert_eq!(places(50_000, 1_024), 1_024 - DESCRIPTORS_RESERVED as usize);
        assert_eq!(places(100, 1_024), 100);
        assert_eq!(places(100, 8), 1);
        assert_eq!(places(100, u64::MAX), 100);
    }
}
