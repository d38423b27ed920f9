//! The stanza pipeline: what a bound session or a component sends, by the rules of RFC 6120 §§8, 10 and RFC 6121 §8.
//!
//! ```text
//! frame ──▶ stanza kind ──▶ message │ presence │ iq ──▶ route ──▶ relay with `from` stamped ──▶ outboxes
//!                                         │ refused
//!                                         └──▶ error to the sender, never to an error
//! ```
//!
//! A frame is a run over the store: it misses and runs again, or what it wrote waits for the disk
//! together with the answer. A relayed stanza touches no row; it is written once into each target's outbox: rewritten head, then the payload's
//! bytes as they came. Nothing is built and nothing is allocated on that path.

mod directed;
mod iq;
mod message;
mod presence;
mod remote;

pub use remote::vouched;

use crate::ids::{ConnId, SessionId};
use crate::im::columns::Columns;
use crate::im::directory::Route;
use crate::im::sender::Sender;
use crate::im::session::SessionFlags;
use crate::im::stop::{Refusal, Stop};
use crate::jid::{self, JidRef};
use crate::sasl::HashJob;
use crate::stanza::{self, StanzaCondition, StanzaError, StanzaKind};
use crate::storage::{Miss, Ticket};
use crate::stream::error::StreamCondition;
use crate::xep::About;
use crate::xml::{CLIENT, Child, Head, STREAMS, StreamNs, outward, relay};

/// Content namespaces that a client's stream does not have (RFC 6120 §4.8.3).
const FOREIGN_CONTENT: [&str; 3] = ["", "jabber:server", "jabber:component:accept"];

/// The columns that a stanza's way leads through, and what the server says about itself.
#[derive(Debug)]
pub struct Dispatch<'a> {
    /// The columns.
    pub columns: Columns<'a>,
    /// What the server says about itself.
    pub about: &'a About,
}

/// A stanza that has been read: where it is, and who sent it.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Who sent it.
    pub sender: Sender<'a>,
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

/// Why a stream ends after a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// With this error.
    Error(StreamCondition),
    /// The peer said that it is broken: it ends without more words.
    End,
}

/// How a frame's run has ended.
#[derive(Debug)]
pub enum Done {
    /// What it appended waits for this ticket; the stream goes on.
    Held(Ticket),
    /// The same, and it answers a request: also what the sender has written before is to be on disk.
    Answered(Ticket),
    /// The stream ends.
    Verdict(Verdict),
    /// A row is missing: park the frame and run it again.
    Missed(Miss),
    /// A password has to be hashed: park the frame and run it again with the outcome.
    Hash(Box<HashJob>),
}

/// What a run that has come to its end owes the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    /// Nothing: it passes stanzas on, and tells nobody what is stored.
    None,
    /// What it wrote and what it read: its answer says what is stored.
    Answer,
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

impl Dispatch<'_> {
    /// Takes one first-level element of a bound stream, or of a component's.
    pub fn frame(&mut self, frame: Frame<'_>) -> Done {
        let (head, bytes, ns) = (frame.head, frame.bytes, frame.ns);
        if head.is(bytes, ns, STREAMS, "error") {
            return Done::Verdict(Verdict::End);
        }
        let uri = head.ns(bytes, ns);
        if FOREIGN_CONTENT.contains(&&*uri) {
            return Done::Verdict(Verdict::Error(StreamCondition::InvalidNamespace));
        }
        if uri != CLIENT {
            return Done::Verdict(Verdict::Error(StreamCondition::UnsupportedStanzaType));
        }
        if has_content_prefix(frame) {
            return Done::Verdict(Verdict::Error(StreamCondition::BadNamespacePrefix));
        }
        let Some(kind) = StanzaKind::from_name(head.local(bytes)) else {
            return Done::Verdict(Verdict::Error(StreamCondition::UnsupportedStanzaType));
        };
        let is_gone = |id| self.columns.directory.get(id).is_none_or(|sender| sender.flags.has(SessionFlags::GONE));
        if frame.sender.session().is_some_and(is_gone) {
            self.columns.store.discard();
            return Done::Held(Ticket::NONE);
        }
        let result = match kind {
            StanzaKind::Message => self.message(frame),
            StanzaKind::Presence => self.presence(frame),
            StanzaKind::Iq => self.iq(frame),
        };
        match result {
            Ok(Promise::None) => {
                self.columns.store.finish();
                Done::Held(Ticket::NONE)
            }
            Ok(Promise::Answer) if kind == StanzaKind::Iq => Done::Answered(self.columns.store.finish()),
            Ok(Promise::Answer) => Done::Held(self.columns.store.finish()),
            Err(Stop::Refuse(refusal)) => Done::Held(self.refuse(frame, kind, refusal)),
            Err(Stop::Miss(miss)) => {
                self.columns.outboxes.take_back();
                self.columns.effects.clear();
                Done::Missed(miss)
            }
            Err(Stop::Hash(job)) => {
                self.undo();
                Done::Hash(job)
            }
        }
    }

    /// Takes back what the run has written and appended; returns the ticket that an answer must wait for.
    fn undo(&mut self) -> Ticket {
        self.columns.outboxes.take_back();
        self.columns.effects.clear();
        self.columns.store.discard()
    }

    /// Where stanzas for an address go.
    fn route(&self, to: JidRef<'_>) -> Route {
        let Columns { hosts, directory, .. } = &self.columns;
        if hosts.is_hosted(to.domainpart()) {
            return directory.route(to);
        }
        match hosts.component(to.domainpart()) {
            Some(conn) => Route::Component(conn),
            None if hosts.is_component(to.domainpart()) => Route::Nobody,
            None => Route::Remote,
        }
    }

    /// Writes the frame to a session, `from` stamped; false if the session is gone.
    fn deliver(&mut self, frame: Frame<'_>, target: SessionId) -> bool {
        let Some(from) = frame.sender.jid(self.columns.directory) else { return false };
        let Some(session) = self.columns.directory.get(target) else { return false };
        let from = from.as_str();
        self.columns.outboxes.append(session.conn, |out| {
            relay(frame.head, frame.bytes, frame.ns, from, frame.lang, out);
        });
        self.columns.metrics.stanzas_relayed += 1;
        true
    }

    /// Writes the frame to the connection of a component, `from` stamped.
    fn deliver_to_component(&mut self, frame: Frame<'_>, conn: ConnId) {
        let Some(from) = frame.sender.jid(self.columns.directory) else { return };
        self.columns.outboxes.append(conn, |out| {
            outward(out, |out| relay(frame.head, frame.bytes, frame.ns, from.as_str(), frame.lang, out));
        });
        self.columns.metrics.stanzas_relayed += 1;
    }

    /// Writes the frame to a session, `from` stamped, not before what is held for it.
    fn deliver_in_turn(&mut self, frame: Frame<'_>, target: SessionId) {
        let Some(from) = frame.sender.jid(self.columns.directory) else { return };
        let Some(session) = self.columns.directory.get(target) else { return };
        self.columns.outboxes.append_in_turn(session.conn, |out| {
            relay(frame.head, frame.bytes, frame.ns, from.as_str(), frame.lang, out);
        });
        self.columns.metrics.stanzas_relayed += 1;
    }

    /// Writes the frame to the connection of a component, not before what is held for it.
    fn deliver_to_component_in_turn(&mut self, frame: Frame<'_>, conn: ConnId) {
        let Some(from) = frame.sender.jid(self.columns.directory) else { return };
        self.columns.outboxes.append_in_turn(conn, |out| {
            outward(out, |out| relay(frame.head, frame.bytes, frame.ns, from.as_str(), frame.lang, out));
        });
        self.columns.metrics.stanzas_relayed += 1;
    }

    /// Writes the frame to each session that `wanted` accepts; returns to how many.
    fn deliver_to_resources(&mut self, frame: Frame<'_>, bare: &str, wanted: fn(i8) -> bool) -> usize {
        let mut targets = std::mem::take(&mut self.columns.scratch.targets);
        targets.clear();
        let resources = self.columns.directory.resources(bare);
        targets.extend(resources.filter(|(_, s)| s.priority().is_some_and(wanted)).map(|(id, _)| id));
        for target in &targets {
            self.deliver(frame, *target);
        }
        let count = targets.len();
        self.columns.scratch.targets = targets;
        count
    }

    /// Refuses a frame whose run could not come to its end.
    pub fn refuse_frame(&mut self, frame: Frame<'_>, condition: StanzaCondition) -> Ticket {
        match StanzaKind::from_name(frame.head.local(frame.bytes)) {
            Some(kind) => self.refuse(frame, kind, condition.into()),
            None => self.undo(),
        }
    }

    /// Takes back what the run has done and answers the sender with a stanza error, unless the frame is one that may
    /// not be answered. Returns the ticket that the answer waits for.
    fn refuse(&mut self, frame: Frame<'_>, kind: StanzaKind, refusal: Refusal) -> Ticket {
        let ticket = self.undo();
        if !kind.may_be_refused(frame.head.attr(frame.bytes, "type").as_deref()) {
            return ticket;
        }
        let directory = &*self.columns.directory;
        let (Some(sender), Some(conn)) = (frame.sender.jid(directory), frame.sender.conn(directory)) else {
            return ticket;
        };
        let (id, to) = (frame.head.attr(frame.bytes, "id"), frame.head.attr(frame.bytes, "to"));
        // What is no address cannot speak.
        let from = to.as_deref().filter(|_| refusal.condition != StanzaCondition::JidMalformed);
        let to = Some(sender.as_str());
        let plain = StanzaError::new(kind, refusal.condition);
        let error = StanzaError {
            id: id.as_deref(),
            from,
            to,
            has_code: frame.has_code,
            error_type: refusal.error_type.unwrap_or(plain.error_type),
            text: refusal.text,
            application: refusal.application,
            ..plain
        };
        self.columns.metrics.stanza_errors += 1;
        self.columns.outboxes.append(conn, |out| stanza::error_reply(&error, out));
        ticket
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
