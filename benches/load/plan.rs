//! What a connection is to do: whom to call, in which dialect, as whom, and how far to go.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::scram::Hash;

/// How a connection gets to TLS and to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// STARTTLS, SASL and resource binding of RFC 6120.
    Rfc6120,
    /// STARTTLS of XEP-0035 and the login of XEP-0078.
    Xep0035,
    /// TLS from the first byte (XEP-0368), then as RFC 6120.
    Direct,
    /// RFC 6120 without TLS.
    Plain,
    /// No XMPP at all: the plain TCP echo that shows the limit.
    TcpEcho,
    /// No XMPP either: the rustls echo.
    TlsEcho,
    /// The same, where each connection's bytes go to its neighbour.
    TlsRelay,
}

impl Dialect {
    /// The dialects of XMPP, in the order in which they are run.
    pub(crate) const XMPP: [Self; 4] = [Self::Rfc6120, Self::Xep0035, Self::Direct, Self::Plain];

    /// The name on the command line and in the results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rfc6120 => "rfc6120",
            Self::Xep0035 => "xep0035",
            Self::Direct => "direct",
            Self::Plain => "plain",
            Self::TcpEcho => "tcp-echo",
            Self::TlsEcho => "tls-echo",
            Self::TlsRelay => "tls-relay",
        }
    }

    /// Whether the connection ends up inside TLS.
    pub(crate) fn is_secure(self) -> bool {
        !matches!(self, Self::Plain | Self::TcpEcho)
    }

    /// Whether TLS begins with the first byte.
    pub(crate) fn starts_with_tls(self) -> bool {
        matches!(self, Self::Direct | Self::TlsEcho | Self::TlsRelay)
    }

    /// Whether there is no XMPP to speak.
    pub(crate) fn is_echo(self) -> bool {
        matches!(self, Self::TcpEcho | Self::TlsEcho | Self::TlsRelay)
    }

    /// Connections that a pair consists of: an echo is its own partner.
    pub(crate) fn sides(self) -> u32 {
        if matches!(self, Self::TcpEcho | Self::TlsEcho) { 1 } else { 2 }
    }
}

/// How a client proves who it is. On the XEP-0035 dialect it is always XEP-0078's password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    Plain,
    ScramSha1,
    ScramSha256,
    /// A client certificate.
    External,
}

impl Mechanism {
    /// All of them, in the order in which they are run.
    pub(crate) const ALL: [Self; 4] = [Self::Plain, Self::ScramSha1, Self::ScramSha256, Self::External];

    /// The name that SASL has for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha1 => Hash::Sha1.mechanism(),
            Self::ScramSha256 => Hash::Sha256.mechanism(),
            Self::External => "EXTERNAL",
        }
    }

    /// SCRAM's hash; `None` for what is not SCRAM.
    pub(crate) fn hash(self) -> Option<Hash> {
        match self {
            Self::Plain | Self::External => None,
            Self::ScramSha1 => Some(Hash::Sha1),
            Self::ScramSha256 => Some(Hash::Sha256),
        }
    }
}

/// How far a connection goes before it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// TLS is up.
    Secured,
    /// The server has opened a stream inside TLS: its tickets have come by then.
    Greeted,
    /// A session is bound.
    Bound,
}

/// What all connections of one run have in common.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Where to connect to.
    pub(crate) target: SocketAddr,
    /// The domain of the stream header.
    pub(crate) domain: String,
    pub(crate) dialect: Dialect,
    pub(crate) mechanism: Mechanism,
    pub(crate) goal: Goal,
    /// Tries again when a login fails: some servers refuse a few of them after many have left.
    pub(crate) patient: bool,
    /// Sends initial presence once bound.
    pub(crate) presence: bool,
    /// Account names are this and a number from zero.
    pub(crate) users: String,
    /// How many accounts there are.
    pub(crate) accounts: u32,
    /// The password of every account.
    pub(crate) password: String,
    /// TLS settings, by account: one for all, or for each its own tickets and certificate.
    pub(crate) tls: Vec<Arc<ClientConfig>>,
    /// The domain once more, for SNI.
    pub(crate) server_name: ServerName<'static>,
}

impl Plan {
    /// The TLS settings of an account; a plan has at least one.
    pub(crate) fn tls(&self, account: u32) -> Arc<ClientConfig> {
        self.tls[account as usize % self.tls.len()].clone()
    }

    /// The localpart of an account.
    pub(crate) fn localpart(&self, account: u32) -> String {
        format!("{}{account}", self.users)
    }
}
