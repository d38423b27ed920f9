//! What comes from elsewhere: a component's stanzas, and one day another server's (RFC 6120 §8.1, RFC 6121 §§3, 4).
//!
//! ```text
//! component ──vouched──▶ Sender::Remote ──▶ message, iq: as from anybody
//!                                       └─▶ presence: subscriptions to im/subscribing, probes answered, the rest
//!                                           delivered, and remembered for the day that the component goes
//! ```

use super::presence::TOO_LONG;
use super::{Dispatch, Frame, Promise};
use crate::ids::ConnId;
use crate::im::announce::{UNAVAILABLE, write_presence};
use crate::im::directory::Route;
use crate::im::session::Session;
use crate::im::stop::{Refusal, Stop};
use crate::im::subscribing::{Subscribing, presence};
use crate::im::subscription::Ask;
use crate::im::{accounts, blocks, roster};
use crate::jid::{self, JidRef};
use crate::stanza::{PresenceType, StanzaCondition};
use crate::stream::error::StreamCondition;
use crate::xml::{Head, Top, outward, relay_as};

/// The domain is a component's that is not connected. Not `service-unavailable`: to who waits for somebody in a room
/// (XEP-0410 §3.1), that would mean that all is well.
pub(super) const COMPONENT_AWAY: Refusal = Refusal {
    condition: StanzaCondition::RemoteServerTimeout,
    error_type: None,
    text: Some("the component that answers for this domain is not connected"),
    application: None,
};

/// The address that a component's stanza is from, if that is of its domain and the stanza is for somebody.
///
/// # Errors
///
/// How the stream ends: RFC 6120 §8.1.1.2, §8.1.2.2, which XEP-0114 §3 takes over. A `to` that is no address is the
/// stanza's fault alone and gets a stanza error: one legacy name that breaks the rules must not cut everybody off.
pub fn vouched<'a>(
    head: &Head,
    bytes: &[u8],
    domain: &str,
    scratch: &'a mut String,
) -> Result<JidRef<'a>, StreamCondition> {
    let from = head.attr(bytes, "from").filter(|from| !from.is_empty()).ok_or(StreamCondition::ImproperAddressing)?;
    if head.attr(bytes, "to").is_none_or(|to| to.is_empty()) {
        return Err(StreamCondition::ImproperAddressing);
    }
    let mut prepared = String::new();
    let from = jid::prepare(&from, &mut prepared).map_err(|_| StreamCondition::ImproperAddressing)?;
    if from.domainpart() != domain {
        return Err(StreamCondition::InvalidFrom);
    }
    scratch.clear();
    scratch.push_str(from.as_str());
    Ok(JidRef::of_prepared(scratch))
}

impl Dispatch<'_> {
    /// Presence of somebody elsewhere.
    pub(super) fn presence_from_afar(
        &mut self,
        frame: Frame<'_>,
        from: JidRef<'_>,
        conn: ConnId,
        kind: PresenceType,
        to: JidRef<'_>,
    ) -> Result<Promise, Stop> {
        match self.route(to) {
            Route::Component(other) => {
                self.deliver_to_component_in_turn(frame, other);
                return Ok(Promise::None);
            }
            Route::Remote | Route::Peer(_) if kind == PresenceType::Error => return Ok(Promise::None),
            Route::Remote | Route::Peer(_) => return Err(StanzaCondition::RemoteServerNotFound.into()),
            Route::Local(_) | Route::Nobody => {}
        }
        if !self.columns.hosts.is_hosted(to.domainpart()) {
            return Ok(Promise::None);
        }
        if let Some(ask) = Ask::of(kind) {
            return self.subscription_from_afar(frame, from, ask, to);
        }
        match kind {
            PresenceType::Probe => return self.probe_from_afar(from, conn, to),
            PresenceType::Available => {
                if self.deliver_presence(frame, to) {
                    self.columns.directory.see(to, from);
                }
            }
            PresenceType::Unavailable => {
                let _told = self.deliver_presence(frame, to);
                self.columns.directory.lose(to, from);
            }
            PresenceType::Error => {
                let _told = self.deliver_presence(frame, to);
            }
            PresenceType::Subscribe
            | PresenceType::Subscribed
            | PresenceType::Unsubscribe
            | PresenceType::Unsubscribed => {}
        }
        Ok(Promise::None)
    }

    /// §3: the addresses are bare, whatever was written; the rest is passed on as it came.
    fn subscription_from_afar(
        &mut self,
        frame: Frame<'_>,
        from: JidRef<'_>,
        ask: Ask,
        to: JidRef<'_>,
    ) -> Result<Promise, Stop> {
        let mut stanza = Vec::with_capacity(frame.bytes.len() + 16);
        let top = Top { from: Some(from.bare()), to: Some(to.bare()), without_id: false };
        relay_as(frame.head, frame.bytes, frame.ns, top, frame.lang, &mut stanza);
        if stanza.len() > self.columns.bounds.presence_bytes_max {
            return Err(TOO_LONG.into());
        }
        let mut subscribing = Subscribing::new(&mut self.columns);
        subscribing.receive(to.to_bare(), from.to_bare(), ask, &stanza)?;
        subscribing.finish();
        Ok(Promise::Answer)
    }

    /// A question for a user's presence (§4.3.2). Who may see it hears each available resource, or that there is none;
    /// who may not hears that it is not subscribed, which is said of an account that does not exist, too. Who is blocked
    /// hears nothing (XEP-0191 §3.3).
    fn probe_from_afar(&mut self, from: JidRef<'_>, conn: ConnId, to: JidRef<'_>) -> Result<Promise, Stop> {
        let Some(localpart) = to.localpart() else { return Ok(Promise::None) };
        let (user, asker) = (to.to_bare(), from.bare());
        let is_online = self.columns.directory.online(user.as_str()).is_some();
        let (is_blocked, is_seen) = if is_online {
            let directory = &*self.columns.directory;
            (directory.has_blocked(user.as_str(), from), directory.subscribed(user.as_str(), asker).from)
        } else {
            let store = &mut *self.columns.store;
            let rows = [accounts::key(to.domainpart(), localpart), blocks::key(user), roster::key(user, asker)];
            store.need(rows)?;
            let exists = accounts::get(store, to.domainpart(), localpart)?.is_some();
            let item = roster::get(store, user, asker)?.filter(|_| exists);
            (blocks::get(store, user)?.matches(from), item.is_some_and(|item| item.state.subscribed().from))
        };
        if is_blocked {
            return Ok(Promise::None);
        }
        let columns = &mut self.columns;
        let mut is_answered = false;
        for (_, session) in columns.directory.resources(user.as_str()) {
            let is_asked = to.resourcepart().is_none_or(|resource| session.jid.resourcepart() == Some(resource));
            let may_see = is_seen || has_directed(session, asker);
            let presence = columns.directory.presence(session).filter(|_| is_asked && may_see);
            if let Some(presence) = presence {
                is_answered = true;
                let said = (session.jid.as_str(), Some(asker));
                columns.outboxes.append(conn, |out| {
                    outward(out, |out| write_presence(said.0, said.1, presence, out));
                });
            }
        }
        if !is_answered && is_seen {
            columns.outboxes.append(conn, |out| write_presence(to.as_str(), Some(asker), UNAVAILABLE, out));
        } else if !is_answered {
            let refusal = presence(user, from.to_bare(), Ask::Unsubscribed);
            columns.outboxes.append(conn, |out| out.extend_from_slice(&refusal));
        }
        Ok(Promise::Answer)
    }

    /// Whether a session has let anybody of a domain see its presence: by its roster or by directed presence. A
    /// component may write every address of its domain, so who of it asks makes no difference.
    pub(super) fn shares_presence_with_domain(&self, owner: &Session, domain: &str) -> bool {
        let sees = |bare: &str| JidRef::of_prepared(bare).domainpart() == domain;
        let directed = owner.directed.as_deref();
        directed.is_some_and(|list| list.0.iter().any(|jid| jid.domainpart() == domain))
            || self
                .columns
                .directory
                .contacts(owner.jid.bare())
                .any(|contact| contact.subscribed.from && sees(contact.bare))
    }

    /// A component has proven itself.
    pub fn component_came(&mut self, domain: &str, conn: ConnId) {
        self.columns.greet_component(domain, conn);
    }

    /// A component's connection has ended: whoever saw somebody of its domain sees them go (RFC 6121 §4.5.2).
    pub fn component_went(&mut self, domain: &str) {
        for (to, from) in self.columns.directory.lose_domain(domain) {
            let to = JidRef::of_prepared(&to);
            if self.columns.directory.has_blocked(to.bare(), JidRef::of_prepared(&from)) {
                continue;
            }
            let mut stanza = Vec::new();
            write_presence(&from, Some(to.as_str()), UNAVAILABLE, &mut stanza);
            match self.columns.directory.find(to) {
                Some(session) => self.columns.send_in_turn(session, |out| out.extend_from_slice(&stanza)),
                None if to.is_bare() => {
                    let resources = self.columns.directory.resources(to.bare());
                    for (_, session) in resources.filter(|(_, session)| session.is_available()) {
                        self.columns.outboxes.append_in_turn(session.conn, |out| out.extend_from_slice(&stanza));
                    }
                }
                None => {}
            }
        }
    }
}

fn has_directed(session: &Session, bare: &str) -> bool {
    session.directed.as_deref().is_some_and(|list| list.0.iter().any(|jid| jid.bare() == bare))
}
