//! Presence on its way to those who may see it: encoded once, appended for each (RFC 6121 §4).
//!
//! ```text
//! <presence │ from='full' │ to='bare' │ id='x' │ payload ──▶ each available resource of each contact with From
//! ```

use crate::ids::{ConnId, SessionId};
use crate::im::blocks::Blocked;
use crate::im::columns::Columns;
use crate::im::directory::{Contact, Presence};
use crate::im::session::{Directed, Session};
use crate::jid::{Jid, JidRef};
use crate::xml::{escape_attr, outward};

/// The payload of the server's own words for a resource that is gone (RFC 6121 §4.5.2).
pub const UNAVAILABLE: Presence<'static> = Presence { id: None, payload: b" type='unavailable'/>" };

/// The payload of a question for somebody's presence (RFC 6121 §4.3).
const PROBE: Presence<'static> = Presence { id: None, payload: b" type='probe'/>" };

/// A presence that goes to many: all but their addresses, as it will be sent.
#[derive(Clone, Copy, Debug)]
struct Encoded<'a> {
    /// Up to the address.
    front: &'a [u8],
    /// Behind it.
    back: &'a [u8],
}

impl<'a> Encoded<'a> {
    fn new(from: &str, presence: Presence<'_>, scratch: &'a mut Vec<u8>) -> Self {
        scratch.clear();
        write_front(from, scratch);
        scratch.extend_from_slice(TO);
        let cut = scratch.len();
        scratch.push(b'\'');
        write_back(presence, scratch);
        let (front, back) = scratch.split_at_checked(cut).unwrap_or_default();
        Self { front, back }
    }

    fn write(self, to: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(self.front);
        escape_attr(to, out);
        out.extend_from_slice(self.back);
    }
}

const TO: &[u8] = b" to='";

/// Appends a presence stanza.
pub fn write_presence(from: &str, to: Option<&str>, presence: Presence<'_>, out: &mut Vec<u8>) {
    write_front(from, out);
    if let Some(to) = to {
        out.extend_from_slice(TO);
        escape_attr(to, out);
        out.push(b'\'');
    }
    write_back(presence, out);
}

fn write_front(from: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<presence from='");
    escape_attr(from, out);
    out.push(b'\'');
}

fn write_back(presence: Presence<'_>, out: &mut Vec<u8>) {
    if let Some(id) = presence.id {
        out.extend_from_slice(b" id='");
        escape_attr(id, out);
        out.push(b'\'');
    }
    out.extend_from_slice(presence.payload);
}

/// Whether a contact may meet `own`, a full JID, whose account has `blocked` these: neither has blocked the other, as far
/// as they are online.
fn may_meet(own: JidRef<'_>, blocked: Option<&Blocked>, contact: Contact<'_>) -> bool {
    let by_contact = contact.online.and_then(|online| online.blocked.as_deref());
    !names(by_contact, own) && !names(blocked, JidRef::of_prepared(contact.bare))
}

fn names(blocked: Option<&Blocked>, jid: JidRef<'_>) -> bool {
    blocked.is_some_and(|blocked| blocked.matches(jid))
}

impl Columns<'_> {
    /// A session's presence goes to all contacts that see the account, and to the account's own available resources
    /// but `except`.
    pub fn broadcast(&mut self, from: JidRef<'_>, presence: Presence<'_>, except: Option<SessionId>) {
        let Self { directory, outboxes, hosts, metrics, scratch, .. } = self;
        metrics.contacts_walked += directory.edges(from.bare()) as u64;
        let encoded = Encoded::new(from.as_str(), presence, &mut scratch.presence);
        let blocked = directory.online(from.bare()).and_then(|online| online.blocked.as_deref());
        for contact in directory.contacts(from.bare()).filter(|contact| contact.subscribed.from) {
            if !may_meet(from, blocked, contact) {
                continue;
            }
            if contact.online.is_none() {
                let domain = JidRef::of_prepared(contact.bare).domainpart();
                if let Some(conn) = hosts.component(domain) {
                    outboxes.append_in_turn(conn, |out| {
                        outward(out, |out| encoded.write(contact.bare, out));
                    });
                }
                continue;
            }
            for (_, session) in directory.resources_of(contact).filter(|(_, session)| session.is_available()) {
                if names(blocked, session.jid.as_ref()) {
                    continue;
                }
                outboxes.append_in_turn(session.conn, |out| encoded.write(contact.bare, out));
                metrics.presence_delivered += 1;
            }
        }
        for (id, session) in directory.resources(from.bare()) {
            if session.is_available() && Some(id) != except {
                // Addressed, as in the examples of §4.5.2: slixmpp loses what has no `to`.
                outboxes.append_in_turn(session.conn, |out| encoded.write(session.jid.as_str(), out));
                metrics.presence_delivered += 1;
            }
        }
    }

    /// What a resource that has become available may see: its contacts' presence, and that of the account's other
    /// resources (RFC 6121 §4.2.2, §4.3.2). Components are asked.
    pub fn greet(&mut self, newcomer: SessionId) {
        let Self { directory, outboxes, hosts, metrics, .. } = self;
        let Some(session) = directory.get(newcomer) else { return };
        let (own, conn) = (session.jid.as_ref(), session.conn);
        metrics.contacts_walked += directory.edges(own.bare()) as u64;
        let blocked = directory.online(own.bare()).and_then(|online| online.blocked.as_deref());
        for contact in directory.contacts(own.bare()).filter(|contact| contact.subscribed.to) {
            if !may_meet(own, blocked, contact) {
                continue;
            }
            if contact.online.is_none() {
                let domain = JidRef::of_prepared(contact.bare).domainpart();
                if let Some(component) = hosts.component(domain) {
                    outboxes
                        .append_in_turn(component, |out| write_presence(own.bare(), Some(contact.bare), PROBE, out));
                }
            } else if directory.subscribed(contact.bare, own.bare()).from {
                for (_, other) in directory.resources_of(contact) {
                    if names(blocked, other.jid.as_ref()) {
                        continue;
                    }
                    if let Some(presence) = directory.presence(other) {
                        let from = other.jid.as_str();
                        outboxes.append_in_turn(conn, |out| write_presence(from, Some(own.bare()), presence, out));
                    }
                }
            }
        }
        for (id, other) in directory.resources(own.bare()) {
            if let Some(presence) = directory.presence(other).filter(|_| id != newcomer) {
                let (from, to) = (other.jid.as_str(), Some(own.as_str()));
                outboxes.append_in_turn(conn, |out| write_presence(from, to, presence, out));
            }
        }
    }

    /// A component has come: it hears what it would have heard had it been there, the presence of its contacts' friends
    /// and the questions of those who would see its own. What does not fit half of its outbox it has to ask for.
    pub fn greet_component(&mut self, domain: &str, conn: ConnId) {
        let Self { directory, outboxes, .. } = self;
        for (account, _) in directory.accounts() {
            let own = JidRef::of_prepared(account);
            let blocked = directory.online(account).and_then(|online| online.blocked.as_deref());
            let its = |contact: &Contact<'_>| JidRef::of_prepared(contact.bare).domainpart() == domain;
            for contact in directory.contacts(account).filter(its) {
                if outboxes.is_half_full(conn) {
                    log::info!("component {domain} is not told of everybody who is online: too many are");
                    return;
                }
                let mut present = directory.resources(account).filter_map(|(_, session)| {
                    directory.presence(session).map(|presence| (session.jid.as_str(), presence))
                });
                if !may_meet(own, blocked, contact) {
                    continue;
                }
                if contact.subscribed.to && present.clone().next().is_some() {
                    outboxes.append(conn, |out| write_presence(account, Some(contact.bare), PROBE, out));
                }
                if contact.subscribed.from {
                    for (from, presence) in present.by_ref() {
                        outboxes.append(conn, |out| {
                            outward(out, |out| write_presence(from, Some(contact.bare), presence, out));
                        });
                    }
                }
            }
        }
    }

    /// The presence of all available resources of an account, or of one, goes to an account, or to one resource of it,
    /// unless one has blocked the other; `Some(presence)` instead of their own.
    fn tell_contact(&mut self, account: JidRef<'_>, to: JidRef<'_>, instead: Option<Presence<'_>>) {
        let Self { directory, outboxes, hosts, .. } = self;
        let is_meant = |jid: JidRef<'_>, whom: JidRef<'_>| whom.is_bare() || jid.resourcepart() == whom.resourcepart();
        for (_, resource) in directory.resources(account.bare()) {
            let Some(current) = directory.presence(resource) else { continue };
            if !is_meant(resource.jid.as_ref(), account) || directory.has_blocked(to.bare(), resource.jid.as_ref()) {
                continue;
            }
            let (from, presence) = (resource.jid.as_str(), instead.unwrap_or(current));
            let component = hosts.component(to.domainpart());
            if let Some(conn) = component.filter(|_| !directory.has_blocked(account.bare(), to)) {
                outboxes.append(conn, |out| outward(out, |out| write_presence(from, Some(to.bare()), presence, out)));
            }
            for (_, session) in directory.resources(to.bare()).filter(|(_, session)| session.is_available()) {
                let told = session.jid.as_ref();
                if is_meant(told, to) && !directory.has_blocked(account.bare(), told) {
                    outboxes.append(session.conn, |out| write_presence(from, Some(to.bare()), presence, out));
                }
            }
        }
    }

    /// Whoever got directed presence and is blocked now hears that the resource is gone: later it would be too late
    /// (XEP-0191 §3.3).
    pub fn end_directed(&mut self, account: &str, blocked: &Blocked) {
        let ids: Vec<SessionId> = self.directory.resources(account).map(|(id, _)| id).collect();
        for id in ids {
            let Some(mut session) = self.directory.get_mut(id) else { continue };
            let Some(Directed(list)) = session.directed.as_deref_mut() else { continue };
            let targets: Vec<Jid> =
                list.extract_if(.., |jid| jid.bare() != account && blocked.matches(jid.as_ref())).collect();
            let from = session.jid.clone();
            drop(session);
            for target in targets {
                self.send_goodbye(from.as_ref(), target.as_ref());
            }
        }
    }

    fn send_goodbye(&mut self, from: JidRef<'_>, to: JidRef<'_>) {
        let Self { directory, outboxes, hosts, .. } = self;
        if directory.has_blocked(to.bare(), from) {
            return;
        }
        let write = |out: &mut Vec<u8>| write_presence(from.as_str(), Some(to.as_str()), UNAVAILABLE, out);
        if let Some(conn) = hosts.component(to.domainpart()) {
            outboxes.append(conn, write);
        }
        let is_told = |session: &Session| match to.resourcepart() {
            Some(resource) => session.jid.resourcepart() == Some(resource),
            None => session.is_available(),
        };
        for (_, session) in directory.resources(to.bare()).filter(|(_, session)| is_told(session)) {
            outboxes.append(session.conn, write);
        }
    }

    /// One contact gets the current presence of all available resources of an account.
    pub fn send_current(&mut self, account: &str, to: JidRef<'_>) {
        self.tell_contact(JidRef::of_prepared(account), to, None);
    }

    /// An account gets the current presence of a contact, or of one resource of it.
    pub fn send_current_of(&mut self, contact: JidRef<'_>, to: JidRef<'_>) {
        self.tell_contact(contact, to, None);
    }

    /// One contact no longer sees an account: unavailable, from each of its available resources.
    pub fn send_unavailable(&mut self, account: &str, to: JidRef<'_>) {
        self.tell_contact(JidRef::of_prepared(account), to, Some(UNAVAILABLE));
    }
}
