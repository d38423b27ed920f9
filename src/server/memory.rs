//! What the driver holds, told to the core's budget: TLS, sockets' rows, and what the system counts.
//!
//! ```text
//! read, write, flip, drop ──▶ count_link ──▶ transport bytes ──tick──▶ core ──▶ who gives way
//! /proc/self/statm ──fifty times a second, while something goes on──┘
//! ```
//!
//! What is counted is exact where this program allocates; what the system counts holds it to the truth, with what
//! the allocator keeps and libraries hide. Near the bound the allocator is first asked to give back.

use super::link::Link;
use super::{End, Server};
use crate::clock::Now;
use crate::core::{DriverMemory, Strain};
use crate::ids::{ConnId, Id as _};
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use crate::limits::{RESIDENT_EVERY_MS, TRIM_EVERY_MS, TRIM_FULL_EVERY_MS};

/// What the system says of this process.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Where it says it; none where nobody asked, or the system has no such file.
    statm: Option<File>,
    /// What was resident before the first connection, and the code that was not yet.
    base: usize,
    look_at_ms: u64,
    trim_at_ms: u64,
}

impl Memory {
    /// Bytes that are resident now.
    fn resident(&self) -> Option<usize> {
        self.statm(1)
    }

    /// Bytes of the program's code that are not resident yet, and may be at any time.
    fn code_to_come(&self) -> Option<usize> {
        let (files, code) = (self.statm(2)?, self.statm(3)?);
        Some(code.saturating_sub(files))
    }

    /// A column of proc_pid_statm(5), in bytes: size, resident, resident of files, code.
    fn statm(&self, column: usize) -> Option<usize> {
        let mut text = [0; 128];
        let len = self.statm.as_ref()?.read_at(&mut text, 0).ok()?;
        let pages = std::str::from_utf8(text.get(..len)?).ok()?.split_ascii_whitespace().nth(column)?;
        Some(pages.parse::<usize>().ok()? * rustix::param::page_size())
    }
}

impl Server {
    /// Has the budget watch the whole process. For the program, once it listens; a host that embeds the server
    /// has memory of its own, and only what the server holds is counted there.
    pub fn watch_memory(&mut self) {
        self.memory.statm = File::open("/proc/self/statm").ok();
        match self.memory.resident() {
            Some(bytes) => self.memory.base = bytes + self.memory.code_to_come().unwrap_or(0),
            None => log::info!("the system does not say what is resident; memory_max is held by what is counted"),
        }
    }

    /// Counts what a link holds now.
    pub(super) fn count_link(&mut self, id: ConnId) {
        let Some(Some(link)) = self.links.get_mut(id.slot() as usize) else { return };
        let bytes = u32::try_from(link.heap_bytes()).unwrap_or(u32::MAX);
        self.transport_bytes = self.transport_bytes + bytes as usize - link.counted as usize;
        link.counted = bytes;
    }

    /// Tells the core what is held here.
    pub(super) fn tell_memory(&mut self, now: Now) {
        let queues = self.ready_bound.capacity() + self.ready_other.capacity() + self.write_queue.capacity();
        let control = self.control.as_ref().map_or(0, super::control::Control::heap_bytes);
        let driver = self.links.capacity() * size_of::<Option<Link>>()
            + (queues + self.closed.capacity()) * size_of::<ConnId>()
            + self.ends.capacity() * size_of::<(ConnId, End)>()
            + self.buffers.heap_bytes()
            + control;
        let backup = self.backup.as_ref().map_or(0, super::backup::Running::heap_bytes);
        let (base, transport) = (self.memory.base, self.transport_bytes);
        self.core.note_driver(DriverMemory { base, transport, driver, backup });
        if now.mono_ms >= self.memory.look_at_ms {
            self.memory.look_at_ms = now.mono_ms + RESIDENT_EVERY_MS;
            self.look_at_memory(now);
        }
    }

    fn look_at_memory(&mut self, now: Now) {
        let Some(mut bytes) = self.memory.resident() else { return };
        let wants_room = self.core.strain_of(bytes) > Strain::Calm || self.core.is_much_unseen(bytes);
        if wants_room && now.mono_ms >= self.memory.trim_at_ms {
            let is_full = self.core.strain_of(bytes) == Strain::Full;
            self.memory.trim_at_ms = now.mono_ms + if is_full { TRIM_FULL_EVERY_MS } else { TRIM_EVERY_MS };
            crate::sys::give_memory_back();
            bytes = self.memory.resident().unwrap_or(bytes);
        }
        self.core.note_resident(bytes);
    }

    /// When to look again, where what was seen keeps others out: nothing else would say that it is over.
    pub(super) fn look_at_memory_ms(&self) -> Option<u64> {
        (self.core.strain() > Strain::Calm).then_some(self.memory.look_at_ms)
    }
}
