//! One handshake: picks the certificate, its ticket keys, and notes what the TLS library will not tell later.
//!
//! ```text
//! ClientHello ──▶ resolve: SNI, else the hint, else the default ──▶ domain ──▶ certificate
//!                                                                        └──▶ ticket keys of that domain
//! Finished    ──▶ log: exporter secret ──▶ tls-exporter
//! ```
//!
//! The unbuffered connection offers neither the server name nor an exporter, and the library's
//! resolver, key log and ticketer are told nothing about the connection they are called for. So each
//! connection gets a copy of the configuration with a [`Handshake`] of its own in these three places:
//! a few hundred bytes that live as long as the handshake, and no state shared between connections
//! (a thread-local slot was the alternative: cheaper by nothing measurable, and easy to leave behind
//! for the wrong connection). Tickets of one domain cannot be redeemed at another, with or without
//! SNI, because the keys are those of the domain whose certificate was chosen.
//!
//! RFC 8446 §4.2.11, §7.5; RFC 6066 §3; RFC 9266.

use super::binding;
use super::tls_domains::DomainSet;
use rustls::KeyLog;
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// What the clear stream header said about the domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// Nothing: direct TLS, or no `to`.
    None,
    /// This hosted domain.
    Domain(usize),
    /// A domain that is not hosted.
    Unknown,
}

/// Why no certificate was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameFault {
    /// The name asked for is not hosted.
    Unknown,
    /// No name, and none to assume.
    Missing,
}

/// What one handshake showed so far.
#[derive(Default)]
pub(super) struct Seen {
    /// The domain whose certificate was chosen.
    pub(super) domain: Option<usize>,
    /// The server name asked for.
    pub(super) sni: Option<String>,
    /// Set if no certificate was chosen.
    pub(super) fault: Option<NameFault>,
    /// `tls-exporter`. Derived when the server's Finished is sent, so before the client has proven
    /// anything: it must not be used until the handshake is complete.
    pub(super) exporter: Option<Zeroizing<[u8; 32]>>,
}

/// The three hooks of the TLS library, for one connection.
pub(super) struct Handshake {
    set: Arc<DomainSet>,
    hint: Hint,
    seen: Mutex<Seen>,
}

impl Handshake {
    pub(super) fn new(set: Arc<DomainSet>, hint: Hint) -> Self {
        Self { set, hint, seen: Mutex::new(Seen::default()) }
    }

    /// Takes what was seen; the handshake is over.
    pub(super) fn take(&self) -> Seen {
        std::mem::take(&mut *self.seen())
    }

    /// Why no certificate was chosen, if that is what happened.
    pub(super) fn fault(&self) -> Option<NameFault> {
        self.seen().fault
    }

    /// The hash for `tls-server-end-point` of what was sent.
    pub(super) fn server_end_point(&self, domain: Option<usize>) -> Option<Vec<u8>> {
        self.set.get(domain?)?.server_end_point.clone()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn choose(&self, sni: Option<&str>) -> Result<usize, NameFault> {
        match (sni, self.hint) {
            // SNI wins over what was said in the clear, also when it names nobody.
            (Some(name), _) => self.set.find(name).ok_or(NameFault::Unknown),
            (None, Hint::Domain(index)) => Ok(index),
            (None, Hint::Unknown) => Err(NameFault::Unknown),
            (None, Hint::None) => self.set.default_domain().ok_or(NameFault::Missing),
        }
    }

    fn tickets(&self) -> Option<Arc<dyn ProducesTickets>> {
        let domain = self.seen().domain?;
        Some(Arc::clone(&self.set.get(domain)?.tickets))
    }
}

impl ResolvesServerCert for Handshake {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let sni = hello.server_name();
        let choice = self.choose(sni);
        let mut seen = self.seen();
        seen.sni = sni.map(str::to_owned);
        seen.domain = choice.ok();
        seen.fault = choice.err();
        Some(Arc::clone(&self.set.get(seen.domain?)?.certified))
    }
}

impl KeyLog for Handshake {
    /// The label must be checked again: the library logs TLS 1.2's master secret without asking.
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if self.will_log(label) {
            self.seen().exporter = binding::tls_exporter(secret).map(Zeroizing::new);
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == "EXPORTER_SECRET"
    }
}

impl ProducesTickets for Handshake {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.tickets().map_or(0, |tickets| tickets.lifetime())
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets()?.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.tickets()?.decrypt(cipher)
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("hint", &self.hint).finish_non_exhaustive()
    }
}
