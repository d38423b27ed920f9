//! IQs: answered here for the domain and the own account, relayed to full JIDs that allow it.
//!
//! RFC 6120 §§8.2.3, 10.3.3, 10.5; RFC 6121 §8.5. Every get and set is answered exactly once, and a
//! result or an error never. An IQ request reaches another's resource only if that resource shares
//! presence with the sender (§8.5.3.1); a stranger gets what it gets for a resource that is not there.

use super::{Address, Dispatch, Frame, Hosts, address};
use crate::ids::SessionId;
use crate::im::directory::Route;
use crate::jid::JidRef;
use crate::stanza::{IqType, StanzaCondition, StanzaKind};
use crate::xep::{self, IqKind, IqRequest, Outcome, Target};
use crate::xml::{Tree, Writer};

const NS_BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";

impl<H: Hosts> Dispatch<'_, H> {
    pub(super) fn iq(&mut self, frame: Frame<'_>) {
        let request = match IqType::parse(frame.head.attr(frame.bytes, "type").as_deref()) {
            Some(IqType::Get) => IqKind::Get,
            Some(IqType::Set) => IqKind::Set,
            Some(reply @ (IqType::Result | IqType::Error)) => return self.iq_reply(frame, reply),
            None => return self.refuse(frame, StanzaKind::Iq, StanzaCondition::BadRequest),
        };
        if let Err(condition) = self.iq_request(frame, request) {
            self.refuse(frame, StanzaKind::Iq, condition);
        }
    }

    fn iq_request(&mut self, frame: Frame<'_>, kind: IqKind) -> Result<(), StanzaCondition> {
        if frame.head.attr(frame.bytes, "id").is_none() || frame.head.child_count() != 1 {
            return Err(StanzaCondition::BadRequest);
        }
        let mut scratch = std::mem::take(&mut self.scratch.jid);
        let raw = frame.head.attr(frame.bytes, "to");
        let outcome = match address(raw.as_deref(), &mut scratch) {
            Address::None => self.iq_here(frame, kind, Target::OwnAccount),
            Address::Malformed => Err(StanzaCondition::JidMalformed),
            Address::Jid(to) => self.iq_request_to(frame, kind, to),
        };
        self.scratch.jid = scratch;
        outcome
    }

    fn iq_request_to(&mut self, frame: Frame<'_>, kind: IqKind, to: JidRef<'_>) -> Result<(), StanzaCondition> {
        let route = self.route(to);
        if matches!(route, Route::Peer(_) | Route::Remote) {
            return Err(StanzaCondition::RemoteServerNotFound);
        }
        if to.localpart().is_none() {
            return self.iq_here(frame, kind, Target::Server);
        }
        let is_own = self.directory.get(frame.sender).is_some_and(|s| s.jid.as_ref().bare() == to.bare());
        if to.resourcepart().is_none() {
            return self.iq_here(frame, kind, if is_own { Target::OwnAccount } else { Target::Stranger });
        }
        match route {
            Route::Local(target) if is_own || self.shares_presence(target, frame.sender) => {
                self.deliver(frame, target);
                Ok(())
            }
            Route::Local(_) | Route::Peer(_) | Route::Remote | Route::Nobody => {
                Err(StanzaCondition::ServiceUnavailable)
            }
        }
    }

    /// Whether `owner` has let `asker` see its presence: for now by directed presence only.
    fn shares_presence(&self, owner: SessionId, asker: SessionId) -> bool {
        let Some(asker) = self.directory.get(asker) else { return false };
        let directed = self.directory.get(owner).and_then(|session| session.directed.as_deref());
        let (full, bare) = (asker.jid.as_str(), asker.jid.as_ref().bare());
        directed.is_some_and(|list| list.0.iter().any(|jid| jid.as_str() == full || jid.as_str() == bare))
    }

    /// Answers for the server or the sender's account.
    fn iq_here(&mut self, frame: Frame<'_>, kind: IqKind, target: Target) -> Result<(), StanzaCondition> {
        let payload = frame.head.children().first().ok_or(StanzaCondition::BadRequest)?;
        let (ns, name) = (payload.ns(frame.bytes, frame.ns), payload.local(frame.bytes));
        if ns == NS_BIND && target != Target::Stranger {
            // One resource a stream (RFC 6120 §7): the stream is bound already.
            return Err(StanzaCondition::NotAllowed);
        }
        let tree = Tree::parse(frame.bytes, frame.head, frame.ns).map_err(|_| StanzaCondition::BadRequest)?;
        let request = IqRequest { target, kind, tree: &tree, about: self.about, now: self.now };
        let mut payload = std::mem::take(&mut self.scratch.out);
        payload.clear();
        let outcome = xep::answer(&ns, name, &request, &mut payload);
        if outcome == Outcome::Handled {
            self.result(frame, &payload);
        }
        self.scratch.out = payload;
        match outcome {
            Outcome::Handled => Ok(()),
            Outcome::Refused(condition) => Err(condition),
            Outcome::Pass => Err(StanzaCondition::ServiceUnavailable),
        }
    }

    fn result(&mut self, frame: Frame<'_>, payload: &[u8]) {
        let Some(sender) = self.directory.get(frame.sender) else { return };
        let (id, to) = (frame.head.attr(frame.bytes, "id"), frame.head.attr(frame.bytes, "to"));
        self.outboxes.append(sender.conn, |out| {
            let mut xml = Writer::new(out);
            xml.open("iq").attr("type", "result").attr("id", id.as_deref().unwrap_or_default());
            if let Some(to) = to.as_deref() {
                xml.attr("from", to);
            }
            xml.attr("to", sender.jid.as_str());
            xml.raw(payload);
            xml.close();
        });
    }

    /// Results and errors reach the full JID that asked; all others were meant for us or for nobody. A
    /// result has one payload at most (RFC 6120 §8.2.3 rule 5); one with more is nobody's answer, and may
    /// not be answered itself.
    fn iq_reply(&mut self, frame: Frame<'_>, kind: IqType) {
        if kind == IqType::Result && frame.head.child_count() > 1 {
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch.jid);
        let raw = frame.head.attr(frame.bytes, "to");
        if let Address::Jid(to) = address(raw.as_deref(), &mut scratch)
            && let Some(target) = self.directory.find(to)
        {
            self.deliver(frame, target);
        }
        self.scratch.jid = scratch;
    }
}
