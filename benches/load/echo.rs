//! The limits: a plain TCP echo, a rustls echo and relay, and a slab of sockets, each in a process of its own.
//!
//! They do the least that any server must for a message: one readiness loop, one read, all complete records,
//! one write. The relay gives what comes on a connection to its neighbour, as a message goes from one session to
//! another: the sender then acknowledges nothing on the way back. The slab holds connections and never looks at them: what a connection costs at the very least. What
//! XMPP costs is what a server's figure is above theirs in the same run. This program is started again with
//! `--echo-server tcp|tls|relay|slab`; it says its port on standard output and ends when its
//! standard input does, so it never outlives the load test.

use std::error::Error;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;

use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustls::{ServerConfig, ServerConnection};

use slab::Slab;

use crate::{launch, process, tls};

/// One read of the echo, as large as the server's own.
const READ_BYTES: usize = 64 * 1024;
const LISTENER: Token = Token(usize::MAX - 1);
const PARENT: Token = Token(usize::MAX - 2);

/// What is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What comes goes back.
    Tcp,
    /// The same inside TLS.
    Tls,
    /// Inside TLS; what comes goes to the neighbour: the first two connections are neighbours, the next two …
    Relay,
    /// Sockets are accepted and registered, nothing more.
    Slab,
}

impl Kind {
    const ALL: [(&'static str, Self); 4] =
        [("tcp", Self::Tcp), ("tls", Self::Tls), ("relay", Self::Relay), ("slab", Self::Slab)];

    /// The kind of a name on the command line.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("tcp", |(name, _)| name)
    }
}

/// The echo as the load test sees it: a child process.
#[derive(Debug)]
pub(crate) struct Echo {
    child: Child,
    /// Its end is the child's end.
    _alive: Option<ChildStdin>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Echo {
    /// Starts one.
    pub(crate) fn start(kind: Kind) -> io::Result<Self> {
        let mut command = launch::this_program();
        command.arg("--echo-server").arg(kind.name());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        process::leave_the_others(child.id());
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let port: u16 = line.trim().parse().map_err(|_| io::Error::other("the echo server did not start"))?;
        let alive = child.stdin.take();
        Ok(Self { child, _alive: alive, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) })
    }

    /// The process to measure.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Peer {
    socket: TcpStream,
    tls: Option<Box<ServerConnection>>, // Boxed: a plain peer is no larger than it must be.
    /// Echoed and not yet written; for TLS rustls keeps it.
    outbox: Vec<u8>,
}

/// Serves until standard input ends.
pub(crate) fn serve(kind: Kind) -> Result<(), Box<dyn Error>> {
    let config = if matches!(kind, Kind::Tls | Kind::Relay) { Some(tls::server_config()?) } else { None };
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let stdin = io::stdin().as_raw_fd();
    poll.registry().register(&mut SourceFd(&stdin), PARENT, Interest::READABLE)?;
    println!("{}", listener.local_addr()?.port());
    io::stdout().flush()?;

    let (mut peers, mut sockets): (Slab<Peer>, Slab<TcpStream>) = (Slab::new(), Slab::new());
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; READ_BYTES];
    let mut plain = Vec::new();
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            match event.token() {
                PARENT => return Ok(()),
                LISTENER if kind == Kind::Slab => hold(&listener, &poll, &mut sockets)?,
                LISTENER => accept(&listener, &poll, &mut peers, config.as_ref())?,
                Token(id) if kind == Kind::Slab => drop(sockets.try_remove(id)),
                Token(id) => {
                    let to = if kind == Kind::Relay { id ^ 1 } else { id };
                    if !matches!(pass_on(&mut peers, (id, to), &mut buffer, &mut plain), Ok(true)) {
                        peers.try_remove(id);
                    }
                }
            }
        }
    }
}

/// Accepts what there is and keeps it; only its end is an event.
fn hold(listener: &TcpListener, poll: &Poll, sockets: &mut Slab<TcpStream>) -> Result<(), Box<dyn Error>> {
    loop {
        let (mut socket, _) = match listener.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            accepted => accepted?,
        };
        let slot = sockets.vacant_entry();
        poll.registry().register(&mut socket, Token(slot.key()), Interest::READABLE)?;
        slot.insert(socket);
    }
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    peers: &mut Slab<Peer>,
    config: Option<&Arc<ServerConfig>>,
) -> Result<(), Box<dyn Error>> {
    loop {
        let (mut socket, _) = match listener.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            accepted => accepted?,
        };
        socket.set_nodelay(true)?;
        let slot = peers.vacant_entry();
        poll.registry().register(&mut socket, Token(slot.key()), Interest::READABLE | Interest::WRITABLE)?;
        let tls = config.map(|config| ServerConnection::new(config.clone()).map(Box::new)).transpose()?;
        slot.insert(Peer { socket, tls, outbox: Vec::new() });
    }
}

/// Reads once (more only when the buffer was filled) and passes everything complete on, in one write.
/// Says whether the connection goes on.
fn pass_on(
    peers: &mut Slab<Peer>,
    (from, to): (usize, usize),
    buffer: &mut [u8],
    plain: &mut Vec<u8>,
) -> io::Result<bool> {
    loop {
        let Some(peer) = peers.get_mut(from) else { return Ok(true) };
        plain.clear();
        let Some(length) = peer.receive(buffer, plain)? else { return Ok(false) };
        // A handshake's answers go back; a neighbour that is gone takes nothing.
        if to != from {
            peer.flush()?;
        }
        if let Some(peer) = peers.get_mut(to) {
            peer.send(plain)?;
        }
        if length < buffer.len() {
            return Ok(true);
        }
    }
}

impl Peer {
    /// Appends the plaintext of one read, all complete records of it; how long the read was, or `None` at the end.
    fn receive(&mut self, buffer: &mut [u8], plain: &mut Vec<u8>) -> io::Result<Option<usize>> {
        let length = match self.socket.read(buffer) {
            Ok(0) => return Ok(None),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        match &mut self.tls {
            None => plain.extend_from_slice(&buffer[..length]),
            Some(tls) => decrypt(tls, &buffer[..length], plain)?,
        }
        Ok(Some(length))
    }

    /// Sends `plain` as one record, if it is short enough, and by one write, if it fits.
    fn send(&mut self, plain: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            None => self.outbox.extend_from_slice(plain),
            Some(tls) => tls.writer().write_all(plain)?,
        }
        self.flush()
    }

    /// Writes until all is sent or the socket is full.
    fn flush(&mut self) -> io::Result<()> {
        let written = match &mut self.tls {
            None => write(&mut self.socket, &mut self.outbox),
            Some(tls) => write_tls(&mut self.socket, tls),
        };
        match written {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }
}

fn write(socket: &mut TcpStream, outbox: &mut Vec<u8>) -> io::Result<()> {
    while !outbox.is_empty() {
        let sent = socket.write(outbox)?;
        outbox.drain(..sent);
    }
    Ok(())
}

fn write_tls(socket: &mut TcpStream, tls: &mut ServerConnection) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(socket)?;
    }
    Ok(())
}

/// Appends what all complete records of `cipher` hold.
fn decrypt(tls: &mut ServerConnection, mut cipher: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
    while !cipher.is_empty() {
        tls.read_tls(&mut cipher)?;
        let state = tls.process_new_packets().map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        if state.peer_has_closed() {
            return Ok(());
        }
        let start = plain.len();
        plain.resize(start + state.plaintext_bytes_to_read(), 0);
        tls.reader().read_exact(&mut plain[start..])?;
    }
    Ok(())
}
