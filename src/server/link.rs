//! One connection's socket: reads, writes, the flip, and the end, without knowing a stanza.
//!
//! ```text
//! Open ──finish──▶ Finishing ──all written──▶ Draining (FIN sent) ──EOF or deadline──▶ Gone
//! ```
//!
//! Every socket is registered once, for both directions, edge-triggered: what is known about it is
//! kept in [`Link::flags`] and no further `epoll_ctl` is needed.

use crate::ids::ConnId;
use crate::transport::{Socket, Tls, TlsError, TlsEvent, Transport};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;

/// What a link knows of its socket; a set.
pub(super) mod flag {
    /// The kernel has, or may have, bytes for us.
    pub(crate) const READABLE: u8 = 1;
    /// The kernel takes bytes.
    pub(crate) const WRITABLE: u8 = 2;
    /// The core has shut the gate.
    pub(crate) const GATE_SHUT: u8 = 4;
    /// In a ready queue.
    pub(crate) const QUEUED: u8 = 8;
    /// In the write queue.
    pub(crate) const WRITE_QUEUED: u8 = 16;
    /// The peer has ended its side.
    pub(crate) const EOF: u8 = 32;
    /// The kernel has announced an end or an error: it lies behind the bytes, and no edge will come for it.
    pub(crate) const HANGUP: u8 = 64;
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Not begun.
    Open,
    /// What is left is being written; then `close_notify` (if `notify`) and FIN.
    Finishing {
        /// Whether the TLS side says goodbye.
        notify: bool,
    },
    /// FIN is sent; what comes is thrown away until the peer's.
    Draining,
    /// The socket is closed; the row is freed at the end of the tick.
    Gone,
}

/// A row of the transport column.
#[derive(Debug)]
pub(super) struct Link {
    /// Whose it is.
    pub(super) id: ConnId,
    /// The socket and what protects it.
    pub(super) transport: Transport,
    /// See [`flag`].
    pub(super) flags: u8,
    /// How far the end has come.
    pub(super) ending: Ending,
    /// Ciphertext that the kernel has not taken yet.
    pub(super) pending: Vec<u8>,
    /// The bytes of memory that it was last counted with.
    pub(super) counted: u32,
}

/// What reading brought.
#[derive(Debug)]
pub(super) enum ReadOutcome {
    /// Plain bytes are in the buffer, perhaps none; and the handshake is complete if `established`.
    Data {
        /// This read completed the handshake.
        established: bool,
        /// The peer sent `close_notify`.
        closed: bool,
    },
    /// The kernel has nothing more.
    Blocked,
    /// FIN.
    Eof,
    /// The socket failed.
    Failed(io::Error),
    /// TLS failed; the alert is in `pending`.
    TlsFailed(TlsError),
}

/// Shared buffers for one read or write.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// What the socket brings.
    pub(super) cipher: Vec<u8>,
    /// What comes out of TLS.
    pub(super) plain: Vec<u8>,
    /// What TLS makes of an outbox.
    pub(super) sealed: Vec<u8>,
    /// Whether a password may have been looked at in this tick.
    pub(super) heard_secrets: bool,
}

pub(super) use crate::limits::{PENDING_JOINED_BYTES_MAX, READ_CHUNK_BYTES};

impl Buffers {
    pub(super) fn new() -> Self {
        Self { cipher: vec![0; READ_CHUNK_BYTES], ..Self::default() }
    }

    /// Bytes of memory behind them.
    pub(super) fn heap_bytes(&self) -> usize {
        self.cipher.capacity() + self.plain.capacity() + self.sealed.capacity()
    }

    /// Overwrites what was read: a password may be in it.
    pub(super) fn wipe(&mut self) {
        self.heard_secrets = true;
        self.cipher.fill(0);
        // Also the room behind its end, where an earlier read may have reached.
        let room = self.plain.capacity();
        self.plain.clear();
        self.plain.resize(room, 0);
        std::hint::black_box(&self.plain);
        self.plain.clear();
    }

    /// Gives back what a large read or write has left.
    pub(super) fn shrink(&mut self) {
        self.plain = Vec::new();
        self.sealed = Vec::new();
    }
}

impl Link {
    /// Bytes of memory behind it.
    pub(super) fn heap_bytes(&self) -> usize {
        self.transport.heap_bytes() + self.pending.capacity()
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn set(&mut self, flag: u8, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }

    /// Reads once and decrypts; the plain bytes are in `buffers.plain`.
    pub(super) fn read(&mut self, buffers: &mut Buffers) -> ReadOutcome {
        buffers.plain.clear();
        match &mut self.transport {
            Transport::Closed => ReadOutcome::Blocked,
            Transport::Plain(socket) => match read_socket(socket, &mut buffers.cipher) {
                Ok(0) => ReadOutcome::Eof,
                Ok(count) => {
                    note_short_read(&mut self.flags, count < buffers.cipher.len());
                    buffers.plain.extend_from_slice(buffers.cipher.get(..count).unwrap_or_default());
                    ReadOutcome::Data { established: false, closed: false }
                }
                Err(error) => self.read_failed(error),
            },
            Transport::Tls(socket, tls) => match read_socket(socket, &mut buffers.cipher) {
                Ok(0) => ReadOutcome::Eof,
                Ok(count) => {
                    note_short_read(&mut self.flags, count < buffers.cipher.len());
                    let input = buffers.cipher.get_mut(..count).unwrap_or_default();
                    match tls.feed(input, &mut buffers.plain, &mut self.pending) {
                        Ok(event) => ReadOutcome::Data {
                            established: event == TlsEvent::Established,
                            closed: event == TlsEvent::PeerClosed,
                        },
                        Err(error) => ReadOutcome::TlsFailed(error),
                    }
                }
                Err(error) => self.read_failed(error),
            },
        }
    }

    fn read_failed(&mut self, error: io::Error) -> ReadOutcome {
        if error.kind() == ErrorKind::WouldBlock {
            self.flags &= !flag::READABLE;
            return ReadOutcome::Blocked;
        }
        ReadOutcome::Failed(error)
    }

    /// Reads and throws away, up to a bound; true once the peer has ended its side.
    pub(super) fn discard(&mut self, buffers: &mut Buffers) -> bool {
        for _ in 0..4 {
            let Some(socket) = self.transport.socket() else { return true };
            match read_socket(socket, &mut buffers.cipher) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.flags &= !flag::READABLE;
                    return false;
                }
                Err(_) => return true,
            }
        }
        false
    }

    /// Writes pending ciphertext; true when none is left.
    ///
    /// # Errors
    ///
    /// The socket failed.
    pub(super) fn flush_pending(&mut self) -> io::Result<bool> {
        let mut sent = 0;
        while let Some(rest) = self.pending.get(sent..).filter(|rest| !rest.is_empty()) {
            let Some(socket) = self.transport.socket() else { return Err(ErrorKind::NotConnected.into()) };
            match write_socket(socket, rest) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.flags &= !flag::WRITABLE;
                    self.pending.drain(..sent);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        // An idle connection keeps no buffer.
        self.pending = Vec::new();
        Ok(true)
    }

    /// Whether what is sealed next may leave together with what is pending: then one call to the system does for both.
    pub(super) fn may_join(&self) -> bool {
        matches!(&self.transport, Transport::Tls(_, tls) if !tls.is_handshaking())
            && (1..=PENDING_JOINED_BYTES_MAX).contains(&self.pending.len())
    }

    /// Sends plain bytes on their way, `close_notify` with them if they are the `last`; returns how many of them are done
    /// with: written, or sealed and pending.
    ///
    /// # Errors
    ///
    /// The socket or TLS failed.
    pub(super) fn write(&mut self, plain: &[u8], last: bool, buffers: &mut Buffers) -> io::Result<usize> {
        match &mut self.transport {
            Transport::Closed => Err(ErrorKind::NotConnected.into()),
            Transport::Plain(socket) => match write_socket(socket, plain) {
                Ok(count) => Ok(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.flags &= !flag::WRITABLE;
                    Ok(0)
                }
                Err(error) => Err(error),
            },
            Transport::Tls(_, tls) if !self.pending.is_empty() => {
                seal(tls, plain, last, &mut self.pending)?;
                self.flush_pending()?;
                Ok(plain.len())
            }
            Transport::Tls(socket, tls) => {
                buffers.sealed.clear();
                seal(tls, plain, last, &mut buffers.sealed)?;
                let sent = match write_socket(socket, &buffers.sealed) {
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                    Err(error) => return Err(error),
                };
                let rest = buffers.sealed.get(sent..).unwrap_or_default();
                if !rest.is_empty() {
                    self.flags &= !flag::WRITABLE;
                    self.pending.extend_from_slice(rest);
                }
                Ok(plain.len())
            }
        }
    }

    /// Puts `close_notify` behind everything else.
    pub(super) fn close_notify(&mut self) {
        if let Transport::Tls(_, tls) = &mut self.transport {
            tls.close_notify(&mut self.pending);
        }
    }

    /// Sends FIN.
    pub(super) fn shut_write(&mut self) {
        if let Some(socket) = self.transport.socket() {
            // A socket that is not connected any more has ended already.
            let _ended = socket.shutdown(Shutdown::Write);
        }
    }
}

/// A short read has emptied the kernel's buffer, and the next byte is an edge again. Not so for an end
/// that was announced together with the bytes: its edge is past.
fn note_short_read(flags: &mut u8, is_short: bool) {
    if is_short && *flags & flag::HANGUP == 0 {
        *flags &= !flag::READABLE;
    }
}

fn seal(tls: &mut Tls, plain: &[u8], last: bool, sealed: &mut Vec<u8>) -> io::Result<()> {
    tls.seal(plain, sealed).map_err(|error| io::Error::other(error.to_string()))?;
    if last {
        tls.close_notify(sealed);
    }
    Ok(())
}

fn read_socket(socket: &mut Socket, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match socket.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn write_socket(socket: &mut Socket, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match socket.write(bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            result => return result,
        }
    }
}
