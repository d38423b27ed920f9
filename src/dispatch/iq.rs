//! IQs: answered here for the domain and the own account, relayed to full JIDs that allow it.
//!
//! RFC 6120 §§8.2.3, 10.3.3, 10.5; RFC 6121 §8.5. Every get and set is answered exactly once, and a
//! result or an error never. An IQ request reaches another's resource only if that resource shares
//! presence with the sender (§8.5.3.1); a stranger gets what it gets for a resource that is not there.

use super::remote::COMPONENT_AWAY;
use super::{Address, Dispatch, Frame, Promise, address};
use crate::ids::SessionId;
use crate::im::blocks;
use crate::im::columns::Columns;
use crate::im::directory::Route;
use crate::im::sender::Sender;
use crate::im::stop::Stop;
use crate::jid::JidRef;
use crate::stanza::{IqType, StanzaCondition};
use crate::xep::{self, IqKind, IqRequest, Outcome, Target};
use crate::xml::{Tree, Writer};

use crate::im::subscribing::NS_ROSTER;

const NS_BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";

impl Dispatch<'_> {
    pub(super) fn iq(&mut self, frame: Frame<'_>) -> Result<Promise, Stop> {
        let request = match IqType::parse(frame.head.attr(frame.bytes, "type").as_deref()) {
            Some(IqType::Get) => IqKind::Get,
            Some(IqType::Set) => IqKind::Set,
            Some(reply @ (IqType::Result | IqType::Error)) => {
                self.iq_reply(frame, reply);
                return Ok(Promise::None);
            }
            None => return Err(StanzaCondition::BadRequest.into()),
        };
        self.iq_request(frame, request)
    }

    fn iq_request(&mut self, frame: Frame<'_>, kind: IqKind) -> Result<Promise, Stop> {
        if frame.head.attr(frame.bytes, "id").is_none() || frame.head.child_count() != 1 {
            return Err(StanzaCondition::BadRequest.into());
        }
        let mut scratch = std::mem::take(&mut self.columns.scratch.jid);
        let raw = frame.head.attr(frame.bytes, "to");
        let outcome = match address(raw.as_deref(), &mut scratch) {
            Address::None => self.iq_of_own_account(frame, kind),
            Address::Malformed => Err(StanzaCondition::JidMalformed.into()),
            Address::Jid(to) => self.iq_request_to(frame, kind, to),
        };
        self.columns.scratch.jid = scratch;
        outcome
    }

    fn iq_request_to(&mut self, frame: Frame<'_>, kind: IqKind, to: JidRef<'_>) -> Result<Promise, Stop> {
        let is_server = to.localpart().is_none() && self.columns.hosts.is_hosted(to.domainpart());
        if !is_server {
            // The server itself answers also those who have blocked its whole domain.
            self.meet(frame, to)?;
        }
        let route = self.route(to);
        if let Route::Component(conn) = route {
            self.deliver_to_component(frame, conn);
            return Ok(Promise::None);
        }
        if matches!(route, Route::Peer(_) | Route::Remote) {
            return Err(StanzaCondition::RemoteServerNotFound.into());
        }
        if !self.columns.hosts.is_hosted(to.domainpart()) {
            return Err(COMPONENT_AWAY.into());
        }
        if is_server {
            return self.iq_here(frame, kind, Target::Server, to);
        }
        let target = self.account_target(frame.sender, to);
        let is_own = target == Target::OwnAccount;
        if !is_own && to.is_bare() {
            self.meet_away(frame, to)?;
        }
        if !is_own && is_roster(frame) {
            // Nobody's roster is anybody else's (RFC 6121 §2.1.5): passed on, it could only be a forged push (§2.1.6).
            return Err(StanzaCondition::Forbidden.into());
        }
        if to.resourcepart().is_none() {
            return self.iq_here(frame, kind, target, to);
        }
        match route {
            Route::Local(target) if is_own || self.shares_presence(target, frame.sender) => {
                self.deliver(frame, target);
                Ok(Promise::None)
            }
            Route::Local(_) | Route::Component(_) | Route::Peer(_) | Route::Remote | Route::Nobody => {
                Err(StanzaCondition::ServiceUnavailable.into())
            }
        }
    }

    /// Whether an account that is away has not blocked the sender: who is blocked must not learn by another answer
    /// that nobody is there, nor anybody by the time that the answer takes.
    fn meet_away(&mut self, frame: Frame<'_>, to: JidRef<'_>) -> Result<(), Stop> {
        let Columns { directory, store, .. } = &mut self.columns;
        let Some(sender) = frame.sender.jid(directory) else { return Ok(()) };
        let may_know = directory.online(to.bare()).is_some() && directory.subscribed(to.bare(), sender.bare()).from;
        if !may_know && blocks::get(store, to)?.matches(sender) {
            return Err(StanzaCondition::ServiceUnavailable.into());
        }
        Ok(())
    }

    /// Whether `owner` has let `asker` see its presence: by its roster or by directed presence.
    fn shares_presence(&self, owner: SessionId, asker: Sender<'_>) -> bool {
        let directory = &*self.columns.directory;
        let (Some(owner), Some(jid)) = (directory.get(owner), asker.jid(directory)) else { return false };
        if asker.session().is_none() {
            return self.shares_presence_with_domain(owner, jid.domainpart());
        }
        let (full, bare) = (jid.as_str(), jid.bare());
        directory.subscribed(owner.jid.as_ref().bare(), bare).from
            || owner
                .directed
                .as_deref()
                .is_some_and(|list| list.0.iter().any(|jid| jid.as_str() == full || jid.as_str() == bare))
    }

    fn account_target(&self, sender: Sender<'_>, to: JidRef<'_>) -> Target {
        let is_own = self.columns.directory.session(sender).is_some_and(|s| s.jid.as_ref().bare() == to.bare());
        if is_own { Target::OwnAccount } else { Target::Stranger }
    }

    /// Without `to` the sender's own account is asked (RFC 6120 §10.3.3).
    fn iq_of_own_account(&mut self, frame: Frame<'_>, kind: IqKind) -> Result<Promise, Stop> {
        let sender = self.columns.directory.session(frame.sender).ok_or(StanzaCondition::ServiceUnavailable)?;
        let own = sender.jid.to_bare();
        self.iq_here(frame, kind, Target::OwnAccount, own.as_ref())
    }

    /// Answers for the server or an account.
    fn iq_here(&mut self, frame: Frame<'_>, kind: IqKind, target: Target, to: JidRef<'_>) -> Result<Promise, Stop> {
        let payload = frame.head.children().first().ok_or(StanzaCondition::BadRequest)?;
        let (ns, name) = (payload.ns(frame.bytes, frame.ns), payload.local(frame.bytes));
        if ns == NS_BIND && target != Target::Stranger {
            // One resource a stream (RFC 6120 §7): the stream is bound already.
            return Err(StanzaCondition::NotAllowed.into());
        }
        let tree = Tree::parse(frame.bytes, frame.head, frame.ns).map_err(|_| StanzaCondition::BadRequest)?;
        let now = self.columns.now;
        let request = IqRequest { sender: frame.sender, target, to, kind, tree: &tree, about: self.about, now };
        let mut payload = std::mem::take(&mut self.columns.scratch.out);
        payload.clear();
        let outcome = xep::answer(&ns, name, &request, &mut self.columns, &mut payload);
        if matches!(outcome, Ok(Outcome::Handled)) {
            self.result(frame, &payload);
        }
        self.columns.scratch.out = payload;
        match outcome? {
            Outcome::Handled => {
                if ns == NS_ROSTER && kind == IqKind::Get {
                    xep::roster::catch_up(&request, &mut self.columns)?;
                }
                Ok(Promise::Answer)
            }
            Outcome::Pass => Err(StanzaCondition::ServiceUnavailable.into()),
        }
    }

    fn result(&mut self, frame: Frame<'_>, payload: &[u8]) {
        let directory = &*self.columns.directory;
        let (Some(sender), Some(conn)) = (frame.sender.jid(directory), frame.sender.conn(directory)) else { return };
        let (id, to) = (frame.head.attr(frame.bytes, "id"), frame.head.attr(frame.bytes, "to"));
        self.columns.outboxes.append(conn, |out| {
            let mut xml = Writer::new(out);
            xml.open("iq").attr("type", "result").attr("id", id.as_deref().unwrap_or_default());
            if let Some(to) = to.as_deref() {
                xml.attr("from", to);
            }
            xml.attr("to", sender.as_str());
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
        let mut scratch = std::mem::take(&mut self.columns.scratch.jid);
        let raw = frame.head.attr(frame.bytes, "to");
        if let Address::Jid(to) = address(raw.as_deref(), &mut scratch)
            && self.meet(frame, to).is_ok()
        {
            match self.route(to) {
                Route::Local(target) => {
                    self.deliver(frame, target);
                }
                Route::Component(conn) => self.deliver_to_component(frame, conn),
                Route::Peer(_) | Route::Remote | Route::Nobody => {}
            }
        }
        self.columns.scratch.jid = scratch;
    }
}

/// Whether the first payload is about a roster.
fn is_roster(frame: Frame<'_>) -> bool {
    frame.head.children().first().is_some_and(|payload| payload.ns(frame.bytes, frame.ns) == NS_ROSTER)
}
