//! Listening sockets: opened with the options that a server wants, errors that say what to change.

use mio::net::{TcpListener, UnixListener};
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use crate::limits::LISTEN_BACKLOG;

/// Silence after which the kernel asks whether the peer is still there. Rare: it wakes a phone's radio,
/// and most clients ask themselves, more often. (RFC 6120 §4.6.1; a guess.)
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(20 * 60);
/// Time between its further questions, of which the kernel's default allows nine.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);

/// Why an address could not be opened.
#[derive(Debug)]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

impl ListenError {
    /// Whether the machine has no such address family: IPv6 switched off.
    pub fn is_family_missing(&self) -> bool {
        let code = self.source.raw_os_error();
        self.address.is_ipv6() && (code == Some(libc::EAFNOSUPPORT) || code == Some(libc::EADDRNOTAVAIL))
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, source } = self;
        match source.kind() {
            ErrorKind::AddrInUse => write!(
                f,
                "{address}: another program listens on port {port}. Stop it (`ss -ltnp 'sport = :{port}'` names it) \
                 or choose another port under [[listener]] in stonechat.toml",
                port = address.port()
            ),
            ErrorKind::PermissionDenied => write!(
                f,
                "{address}: not allowed to listen on port {}. Ports below 1024 need root or CAP_NET_BIND_SERVICE; \
                 choose another port under [[listener]] in stonechat.toml",
                address.port()
            ),
            ErrorKind::AddrNotAvailable => write!(
                f,
                "{address}: this machine has no such address; write one of its own, or 0.0.0.0 and [::] for all, \
                 under [[listener]] in stonechat.toml"
            ),
            _ => write!(f, "{address}: cannot listen: {source}"),
        }
    }
}

impl std::error::Error for ListenError {}

/// Opens one address. An IPv6 socket takes IPv6 only, so that both families can be opened side by side.
///
/// # Errors
///
/// [`ListenError`], whose text says what to change.
pub fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    open(address).map_err(|source| ListenError { address, source })
}

/// Opens a Unix socket at `path` with these permissions; nobody can connect before it has them. One that a server left
/// behind is replaced, one that is answered is not.
///
/// # Errors
///
/// [`ListenUnixError`], whose text says what to change.
pub fn listen_unix(path: &Path, mode: u32) -> Result<UnixListener, ListenUnixError> {
    open_unix(path, mode).map_err(|source| ListenUnixError { path: path.to_owned(), source })
}

fn open_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(data) if !data.file_type().is_socket() => return Err(ErrorKind::AlreadyExists.into()),
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            Err(error) => return Err(error),
            Ok(_) => return Err(ErrorKind::AddrInUse.into()),
        },
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(UnixListener::from_std(OwnedFd::from(socket).into()))
}

/// Why a Unix socket could not be opened.
#[derive(Debug)]
pub struct ListenUnixError {
    /// Where.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl fmt::Display for ListenUnixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let why = match self.source.kind() {
            ErrorKind::AddrInUse => "another program listens there",
            ErrorKind::AlreadyExists => "something else than a socket is there",
            ErrorKind::NotFound => "its folder is not there; make it",
            ErrorKind::PermissionDenied => "not allowed; give its folder to the user that runs stonechat",
            _ => return write!(f, "{path}: cannot listen: {}", self.source),
        };
        write!(f, "{path}: {why}, or choose another `socket` under [[listener]] in stonechat.toml")
    }
}

impl std::error::Error for ListenUnixError {}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for the last connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    // Linux hands these on to what is accepted. Stanzas are small and must not wait for each other's
    // acknowledgement; a peer that vanished without a word is found out by the kernel, at no cost to us.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL))?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_says_what_to_do() {
        let first = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        let error = listen(address).unwrap_err();
        assert!(error.to_string().contains("another program listens on port"), "{error}");
        assert!(!error.is_family_missing());
    }

    #[test]
    fn a_unix_socket_is_only_for_whom_it_says_and_replaces_what_is_left_over() {
        let folder = std::env::temp_dir().join(format!("stonechat-listen-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("c.sock");
        for mode in [0o600, 0o660] {
            let listener = listen_unix(&path, mode).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
            let error = listen_unix(&path, mode).unwrap_err();
            assert!(error.to_string().contains("another program listens there"), "{error}");
            // The socket goes, its file stays: as after a crash.
            drop(listener);
        }
        fs::remove_file(&path).unwrap();
        fs::write(&path, "words").unwrap();
        let error = listen_unix(&path, 0o600).unwrap_err();
        assert!(error.to_string().contains("something else than a socket"), "{error}");
        let error = listen_unix(&folder.join("nowhere/c.sock"), 0o600).unwrap_err();
        assert!(error.to_string().contains("its folder is not there"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"words");
        fs::remove_dir_all(&folder).unwrap();
    }
}
