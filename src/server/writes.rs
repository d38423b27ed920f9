//! Writing: each dirty outbox once a tick, up to a budget; then the end of those that end.

use super::Server;
use super::link::{Ending, flag};
use crate::clock::Now;
use crate::ids::ConnId;
use std::io;

pub(super) use crate::limits::{WRITE_BUDGET_BYTES, WRITE_CHUNK_BYTES};

/// What one turn of writing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Everything is out.
    Drained,
    /// The kernel takes no more for now; it will say when.
    Blocked,
    /// The budget is used up.
    MoreToDo,
}

impl Server {
    pub(super) fn queue_write(&mut self, id: ConnId) {
        let Some(link) = self.link(id) else { return };
        if !link.has(flag::WRITE_QUEUED) && link.ending != Ending::Gone {
            link.set(flag::WRITE_QUEUED, true);
            self.write_queue.push_back(id);
        }
    }

    /// Writes to all who have something to read, as many as time allows. `began_us` is when the tick began.
    pub(super) fn write(&mut self, now: Now, began_us: u64) {
        let until_us = self.until_us(began_us);
        loop {
            while let Some(id) = self.core.outboxes().next_dirty() {
                self.queue_write(id);
            }
            let turns = self.write_queue.len();
            if turns == 0 {
                return;
            }
            let mut progress = false;
            for _ in 0..turns {
                let Some(id) = self.write_queue.pop_front() else { break };
                progress |= self.write_conn(id, now);
                if self.clock.mono_us() > until_us {
                    return self.act(now, until_us);
                }
            }
            // What drained may have flipped, and what ended may have more to say.
            self.act(now, until_us);
            if !progress && !self.core.outboxes().has_dirty() {
                return;
            }
        }
    }

    /// One connection's turn; true if its draining made the core do something.
    fn write_conn(&mut self, id: ConnId, now: Now) -> bool {
        let Some(link) = self.link(id) else { return false };
        link.set(flag::WRITE_QUEUED, false);
        if !link.has(flag::WRITABLE) || link.ending == Ending::Gone {
            return false;
        }
        match self.write_turn(id) {
            Ok(Turn::Drained) => {
                self.drained(id, now);
                true
            }
            Ok(Turn::Blocked) => false,
            Ok(Turn::MoreToDo) => {
                self.queue_write(id);
                false
            }
            Err(error) => {
                log::debug!("{id}: {error}");
                self.core.peer_gone(id, now);
                self.drop_link(id);
                false
            }
        }
    }

    fn write_turn(&mut self, id: ConnId) -> io::Result<Turn> {
        let mut buffers = std::mem::take(&mut self.buffers);
        let mut written = 0;
        let turn = loop {
            let Some(link) = self.links.get_mut(crate::ids::Id::slot(id) as usize).and_then(Option::as_mut) else {
                break Ok(Turn::Blocked);
            };
            let outboxes = self.core.outboxes();
            let plain = outboxes.pending(id);
            if plain.is_empty() || !link.may_join() {
                match link.flush_pending() {
                    Ok(true) => {}
                    Ok(false) => break Ok(Turn::Blocked),
                    Err(error) => break Err(error),
                }
            }
            if plain.is_empty() {
                break Ok(Turn::Drained);
            }
            if written >= WRITE_BUDGET_BYTES {
                break Ok(Turn::MoreToDo);
            }
            let chunk = plain.get(..plain.len().min(WRITE_CHUNK_BYTES)).unwrap_or_default();
            let last = chunk.len() == plain.len() && link.ending == Ending::Finishing { notify: true };
            match link.write(chunk, last, &mut buffers) {
                Ok(count) => {
                    written += count;
                    outboxes.consume(id, count);
                    if !link.has(flag::WRITABLE) {
                        break Ok(Turn::Blocked);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        self.buffers = buffers;
        self.count_link(id);
        turn
    }

    fn drained(&mut self, id: ConnId, now: Now) {
        self.core.drained(id, now);
        let Some(link) = self.link(id) else { return };
        match link.ending {
            Ending::Finishing { notify: true } => {
                link.close_notify();
                link.ending = Ending::Finishing { notify: false };
                if link.flush_pending().is_ok_and(|done| done) {
                    self.end_written(id);
                }
            }
            Ending::Finishing { notify: false } => self.end_written(id),
            Ending::Open | Ending::Draining | Ending::Gone => {}
        }
    }

    /// Our last byte is out: FIN, and then the peer's.
    fn end_written(&mut self, id: ConnId) {
        let Some(link) = self.link(id) else { return };
        link.shut_write();
        link.ending = Ending::Draining;
        if link.has(flag::EOF) {
            return self.drop_link(id);
        }
        self.queue_read(id);
    }
}

const _: () = assert!(WRITE_CHUNK_BYTES <= WRITE_BUDGET_BYTES);
