//! One connection of the generator: a socket, plain or in TLS, and what is not yet sent or understood.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::{ClientConnection, HandshakeKind};

use crate::negotiation::Negotiation;
use crate::plan::Plan;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The TCP handshake is under way.
    Connecting,
    /// From the first byte until ready.
    Negotiating,
    /// The scenario has it.
    Ready,
    /// `</stream:stream>` is sent and the server's is awaited.
    Closing,
    /// Over; freed at the end of the tick.
    Gone,
}

/// How bytes travel.
#[derive(Debug)]
enum Link {
    Plain { outbox: Vec<u8>, sent: usize },
    Tls(Box<ClientConnection>), // Boxed: a plain session is cheap and there are thousands.
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    socket: TcpStream,
    link: Link,
    pub(crate) phase: Phase,
    /// Plaintext that is not yet a whole frame.
    pub(crate) inbox: Vec<u8>,
    /// Whether a stream header was seen.
    pub(crate) open: bool,
    /// In the list of those with something to send.
    pub(crate) dirty: bool,
    /// Its reader has stopped reading.
    pub(crate) paused: bool,
    /// The scenario's own number for it.
    pub(crate) tag: u32,
    /// When it began to connect, or to close: for time-outs and login times.
    pub(crate) since_ns: u64,
    /// `None` for an echo, and once it is ready.
    pub(crate) negotiation: Option<Box<Negotiation>>,
    pub(crate) plan: Arc<Plan>,
}

impl Client {
    /// A connection whose TCP handshake has begun.
    pub(crate) fn new(socket: TcpStream, plan: Arc<Plan>, negotiation: Option<Negotiation>, tag: u32, ns: u64) -> Self {
        Self {
            socket,
            link: Link::Plain { outbox: Vec::new(), sent: 0 },
            phase: Phase::Connecting,
            inbox: Vec::new(),
            open: negotiation.is_none(),
            dirty: false,
            paused: false,
            tag,
            since_ns: ns,
            negotiation: negotiation.map(Box::new),
            plan,
        }
    }

    /// The socket, to register it.
    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Whether the TCP handshake is over; an error when it failed.
    pub(crate) fn has_connected(&mut self) -> io::Result<bool> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        match self.socket.peer_addr() {
            Ok(_) => self.socket.set_nodelay(true).map(|()| true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts TLS on the socket.
    pub(crate) fn start_tls(&mut self) -> Result<(), rustls::Error> {
        let account = self.negotiation.as_ref().map_or(self.tag, |talk| talk.account());
        let mut tls = ClientConnection::new(self.plan.tls(account), self.plan.server_name.clone())?;
        // The scenario's window bounds what is under way; a limit here would only tear a message.
        tls.set_buffer_limit(None);
        self.link = Link::Tls(Box::new(tls));
        Ok(())
    }

    /// Whether a TLS handshake is under way.
    pub(crate) fn is_handshaking(&self) -> bool {
        matches!(&self.link, Link::Tls(tls) if tls.is_handshaking())
    }

    /// Whether TLS was resumed by a ticket.
    pub(crate) fn is_resumed(&self) -> bool {
        matches!(&self.link, Link::Tls(tls) if tls.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// Takes plaintext to send; one TLS record each time, as a client that writes its stanzas singly.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        match &mut self.link {
            Link::Plain { outbox, .. } => outbox.extend_from_slice(bytes),
            // Without a limit the writer takes everything.
            Link::Tls(tls) => drop(tls.writer().write_all(bytes)),
        }
    }

    /// Whether everything sent has left for the kernel.
    pub(crate) fn is_drained(&self) -> bool {
        match &self.link {
            Link::Plain { outbox, .. } => outbox.is_empty(),
            Link::Tls(tls) => !tls.wants_write(),
        }
    }

    /// Announces the end of TLS.
    pub(crate) fn close_notify(&mut self) {
        if let Link::Tls(tls) = &mut self.link {
            tls.send_close_notify();
        }
    }

    /// Writes until all is sent or the socket is full.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match flush(&mut self.link, &mut self.socket) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            result => result,
        }
    }

    /// Reads what there is through the shared `buffer` and appends the plaintext; says whether the stream ended.
    pub(crate) fn receive(&mut self, buffer: &mut [u8], plain: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let length = match self.socket.read(buffer) {
                Ok(0) => return Ok(true),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let ended = match &mut self.link {
                Link::Plain { .. } => {
                    plain.extend_from_slice(&buffer[..length]);
                    false
                }
                Link::Tls(tls) => decrypt(tls, &buffer[..length], plain)?,
            };
            // A short read has emptied the socket: the next byte will be an edge of its own.
            if ended || length < buffer.len() {
                return Ok(ended);
            }
        }
    }
}

fn flush(link: &mut Link, socket: &mut TcpStream) -> io::Result<()> {
    match link {
        Link::Plain { outbox, sent } => {
            while *sent < outbox.len() {
                *sent += socket.write(&outbox[*sent..])?;
            }
            *sent = 0;
            // Keeps what a chat needs again and gives back what a login needed once.
            outbox.clear();
            outbox.shrink_to(4096);
        }
        Link::Tls(tls) => {
            while tls.wants_write() {
                tls.write_tls(socket)?;
            }
        }
    }
    Ok(())
}

/// Decrypts; says whether the peer has ended TLS.
fn decrypt(tls: &mut ClientConnection, mut cipher: &[u8], plain: &mut Vec<u8>) -> io::Result<bool> {
    let mut ended = false;
    while !cipher.is_empty() && !ended {
        tls.read_tls(&mut cipher)?;
        let state = tls.process_new_packets().map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        let start = plain.len();
        plain.resize(start + state.plaintext_bytes_to_read(), 0);
        if start < plain.len() {
            tls.reader().read_exact(&mut plain[start..])?;
        }
        ended = state.peer_has_closed();
    }
    Ok(ended)
}
