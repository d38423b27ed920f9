//! Subscriptions and rosters at work: rows, pushes, presence, both sides in one unit (RFC 6121 §2, §3).
//!
//! ```text
//! user ──Ask──▶ send: the user's row, push ──local──▶ receive: the contact's row, delivery, push, reply
//!                                          └─component──▶ its outbox       remote servers: later, the same way
//! ```
//!
//! `receive` takes what comes from anywhere: a local user, a component, and one day another server.
//! What changes in memory (edges) is noted and applied by [`Subscribing::finish`], behind the last row that can miss.

use crate::im::accounts;
use crate::im::blocks;
use crate::im::columns::Columns;
use crate::im::directory::Subscribed;
use crate::im::roster::{self, Change, Item, Meta};
use crate::im::session::SessionFlags;
use crate::im::stop::{Refusal, Stop};
use crate::im::subscription::{self, Ask, Reply, State};
use crate::jid::JidRef;
use crate::limits::SUBSCRIPTION_REQUEST_BYTES_MAX;
use crate::stanza::StanzaCondition;
use crate::storage::keys::Key;
use crate::xml::Writer;

/// The namespace of rosters.
pub const NS_ROSTER: &str = "jabber:iq:roster";

/// A stanza to somebody whom the sender has blocked (XEP-0191 §3.2).
pub const BLOCKED: Refusal = Refusal {
    condition: StanzaCondition::NotAcceptable,
    error_type: Some(crate::stanza::ErrorType::Cancel),
    text: None,
    application: Some(("blocked", "urn:xmpp:blocking:errors")),
};

/// A run that changes rosters.
#[derive(Debug)]
pub struct Subscribing<'c, 'a> {
    /// The columns.
    pub columns: &'c mut Columns<'a>,
    edges: Vec<(String, String, Subscribed)>,
}

impl<'c, 'a> Subscribing<'c, 'a> {
    /// Nothing is changed yet.
    pub fn new(columns: &'c mut Columns<'a>) -> Self {
        Self { columns, edges: Vec::new() }
    }

    /// Notes in memory what the rosters say now. Nothing may miss after it.
    pub fn finish(self) {
        for (account, contact, subscribed) in self.edges {
            let directory = &mut *self.columns.directory;
            if directory.subscribed(&account, &contact).from && !subscribed.from {
                directory.settle_directed(&account, &contact);
            }
            directory.set_subscribed(&account, &contact, subscribed);
        }
    }

    /// A user's stanza to a contact (both bare and prepared): §3.1.2, §3.1.5, §3.2.2, §3.3.2, §3.4. `stanza` is the
    /// whole of it, bare `from` and `to` stamped.
    ///
    /// # Errors
    ///
    /// [`Stop`]: a row is missing, there is no room, or the contact's server cannot be reached.
    pub fn send(&mut self, user: JidRef<'_>, contact: JidRef<'_>, ask: Ask, stanza: &[u8]) -> Result<(), Stop> {
        if user == contact {
            return Ok(());
        }
        let domain = contact.domainpart();
        let is_hosted = self.columns.hosts.is_hosted(domain);
        if !is_hosted && !self.columns.hosts.is_component(domain) {
            return Err(StanzaCondition::RemoteServerNotFound.into());
        }
        self.need_both(user, contact)?;
        let old = roster::get(self.columns.store, user, contact.as_str())?;
        let before = old.clone().unwrap_or_default();
        let step = subscription::outbound(before.state, ask);
        let mut item = Item { state: step.state, ..before.clone() };
        match ask {
            Ask::Subscribe => item.listed = true,
            Ask::Subscribed if step.passes => item.listed = true,
            // Before the contact has asked (§3.4); where it sees us already there is nothing to approve.
            Ask::Subscribed if !before.state.subscribed().from => (item.approved, item.listed) = (true, true),
            Ask::Unsubscribed => item.approved = false,
            Ask::Subscribed | Ask::Unsubscribe => {}
        }
        let loses = before.state.subscribed().from && !item.state.subscribed().from;
        if loses {
            self.columns.send_unavailable(user.as_str(), contact);
        }
        // The user's row first: the answer may come back at once.
        self.write(user, contact, old.as_ref(), item)?;
        if step.passes {
            if is_hosted {
                self.receive(contact, user, ask, stanza)?;
            } else {
                self.columns.send_to_component(domain, |out| out.extend_from_slice(stanza));
            }
        }
        if step.passes && ask == Ask::Subscribed {
            self.columns.send_current(user.as_str(), contact);
        }
        Ok(())
    }

    /// A contact's stanza to a user, who may be away or not exist: §3.1.3, §3.1.6, §3.2.3, §3.3.3. Nobody is told
    /// which of these it is.
    ///
    /// # Errors
    ///
    /// [`Stop`]: a row is missing, or there is no room.
    pub fn receive(&mut self, user: JidRef<'_>, contact: JidRef<'_>, ask: Ask, stanza: &[u8]) -> Result<(), Stop> {
        let Some(localpart) = user.localpart() else { return Ok(()) };
        self.columns.store.need(self.keys_of_receiver(user, contact))?;
        let store = &mut *self.columns.store;
        if accounts::get(store, user.domainpart(), localpart)?.is_none() || blocks::get(store, user)?.matches(contact) {
            return Ok(());
        }
        let old = roster::get(store, user, contact.as_str())?;
        let before = old.clone().unwrap_or_default();
        let step = subscription::inbound(before.state, ask);
        if ask == Ask::Subscribe && before.approved && step.passes {
            return self.approve(user, contact, old.as_ref());
        }
        if step.passes {
            if ask == Ask::Subscribe {
                return self.note_request(user, contact, old.as_ref(), step.state, stanza);
            }
            // Of a request that is taken back, too (A.3.2): a client that shows it should stop.
            self.columns.send_to_flagged(user.as_str(), SessionFlags::INTERESTED, |_, out| {
                out.extend_from_slice(stanza);
            });
            self.write(user, contact, old.as_ref(), Item { state: step.state, ..before.clone() })?;
            if before.state.subscribed().from && !step.state.subscribed().from {
                self.columns.send_unavailable(user.as_str(), contact);
            }
        }
        match step.reply {
            Reply::Nothing => Ok(()),
            Reply::Subscribed => self.reply(user, contact, Ask::Subscribed),
            Reply::Unsubscribed => self.reply(user, contact, Ask::Unsubscribed),
        }
    }

    /// Sees to it that what a stanza and the answer to it may read is in memory: always all of it, or the time that the
    /// sender waits would tell who is there.
    fn need_both(&self, user: JidRef<'_>, contact: JidRef<'_>) -> Result<(), Stop> {
        let mut keys = self.keys_of_receiver(user, contact);
        keys.extend(self.keys_of_receiver(contact, user));
        Ok(self.columns.store.need(keys)?)
    }

    /// The rows that [`Self::receive`] reads for a user of ours: to be fetched at once, for one contact or for many.
    pub fn keys_of_receiver(&self, user: JidRef<'_>, contact: JidRef<'_>) -> Vec<Key> {
        match user.localpart() {
            Some(localpart) if self.columns.hosts.is_hosted(user.domainpart()) => vec![
                accounts::key(user.domainpart(), localpart),
                blocks::key(user),
                roster::key(user, contact.as_str()),
                roster::meta_key(user),
            ],
            _ => Vec::new(),
        }
    }

    /// The server's own answer to a contact's stanza.
    fn reply(&mut self, user: JidRef<'_>, contact: JidRef<'_>, ask: Ask) -> Result<(), Stop> {
        let stanza = presence(user, contact, ask);
        if self.columns.hosts.is_hosted(contact.domainpart()) {
            return self.receive(contact, user, ask, &stanza);
        }
        self.columns.send_to_component(contact.domainpart(), |out| out.extend_from_slice(&stanza));
        Ok(())
    }

    /// The contact was approved before it asked (§3.4.2): nobody is asked again.
    fn approve(&mut self, user: JidRef<'_>, contact: JidRef<'_>, old: Option<&Item>) -> Result<(), Stop> {
        let before = old.cloned().unwrap_or_default();
        let subscribed = Subscribed { from: true, ..before.state.subscribed() };
        let state = State::from_parts(subscribed, before.state.asks(), false);
        self.write(user, contact, old, Item { state, ..before })?;
        self.reply(user, contact, Ask::Subscribed)?;
        self.columns.send_current(user.as_str(), contact);
        Ok(())
    }

    /// A request is kept whole (without its payload, if that is too long to be kept), shown to whoever is there, and
    /// shown again until it is answered (§3.1.3).
    fn note_request(
        &mut self,
        user: JidRef<'_>,
        contact: JidRef<'_>,
        old: Option<&Item>,
        state: State,
        stanza: &[u8],
    ) -> Result<(), Stop> {
        let meta = roster::meta(self.columns.store, user)?;
        let bounds = self.columns.bounds;
        if meta.requests >= bounds.requests_max || (old.is_none() && meta.items >= bounds.roster_items_max) {
            // Whoever asks can have this said as often as it likes.
            log::debug!("{user}: too many wait for an answer; a subscription request is dropped");
            self.columns.metrics.requests_dropped += 1;
            return Ok(());
        }
        let mut change = Change::of(self.columns.store, user, self.columns.random.next_u64())?;
        let mut item = Item { state, ..old.cloned().unwrap_or_default() };
        // What clients see of it does not change.
        let version = item.version;
        change.put_quietly(user, contact.as_str(), old.is_none(), &mut item);
        item.version = version;
        if stanza.len() <= SUBSCRIPTION_REQUEST_BYTES_MAX {
            change.put_request(user, contact.as_str(), true, stanza);
        } else {
            change.put_request(user, contact.as_str(), true, &presence(contact, user, Ask::Subscribe));
        }
        change.write(self.columns.store, user)?;
        self.columns.send_to_available(user.as_str(), None, stanza);
        Ok(())
    }

    /// Writes the user's item in place of the old one, pushes it if clients see a difference, and answers a request
    /// that is answered now.
    fn write(&mut self, user: JidRef<'_>, contact: JidRef<'_>, old: Option<&Item>, mut item: Item) -> Result<(), Stop> {
        let before = old.cloned().unwrap_or_default();
        if before == item {
            return Ok(());
        }
        let is_seen = item.listed && (!before.listed || shown(&before) != shown(&item));
        let mut change = Change::of(self.columns.store, user, self.columns.random.next_u64())?;
        let is_nothing = !item.listed && item.state == State::None;
        if old.is_none() && !is_nothing && change.meta().items >= self.columns.bounds.roster_items_max {
            return Err(TOO_MANY_ITEMS.into());
        }
        if before.state.is_asked() && !item.state.is_asked() {
            change.delete_request(user, contact.as_str());
        }
        match (old, is_nothing) {
            (Some(old), true) => change.delete(user, contact.as_str(), old),
            (None, true) => {}
            (_, false) if is_seen => change.put(user, contact.as_str(), old, &mut item),
            (_, false) => change.put_quietly(user, contact.as_str(), old.is_none(), &mut item),
        }
        if item.listed && !before.listed && change.meta().bytes > self.columns.bounds.roster_bytes_max {
            return Err(TOO_MANY_ITEMS.into());
        }
        let meta = change.write(self.columns.store, user)?;
        if before.state.subscribed() != item.state.subscribed() {
            self.edges.push((user.as_str().to_owned(), contact.as_str().to_owned(), item.state.subscribed()));
        }
        if is_seen {
            push(self.columns, user, contact.as_str(), Some(&item), meta);
        }
        Ok(())
    }

    /// A client's roster set: name and groups, never the subscription (§2.3, §2.4).
    ///
    /// # Errors
    ///
    /// [`Stop`]: a row is missing, or there is no room.
    pub fn set_item(
        &mut self,
        user: JidRef<'_>,
        contact: JidRef<'_>,
        name: &str,
        groups: &[String],
    ) -> Result<(), Stop> {
        let old = roster::get(self.columns.store, user, contact.as_str())?;
        let before = old.clone().unwrap_or_default();
        let mut change = Change::of(self.columns.store, user, self.columns.random.next_u64())?;
        if old.is_none() && change.meta().items >= self.columns.bounds.roster_items_max {
            return Err(TOO_MANY_ITEMS.into());
        }
        let mut item = Item { listed: true, name: name.to_owned(), groups: groups.to_vec(), ..before };
        let bytes_before = change.meta().bytes;
        change.put(user, contact.as_str(), old.as_ref(), &mut item);
        let bytes = change.meta().bytes;
        if bytes > bytes_before && bytes > self.columns.bounds.roster_bytes_max {
            return Err(TOO_MANY_ITEMS.into());
        }
        let meta = change.write(self.columns.store, user)?;
        push(self.columns, user, contact.as_str(), Some(&item), meta);
        Ok(())
    }

    /// A client's removal (§2.5): subscriptions in both directions end with it.
    ///
    /// # Errors
    ///
    /// [`Stop`]: a row is missing, there is no room, or there is no such item.
    pub fn remove_item(&mut self, user: JidRef<'_>, contact: JidRef<'_>) -> Result<(), Stop> {
        self.need_both(user, contact)?;
        let old = roster::get(self.columns.store, user, contact.as_str())?;
        let old = old.filter(|item| item.listed).ok_or(StanzaCondition::ItemNotFound)?;
        let mut change = Change::of(self.columns.store, user, self.columns.random.next_u64())?;
        if old.state.is_asked() {
            change.delete_request(user, contact.as_str());
        }
        change.delete(user, contact.as_str(), &old);
        let meta = change.write(self.columns.store, user)?;
        push(self.columns, user, contact.as_str(), None, meta);
        self.part(user, contact, &old)
    }

    /// Ends on the contact's side what `item` stood for on the user's, whose row is gone already: what the contact's
    /// side answers finds nothing.
    ///
    /// # Errors
    ///
    /// [`Stop`]: a row is missing, or there is no room.
    pub fn part(&mut self, user: JidRef<'_>, contact: JidRef<'_>, item: &Item) -> Result<(), Stop> {
        let Subscribed { to, from } = item.state.subscribed();
        self.edges.push((user.as_str().to_owned(), contact.as_str().to_owned(), Subscribed::default()));
        if from {
            self.columns.send_unavailable(user.as_str(), contact);
        }
        for (ends, ask) in
            [(to || item.state.asks(), Ask::Unsubscribe), (from || item.state.is_asked(), Ask::Unsubscribed)]
        {
            if ends {
                let stanza = presence(user, contact, ask);
                if self.columns.hosts.is_hosted(contact.domainpart()) {
                    self.receive(contact, user, ask, &stanza)?;
                } else {
                    self.columns.send_to_component(contact.domainpart(), |out| out.extend_from_slice(&stanza));
                }
            }
        }
        Ok(())
    }

    /// Makes two local accounts see each other, as if each had asked and the other had agreed: for invitations
    /// (XEP-0401 §6).
    ///
    /// # Errors
    ///
    /// [`Stop`]: a row is missing, or there is no room.
    pub fn befriend(&mut self, one: JidRef<'_>, other: JidRef<'_>) -> Result<(), Stop> {
        for (user, contact) in [(one, other), (other, one)] {
            let old = roster::get(self.columns.store, user, contact.as_str())?;
            let item = Item { state: State::Both, listed: true, ..old.clone().unwrap_or_default() };
            self.write(user, contact, old.as_ref(), item)?;
        }
        Ok(())
    }
}

/// The roster is full.
const TOO_MANY_ITEMS: Refusal = Refusal {
    condition: StanzaCondition::ResourceConstraint,
    error_type: Some(crate::stanza::ErrorType::Cancel),
    text: Some("the roster has as many items, or as many bytes, as it may have"),
    application: None,
};

/// What clients see of a subscription.
fn shown(item: &Item) -> (bool, &'static str, bool, bool) {
    (item.listed, item.state.name(), item.state.asks(), item.approved)
}

/// A subscription stanza of the server's own making.
pub fn presence(from: JidRef<'_>, to: JidRef<'_>, ask: Ask) -> Vec<u8> {
    let mut out = Vec::new();
    Writer::new(&mut out)
        .open("presence")
        .attr("from", from.as_str())
        .attr("to", to.as_str())
        .attr("type", ask.name())
        .close();
    out
}

/// Tells all resources that have asked for the roster (§2.1.6); no item: it is gone.
pub fn push(columns: &mut Columns<'_>, account: JidRef<'_>, contact: &str, item: Option<&Item>, meta: Meta) {
    let ver = meta.ver();
    let resources = columns.directory.resources(account.as_str());
    for (_, session) in resources.filter(|(_, session)| session.flags.has(SessionFlags::INTERESTED)) {
        let ver = session.flags.has(SessionFlags::VERSIONED).then_some(ver.as_str());
        let full = session.jid.as_str();
        columns.outboxes.append(session.conn, |out| write_push(full, contact, item, meta.version, ver, out));
    }
}

/// One roster push to one resource.
pub fn write_push(full: &str, contact: &str, item: Option<&Item>, version: u64, ver: Option<&str>, out: &mut Vec<u8>) {
    let id = format!("push-{version:x}");
    let mut xml = Writer::new(out);
    xml.open("iq").attr("type", "set").attr("id", &id).attr("to", full);
    xml.open("query").attr("xmlns", NS_ROSTER).attr_opt("ver", ver);
    write_item(contact, item, &mut xml);
    xml.close().close();
}

/// One item as clients see it; none: it is gone.
pub fn write_item(contact: &str, item: Option<&Item>, xml: &mut Writer<'_>) {
    xml.open("item").attr("jid", contact);
    match item {
        None => {
            xml.attr("subscription", "remove");
        }
        Some(item) => {
            let name = Some(item.name.as_str()).filter(|name| !name.is_empty());
            xml.attr_opt("name", name).attr("subscription", item.state.name());
            xml.attr_opt("ask", item.state.asks().then_some("subscribe"));
            xml.attr_opt("approved", item.approved.then_some("true"));
            for group in &item.groups {
                xml.leaf("group", group);
            }
        }
    }
    xml.close();
}

#[cfg(test)]
mod tests;
