//! The control socket: a Unix socket in the data folder, one request line, one answer line (before it, for a backup, lines
//! that say how far it is).
//!
//! Only the folder's owner can reach it (mode 0600 in a folder of mode 0700). A handful of callers at
//! the same time, each with a bounded line and a bounded time.

use super::Server;
use super::accept::is_exhausted;
use crate::admin::{
    Answer, CONTROL_CONNECTIONS_MAX, CONTROL_LINE_BYTES_MAX, CONTROL_TIMEOUT_S, Refusal, Request, Status,
};
use crate::clock::Now;
use crate::reactor::token::Source;
use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use slab::Slab;
use std::fs;
use std::io::{self, ErrorKind, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The socket and who has called.
#[derive(Debug)]
pub(super) struct Control {
    listener: UnixListener,
    path: PathBuf,
    /// Whether somebody may be waiting.
    is_ready: bool,
    callers: Slab<Caller>,
    next_number: u64,
}

#[derive(Debug)]
struct Caller {
    number: u64,
    socket: UnixStream,
    line: Vec<u8>,
    /// A file that came with it.
    file: Option<OwnedFd>,
    answer: Vec<u8>,
    /// Whether the answer is whole: the caller goes when it has left.
    is_answered: bool,
    deadline_ms: u64,
}

impl Control {
    /// Opens the socket. The caller holds the store's lock, so a socket that is there is left over.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub(super) fn open(path: &Path, registry: &Registry) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        registry.register(&mut listener, Source::Control.token(), Interest::READABLE)?;
        Ok(Self { listener, path: path.to_owned(), is_ready: true, callers: Slab::new(), next_number: 1 })
    }

    /// Whether somebody may be waiting to be let in.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_ready
    }

    /// Bytes of memory behind its callers.
    pub(super) fn heap_bytes(&self) -> usize {
        self.callers.iter().map(|(_, caller)| caller.line.capacity() + caller.answer.capacity()).sum()
    }

    fn next_deadline_ms(&self) -> Option<u64> {
        self.callers.iter().map(|(_, caller)| caller.deadline_ms).min()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // A socket that is left behind is removed by the next start.
        let _left_behind = fs::remove_file(&self.path);
    }
}

impl Server {
    pub(super) fn control_ready(&mut self) {
        if let Some(control) = &mut self.control {
            control.is_ready = true;
        }
    }

    /// Lets callers in. When descriptors have run out they wait, like everybody.
    pub(super) fn accept_control(&mut self, now: Now) {
        let Some(control) = &mut self.control else { return };
        while control.is_ready {
            let mut socket = match control.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if is_exhausted(&error) => return self.pause_accepting(&error, now),
                Err(error) => {
                    control.is_ready = error.kind() != ErrorKind::WouldBlock;
                    continue;
                }
            };
            if control.callers.len() >= CONTROL_CONNECTIONS_MAX {
                continue;
            }
            let entry = control.callers.vacant_entry();
            let token = Source::ControlClient(entry.key()).token();
            if self.poll.registry().register(&mut socket, token, Interest::READABLE | Interest::WRITABLE).is_err() {
                continue;
            }
            let deadline_ms = now.mono_ms + CONTROL_TIMEOUT_S * 1000;
            let number = control.next_number;
            control.next_number += 1;
            entry.insert(Caller {
                number,
                socket,
                line: Vec::new(),
                file: None,
                answer: Vec::new(),
                is_answered: false,
                deadline_ms,
            });
        }
    }

    pub(super) fn control_client_ready(&mut self, at: usize, now: Now) {
        let Some(control) = &mut self.control else { return };
        let Some(caller) = control.callers.get_mut(at) else { return };
        if !caller.answer.is_empty() {
            return self.control_write(at);
        }
        match read_line(caller) {
            Ok(None) => {}
            Ok(Some(line)) => {
                // From here on the time is the disk's.
                caller.deadline_ms = u64::MAX;
                let (number, file) = (caller.number, caller.file.take());
                self.control_request(number, &line, file, now);
            }
            Err(_) => {
                let gone = control.callers.remove(at);
                self.caller_gone(gone.number);
            }
        }
    }

    fn control_request(&mut self, caller: u64, line: &[u8], file: Option<OwnedFd>, now: Now) {
        let answer = match Request::parse(line) {
            Err(refusal) => Answer::Refused(refusal),
            Ok(Request::User(request)) => return self.core.administer(caller, request, now),
            Ok(Request::Backup) => return self.begin_backup(caller, file),
            Ok(Request::Status) => Answer::Status(Box::new(self.status(now))),
            Ok(Request::Reload) => match self.reload_certificates() {
                Ok(()) => Answer::Done,
                Err(why) => Answer::Refused(Refusal::Failed { why }),
            },
            Ok(Request::Stop) => {
                self.begin_shutdown(now);
                Answer::Done
            }
        };
        self.control_answer(caller, &answer);
    }

    fn status(&mut self, now: Now) -> Status {
        Status {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: now.mono_ms / 1000,
            domains: self.core.domains().names().map(str::to_owned).collect(),
            connections: self.core.connections() as u64,
            sessions: self.core.sessions() as u64,
            counters: self.core.counters(),
        }
    }

    /// Sends the answers that the core has ready.
    pub(super) fn answer_control(&mut self) {
        let mut answers = Vec::new();
        self.core.take_answers(&mut answers);
        for (caller, answer) in answers {
            self.control_answer(caller, &answer);
        }
    }

    pub(super) fn control_answer(&mut self, number: u64, answer: &Answer) {
        let now = self.clock.now();
        let Some((at, caller)) = self.caller(number) else { return };
        caller.answer.extend(answer.to_line());
        caller.is_answered = true;
        caller.deadline_ms = now.mono_ms + CONTROL_TIMEOUT_S * 1000;
        self.control_write(at);
    }

    /// A line before the answer; left out while the one before has not left.
    pub(super) fn control_word(&mut self, number: u64, word: &Answer) {
        let Some((at, caller)) = self.caller(number) else { return };
        if caller.answer.is_empty() {
            caller.answer = word.to_line();
            self.control_write(at);
        }
    }

    fn caller(&mut self, number: u64) -> Option<(usize, &mut Caller)> {
        self.control.as_mut()?.callers.iter_mut().find(|(_, caller)| caller.number == number)
    }

    fn control_write(&mut self, at: usize) {
        let Some(control) = &mut self.control else { return };
        let Some(caller) = control.callers.get_mut(at) else { return };
        while !caller.answer.is_empty() {
            match caller.socket.write(&caller.answer) {
                Ok(count) => drop(caller.answer.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    caller.is_answered = true;
                    break;
                }
            }
        }
        if caller.is_answered {
            let gone = control.callers.remove(at);
            self.caller_gone(gone.number);
        }
    }

    /// Callers that take too long are let go.
    pub(super) fn expire_control(&mut self, now: Now) {
        if let Some(control) = &mut self.control {
            control.callers.retain(|_, caller| caller.deadline_ms > now.mono_ms);
        }
    }

    pub(super) fn control_deadline_ms(&self) -> Option<u64> {
        self.control.as_ref()?.next_deadline_ms().filter(|deadline| *deadline != u64::MAX)
    }
}

/// Reads what there is; the line once it is whole.
fn read_line(caller: &mut Caller) -> io::Result<Option<Vec<u8>>> {
    let mut chunk = [0; 4096];
    loop {
        match receive(&caller.socket, &mut chunk, &mut caller.file) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => caller.line.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        if caller.line.len() > CONTROL_LINE_BYTES_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        if caller.line.ends_with(b"\n") {
            return Ok(Some(std::mem::take(&mut caller.line)));
        }
    }
}

/// Reads from a socket; a file that comes along is kept, a further one closed.
fn receive(socket: &UnixStream, chunk: &mut [u8], file: &mut Option<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(chunk)], &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            for new in files {
                file.get_or_insert(new);
            }
        }
    }
    Ok(received.bytes)
}
