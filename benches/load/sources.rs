//! Where connections come from: several loopback addresses, because ports run short.
//!
//! One address has about 28,000 ports towards one server, and each stays taken for a minute after its
//! connection was closed; a storm of logins needs more.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections from one address before the next is used.
const CONNECTIONS_PER_SOURCE: u32 = 15_000;
/// Addresses taken in turn: enough for 50,000 connections a second before the first is used again.
const SOURCES: u32 = 200;

/// Counts connections and picks their source.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    made: u32,
}

impl Sources {
    /// Begins to connect to `target`. Targets that are not on loopback see the machine's own address.
    pub(crate) fn connect(&mut self, target: SocketAddr) -> io::Result<TcpStream> {
        let source = self.made / CONNECTIONS_PER_SOURCE % SOURCES;
        self.made = self.made.wrapping_add(1);
        if source == 0 || !matches!(target.ip(), IpAddr::V4(ip) if ip.is_loopback()) {
            return TcpStream::connect(target);
        }
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        let last = u8::try_from(source + 1).unwrap_or(u8::MAX);
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into())?;
        match socket.connect(&target.into()) {
            // EINPROGRESS: the loop hears when it is done.
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => Ok(TcpStream::from_std(socket.into())),
        }
    }
}
