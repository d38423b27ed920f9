//! SASL, the server's side: mechanisms that take bytes and give back bytes.
//!
//! ```text
//! stream ──decoded data──▶ Exchange ──SaslStep──▶ stream
//!                             │ Hash(job) ──▶ hashing thread ──outcome──▶ Exchange::hashed
//!                             └ credentials ◀── Accounts (may answer Miss: park, call again)
//! ```
//!
//! One mechanism a file. An [`Exchange`] knows neither XML nor base64 nor the dialect around it: both the
//! elements of RFC 6120 §6 and those of XEP-0034 are the stream's business. Nothing here blocks:
//! PBKDF2 leaves as a [`HashJob`].
//!
//! Whoever fails learns the same as anybody else who fails: an unknown user meets a salt that never
//! changes, as many steps and as much hashing as a known one (RFC 6120 §6.5.10).
//!
//! RFC 4422, RFC 6120 §6; the mechanisms name their own sources.

mod anonymous;
pub mod base64;
pub mod client;
mod exchange;
mod external;
mod hash;
mod keys;
mod message;
mod plain;
mod scram;
#[cfg(test)]
mod tests;
mod throttle;
mod verifiers;

use crate::clock::Now;
use crate::random::Random;
use std::fmt;
use zeroize::Zeroize as _;

pub use exchange::{Exchange, check_password};
pub use hash::{HashJob, HashOutcome, derive};
pub use keys::{CREDENTIALS_BYTES_MAX, Credentials, ScramHash, ScramKeys};
pub use throttle::{Throttle, Totals};
pub use verifiers::VerifierCache;

pub use crate::limits::{ITERATIONS_MAX, ITERATIONS_MIN, SASL_MESSAGE_BYTES_MAX};
/// PBKDF2 rounds of new sets, unless the configuration says otherwise.
pub const ITERATIONS_DEFAULT: u32 = 10_000;

const _: () = assert!(ITERATIONS_MIN <= ITERATIONS_DEFAULT && ITERATIONS_DEFAULT <= ITERATIONS_MAX);

/// The mechanisms there are, in the order in which they are best offered: strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mechanism {
    /// RFC 7677, bound to the TLS channel.
    ScramSha256Plus,
    /// RFC 5802, bound to the TLS channel.
    ScramSha1Plus,
    /// RFC 7677.
    ScramSha256,
    /// RFC 5802.
    ScramSha1,
    /// RFC 4616; inside TLS only.
    Plain,
    /// RFC 4422 appendix A, with a client certificate (XEP-0178).
    External,
    /// RFC 4505, XEP-0175.
    Anonymous,
}

impl Mechanism {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ScramSha256Plus,
        Self::ScramSha1Plus,
        Self::ScramSha256,
        Self::ScramSha1,
        Self::Plain,
        Self::External,
        Self::Anonymous,
    ];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::Plain => "PLAIN",
            Self::External => "EXTERNAL",
            Self::Anonymous => "ANONYMOUS",
        }
    }

    /// The mechanism of that name. Names are upper case (RFC 4422 §3.1) and compared as they are.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// The hash of a SCRAM mechanism.
    pub fn hash(self) -> Option<ScramHash> {
        match self {
            Self::ScramSha256Plus | Self::ScramSha256 => Some(ScramHash::Sha256),
            Self::ScramSha1Plus | Self::ScramSha1 => Some(ScramHash::Sha1),
            Self::Plain | Self::External | Self::Anonymous => None,
        }
    }

    /// Whether it binds the login to the TLS channel.
    pub fn is_plus(self) -> bool {
        matches!(self, Self::ScramSha256Plus | Self::ScramSha1Plus)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a login can be bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BindingType {
    /// RFC 9266; TLS 1.3.
    TlsExporter,
    /// RFC 5929 §4: the certificate really sent.
    TlsServerEndPoint,
}

impl BindingType {
    /// The registered name, as in `p=` and in XEP-0440.
    pub fn name(self) -> &'static str {
        match self {
            Self::TlsExporter => "tls-exporter",
            Self::TlsServerEndPoint => "tls-server-end-point",
        }
    }

    /// The type of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::TlsExporter, Self::TlsServerEndPoint].into_iter().find(|binding| binding.name() == name)
    }
}

/// What a stream may use: exactly the lists that it was sent, since XEP-0474 hashes them. Policy, TLS and
/// the certificate have been asked already; an exchange accepts nothing that is not in here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The mechanisms.
    pub mechanisms: Vec<Mechanism>,
    /// The binding types announced by XEP-0440; empty if none was announced.
    pub bindings: Vec<BindingType>,
}

impl Offer {
    /// Whether it has a mechanism with channel binding.
    pub fn has_plus(&self) -> bool {
        self.mechanisms.iter().any(|mechanism| mechanism.is_plus())
    }

    /// What XEP-0474 §6.1 hashes: the sorted mechanisms, and if any were announced, the sorted binding types.
    pub(crate) fn downgrade_input(&self) -> String {
        let mut mechanisms: Vec<_> = self.mechanisms.iter().map(|mechanism| mechanism.name()).collect();
        mechanisms.sort_unstable();
        let mut input = mechanisms.join("\u{1E}");
        if !self.bindings.is_empty() {
            let mut bindings: Vec<_> = self.bindings.iter().map(|binding| binding.name()).collect();
            bindings.sort_unstable();
            input.push('\u{1F}');
            input.push_str(&bindings.join("\u{1E}"));
        }
        input
    }
}

/// The data of this TLS channel, for each type that can be had.
#[derive(Clone, Default)]
pub struct BindingData {
    /// RFC 9266 §2: 32 bytes of keying material with the label "EXPORTER-Channel-Binding".
    pub exporter: Option<[u8; 32]>,
    /// RFC 5929 §4.1: the hash of the server's certificate.
    pub server_end_point: Option<Vec<u8>>,
}

impl BindingData {
    fn get(&self, binding: BindingType) -> Option<&[u8]> {
        match binding {
            BindingType::TlsExporter => self.exporter.as_ref().map(<[u8; 32]>::as_slice),
            BindingType::TlsServerEndPoint => self.server_end_point.as_deref(),
        }
    }
}

impl Drop for BindingData {
    fn drop(&mut self) {
        self.exporter.zeroize();
    }
}

impl fmt::Debug for BindingData {
    /// Says what there is, never its bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BindingData")
            .field("exporter", &self.exporter.is_some())
            .field("server_end_point", &self.server_end_point.is_some())
            .finish()
    }
}

/// What a look into the store gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    /// It is there.
    Found(T),
    /// It is known not to be there.
    Absent,
    /// Not in memory: the caller parks, fetches, and calls again with the same input.
    Miss,
}

/// The accounts, as mechanisms see them.
pub trait Accounts {
    /// The keys of an account; both names are prepared.
    fn credentials(&mut self, domain: &str, localpart: &str) -> Lookup<Credentials>;
}

/// What an exchange looks at and draws from, for one call.
pub struct SaslContext<'a> {
    /// The domain of the stream, prepared.
    pub domain: &'a str,
    /// The lists that the stream was sent.
    pub offer: &'a Offer,
    /// The data of the TLS channel.
    pub bindings: &'a BindingData,
    /// The `xmppAddr` values of a client certificate judged good now; prepared or not.
    pub certificate_addresses: &'a [String],
    /// Who may log in.
    pub accounts: &'a mut dyn Accounts,
    /// Nonces, salts, names of anonymous users.
    pub random: &'a mut Random,
    /// Makes up the salts of users who do not exist; must outlive the process, else a restart tells.
    pub fake_secret: &'a [u8; 32],
    /// Passwords seen to be right lately.
    pub verifiers: &'a mut VerifierCache,
    /// PBKDF2 rounds of new sets, and what unknown users are told.
    pub iterations: u32,
    /// The time of this tick.
    pub now: Now,
    /// Whether the dialect is XEP-0034's: PLAIN may be username NUL password, EXTERNAL needs no response.
    pub legacy_plain: bool,
}

/// What to do next.
#[derive(Debug)]
pub enum SaslStep {
    /// A row is not in memory. The exchange is as it was: fetch, and make the same call again.
    Miss,
    /// Send this.
    Challenge(Vec<u8>),
    /// Run this on the hashing thread and hand the outcome to [`Exchange::hashed`].
    Hash(HashJob),
    /// Done.
    Success(Authenticated),
    /// Done: `<failure/>` with this condition.
    Failure(SaslCondition),
}

/// Who logged in, and what comes with it.
#[derive(Debug)]
pub struct Authenticated {
    /// The localpart of the account, prepared; its domain is the stream's.
    pub localpart: String,
    /// Additional data with success: SCRAM's server-final-message.
    pub data: Option<Vec<u8>>,
    /// How.
    pub mechanism: Mechanism,
    /// Sets that the account lacked, computed from the right password; for [`Credentials::fill_in`].
    pub fill_in: Vec<ScramKeys>,
    /// The stored key that the password was right for. A password changed meanwhile has another, and then
    /// `fill_in` must not be stored.
    pub proven_by: Vec<u8>,
    /// Whether the account exists only as long as its session.
    pub anonymous: bool,
}

/// Why a login failed (RFC 6120 §6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SaslCondition {
    /// The client gave up.
    Aborted,
    /// The account is disabled; said only to who proved to own it.
    AccountDisabled,
    /// The credentials are too old.
    CredentialsExpired,
    /// The mechanism needs TLS.
    EncryptionRequired,
    /// The base64 is none.
    IncorrectEncoding,
    /// The authorization identity is not one that these credentials may act as.
    InvalidAuthzid,
    /// The mechanism was not offered.
    InvalidMechanism,
    /// The data break the mechanism's syntax.
    MalformedRequest,
    /// The mechanism is weaker than policy allows for this account.
    MechanismTooWeak,
    /// Wrong credentials, or none such: never which.
    NotAuthorized,
    /// Try again later.
    TemporaryAuthFailure,
}

impl SaslCondition {
    /// The name of the element inside `<failure/>`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::AccountDisabled => "account-disabled",
            Self::CredentialsExpired => "credentials-expired",
            Self::EncryptionRequired => "encryption-required",
            Self::IncorrectEncoding => "incorrect-encoding",
            Self::InvalidAuthzid => "invalid-authzid",
            Self::InvalidMechanism => "invalid-mechanism",
            Self::MalformedRequest => "malformed-request",
            Self::MechanismTooWeak => "mechanism-too-weak",
            Self::NotAuthorized => "not-authorized",
            Self::TemporaryAuthFailure => "temporary-auth-failure",
        }
    }
}
