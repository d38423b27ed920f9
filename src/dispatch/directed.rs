//! Directed presence and probes (RFC 6121 §4.3.2, §4.6).
//!
//! ```text
//! available   ──▶ remembered, delivered        goodbye of the resource ──▶ each who is remembered, once
//! unavailable ──▶ forgotten, delivered         probe ──▶ what the asker may see; to all others silence
//! ```
//!
//! Who may not see presence cannot tell an account that is there from one that is away, or is not.

use super::{Dispatch, Frame, Promise};
use crate::ids::SessionId;
use crate::im::announce::write_presence;
use crate::im::directory::{Presence, Route};
use crate::im::session::{Directed, Session};
use crate::im::stop::Stop;
use crate::im::subscribing::BLOCKED;
use crate::im::subscription::Ask;
use crate::jid::{Jid, JidRef};
use crate::stanza::{PresenceType, StanzaCondition};
use crate::xep::avatar;
use crate::xml::relay;

/// A resource is there; no more is told of it.
const MERELY_AVAILABLE: &[u8] = b"/>";
/// What an avatar's hash adds to a presence, about.
const AVATAR_BYTES: usize = 128;
/// Nobody is there.
const MERELY_UNAVAILABLE: &[u8] = b" type='unavailable'/>";

impl Dispatch<'_> {
    pub(super) fn presence_to(
        &mut self,
        frame: Frame<'_>,
        session: SessionId,
        kind: PresenceType,
        to: JidRef<'_>,
    ) -> Result<Promise, Stop> {
        let Some(sender) = self.columns.directory.get(session) else { return Ok(Promise::None) };
        let own = sender.jid.to_bare();
        if kind != PresenceType::Error && self.columns.directory.has_blocked(own.as_str(), to) {
            return Err(BLOCKED.into());
        }
        if let Some(ask) = Ask::of(kind) {
            return self.subscription(frame, &own, to, ask);
        }
        if matches!(self.route(to), Route::Remote | Route::Peer(_)) {
            return match kind {
                PresenceType::Error => Ok(Promise::None),
                _ => Err(StanzaCondition::RemoteServerNotFound.into()),
            };
        }
        match kind {
            PresenceType::Available => {
                self.remember_directed(session, to)?;
                match self.avatar(own.as_str()) {
                    Some(hash) => self.deliver_with_avatar(frame, session, to, &hash),
                    None => {
                        let _told = self.deliver_presence(frame, to);
                    }
                }
            }
            PresenceType::Unavailable => {
                self.forget_directed(session, to);
                let _told = self.deliver_presence(frame, to);
            }
            PresenceType::Error => {
                let _told = self.deliver_presence(frame, to);
            }
            PresenceType::Probe => self.probe(frame, &own, to),
            PresenceType::Subscribe
            | PresenceType::Subscribed
            | PresenceType::Unsubscribe
            | PresenceType::Unsubscribed => {}
        }
        Ok(Promise::None)
    }

    /// A client's probe (§4.3.2). A subscriber gets what each resource has last broadcast, of one that it names merely
    /// that it is there, and if there is nobody, that. Who got directed presence gets merely that from that resource
    /// (§4.6.6). All others get silence. Components are asked themselves.
    fn probe(&mut self, frame: Frame<'_>, own: &Jid, to: JidRef<'_>) {
        if let Route::Component(conn) = self.route(to) {
            return self.deliver_to_component_in_turn(frame, conn);
        }
        let directory = &self.columns.directory;
        let Some(sender) = directory.session(frame.sender) else { return };
        let probe_id = frame.head.attr(frame.bytes, "id");
        let answer_to = Some(own.as_str());
        let outboxes = &mut self.columns.outboxes;
        let mut answer = |from: &str, presence: Presence<'_>| {
            outboxes.append_in_turn(sender.conn, |out| write_presence(from, answer_to, presence, out));
        };
        let is_subscribed = directory.subscribed(to.bare(), own.as_str()).from || to.bare() == own.as_str();
        let is_blocked = directory.has_blocked(to.bare(), sender.jid.as_ref());
        let mut is_answered = false;
        let may_come = |session: &Session| !is_blocked && !directory.has_blocked(own.as_str(), session.jid.as_ref());
        for (_, session) in directory.resources(to.bare()).filter(|(_, session)| may_come(session)) {
            let is_named = to.resourcepart().is_some() && session.jid.resourcepart() == to.resourcepart();
            let (from, current) = (session.jid.as_str(), directory.presence(session));
            match current.filter(|_| is_subscribed) {
                Some(presence) if to.resourcepart().is_none() => answer(from, presence),
                Some(presence) if is_named => answer(from, Presence { payload: MERELY_AVAILABLE, ..presence }),
                None if is_named && is_directed_at(session, sender) => {
                    answer(from, Presence { id: probe_id.as_deref(), payload: MERELY_AVAILABLE });
                }
                Some(_) | None => continue,
            }
            is_answered = true;
        }
        // The same whoever is there and does not want to be seen (XEP-0191 §3.3).
        if !is_answered && directory.subscribed(own.as_str(), to.bare()).to {
            answer(to.as_str(), Presence { id: probe_id.as_deref(), payload: MERELY_UNAVAILABLE });
        }
    }

    /// Directed presence reaches the resource, or all available ones of a bare JID; else silence (§8.5). True if a
    /// session of ours got it.
    pub(super) fn deliver_presence(&mut self, frame: Frame<'_>, to: JidRef<'_>) -> bool {
        if let Route::Component(conn) = self.route(to) {
            self.deliver_to_component_in_turn(frame, conn);
            return false;
        }
        let directory = &*self.columns.directory;
        let Some(sender) = frame.sender.jid(directory) else { return false };
        if directory.has_blocked(to.bare(), sender) {
            return false;
        }
        let mut targets = std::mem::take(&mut self.columns.scratch.targets);
        targets.clear();
        match to.resourcepart() {
            Some(_) => targets.extend(directory.find(to)),
            None => {
                let resources = directory.resources(to.bare()).filter(|(_, session)| session.is_available());
                targets.extend(resources.map(|(id, _)| id));
            }
        }
        for target in &targets {
            self.deliver_in_turn(frame, *target);
        }
        let is_told = !targets.is_empty();
        self.columns.scratch.targets = targets;
        is_told
    }

    /// The same, with the avatar's hash: rooms have no other way to know it (XEP-0398 §4).
    fn deliver_with_avatar(&mut self, frame: Frame<'_>, session: SessionId, to: JidRef<'_>, hash: &[u8; 20]) {
        let Some(sender) = self.columns.directory.get(session) else { return };
        if self.columns.directory.has_blocked(to.bare(), sender.jid.as_ref()) {
            return;
        }
        let from = sender.jid.clone();
        let mut stanza = Vec::with_capacity(frame.bytes.len() + from.as_str().len() + AVATAR_BYTES);
        relay(frame.head, frame.bytes, frame.ns, from.as_str(), frame.lang, &mut stanza);
        avatar::inject(frame.head, frame.bytes, frame.ns, hash, &mut stanza);
        if let Some(target) = self.columns.directory.find(to) {
            self.columns.send_in_turn(target, |out| out.extend_from_slice(&stanza));
        } else if to.is_bare() {
            let resources = self.columns.directory.resources(to.bare());
            for (_, session) in resources.filter(|(_, session)| session.is_available()) {
                self.columns.outboxes.append_in_turn(session.conn, |out| out.extend_from_slice(&stanza));
            }
        }
        self.columns.send_to_component_in_turn(to.domainpart(), |out| out.extend_from_slice(&stanza));
    }

    /// Who got directed presence hears that the resource is gone, once: not those who have heard the broadcast, and not
    /// across a block list.
    pub(super) fn tell_directed(&mut self, jid: &Jid, was_available: bool, targets: &[Jid], presence: Presence<'_>) {
        let mut stanza = Vec::new();
        for target in targets {
            let directory = &self.columns.directory;
            let is_blocked = directory.has_blocked(target.as_ref().bare(), jid.as_ref())
                || directory.has_blocked(jid.as_ref().bare(), target.as_ref());
            if is_blocked || (was_available && self.has_heard(jid, target)) {
                continue;
            }
            stanza.clear();
            write_presence(jid.as_str(), Some(target.as_str()), presence, &mut stanza);
            match self.columns.directory.find(target.as_ref()) {
                Some(told) if self.hears_as_bare(told, target, targets) => {}
                Some(told) => self.columns.send_in_turn(told, |out| out.extend_from_slice(&stanza)),
                None if target.is_bare() => self.tell_bare(jid, target, &stanza),
                None => {
                    self.columns.send_to_component_in_turn(target.domainpart(), |out| out.extend_from_slice(&stanza));
                }
            }
        }
    }

    /// Whether a resource hears it anyway, because its bare JID got directed presence too.
    fn hears_as_bare(&self, told: SessionId, target: &Jid, targets: &[Jid]) -> bool {
        let is_available = self.columns.directory.get(told).is_some_and(Session::is_available);
        is_available && targets.iter().any(|other| other.is_bare() && other.as_str() == target.bare())
    }

    fn tell_bare(&mut self, from: &Jid, target: &Jid, stanza: &[u8]) {
        let resources = self.columns.directory.resources(target.as_str());
        for (_, session) in resources.filter(|(_, session)| session.is_available() && session.jid != *from) {
            self.columns.outboxes.append_in_turn(session.conn, |out| out.extend_from_slice(stanza));
        }
        self.columns.send_to_component_in_turn(target.domainpart(), |out| out.extend_from_slice(stanza));
    }

    /// Whether a target of directed presence has heard what was broadcast: a contact with From, or an own resource,
    /// that is available.
    fn has_heard(&self, jid: &Jid, target: &Jid) -> bool {
        let is_told = target.bare() == jid.bare() || self.columns.directory.subscribed(jid.bare(), target.bare()).from;
        let is_there = match self.columns.directory.find(target.as_ref()) {
            Some(told) => self.columns.directory.get(told).is_some_and(Session::is_available),
            None => target.is_bare() || self.columns.hosts.is_component(target.domainpart()),
        };
        is_told && is_there
    }

    fn remember_directed(&mut self, sender: SessionId, to: JidRef<'_>) -> Result<(), Stop> {
        let (max, bytes_max) = (self.columns.bounds.directed_max, self.columns.bounds.directed_bytes_max);
        let Some(mut session) = self.columns.directory.get_mut(sender) else { return Ok(()) };
        let list = &mut session.directed.get_or_insert_default().0;
        if list.iter().any(|jid| jid.as_str() == to.as_str()) {
            return Ok(());
        }
        let bytes: usize = list.iter().map(|jid| jid.as_str().len()).sum();
        if list.len() >= max || bytes + to.as_str().len() > bytes_max {
            return Err(StanzaCondition::ResourceConstraint.into());
        }
        list.push(to.to_owned());
        Ok(())
    }

    fn forget_directed(&mut self, sender: SessionId, to: JidRef<'_>) {
        let Some(mut session) = self.columns.directory.get_mut(sender) else { return };
        if let Some(Directed(list)) = session.directed.as_deref_mut() {
            list.retain(|jid| jid.as_str() != to.as_str());
            if list.is_empty() {
                session.directed = None;
            }
        }
    }
}

/// Whether a resource has sent directed presence to this session or to its account.
fn is_directed_at(resource: &Session, asker: &Session) -> bool {
    let (full, bare) = (asker.jid.as_str(), asker.jid.as_ref().bare());
    resource
        .directed
        .as_deref()
        .is_some_and(|list| list.0.iter().any(|jid| jid.as_str() == full || jid.as_str() == bare))
}
