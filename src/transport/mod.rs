//! Transport: a connection's bytes, in the clear or inside TLS, and the flip between the two.
//!
//! ```text
//! socket ──ciphertext──▶ Tls::feed ──plaintext──▶ framer
//! socket ◀──ciphertext── Tls::seal ◀──plaintext── outbox
//! ```
//!
//! The layers above know the plain types of this file only: no rustls type leaves the folder.
//! `tls` drives one connection, `tls_domains` holds what was loaded from disk, `tls_handshake` sees
//! to one handshake, `tls_settings` says what is negotiated at all, `client` judges client
//! certificates, `binding` derives channel bindings, `certs` reads and makes files.
//!
//! RFC 6120 §5, RFC 7590, RFC 9325, XEP-0368; RFC 5929 and RFC 9266 for the bindings.

pub mod binding;
mod cert_error;
pub mod certs;
pub mod client;
mod records;
mod socket;
pub mod tls;
mod tls_client_auth;
pub mod tls_domains;
mod tls_fault;
mod tls_handshake;
mod tls_settings;
mod tls_states;
mod x509;

pub use certs::{CertError, CertWarning};
pub use client::{ChainFault, ClientTrust};
pub use socket::Socket;
pub use tls::{Tls, TlsEvent};
pub use tls_domains::{DomainTls, TlsDomains, TlsOptions};

use std::{fmt, mem};
use zeroize::Zeroize;

/// The protocol version that a handshake settled on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2, always with extended master secret (RFC 7627).
    Tls12,
    /// TLS 1.3.
    #[default]
    Tls13,
}

/// What a finished handshake told us. Taken once by the stream layer; nothing of it stays in the connection.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TlsInfo {
    /// The server name that the client asked for, lower case.
    pub sni: Option<String>,
    /// Whether the client offered ALPN and `xmpp-client` was agreed.
    pub alpn: bool,
    /// The version in use.
    pub version: TlsVersion,
    /// Whether a ticket was redeemed, so that no certificate travelled in this handshake.
    pub resumed: bool,
    /// `EXPORTER-Channel-Binding` (RFC 9266); TLS 1.3 only. Secret: see [`TlsInfo::wipe`].
    pub exporter: Option<[u8; 32]>,
    /// The hash of the server's certificate (RFC 5929 §4); none if its signature names no hash.
    pub server_end_point: Option<Vec<u8>>,
    /// The client's certificates as DER, leaf first, its key proven, its chain **not** judged: ask
    /// [`ClientTrust::judge`]. Bounded by [`client::CHAIN_BYTES_MAX`].
    pub peer_chain: Option<Vec<Vec<u8>>>,
}

impl TlsInfo {
    /// Overwrites the exporter and drops the bindings and the client's chain: once SASL has ended,
    /// nobody needs them.
    pub fn wipe(&mut self) {
        self.exporter.zeroize();
        self.server_end_point = None;
        self.peer_chain = None;
    }
}

impl fmt::Debug for TlsInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsInfo")
            .field("sni", &self.sni)
            .field("alpn", &self.alpn)
            .field("version", &self.version)
            .field("resumed", &self.resumed)
            .field("exporter", &self.exporter.map(|_| "[secret]"))
            .field("server_end_point", &self.server_end_point.as_ref().map(Vec::len))
            .field("peer_chain", &self.peer_chain.as_ref().map(Vec::len))
            .finish()
    }
}

/// Why a TLS connection ended. The caller sends what is in the out buffer (the alert) and closes TCP; no XML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsError {
    /// The peer sent a fatal alert; its number (RFC 8446 §6.2).
    Alert(u8),
    /// Versions, suites or extensions have nothing in common. The text is the TLS library's name for it.
    Incompatible(String),
    /// What came is not TLS, or not decodable as such.
    Malformed(String),
    /// The peer broke the protocol.
    Misbehaved(String),
    /// A record did not decrypt, or a signature did not verify.
    Forged,
    /// The server name asked for is not hosted here; `unrecognized_name` was sent.
    UnknownName,
    /// No server name was given and none can be assumed; `unrecognized_name` was sent.
    NoName,
    /// ALPN was offered without `xmpp-client`; `no_application_protocol` was sent.
    NoApplicationProtocol,
    /// The client's certificate chain is longer than the bounds allow, or its leaf cannot be read.
    BadClientCertificate,
    /// A record or handshake message is longer than the bounds allow.
    TooLong,
    /// Too many records without data: key updates, empty records, warnings.
    TooManyMessages,
    /// TLS 1.2 renegotiation was attempted (RFC 6120 §5.3.5: never).
    Renegotiation,
    /// The keys have protected as much as they may and cannot be renewed (TLS 1.2).
    Exhausted,
    /// Data was to be sent before the handshake ended, or TLS put on a socket that has it.
    WrongState,
    /// The connection is closed or has failed before.
    Closed,
    /// The TLS library failed for a reason that no peer brings about (no randomness, no clock).
    Internal(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert(number) => write!(f, "the peer sent TLS alert {number}"),
            Self::Incompatible(what) => write!(f, "no TLS settings in common: {what}"),
            Self::Malformed(what) => write!(f, "not TLS: {what}"),
            Self::Misbehaved(what) => write!(f, "the peer broke the TLS protocol: {what}"),
            Self::Forged => f.write_str("a TLS record or signature does not verify"),
            Self::UnknownName => f.write_str("the server name asked for is not hosted here"),
            Self::NoName => f.write_str("no server name was asked for, and several domains are hosted"),
            Self::NoApplicationProtocol => f.write_str("the peer wants another protocol than xmpp-client"),
            Self::BadClientCertificate => f.write_str("the client's certificate chain is too long or unreadable"),
            Self::TooLong => f.write_str("a TLS record or handshake message is too long"),
            Self::TooManyMessages => f.write_str("too many TLS messages without data"),
            Self::Renegotiation => f.write_str("TLS renegotiation was attempted"),
            Self::Exhausted => f.write_str("the TLS keys are worn out"),
            Self::WrongState => f.write_str("TLS is not in the state for this"),
            Self::Closed => f.write_str("the connection is closed"),
            Self::Internal(what) => write!(f, "the TLS library failed: {what}"),
        }
    }
}

impl std::error::Error for TlsError {}

/// A socket and what protects it. Flips in place.
#[derive(Debug)]
pub enum Transport {
    /// Bytes as they are.
    Plain(Socket),
    /// Bytes inside TLS. Boxed: over a kilobyte, and most of a flood never gets here.
    Tls(Socket, Box<Tls>),
    /// What a failed flip leaves behind.
    Closed,
}

impl Transport {
    /// Puts TLS on the same socket. The outbox is empty and the read gate shut (RFC 6120 §5.4.2.3).
    ///
    /// `hint` is the `to` of the clear stream header; it matters only if the client sends no SNI.
    /// `direct`: TLS from the first byte (XEP-0368) rather than after STARTTLS.
    ///
    /// # Errors
    ///
    /// [`TlsError::WrongState`] if TLS is already there, [`TlsError::Closed`] if the socket is gone.
    /// Any error leaves [`Transport::Closed`]: the safe end.
    pub fn start_tls(&mut self, domains: &TlsDomains, hint: Option<&str>, direct: bool) -> Result<(), TlsError> {
        *self = match mem::replace(self, Self::Closed) {
            Self::Plain(socket) => Self::Tls(socket, Box::new(domains.session(hint, direct)?)),
            Self::Tls(..) => return Err(TlsError::WrongState),
            Self::Closed => return Err(TlsError::Closed),
        };
        Ok(())
    }

    /// The socket, unless it is gone.
    pub fn socket(&mut self) -> Option<&mut Socket> {
        match self {
            Self::Plain(socket) | Self::Tls(socket, _) => Some(socket),
            Self::Closed => None,
        }
    }

    /// The TLS side, if there is one.
    pub fn tls(&mut self) -> Option<&mut Tls> {
        match self {
            Self::Tls(_, tls) => Some(tls),
            Self::Plain(_) | Self::Closed => None,
        }
    }

    /// Bytes on the heap for this connection's protection.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Tls(_, tls) => size_of::<Tls>() + tls.heap_bytes(),
            Self::Plain(_) | Self::Closed => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::net::TcpStream;
    use std::net::{Ipv4Addr, TcpListener};

    fn socket(listener: &TcpListener) -> TcpStream {
        let address = listener.local_addr().expect("a bound listener");
        let stream = std::net::TcpStream::connect(address).expect("loopback");
        stream.set_nonblocking(true).expect("a socket");
        TcpStream::from_std(stream)
    }

    #[test]
    fn the_flip_keeps_the_socket_and_happens_once() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let domains = TlsDomains::load(&[], &TlsOptions::default()).expect("nothing to load");
        let socket = socket(&listener);
        let port = socket.local_addr().expect("a connected socket").port();
        let mut transport = Transport::Plain(socket.into());
        assert!(transport.tls().is_none() && transport.heap_bytes() == 0);
        assert_eq!(transport.start_tls(&domains, Some("chat.example"), false), Ok(()));
        assert!(transport.tls().is_some_and(|tls| tls.is_handshaking()));
        let same = transport.socket().and_then(|socket| match socket {
            Socket::Tcp(socket) => socket.local_addr().ok(),
            Socket::Unix(_) => None,
        });
        assert_eq!(same.map(|address| address.port()), Some(port));
        assert!(transport.heap_bytes() > size_of::<Tls>());
        // A second flip is our mistake; it ends the connection rather than nesting.
        assert_eq!(transport.start_tls(&domains, None, false), Err(TlsError::WrongState));
        assert!(matches!(transport, Transport::Closed) && transport.socket().is_none());
        assert_eq!(transport.start_tls(&domains, None, true), Err(TlsError::Closed));
    }

    /// The set is shared and swapped; a connection may move to another thread with its server.
    #[test]
    fn types_may_cross_threads() {
        fn is_send<T: Send>() {}
        fn is_shared<T: Send + Sync>() {}
        is_send::<Transport>();
        is_shared::<TlsDomains>();
    }
}
