//! The stanza pipeline: what a bound session sends, by the rules of RFC 6120 §§8, 10 and RFC 6121 §8.
//!
//! ```text
//! frame ──▶ stanza kind ──▶ message │ presence │ iq ──▶ route ──▶ relay with `from` stamped ──▶ outboxes
//!                                         │ refused
//!                                         └──▶ error to the sender, never to an error
//! ```
//!
//! A relayed stanza is written once into each target's outbox: rewritten head, then the payload's
//! bytes as they came. Nothing is built and nothing is allocated on that path.

mod iq;
mod message;
mod presence;

use crate::clock::Now;
use crate::ids::SessionId;
use crate::im::directory::{Directory, Route};
use crate::jid::{self, JidRef};
use crate::metrics::Metrics;
use crate::outbox::Outboxes;
use crate::stanza::{self, StanzaCondition, StanzaError, StanzaKind};
use crate::stream::error::StreamCondition;
use crate::xep::About;
use crate::xml::{CLIENT, Child, Head, STREAMS, StreamNs, relay};

/// Content namespaces that a client's stream does not have (RFC 6120 §4.8.3).
const FOREIGN_CONTENT: [&str; 3] = ["", "jabber:server", "jabber:component:accept"];

/// The domains that this process answers for.
pub trait Hosts {
    /// Whether `domain` (prepared) is hosted here.
    fn is_hosted(&self, domain: &str) -> bool;
}

/// The columns that a stanza's way leads through.
#[derive(Debug)]
pub struct Dispatch<'a, H: Hosts> {
    /// Who is online.
    pub directory: &'a mut Directory,
    /// Bytes to send.
    pub outboxes: &'a mut Outboxes,
    /// The hosted domains.
    pub hosts: &'a H,
    /// What the server says about itself.
    pub about: &'a About,
    /// Buffers used again and again.
    pub scratch: &'a mut Scratch,
    /// Counters.
    pub metrics: &'a mut Metrics,
    /// The time of this tick.
    pub now: Now,
    /// Targets that one session may have sent directed presence to.
    pub directed_max: usize,
}

/// Buffers that a stanza's way uses again and again.
#[derive(Debug, Default)]
pub struct Scratch {
    jid: String,
    out: Vec<u8>,
    targets: Vec<SessionId>,
}

/// A stanza that has been read: where it is, and who sent it.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The sender's session.
    pub sender: SessionId,
    /// What the scanner saw.
    pub head: &'a Head,
    /// The bytes of the element.
    pub bytes: &'a [u8],
    /// The sender's stream header.
    pub ns: &'a StreamNs,
    /// The sender's stream language, for stanzas that name none.
    pub lang: Option<&'a str>,
    /// Whether errors to the sender carry the numbers of XEP-0086: on streams of the 2002 dialect.
    pub has_code: bool,
}

/// What the stream does after a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    GoOn,
    /// It ends with this error.
    Error(StreamCondition),
    /// The peer said that it is broken: it ends without more words.
    End,
}

/// Where an address leads.
enum Address<'a> {
    /// No `to`.
    None,
    /// Not an address.
    Malformed,
    /// A prepared address.
    Jid(JidRef<'a>),
}

impl<H: Hosts> Dispatch<'_, H> {
    /// Takes one first-level element of a bound stream.
    pub fn frame(&mut self, frame: Frame<'_>) -> Verdict {
        let (head, bytes, ns) = (frame.head, frame.bytes, frame.ns);
        if head.is(bytes, ns, STREAMS, "error") {
            return Verdict::End;
        }
        let uri = head.ns(bytes, ns);
        if FOREIGN_CONTENT.contains(&&*uri) {
            return Verdict::Error(StreamCondition::InvalidNamespace);
        }
        if uri != CLIENT {
            return Verdict::Error(StreamCondition::UnsupportedStanzaType);
        }
        if has_content_prefix(frame) {
            return Verdict::Error(StreamCondition::BadNamespacePrefix);
        }
        match StanzaKind::from_name(head.local(bytes)) {
            Some(StanzaKind::Message) => self.message(frame),
            Some(StanzaKind::Presence) => self.presence(frame),
            Some(StanzaKind::Iq) => self.iq(frame),
            None => return Verdict::Error(StreamCondition::UnsupportedStanzaType),
        }
        Verdict::GoOn
    }

    /// Where stanzas for an address go.
    fn route(&self, to: JidRef<'_>) -> Route {
        if self.hosts.is_hosted(to.domainpart()) { self.directory.route(to) } else { Route::Remote }
    }

    /// Writes the frame to a session, `from` stamped; false if the session is gone.
    fn deliver(&mut self, frame: Frame<'_>, target: SessionId) -> bool {
        let Some(sender) = self.directory.get(frame.sender) else { return false };
        let Some(session) = self.directory.get(target) else { return false };
        let from = sender.jid.as_str();
        self.outboxes.append(session.conn, |out| {
            relay(frame.head, frame.bytes, frame.ns, from, frame.lang, out);
        });
        self.metrics.stanzas_relayed += 1;
        true
    }

    /// Writes the frame to each session that `wanted` accepts; returns to how many.
    fn deliver_to_resources(&mut self, frame: Frame<'_>, bare: &str, wanted: fn(i8) -> bool) -> usize {
        let mut targets = std::mem::take(&mut self.scratch.targets);
        targets.clear();
        let resources = self.directory.resources(bare);
        targets.extend(resources.filter(|(_, s)| s.priority().is_some_and(wanted)).map(|(id, _)| id));
        for target in &targets {
            self.deliver(frame, *target);
        }
        let count = targets.len();
        self.scratch.targets = targets;
        count
    }

    /// Answers the sender with a stanza error. The caller has made sure that the frame is no error.
    fn refuse(&mut self, frame: Frame<'_>, kind: StanzaKind, condition: StanzaCondition) {
        let Some(sender) = self.directory.get(frame.sender) else { return };
        let (id, to) = (frame.head.attr(frame.bytes, "id"), frame.head.attr(frame.bytes, "to"));
        // What is no address cannot speak.
        let from = to.as_deref().filter(|_| condition != StanzaCondition::JidMalformed);
        let to = Some(sender.jid.as_str());
        let error =
            StanzaError { id: id.as_deref(), from, to, has_code: frame.has_code, ..StanzaError::new(kind, condition) };
        self.metrics.stanza_errors += 1;
        self.outboxes.append(sender.conn, |out| stanza::error_reply(&error, out));
    }
}

/// Whether the stanza or a child of it has a prefix for `jabber:client`: that must not reach anybody (RFC 6120 §4.8.5).
fn has_content_prefix(Frame { head, bytes, ns, .. }: Frame<'_>) -> bool {
    let is_prefixed = |child: &Child| child.prefix(bytes).is_some() && child.ns(bytes, ns) == CLIENT;
    head.prefix(bytes).is_some() || head.children().iter().any(is_prefixed)
}

/// Prepares a `to`, in `scratch` if need be.
fn address<'a>(to: Option<&'a str>, scratch: &'a mut String) -> Address<'a> {
    match to {
        None => Address::None,
        Some(text) => jid::prepare(text, scratch).map_or(Address::Malformed, Address::Jid),
    }
}
