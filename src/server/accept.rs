//! Accepting: a bounded number a tick, and a pause when the process has no place or no descriptor left.

use super::Server;
use super::link::{Ending, Link, flag};
use crate::clock::Now;
use crate::config::ListenerKind;
use crate::ids::{ConnId, Id as _};
use crate::reactor::token::Source;
use crate::transport::{Socket, Transport};
use mio::Interest;
use mio::net::{TcpListener, UnixListener};
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

pub(super) use crate::limits::{ACCEPT_PAUSE_MS, ACCEPTS_PER_TICK_MAX};

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: Acceptor,
    /// Who is awaited, and how TLS begins.
    pub(super) kind: ListenerKind,
    /// Whether somebody may be waiting.
    pub(super) is_ready: bool,
}

/// The socket itself, and where it is.
#[derive(Debug)]
pub(super) enum Acceptor {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, SocketFile),
}

/// The file of a Unix socket; it goes with the server.
#[derive(Debug)]
pub(super) struct SocketFile(pub(super) PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // One that is left behind is replaced by the next start.
        let _left_behind = fs::remove_file(&self.0);
    }
}

impl Acceptor {
    /// The next connection, and where it comes from; a Unix socket's comes from this machine.
    fn accept(&self) -> io::Result<(Socket, IpAddr)> {
        match self {
            Self::Tcp(listener, _) => listener.accept().map(|(socket, peer)| (socket.into(), peer.ip())),
            Self::Unix(listener, _) => listener.accept().map(|(socket, _)| (socket.into(), Ipv4Addr::LOCALHOST.into())),
        }
    }
}

impl fmt::Display for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(_, address) => address.fmt(f),
            Self::Unix(_, file) => file.0.display().fmt(f),
        }
    }
}

/// Whether the system has nothing left to make a socket of.
pub(super) fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), None | Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

impl Server {
    pub(super) fn listener_ready(&mut self, at: usize) {
        if let Some(listener) = self.listeners.get_mut(at) {
            listener.is_ready = true;
        }
    }

    /// Whether somebody may be waiting who can be let in.
    pub(super) fn accept_waits(&self) -> bool {
        (!self.core.is_full() && self.listeners.iter().any(|listener| listener.is_ready))
            || self.control.as_ref().is_some_and(super::control::Control::is_waiting)
    }

    pub(super) fn accept(&mut self, now: Now) {
        if now.mono_ms < self.accept_again_at_ms {
            return;
        }
        self.accept_control(now);
        self.make_place(now);
        let mut budget = ACCEPTS_PER_TICK_MAX;
        for at in 0..self.listeners.len() {
            self.accept_at(at, &mut budget, now);
        }
    }

    /// Where somebody waits for a place that another has had for too long.
    fn make_place(&mut self, now: Now) {
        self.place_at_ms = None;
        if self.core.is_full() && self.listeners.iter().any(|listener| listener.is_ready) {
            self.place_at_ms = self.core.make_place(now);
        }
    }

    fn accept_at(&mut self, at: usize, budget: &mut usize, now: Now) {
        while let Some(listener) = self.listeners.get_mut(at).filter(|listener| listener.is_ready) {
            // When all places are taken the kernel's queue keeps who comes, until somebody leaves.
            if *budget == 0 || self.core.is_full() {
                return;
            }
            *budget -= 1;
            let kind = listener.kind;
            match listener.socket.accept() {
                Ok((socket, peer)) => self.welcome(socket, peer, kind, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => listener.is_ready = false,
                Err(error) if is_exhausted(&error) => return self.pause_accepting(&error, now),
                // About the one in the queue, which has gone again (accept(2), "Error handling"); the next may be there.
                Err(error) => log::debug!("{}: a connection was gone before it came: {error}", listener.socket),
            }
        }
    }

    pub(super) fn pause_accepting(&mut self, error: &io::Error, now: Now) {
        // Said once a pause at most, and only when the last one is long over.
        if now.mono_ms > self.accept_again_at_ms + 10_000 || self.accept_again_at_ms == 0 {
            log::warn!("cannot accept: {error}; trying again every {ACCEPT_PAUSE_MS} ms (is `ulimit -n` too small?)");
        }
        self.accept_again_at_ms = now.mono_ms + ACCEPT_PAUSE_MS;
    }

    fn welcome(&mut self, mut socket: Socket, peer: IpAddr, kind: ListenerKind, now: Now) {
        let direct = kind == ListenerKind::Direct;
        let admitted = match kind {
            ListenerKind::StartTls | ListenerKind::Direct => self.core.accept(peer, direct, now),
            ListenerKind::Component => self.core.accept_component(peer, now),
        };
        let id = match admitted {
            Ok(id) => id,
            Err(refused) => {
                log::debug!("connection refused: {refused:?}");
                return;
            }
        };
        let registered = self.poll.registry().register(
            &mut socket,
            Source::Conn(id.slot()).token(),
            Interest::READABLE | Interest::WRITABLE,
        );
        if let Err(error) = registered {
            log::warn!("cannot watch a connection: {error}");
            self.core.free(id, now);
            return;
        }
        self.note_descriptor(&socket);
        self.open_link(id, socket);
        if direct && let Err(error) = self.start_tls(id, None, true) {
            log::debug!("{id}: no TLS: {error}");
            self.drop_link(id);
        }
    }

    fn open_link(&mut self, id: ConnId, socket: Socket) {
        let slot = id.slot() as usize;
        if self.links.len() <= slot {
            self.links.resize_with(slot + 1, || None);
        }
        let transport = Transport::Plain(socket);
        // The first edges come with the registration; a client that speaks first is heard at once.
        let flags = flag::READABLE | flag::WRITABLE;
        let link = Link { id, transport, flags, ending: Ending::Open, pending: Vec::new(), counted: 0 };
        if let Some(row) = self.links.get_mut(slot) {
            *row = Some(link);
        }
        self.queue_read(id);
    }
}
