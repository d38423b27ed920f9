//! Where connections come from: several loopback addresses, because ports run short.
//!
//! One address has some 28,000 ports towards one server, and each may stay taken for a minute after its connection was
//! closed; a storm of logins needs more. The next address is taken when half of an address's ports have been used, since
//! the kernel then seeks long for a free one, and when it has none.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

/// Addresses taken in turn: enough for 50,000 connections a second before the first is used again.
const SOURCES: u32 = 200;
/// Ports of an address where the kernel does not say.
const PORTS: u32 = 28_000;

/// Counts connections and picks their source.
#[derive(Debug)]
pub(crate) struct Sources {
    /// Ports of one address, as the kernel is set.
    pub(crate) ports: u32,
    source: u32,
    /// Connections from this source since it was its turn.
    from_here: u32,
    /// Addresses that connections came from.
    pub(crate) used: u32,
}

impl Default for Sources {
    fn default() -> Self {
        Self { ports: ports().unwrap_or(PORTS), source: 0, from_here: 0, used: 1 }
    }
}

impl Sources {
    /// Begins to connect to `target`. Targets that are not on loopback see the machine's own address.
    pub(crate) fn connect(&mut self, target: SocketAddr) -> io::Result<TcpStream> {
        if !matches!(target.ip(), IpAddr::V4(ip) if ip.is_loopback()) {
            return TcpStream::connect(target);
        }
        if self.from_here >= self.ports.div_ceil(2) {
            self.go_on();
        }
        let mut tried = connect(self.source, target);
        for _ in 1..SOURCES {
            if !tried.as_ref().is_err_and(is_shortage) {
                break;
            }
            self.go_on();
            tried = connect(self.source, target);
        }
        self.from_here += 1;
        self.used = self.used.max(self.source + 1);
        tried
    }

    fn go_on(&mut self) {
        (self.source, self.from_here) = ((self.source + 1) % SOURCES, 0);
    }
}

/// One connection from a source: the first is what the kernel takes by itself.
fn connect(source: u32, target: SocketAddr) -> io::Result<TcpStream> {
    if source == 0 {
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

/// An address without a free port: to `connect` it is not available, to `bind` in use.
fn is_shortage(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse)
}

fn ports() -> Option<u32> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = range.split_whitespace().map_while(|word| word.parse::<u32>().ok());
    let (first, last) = (ends.next()?, ends.next()?);
    Some(last.checked_sub(first)? + 1)
}
