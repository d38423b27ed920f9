//! Components: programs that answer for a domain of their own, over one connection each (XEP-0114).
//!
//! ```text
//! accept_component ──▶ Joining ──handshake──▶ Component: its stanzas run as a session's do, with `from` judged here
//!                                                 └─ the connection goes ─▶ its contacts are unavailable
//! ```
//!
//! A component is what another server would be: it vouches for every address of its domain. What differs from a session
//! stands in `Sender`; the rules of delivery, the store's runs and the bounds are the same.

use super::Core;
use super::input::Progress;
use crate::clock::Now;
use crate::conn::{Conn, Flags, Phase};
use crate::core::Refused;
use crate::dispatch::{Frame, vouched};
use crate::ids::ConnId;
use crate::im::sender::Sender;
use crate::jid::JidRef;
use crate::stanza::StanzaKind;
use crate::stream::Input;
use crate::stream::component::{ComponentContext, Outcome};
use crate::stream::error::StreamCondition;
use crate::xml::{Expect, Scan, Step, XmlLimits, inward};
use std::mem;
use std::net::IpAddr;

impl Core {
    /// A connection has come in where components are awaited. Over a Unix socket `peer` is loopback.
    ///
    /// # Errors
    ///
    /// [`Refused`]: the socket is closed without a word.
    pub fn accept_component(&mut self, peer: IpAddr, now: Now) -> Result<ConnId, Refused> {
        self.admit(peer, Phase::Joining(Box::default()), Flags::default(), now)
    }

    /// Gives one input to the automaton of a component that is not in yet.
    pub(super) fn join(&mut self, id: ConnId, input: Input<'_>, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let mut joining = match mem::replace(&mut conn.phase, Phase::Taken) {
            Phase::Joining(joining) => joining,
            other => {
                conn.phase = other;
                return;
            }
        };
        let mut out = mem::take(&mut self.out);
        let mut cx = ComponentContext { components: &self.domains, random: &mut self.random, out: &mut out };
        let outcome = joining.handle(input, &mut cx);
        conn.phase = Phase::Joining(joining);
        match outcome {
            Outcome::GoOn | Outcome::Joined => self.outboxes.append(id, |outbox| outbox.append(&mut out)),
            Outcome::Refused { .. } | Outcome::Close(_) => {
                self.outboxes.append_last(id, |outbox| outbox.append(&mut out));
            }
        }
        self.out = out;
        match outcome {
            Outcome::GoOn => {}
            Outcome::Joined => self.joined(id, now),
            Outcome::Refused { condition, how } => {
                self.metrics.stream_errors += 1;
                log_refusal(id, condition);
                self.close(id, how, now);
            }
            Outcome::Close(how) => self.close(id, how, now),
        }
    }

    fn joined(&mut self, id: ConnId, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let counted = conn.phase.heap_bytes();
        let joined = match mem::replace(&mut conn.phase, Phase::Taken) {
            Phase::Joining(joining) => joining.into_joined(),
            other => {
                conn.phase = other;
                None
            }
        };
        let Some(joined) = joined else { return };
        let name = joined.name.clone();
        conn.phase = Phase::Component(Box::new(joined));
        self.budget.behind_conns = self.budget.behind_conns + conn.phase.heap_bytes() - counted;
        conn.flags.set(Flags::UNAUTHENTICATED, false);
        self.admission.settle(conn.address);
        self.set_deadline(id, 0);
        self.outboxes.widen(id);
        self.domains.connect(&name, id);
        log::info!("component {name} is connected ({id})");
        self.dispatch(now).component_came(&name, id);
    }

    /// A connection is closing: if it was a component's, nobody answers for its domain any more.
    pub(super) fn component_left(&mut self, id: ConnId, now: Now) {
        if let Some(name) = self.domains.disconnect(id) {
            log::info!("component {name} is gone ({id})");
            self.dispatch(now).component_went(&name);
        }
    }

    /// What a component says. Whoever writes its content namespace out has it read as a client's.
    pub(super) fn component_item(&mut self, id: ConnId, step: Step, scan: &Scan, bytes: &[u8], now: Now) -> Progress {
        let Step::Frame { .. } = step else { return self.bound_item(id, step, scan, bytes, now) };
        let Some(translated) = inward(scan.head(), bytes) else { return self.bound_frame(id, scan, bytes, now) };
        let Some(Phase::Component(component)) = self.conns.get(id).map(|conn| &conn.phase) else {
            return Progress::Took;
        };
        let mut again = Scan::default();
        let limits = XmlLimits::with_frame_bytes(u32::MAX);
        match again.step(&translated, Expect::Frames, component.ns(), &limits) {
            Ok(Step::Frame { .. }) => self.bound_frame(id, &again, &translated, now),
            Ok(_) | Err(_) => {
                self.end_stream(id, StreamCondition::InternalServerError, None, now);
                Progress::Took
            }
        }
    }
}

/// A frame of a connection that carries stanzas, with who it is from; none if the connection carries none.
///
/// # Errors
///
/// A component's stanza whose addresses end its stream.
pub(super) fn frame_of<'a>(
    id: ConnId,
    conn: &'a Conn,
    scan: &'a Scan,
    bytes: &'a [u8],
    scratch: &'a mut String,
) -> Result<Option<Frame<'a>>, StreamCondition> {
    let head = scan.head();
    match &conn.phase {
        Phase::Bound(bound) => {
            let (sender, ns, lang) = (Sender::Session(bound.session), bound.ns(), bound.lang.as_deref());
            Ok(Some(Frame { sender, head, bytes, ns, lang, has_code: !bound.version_1 }))
        }
        Phase::Component(component) => {
            let (ns, lang) = (component.ns(), component.lang.as_deref());
            let jid = match StanzaKind::of(head, bytes, ns) {
                Some(_) => vouched(head, bytes, &component.name, scratch)?,
                None => JidRef::of_prepared(&component.name),
            };
            Ok(Some(Frame { sender: Sender::Remote { jid, conn: id }, head, bytes, ns, lang, has_code: false }))
        }
        Phase::Negotiating(_) | Phase::Joining(_) | Phase::Closing { .. } | Phase::Taken => Ok(None),
    }
}

/// What an operator must look into is worth a warning; everything else is a peer's own affair.
fn log_refusal(id: ConnId, condition: StreamCondition) {
    let why = match condition {
        StreamCondition::NotAuthorized => "it does not know the secret, or spoke before its handshake",
        StreamCondition::HostUnknown => "no [[component]] has its name",
        StreamCondition::Conflict => "one of its name is connected already",
        StreamCondition::InvalidNamespace => "it does not speak jabber:component:accept",
        _ => return log::debug!("{id}: stream error {}", condition.name()),
    };
    log::warn!("{id}: a component was refused: {why}");
}
