//! Stream features and the list of mechanisms: what is offered on which channel, and how it is written.
//!
//! ```text
//! DomainPolicy + hashes that accounts have + Channel ──offer──▶ Offer ──write──▶ <stream:features/>
//!                                                                          └──▶ <sasl:mechanisms/> (XEP-0034)
//! ```
//!
//! The offer is kept with the stream as it was sent: `<auth/>` is held to it, and SCRAM hashes it (XEP-0474).
//!
//! RFC 6120 §4.3.2, §5.4.1, §6.3.4, §6.4.1, §7.4; XEP-0034 §2.2; XEP-0440; XEP-0478.

use super::interface::{DomainPolicy, HashSet};
use super::wire::{write_close, write_open};
use super::{Dialect, Login, StartTls, Stream};
use crate::config::Registration;
use crate::sasl::{BindingType, Credentials, Mechanism, Offer, ScramHash};

/// What protects the stream, as far as mechanisms care.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel {
    pub(super) is_secure: bool,
    /// Whether a good client certificate came with it.
    pub(super) external: bool,
    pub(super) has_exporter: bool,
    pub(super) has_end_point: bool,
}

impl Channel {
    pub(super) const CLEAR: Self =
        Self { is_secure: false, external: false, has_exporter: false, has_end_point: false };
}

/// An offer of nothing.
pub(super) fn nothing() -> Offer {
    Offer { mechanisms: Vec::new(), bindings: Vec::new() }
}

/// The sets that these credentials have. An account without any, which only a certificate opens, looks like a new one.
pub(super) fn hashes_of(credentials: &Credentials) -> HashSet {
    let has = |hash| credentials.keys.iter().any(|keys| keys.hash == hash);
    let hashes = HashSet { sha1: has(ScramHash::Sha1), sha256: has(ScramHash::Sha256) };
    if hashes == HashSet::default() { HashSet::BOTH } else { hashes }
}

/// The mechanisms to offer, in the order of preference: EXTERNAL first if a certificate allows it (RFC 6120 §6.3.4),
/// then what the configuration lists, as far as channel and accounts can do it.
pub(super) fn offer(domain: &DomainPolicy, hashes: HashSet, channel: &Channel) -> Offer {
    let mut mechanisms = fitting(domain, hashes, channel);
    if !mechanisms.iter().any(|mechanism| needs_password(*mechanism)) {
        // Some accounts lack the only hash that is configured. Those that have it should get in.
        mechanisms = fitting(domain, HashSet::BOTH, channel);
    }
    if channel.external {
        mechanisms.insert(0, Mechanism::External);
    }
    let binds = mechanisms.iter().any(|mechanism| is_plus(*mechanism));
    let mut bindings = Vec::new();
    if binds && channel.has_end_point {
        bindings.push(BindingType::TlsServerEndPoint);
    }
    if binds && channel.has_exporter {
        bindings.push(BindingType::TlsExporter);
    }
    Offer { mechanisms, bindings }
}

fn fitting(domain: &DomainPolicy, hashes: HashSet, channel: &Channel) -> Vec<Mechanism> {
    let can_bind = channel.has_exporter || channel.has_end_point;
    let fits = |mechanism: &Mechanism| match mechanism {
        Mechanism::ScramSha256Plus => can_bind && hashes.sha256,
        Mechanism::ScramSha1Plus => can_bind && hashes.sha1,
        Mechanism::ScramSha256 => hashes.sha256,
        Mechanism::ScramSha1 => hashes.sha1,
        Mechanism::Plain => channel.is_secure, // RFC 6120 §13.8.3: never in the clear, whatever the policy.
        Mechanism::External => false,          // Governed by the certificate, not by the list.
        Mechanism::Anonymous => true,
    };
    domain.mechanisms.iter().copied().filter(fits).collect()
}

fn needs_password(mechanism: Mechanism) -> bool {
    match mechanism {
        Mechanism::ScramSha256Plus
        | Mechanism::ScramSha1Plus
        | Mechanism::ScramSha256
        | Mechanism::ScramSha1
        | Mechanism::Plain => true,
        Mechanism::External | Mechanism::Anonymous => false,
    }
}

fn is_plus(mechanism: Mechanism) -> bool {
    matches!(mechanism, Mechanism::ScramSha256Plus | Mechanism::ScramSha1Plus)
}

/// Appends what follows our header: features, or the mechanisms of 2002, or nothing.
pub(super) fn write(stream: &Stream, domain: &DomainPolicy, out: &mut Vec<u8>) {
    match (stream.dialect, stream.login) {
        (Dialect::Rfc6120, login) => {
            out.extend_from_slice(b"<stream:features>");
            write_starttls(stream, domain, out);
            match login {
                Login::TlsFirst | Login::Password | Login::Nothing => {}
                Login::Sasl => {
                    write_sasl(stream, out);
                    write_register(stream, domain, out);
                }
                Login::Done => write_session(domain, out),
            }
            out.extend_from_slice(b"</stream:features>");
        }
        (Dialect::Xep0035, Login::Sasl) => write_mechanisms_2002(stream, out),
        (Dialect::Xep0035, Login::TlsFirst | Login::Password | Login::Nothing | Login::Done) => {}
    }
}

fn write_starttls(stream: &Stream, domain: &DomainPolicy, out: &mut Vec<u8>) {
    if stream.starttls != StartTls::Offered {
        return;
    }
    out.extend_from_slice(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'");
    out.extend_from_slice(if domain.tls_required { b"><required/></starttls>" } else { b"/>" });
}

fn write_sasl(stream: &Stream, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>");
    for mechanism in &stream.offer.mechanisms {
        out.extend_from_slice(b"<mechanism>");
        out.extend_from_slice(mechanism.name().as_bytes());
        out.extend_from_slice(b"</mechanism>");
    }
    out.extend_from_slice(b"</mechanisms>");
    if !stream.offer.bindings.is_empty() {
        out.extend_from_slice(b"<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>");
        for binding in &stream.offer.bindings {
            out.extend_from_slice(b"<channel-binding type='");
            out.extend_from_slice(binding.name().as_bytes());
            out.extend_from_slice(b"'/>");
        }
        out.extend_from_slice(b"</sasl-channel-binding>");
    }
}

/// XEP-0077 §8, XEP-0445 §3: inside TLS, where somebody may make an account.
fn write_register(stream: &Stream, domain: &DomainPolicy, out: &mut Vec<u8>) {
    if stream.starttls != StartTls::Done || domain.registration == Registration::Closed {
        return;
    }
    if domain.registration == Registration::Invite {
        out.extend_from_slice(b"<register xmlns='urn:xmpp:ibr-token:0'/>");
    }
    out.extend_from_slice(b"<register xmlns='http://jabber.org/features/iq-register'/>");
}

/// XEP-0034 §2.2: behind the header, in the client's own prefix.
fn write_mechanisms_2002(stream: &Stream, out: &mut Vec<u8>) {
    write_open(stream, "mechanisms", out);
    for mechanism in &stream.offer.mechanisms {
        write_open(stream, "mechanism", out);
        out.extend_from_slice(mechanism.name().as_bytes());
        write_close(stream, "mechanism", out);
    }
    write_close(stream, "mechanisms", out);
}

/// What is left after the login. The session element of RFC 3921 is for clients that insist on it.
fn write_session(domain: &DomainPolicy, out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>\
          <session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>\
          <ver xmlns='urn:xmpp:features:rosterver'/><sub xmlns='urn:xmpp:features:pre-approval'/>\
          <limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>",
    );
    out.extend_from_slice(domain.max_stanza_bytes.to_string().as_bytes());
    out.extend_from_slice(b"</max-bytes>");
    if domain.idle_seconds > 0 {
        out.extend_from_slice(b"<idle-seconds>");
        out.extend_from_slice(domain.idle_seconds.to_string().as_bytes());
        out.extend_from_slice(b"</idle-seconds>");
    }
    out.extend_from_slice(b"</limits>");
    out.extend_from_slice(&domain.features);
}
