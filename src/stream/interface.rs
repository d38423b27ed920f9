//! What goes into a negotiation, what it asks for, and what it is told about the world.
//!
//! ```text
//! framer, transport, timers, core ──Input──▶ Negotiation ──bytes──▶ out
//!                                                        └──Ask──▶ asks
//! ```
//!
//! The caller applies every [`Ask`] of one call, in order, before it hands in the next [`Input`].

use super::error::StreamCondition;
use crate::clock::Now;
use crate::config::Registration;
use crate::jid::Jid;
use crate::random::Random;
use crate::sasl::{self, HashJob, HashOutcome, Lookup, Mechanism, ScramKeys, Throttle, VerifierCache};
use crate::transport::TlsInfo;
use crate::xml::{Head, StreamNs, XmlError};
use std::net::IpAddr;

/// Something that happened to one connection.
#[derive(Debug)]
pub enum Input<'a> {
    /// A stream header was read whole.
    Header {
        /// What the scanner recorded of it.
        head: &'a Head,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// A first-level element was read whole.
    Element {
        /// What the scanner recorded of it.
        head: &'a Head,
        /// Its bytes.
        bytes: &'a [u8],
        /// Whether bytes that lie behind it came with the same read. They are in our memory already and can
        /// therefore not belong to TLS.
        trailing: bool,
    },
    /// White space between elements. Behind `<starttls/>` it counts as trailing bytes instead.
    Whitespace,
    /// The peer's `</stream:stream>`.
    StreamEnd,
    /// The scanner refused what the peer sent.
    XmlFault(XmlError),
    /// Everything that was in the outbox when [`Ask::TellDrained`] came has left in plaintext.
    Drained,
    /// The TLS handshake is complete.
    Secured(TlsInfo),
    /// The answer to [`Ask::Hash`].
    Hashed(HashOutcome),
    /// The other answer to [`Ask::Hash`]: the queue is full.
    Overloaded,
    /// The answer to [`Ask::Bind`]: the full JID that is now this stream's.
    Bound(&'a Jid),
    /// The other answer to [`Ask::Bind`].
    BindRefused(BindRefusal),
    /// The negotiation's deadline has passed.
    Timeout,
    /// The server goes down.
    Shutdown,
    /// A newer stream took this one's place.
    Conflict,
    /// The stream ends with this error, for a reason outside of it: its peer does not read, the store failed.
    Fault(StreamCondition),
}

/// Why a resource could not be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindRefusal {
    /// The resource is in use, and the rule was [`ConflictRule::Refuse`].
    Conflict,
    /// The account may not have a session: it was disabled or deleted meanwhile.
    NotAllowed,
    /// The account has as many sessions as it may have, or the server is full.
    ResourceConstraint,
    /// The store failed.
    InternalServerError,
}

/// What to do when the requested resource is in use (RFC 6120 §7.7.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConflictRule {
    /// The new session gets a resource that the server makes; what the RFC encourages.
    #[default]
    Rename,
    /// The new session is refused.
    Refuse,
    /// The old session ends with `conflict`; what XEP-0078 recommends, and the only way for a client of 2002, which
    /// is never told what it was renamed to.
    Replace,
}

/// What the negotiation wants done.
#[derive(Debug)]
pub enum Ask {
    /// Open or shut the gate: while it is shut nothing is read from the socket, and nothing that was read is parsed.
    ReadGate(bool),
    /// Answer with [`Input::Drained`] once everything written so far has left the outbox.
    TellDrained,
    /// Put TLS on the socket. The outbox is drained and the gate shut.
    Flip {
        /// The domain that the clear header named; it only picks the certificate, and only if there is no SNI.
        hint: Option<String>,
    },
    /// The scanner expects a stream header from the next byte on, and forgets the old one's namespaces.
    NewStream,
    /// Run this on the hashing thread.
    Hash(HashJob),
    /// Hold what this call wrote, and keep the gate shut, this long: failing logins are slowed.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// Bind a session.
    Bind {
        /// Who logged in; a bare JID.
        account: Jid,
        /// The resource asked for, prepared; the server makes one if there is none.
        resource: Option<String>,
        /// Whether this is an ANONYMOUS login, whose account exists as long as the session.
        anonymous: bool,
        /// What to do if the resource is in use.
        conflict: ConflictRule,
    },
    /// Store these hashes: the account lacked them, and the right password was just seen.
    FillIn {
        /// Whose they are; a bare JID.
        account: Jid,
        /// The sets to add.
        keys: Vec<ScramKeys>,
        /// The stored key that the password was right for. If the account does not have it any more, its password
        /// was changed meanwhile and nothing must be stored.
        proven_by: Vec<u8>,
    },
    /// End the connection.
    Close(CloseHow),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseHow {
    /// Flush, wait for the peer's end tag within a bound, then `close_notify` and FIN (RFC 6120 §4.4).
    Linger,
    /// Flush, then close TCP at once.
    AfterFlush,
    /// Close TCP at once; nothing more may leave.
    Now,
}

/// What a handler may look at and write to.
pub struct Context<'a> {
    /// The time of this tick.
    pub now: Now,
    /// Whether the listener is one for direct TLS (XEP-0368).
    pub direct_tls: bool,
    /// Where the peer connects from; keys the throttle.
    pub peer: IpAddr,
    /// What the operator wants.
    pub policy: &'a dyn Policy,
    /// Who may log in.
    pub accounts: &'a mut dyn StreamAccounts,
    /// Ids, resources, nonces.
    pub random: &'a mut Random,
    /// Passwords seen to be right lately.
    pub verifiers: &'a mut VerifierCache,
    /// Failed logins of late.
    pub throttle: &'a mut Throttle,
    /// Makes up the salts of users who do not exist.
    pub fake_secret: &'a [u8; 32],
    /// Bytes for the peer are appended here.
    pub out: &'a mut Vec<u8>,
    /// Requests to the caller are appended here.
    pub asks: &'a mut Vec<Ask>,
}

/// What the operator wants, as far as a stream needs to know.
pub trait Policy {
    /// The rules of a hosted domain; `name` is a prepared domainpart.
    fn domain(&self, name: &str) -> Option<&DomainPolicy>;
    /// The domain that speaks when the peer named none, or one that is not ours.
    fn default_domain(&self) -> &str;
    /// The only domain, if exactly one is hosted: a header without `to` means this one.
    fn sole_domain(&self) -> Option<&DomainPolicy>;
    /// Judges a client's chain for `domain`: its `xmppAddr` values if it is good now.
    ///
    /// # Errors
    ///
    /// The chain is not good, or the domain trusts nobody.
    #[allow(clippy::result_unit_err)] // Why it is bad is for the operator's log, never for the peer.
    fn judge(&self, domain: &str, chain: &[Vec<u8>], unix_s: u64) -> Result<Vec<String>, ()>;
}

/// The rules of one hosted domain.
#[derive(Clone, Debug)]
pub struct DomainPolicy {
    /// Its name, prepared.
    pub name: String,
    /// Whether it has a certificate.
    pub tls_available: bool,
    /// Whether nothing but STARTTLS is answered before TLS.
    pub tls_required: bool,
    /// Whether the dialect of 2002 is spoken.
    pub legacy: bool,
    /// The SASL mechanisms that the configuration allows, strongest first. EXTERNAL is governed by `external`.
    pub mechanisms: Vec<Mechanism>,
    /// Whether client certificates log in.
    pub external: bool,
    /// PBKDF2 rounds of new sets of SCRAM keys, and what unknown users are told.
    pub iterations: u32,
    /// Login attempts on one stream.
    pub sasl_attempts_max: u8,
    /// Attempts to bind a resource on one stream.
    pub bind_attempts_max: u8,
    /// What to do when a resource requested by `<bind/>` is in use. `jabber:iq:auth` always replaces.
    pub conflict: ConflictRule,
    /// Who may make an account on a stream that has not logged in, inside TLS only.
    pub registration: Registration,
    /// Largest stanza of a bound session; advertised (XEP-0478).
    pub max_stanza_bytes: u32,
    /// Elements of extensions among the features after login.
    pub features: Vec<u8>,
    /// Seconds of silence after which a session may be dropped; advertised (XEP-0478) unless 0.
    pub idle_seconds: u32,
}

/// Which sets of SCRAM keys there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashSet {
    /// SCRAM-SHA-1.
    pub sha1: bool,
    /// SCRAM-SHA-256.
    pub sha256: bool,
}

impl HashSet {
    /// What a new account has.
    pub const BOTH: Self = Self { sha1: true, sha256: true };
}

/// The accounts, as a stream sees them.
pub trait StreamAccounts: sasl::Accounts {
    /// The sets that every account of `domain` has; [`Lookup::Absent`] if it has no accounts.
    fn offered_hashes(&mut self, domain: &str) -> Lookup<HashSet>;
    /// Whether a [`Lookup::Miss`] is final this time: the row cannot be read. Who can do without says so to the
    /// client, who cannot answers [`Parked`] again.
    fn is_unreadable(&self) -> bool {
        false
    }
}

/// A row of an account is not in memory. Nothing was changed or written: fetch it and hand in the same input again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parked;

/// What is left of a negotiation once a session is bound.
#[derive(Debug)]
pub struct BoundStream {
    /// The header's declarations; none if they were the usual ones.
    pub ns: Option<Box<StreamNs>>,
    /// The peer's `xml:lang`: the default language of its stanzas.
    pub lang: Option<Box<str>>,
    /// The session's full JID.
    pub jid: Jid,
    /// Whether the stream is one of RFC 6120; errors on others carry a text.
    pub version_1: bool,
    /// Whether the login was ANONYMOUS.
    pub anonymous: bool,
}
