//! Room in the kernel's table of descriptors, made before it is needed.
//!
//! ```text
//! a descriptor in the upper half ──▶ a thread of a moment asks for a number beyond the table's end ──▶ twice the room
//! ```
//!
//! Linux doubles the table when it is full, and has a process that has threads wait for all processors meanwhile, in the
//! middle of a tick. The wait is the helper's here, once for each doubling.

use super::Server;
use crate::transport::Socket;
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, getrlimit};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;
use std::thread::Builder;

use crate::limits::{DESCRIPTORS_AT_START, DESCRIPTORS_MADE_MAX};

/// How many descriptors there is room for, as far as was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    room: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self { room: DESCRIPTORS_AT_START }
    }
}

impl Table {
    /// A descriptor of this number is in use: the room to make, if it is time to.
    fn wanted(&mut self, number: usize, limit: usize) -> Option<usize> {
        if number < self.room / 2 || self.room >= limit.min(DESCRIPTORS_MADE_MAX) {
            return None;
        }
        self.room *= 2;
        Some(self.room.min(limit))
    }
}

impl Server {
    /// Takes note of a new connection's descriptor.
    pub(super) fn note_descriptor(&mut self, socket: &Socket) {
        let number = usize::try_from(socket.as_raw_fd()).unwrap_or(0);
        if number < self.descriptors.room / 2 {
            return;
        }
        let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
        let Some(room) = self.descriptors.wanted(number, limit.unwrap_or(usize::MAX)) else { return };
        let helper = Builder::new().name("descriptors".to_owned()).stack_size(64 * 1024);
        if let Err(error) = helper.spawn(move || make_room(room)) {
            log::debug!("no thread to make room for descriptors: {error}");
        }
    }
}

/// Has the table grow to `room` numbers. Where that fails it grows when it must.
pub(super) fn make_room(room: usize) {
    let Ok(last) = RawFd::try_from(room.saturating_sub(1)) else { return };
    if let Ok((one, _other)) = UnixStream::pair()
        && let Err(error) = fcntl_dupfd_cloexec(&one, last)
    {
        log::debug!("no room for {room} descriptors: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_once_and_ahead() {
        let mut table = Table::default();
        let half = DESCRIPTORS_AT_START / 2;
        assert_eq!(table.wanted(half - 1, 20_000), None);
        assert_eq!(table.wanted(half, 20_000), Some(2 * DESCRIPTORS_AT_START));
        assert_eq!(table.wanted(half + 1, 20_000), None, "it is on its way");
        assert_eq!(table.wanted(2 * half, 20_000), Some(4 * DESCRIPTORS_AT_START));
        let mut table = Table::default();
        assert_eq!(table.wanted(half, 2_000), Some(2_000), "no further than the process may go");
        assert_eq!(table.wanted(1_999, 2_000), None);
        let mut table = Table { room: DESCRIPTORS_MADE_MAX };
        assert_eq!(table.wanted(DESCRIPTORS_MADE_MAX, usize::MAX), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_table_grows() {
        let size = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
            line.and_then(|size| size.trim().parse::<usize>().ok()).unwrap_or(0)
        };
        let before = size();
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        make_room(usize::try_from(limit).unwrap_or(usize::MAX).min(before * 2));
        assert!(size() > before || limit <= before as u64, "{before}, {}", size());
    }
}
