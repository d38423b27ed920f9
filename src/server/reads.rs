//! Reading: two ready queues, bound sessions first, with a budget for each connection, and of time for each tick.

use super::link::{Ending, ReadOutcome, flag};
use super::{Link, Server};
use crate::clock::Now;
use crate::ids::ConnId;

pub(super) use crate::limits::{
    READS_PER_CONN_MAX, READS_PER_TICK_MAX, TICK_NEWCOMERS_BUSY_US, TICK_NEWCOMERS_US, TICK_READ_US, TICK_WRITES_MAX,
};

impl Server {
    /// Puts a connection on its ready queue if there may be something to read and it may be read.
    pub(super) fn queue_read(&mut self, id: ConnId) {
        let is_bound = self.core.is_bound(id);
        let Some(link) = self.link(id) else { return };
        let wanted = link.has(flag::READABLE) && !link.has(flag::QUEUED) && !link.has(flag::EOF);
        let gate_open = !link.has(flag::GATE_SHUT) || link.ending == Ending::Draining;
        if wanted && gate_open && link.ending != Ending::Gone {
            link.set(flag::QUEUED, true);
            // Who has hung up waits behind those who are there: else a crowd that is cut off would hold them up.
            let is_first = is_bound && !link.has(flag::HANGUP);
            let queue = if is_first { &mut self.ready_bound } else { &mut self.ready_other };
            queue.push_back(id);
        }
    }

    /// Reads who is ready, those first who are in. `began_us` is when the tick began.
    pub(super) fn read(&mut self, now: Now, began_us: u64) {
        let bound = self.ready_bound.len().min(READS_PER_TICK_MAX);
        self.core.share_tick(self.ready_bound.len());
        for _ in 0..bound {
            let is_full = !self.core.wants_more() || self.write_queue.len() > TICK_WRITES_MAX;
            if is_full || self.clock.mono_us() > began_us + TICK_READ_US {
                break;
            }
            let Some(id) = self.ready_bound.pop_front() else { break };
            self.read_conn(id, now);
        }
        // Each of these may cost a handshake's arithmetic, or a goodbye to many: a smaller share where sessions have something to say.
        let share_us = if bound == 0 { TICK_NEWCOMERS_US } else { TICK_NEWCOMERS_BUSY_US };
        let until_us = self.clock.mono_us() + share_us;
        for _ in 0..self.ready_other.len() {
            let Some(id) = self.ready_other.pop_front() else { break };
            self.read_conn(id, now);
            if self.clock.mono_us() > until_us {
                break;
            }
        }
    }

    fn read_conn(&mut self, id: ConnId, now: Now) {
        if let Some(link) = self.link(id) {
            link.set(flag::QUEUED, false);
        }
        for _ in 0..READS_PER_CONN_MAX {
            if !self.read_once(id, now) {
                break;
            }
        }
        self.queue_read(id);
    }

    /// Reads once; false if there is no more to read now.
    fn read_once(&mut self, id: ConnId, now: Now) -> bool {
        let mut buffers = std::mem::take(&mut self.buffers);
        let outcome = self.link(id).filter(|link| may_read(link)).map(|link| {
            if link.ending != Ending::Draining {
                link.read(&mut buffers)
            } else if link.discard(&mut buffers) {
                ReadOutcome::Eof
            } else {
                ReadOutcome::Blocked
            }
        });
        let more = match outcome {
            None | Some(ReadOutcome::Blocked) => false,
            Some(ReadOutcome::Data { established, closed }) => {
                let may_be_secret = !self.core.is_bound(id);
                self.data(id, established, &buffers.plain, now);
                if may_be_secret {
                    buffers.wipe();
                }
                if closed {
                    self.core.peer_gone(id, now);
                }
                !closed
            }
            Some(ReadOutcome::Eof) => {
                self.eof(id, now);
                false
            }
            Some(ReadOutcome::Failed(error)) => {
                log::debug!("{id}: {error}");
                self.core.peer_gone(id, now);
                self.drop_link(id);
                false
            }
            Some(ReadOutcome::TlsFailed(error)) => {
                log::debug!("{id}: {error}");
                self.core.transport_failed(id, now);
                false
            }
        };
        self.buffers = buffers;
        self.count_link(id);
        more
    }

    fn data(&mut self, id: ConnId, established: bool, plain: &[u8], now: Now) {
        if established {
            let info = self.link(id).and_then(|link| Some(link.transport.tls()?.take_info()));
            if let Some(info) = info {
                self.core.secured(id, info, now);
            }
        }
        if !plain.is_empty() {
            self.core.receive(id, plain, now);
        }
        // The handshake's own answers leave with this tick's writes.
        if self.link(id).is_some_and(|link| !link.pending.is_empty()) {
            self.queue_write(id);
        }
    }

    fn eof(&mut self, id: ConnId, now: Now) {
        let Some(link) = self.link(id) else { return };
        link.set(flag::EOF, true);
        if link.ending == Ending::Draining {
            return self.drop_link(id);
        }
        self.core.peer_gone(id, now);
    }
}

fn may_read(link: &Link) -> bool {
    link.has(flag::READABLE) && (!link.has(flag::GATE_SHUT) || link.ending == Ending::Draining)
}
