//! Presence: initial, later, directed and unavailable, as far as it needs no roster.
//!
//! RFC 6121 §4. Broadcast reaches the account's own resources; contacts come with the roster.
//! Subscription stanzas are refused with `feature-not-implemented`, so that nobody waits in vain.

use super::{Address, Dispatch, Frame, Promise, address};
use crate::ids::SessionId;
use crate::im::directory::Route;
use crate::im::presence::Availability;
use crate::im::session::{Available, Directed, Session};
use crate::im::stop::Stop;
use crate::jid::{Jid, JidRef};
use crate::stanza::{PresenceType, StanzaCondition};
use crate::xml::{Tree, Writer, escape_attr, relay};

impl Dispatch<'_> {
    pub(super) fn presence(&mut self, frame: Frame<'_>) -> Result<Promise, Stop> {
        let kind = PresenceType::parse(frame.head.attr(frame.bytes, "type").as_deref());
        let kind = kind.ok_or(StanzaCondition::BadRequest)?;
        let mut scratch = std::mem::take(&mut self.columns.scratch.jid);
        let raw = frame.head.attr(frame.bytes, "to");
        let outcome = match address(raw.as_deref(), &mut scratch) {
            Address::None => self.presence_to_all(frame, kind),
            Address::Malformed => Err(StanzaCondition::JidMalformed.into()),
            Address::Jid(to) => self.presence_to(frame, kind, to),
        };
        self.columns.scratch.jid = scratch;
        outcome.map(|()| Promise::None)
    }

    fn presence_to_all(&mut self, frame: Frame<'_>, kind: PresenceType) -> Result<(), Stop> {
        match kind {
            PresenceType::Available => self.available(frame),
            PresenceType::Unavailable => {
                self.unavailable(frame);
                Ok(())
            }
            PresenceType::Error | PresenceType::Probe => Ok(()),
            PresenceType::Subscribe
            | PresenceType::Subscribed
            | PresenceType::Unsubscribe
            | PresenceType::Unsubscribed => Err(StanzaCondition::BadRequest.into()),
        }
    }

    /// Initial or later presence (§§4.2, 4.4): to the account's own available resources, the sender
    /// included; a newcomer is told of the others.
    fn available(&mut self, frame: Frame<'_>) -> Result<(), Stop> {
        let priority = if frame.head.child_count() == 0 {
            0
        } else {
            let tree = Tree::parse(frame.bytes, frame.head, frame.ns).map_err(|_| StanzaCondition::BadRequest)?;
            Availability::read(tree.root()).map_err(|_| StanzaCondition::BadRequest)?.priority
        };
        let Some(sender) = self.columns.directory.get_mut(frame.sender) else { return Ok(()) };
        let mut stanza = std::mem::take(&mut self.columns.scratch.out);
        stanza.clear();
        relay(frame.head, frame.bytes, frame.ns, sender.jid.as_str(), frame.lang, &mut stanza);
        let is_initial = sender.presence.is_none();
        sender.presence = Some(Box::new(Available { priority, stanza: stanza.as_slice().into() }));
        let bare = sender.jid.as_ref().bare().to_owned();
        self.send_to_resources(&bare, None, &stanza);
        self.columns.scratch.out = stanza;
        if is_initial {
            self.tell_newcomer(frame.sender, &bare);
        }
        Ok(())
    }

    fn tell_newcomer(&mut self, newcomer: SessionId, bare: &str) {
        let Some(session) = self.columns.directory.get(newcomer) else { return };
        let others = self.columns.directory.resources(bare).filter(|(id, _)| *id != newcomer);
        for stanza in others.filter_map(|(_, other)| Some(&other.presence.as_ref()?.stanza)) {
            self.columns.outboxes.append(session.conn, |out| out.extend_from_slice(stanza));
        }
    }

    /// The resource says goodbye (§4.5): all of its account, itself included, and everyone who got directed presence
    /// hear it in its own words.
    fn unavailable(&mut self, frame: Frame<'_>) {
        let Some(sender) = self.columns.directory.get(frame.sender) else { return };
        let mut stanza = Vec::with_capacity(frame.bytes.len() + sender.jid.as_str().len() + 16);
        relay(frame.head, frame.bytes, frame.ns, sender.jid.as_str(), frame.lang, &mut stanza);
        if sender.is_available() {
            self.send_to_session(frame.sender, &stanza);
        }
        self.went(frame.sender, &stanza);
    }

    /// Ends a session: what a graceful goodbye would have done, in the server's words (§4.5.2).
    pub fn end_session(&mut self, id: SessionId) {
        if let Some(session) = self.columns.directory.get(id) {
            let mut stanza = Vec::new();
            Writer::new(&mut stanza)
                .open("presence")
                .attr("from", session.jid.as_str())
                .attr("type", "unavailable")
                .close();
            self.went(id, &stanza);
        }
        self.columns.directory.remove(id);
    }

    /// Tells all who knew that the resource was there; `stanza` is what broadcast says.
    fn went(&mut self, id: SessionId, stanza: &[u8]) {
        let Some(session) = self.columns.directory.get_mut(id) else { return };
        let was_available = session.presence.take().is_some();
        let directed = session.directed.take();
        let bare = session.jid.as_ref().bare().to_owned();
        if was_available {
            self.send_to_resources(&bare, Some(id), stanza);
        }
        for target in directed.iter().flat_map(|list| list.0.iter()) {
            let is_told = |told: SessionId| was_available && target.bare() == bare && self.is_available(told);
            match self.columns.directory.find(target.as_ref()) {
                Some(session) if is_told(session) => {}
                Some(session) => self.send_to_session(session, &addressed(stanza, target)),
                None if target.is_bare() && !(was_available && target.bare() == bare) => {
                    self.send_to_resources(target.bare(), None, &addressed(stanza, target));
                }
                None => {}
            }
        }
    }

    fn is_available(&self, id: SessionId) -> bool {
        self.columns.directory.get(id).is_some_and(Session::is_available)
    }

    fn send_to_session(&mut self, id: SessionId, stanza: &[u8]) {
        if let Some(session) = self.columns.directory.get(id) {
            self.columns.outboxes.append(session.conn, |out| out.extend_from_slice(stanza));
        }
    }

    /// Appends the same bytes to every available resource of an account but `except`.
    fn send_to_resources(&mut self, bare: &str, except: Option<SessionId>, stanza: &[u8]) {
        for (id, session) in self.columns.directory.resources(bare) {
            if session.is_available() && Some(id) != except {
                self.columns.outboxes.append(session.conn, |out| out.extend_from_slice(stanza));
            }
        }
    }

    fn presence_to(&mut self, frame: Frame<'_>, kind: PresenceType, to: JidRef<'_>) -> Result<(), Stop> {
        if let Route::Component(conn) = self.route(to) {
            self.deliver_to_component(frame, conn);
            return Ok(());
        }
        if !self.columns.hosts.is_hosted(to.domainpart()) {
            return match kind {
                PresenceType::Error => Ok(()),
                _ => Err(StanzaCondition::RemoteServerNotFound.into()),
            };
        }
        match kind {
            PresenceType::Available => {
                self.remember_directed(frame.sender, to)?;
                self.deliver_presence(frame, to);
                Ok(())
            }
            PresenceType::Unavailable => {
                self.forget_directed(frame.sender, to);
                self.deliver_presence(frame, to);
                Ok(())
            }
            PresenceType::Error => {
                self.deliver_presence(frame, to);
                Ok(())
            }
            // A stranger's probe is met with silence (§4.3.2); contacts come with the roster.
            PresenceType::Probe => Ok(()),
            PresenceType::Subscribe
            | PresenceType::Subscribed
            | PresenceType::Unsubscribe
            | PresenceType::Unsubscribed => Err(StanzaCondition::FeatureNotImplemented.into()),
        }
    }

    /// Directed presence reaches the resource, or all available ones of a bare JID; else silence (§8.5).
    fn deliver_presence(&mut self, frame: Frame<'_>, to: JidRef<'_>) {
        match self.columns.directory.find(to) {
            Some(target) => {
                self.deliver(frame, target);
            }
            None if to.resourcepart().is_none() => {
                self.deliver_to_resources(frame, to.bare(), |_| true);
            }
            None => {}
        }
    }

    fn remember_directed(&mut self, sender: SessionId, to: JidRef<'_>) -> Result<(), Stop> {
        let max = self.columns.bounds.directed_max;
        let Some(session) = self.columns.directory.get_mut(sender) else { return Ok(()) };
        let list = &mut session.directed.get_or_insert_default().0;
        if list.iter().any(|jid| jid.as_str() == to.as_str()) {
            return Ok(());
        }
        if list.len() >= max {
            return Err(StanzaCondition::ResourceConstraint.into());
        }
        list.push(to.to_owned());
        Ok(())
    }

    fn forget_directed(&mut self, sender: SessionId, to: JidRef<'_>) {
        let Some(session) = self.columns.directory.get_mut(sender) else { return };
        if let Some(Directed(list)) = session.directed.as_deref_mut() {
            list.retain(|jid| jid.as_str() != to.as_str());
            if list.is_empty() {
                session.directed = None;
            }
        }
    }
}

/// A broadcast stanza of ours or from `relay`, which both begin with `<name from=`, with a `to`.
fn addressed(stanza: &[u8], to: &Jid) -> Vec<u8> {
    let name_end = stanza.iter().position(|byte| *byte == b' ').unwrap_or_default();
    let (name, rest) = stanza.split_at(name_end);
    let mut out = Vec::with_capacity(stanza.len() + to.as_str().len() + 6);
    out.extend_from_slice(name);
    out.extend_from_slice(b" to='");
    escape_attr(to.as_str(), &mut out);
    out.push(b'\'');
    out.extend_from_slice(rest);
    out
}
