//! The directory: which session answers for a JID, and who is seen by whom.
//!
//! ```text
//! bare JID ──keyed hash──▶ Name ──▶ Online ──first──▶ SessionId ──next──▶ SessionId ──▶ …
//!                            ▲          └──edges──▶ Edge { name, from, to } ──┐
//!                            └─────────────────────────────────────────────────┘
//! ```
//!
//! Each bare JID that somebody online is, or has as a contact, stands here once; contacts are numbers
//! of four bytes. The hash is keyed, since peers choose what is hashed. The answer of a look-up is a
//! closed enum that has room for sessions on other processes and other servers
//! (`docs/architecture.md`, "Beyond one machine").

mod found;
mod seen;

pub use found::There;
pub use seen::Seen;

use crate::ids::{ConnId, SessionId, Table};
use crate::im::blocks::Blocked;
use crate::im::payloads::Payloads;
use crate::im::sender::Sender;
use crate::im::session::{Available, Directed, Session, SessionFlags};
use crate::jid::Jid;
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use slab::Slab;
use std::ops::{Deref, DerefMut};

/// Where stanzas for a JID go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A session of this process.
    Local(SessionId),
    /// The connection of an external component that answers for the domain (XEP-0114).
    Component(ConnId),
    /// A session of another process of this cluster. Nothing makes this yet.
    Peer(u32),
    /// A domain that is not hosted here.
    Remote,
    /// A hosted domain, and nobody there to take it.
    Nobody,
}

/// Who sees whose presence, as the account's own roster says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subscribed {
    /// The contact sees the account's presence.
    pub from: bool,
    /// The account sees the contact's presence.
    pub to: bool,
}

impl Subscribed {
    /// Whether presence flows in either direction.
    pub fn is_any(self) -> bool {
        self.from || self.to
    }
}

/// One contact of an account that is online: a number of a [`Name`], and two bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edge(u32);

const FROM: u32 = 1 << 31;
const TO: u32 = 1 << 30;

impl Edge {
    fn new(name: u32, subscribed: Subscribed) -> Self {
        Self(name | if subscribed.from { FROM } else { 0 } | if subscribed.to { TO } else { 0 })
    }

    fn name(self) -> u32 {
        self.0 & !(FROM | TO)
    }

    fn subscribed(self) -> Subscribed {
        Subscribed { from: self.0 & FROM != 0, to: self.0 & TO != 0 }
    }
}

/// A bare JID, once.
#[derive(Debug)]
struct Name {
    text: Box<str>,
    /// Edges that name it, and one more while it is online.
    uses: u32,
    online: Option<Box<Online>>,
}

/// An account with at least one session: what routing needs of it without asking the store.
#[derive(Debug, Default)]
pub struct Online {
    first: Option<SessionId>,
    /// Sorted by name.
    edges: Box<[Edge]>,
    /// Whom it has blocked (XEP-0191).
    pub blocked: Option<Box<Blocked>>,
    /// SHA-1 of its vCard's photo (XEP-0153).
    pub avatar: Option<Box<[u8; 20]>>,
    /// What has waited and is on its way.
    pub replay: Option<Box<Replay>>,
    /// Whom elsewhere it sees.
    seen: Option<Box<Seen>>,
}

/// What has waited for an account and is on its way to a session; the rows say so when it has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The session.
    pub session: SessionId,
    /// The number of the last message that is on its way.
    pub up_to: Option<u64>,
    /// The number of the message of the day, if it is on its way.
    pub motd: Option<u64>,
    /// Whether it has left, and only the rows do not say so yet: no other session gets it meanwhile.
    pub has_left: bool,
}

/// What the store knows of an account that comes online.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Contacts with a subscription in either direction, by their prepared bare JID.
    pub contacts: Vec<(String, Subscribed)>,
    /// Whom it has blocked.
    pub blocked: Option<Box<Blocked>>,
    /// SHA-1 of its vCard's photo.
    pub avatar: Option<Box<[u8; 20]>>,
}

/// A contact of an account that is online.
#[derive(Clone, Copy, Debug)]
pub struct Contact<'a> {
    /// Its bare JID.
    pub bare: &'a str,
    /// Who sees whom.
    pub subscribed: Subscribed,
    /// What is known of it, if it is online here.
    pub online: Option<&'a Online>,
}

/// What a session has broadcast, without its addresses.
#[derive(Clone, Copy, Debug)]
pub struct Presence<'a> {
    /// The stanza's `id`.
    pub id: Option<&'a str>,
    /// All behind `<presence`, its addresses and its id.
    pub payload: &'a [u8],
}

/// All sessions, and the way to find them.
#[derive(Debug)]
pub struct Directory {
    sessions: Table<SessionId, Session>,
    names: Slab<Name>,
    index: HashTable<u32>,
    keys: (u64, u64),
    payloads: Payloads,
    /// Bytes behind what all accounts see elsewhere.
    seen_bytes: usize,
    /// Bytes behind sessions, names and accounts.
    behind_bytes: usize,
}

/// A row that is lent to be changed: what it holds is counted anew when it comes back.
#[derive(Debug)]
pub struct Lent<'a, T: Weighed> {
    row: &'a mut T,
    before: usize,
    sum: &'a mut usize,
}

/// What says how much memory is behind it.
pub trait Weighed {
    /// Bytes behind it.
    fn heap_bytes(&self) -> usize;
}

impl<'a, T: Weighed> Lent<'a, T> {
    fn new(row: &'a mut T, sum: &'a mut usize) -> Self {
        let before = row.heap_bytes();
        Self { row, before, sum }
    }
}

impl<T: Weighed> Deref for Lent<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.row
    }
}

impl<T: Weighed> DerefMut for Lent<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.row
    }
}

impl<T: Weighed> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        *self.sum = (*self.sum + self.row.heap_bytes()).saturating_sub(self.before);
    }
}

impl Weighed for Session {
    fn heap_bytes(&self) -> usize {
        Self::heap_bytes(self)
    }
}

impl Directory {
    /// Empty; `keys` makes the hash unpredictable to peers.
    pub fn new(keys: (u64, u64)) -> Self {
        Self {
            sessions: Table::new(),
            names: Slab::new(),
            index: HashTable::new(),
            keys,
            payloads: Payloads::new(keys),
            seen_bytes: 0,
            behind_bytes: 0,
        }
    }

    /// Gives back what a past load has left.
    pub fn shrink(&mut self) {
        self.sessions.shrink();
        self.names.shrink_to_fit();
        let (keys, names) = (self.keys, &self.names);
        self.index.shrink_to_fit(|at| hash_of(keys, names, *at));
        self.payloads.shrink();
    }

    /// The session, unless it has ended.
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(id)
    }

    /// The session that a stanza is from, if it is one's and has not ended.
    pub fn session(&self, sender: Sender<'_>) -> Option<&Session> {
        self.get(sender.session()?)
    }

    /// The session to change, unless it has ended. Its JID and list link must stay as they are.
    pub fn get_mut(&mut self, id: SessionId) -> Option<Lent<'_, Session>> {
        Some(Lent::new(self.sessions.get_mut(id)?, &mut self.behind_bytes))
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether nobody is online.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// All sessions, in no useful order.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions.iter()
    }

    /// The account, if it has a session here.
    pub fn online(&self, bare: &str) -> Option<&Online> {
        self.names.get(self.name(bare)? as usize)?.online.as_deref()
    }

    /// The account to change, if it has a session here.
    pub fn online_mut(&mut self, bare: &str) -> Option<Lent<'_, Online>> {
        let name = self.name(bare)?;
        let online = self.names.get_mut(name as usize)?.online.as_deref_mut()?;
        Some(Lent::new(online, &mut self.behind_bytes))
    }

    /// The sessions of one account, newest first.
    pub fn resources(&self, bare: &str) -> Resources<'_> {
        Resources { sessions: &self.sessions, next: self.online(bare).and_then(|online| online.first) }
    }

    /// All accounts that are online.
    pub fn accounts(&self) -> impl Iterator<Item = (&str, &Online)> {
        self.names.iter().filter_map(|(_, name)| Some((&*name.text, name.online.as_deref()?)))
    }

    /// The contacts of an account that is online with whom it shares presence in either direction.
    pub fn contacts(&self, bare: &str) -> impl Iterator<Item = Contact<'_>> {
        let edges = self.online(bare).map_or(&[][..], |online| &online.edges);
        edges.iter().filter_map(|edge| {
            let name = self.names.get(edge.name() as usize)?;
            Some(Contact { bare: &name.text, subscribed: edge.subscribed(), online: name.online.as_deref() })
        })
    }

    /// How many those are.
    pub fn edges(&self, bare: &str) -> usize {
        self.online(bare).map_or(0, |online| online.edges.len())
    }

    /// The sessions of a contact, newest first.
    pub fn resources_of(&self, contact: Contact<'_>) -> Resources<'_> {
        Resources { sessions: &self.sessions, next: contact.online.and_then(|online| online.first) }
    }

    /// Who sees whom between an account that is online and a contact; neither, if it is not online.
    pub fn subscribed(&self, bare: &str, contact: &str) -> Subscribed {
        let found = || {
            let (online, contact) = (self.online(bare)?, self.name(contact)?);
            let at = online.edges.binary_search_by_key(&contact, |edge| edge.name()).ok()?;
            online.edges.get(at).map(|edge| edge.subscribed())
        };
        found().unwrap_or_default()
    }

    /// Notes what the roster of an account says now, if it is online.
    pub fn set_subscribed(&mut self, bare: &str, contact: &str, subscribed: Subscribed) {
        if self.online(bare).is_none() || self.subscribed(bare, contact) == subscribed {
            return;
        }
        let name = self.use_name(contact);
        let Some(mut online) = self.online_mut(bare) else { return };
        let mut edges = std::mem::take(&mut online.edges).into_vec();
        let at = edges.binary_search_by_key(&name, |edge| edge.name());
        let mut unused = 0;
        match (at, subscribed.is_any()) {
            (Ok(at), true) => {
                if let Some(edge) = edges.get_mut(at) {
                    *edge = Edge::new(name, subscribed);
                }
                unused = 1;
            }
            (Ok(at), false) => {
                edges.remove(at);
                unused = 2;
            }
            (Err(at), true) => edges.insert(at, Edge::new(name, subscribed)),
            (Err(_), false) => unused = 1,
        }
        online.edges = edges.into_boxed_slice();
        drop(online);
        for _ in 0..unused {
            self.disuse_name(name);
        }
    }

    /// Sets a flag on every session of an account.
    pub fn flag_all(&mut self, bare: &str, flag: SessionFlags) {
        let ids: Vec<SessionId> = self.resources(bare).map(|(id, _)| id).collect();
        for id in ids {
            if let Some(session) = self.sessions.get_mut(id) {
                session.flags.set(flag, true);
            }
        }
    }

    /// A contact has just heard that the available resources of an account are gone: of directed presence it need not
    /// hear that again, unless it went to a resource that is connected and not available.
    pub fn settle_directed(&mut self, account: &str, contact: &str) {
        let ids: Vec<SessionId> =
            self.resources(account).filter(|(_, session)| session.is_available()).map(|(id, _)| id).collect();
        for id in ids {
            let directed = self.get_mut(id).and_then(|mut session| session.directed.take());
            let Some(Directed(mut list)) = directed.map(|directed| *directed) else { continue };
            list.retain(|target| {
                let told = self.find(target.as_ref()).and_then(|told| self.get(told));
                target.as_ref().bare() != contact || told.is_some_and(|told| !told.is_available())
            });
            if let Some(mut session) = self.get_mut(id).filter(|_| !list.is_empty()) {
                session.directed = Some(Box::new(Directed(list)));
            }
        }
    }

    /// What a session has last broadcast; none before initial presence and after unavailable.
    pub fn presence<'a>(&'a self, session: &'a Session) -> Option<Presence<'a>> {
        let available = session.presence.as_deref()?;
        Some(Presence { id: available.id.as_deref(), payload: self.payloads.get(&available.payload) })
    }

    /// Keeps what a session broadcasts; true if it was not available before.
    pub fn set_available(&mut self, id: SessionId, priority: i8, presence: Presence<'_>) -> bool {
        if self.sessions.get(id).is_none() {
            return false;
        }
        let payload = self.payloads.keep(presence.payload);
        let available = Available { priority, id: presence.id.map(Into::into), payload };
        let old = self.get_mut(id).and_then(|mut session| session.presence.replace(Box::new(available)));
        let was_available = old.is_some();
        self.release(old);
        !was_available
    }

    /// The session has said goodbye; true if it was available.
    pub fn set_unavailable(&mut self, id: SessionId) -> bool {
        let old = self.get_mut(id).and_then(|mut session| session.presence.take());
        let was_available = old.is_some();
        self.release(old);
        was_available
    }

    fn release(&mut self, old: Option<Box<Available>>) {
        if let Some(old) = old {
            self.payloads.release(old.payload);
        }
    }

    fn name(&self, bare: &str) -> Option<u32> {
        let names = &self.names;
        let is_it = |at: &u32| names.get(*at as usize).is_some_and(|name| &*name.text == bare);
        self.index.find(hash(self.keys, bare), is_it).copied()
    }

    /// The number of a bare JID, counted as used once more.
    fn use_name(&mut self, bare: &str) -> u32 {
        if let Some(at) = self.name(bare) {
            if let Some(name) = self.names.get_mut(at as usize) {
                name.uses += 1;
            }
            return at;
        }
        // A slab of 2^30 names would be more memory than there is.
        let at = self.names.insert(Name { text: bare.into(), uses: 1, online: None }) as u32;
        self.behind_bytes += bare.len();
        let (keys, names) = (self.keys, &self.names);
        self.index.insert_unique(hash(keys, bare), at, |at| hash_of(keys, names, *at));
        at
    }

    fn disuse_name(&mut self, at: u32) {
        let Some(name) = self.names.get_mut(at as usize) else { return };
        name.uses -= 1;
        if name.uses > 0 {
            return;
        }
        let hash = hash(self.keys, &name.text);
        self.behind_bytes -= name.text.len();
        self.names.remove(at as usize);
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == at) {
            entry.remove();
        }
        if self.names.is_empty() {
            (self.names, self.index) = (Slab::new(), HashTable::new());
        }
    }

    /// Adds a session; the caller has made sure that its full JID is free. `loaded` counts if it is the account's
    /// first.
    pub fn insert(&mut self, jid: Jid, conn: ConnId, flags: SessionFlags, loaded: Loaded) -> SessionId {
        let bare = jid.as_ref().bare().to_owned();
        if self.online(&bare).is_none() {
            self.come_online(&bare, loaded);
        }
        let mut session = Session::new(jid, conn, flags);
        session.name = self.name(&bare).unwrap_or(u32::MAX);
        self.behind_bytes += session.heap_bytes();
        let id = self.sessions.insert(session);
        let next = self.online_mut(&bare).and_then(|mut online| online.first.replace(id));
        if let Some(session) = self.sessions.get_mut(id) {
            session.next = next;
        }
        id
    }

    fn come_online(&mut self, bare: &str, loaded: Loaded) {
        let Loaded { contacts, blocked, avatar } = loaded;
        let contacts = contacts.into_iter().filter(|(_, subscribed)| subscribed.is_any());
        let mut edges: Vec<Edge> =
            contacts.map(|(contact, subscribed)| Edge::new(self.use_name(&contact), subscribed)).collect();
        edges.sort_unstable_by_key(|edge| edge.name());
        let name = self.use_name(bare);
        if let Some(name) = self.names.get_mut(name as usize) {
            let online =
                Online { first: None, edges: edges.into_boxed_slice(), blocked, avatar, replay: None, seen: None };
            self.behind_bytes += online.heap_bytes();
            name.online = Some(Box::new(online));
        }
    }

    fn go_offline(&mut self, bare: &str) {
        let Some(name) = self.name(bare) else { return };
        let Some(online) = self.names.get_mut(name as usize).and_then(|name| name.online.take()) else { return };
        self.seen_bytes -= online.seen.as_ref().map_or(0, |seen| seen.bytes());
        self.behind_bytes -= online.heap_bytes();
        for edge in &online.edges {
            self.disuse_name(edge.name());
        }
        self.disuse_name(name);
    }

    /// Takes a session out; with its last one an account is no longer online.
    pub fn remove(&mut self, id: SessionId) -> Option<Session> {
        self.set_unavailable(id);
        let session = self.sessions.remove(id)?;
        self.behind_bytes -= session.heap_bytes();
        let bare = session.jid.as_ref().bare();
        let first = self.online(bare).and_then(|online| online.first);
        if first == Some(id) {
            if let Some(mut online) = self.online_mut(bare) {
                online.first = session.next;
            }
            if session.next.is_none() {
                self.go_offline(bare);
            }
        } else {
            self.unlink(first, id, session.next);
        }
        Some(session)
    }

    fn unlink(&mut self, first: Option<SessionId>, id: SessionId, next: Option<SessionId>) {
        let mut at = first;
        while let Some(here) = at {
            let Some(session) = self.sessions.get_mut(here) else { return };
            if session.next == Some(id) {
                session.next = next;
                return;
            }
            at = session.next;
        }
    }

    /// Bytes of memory that go with a session: its own, and its account's shared among the account's sessions.
    pub fn weight(&self, session: &Session) -> usize {
        let bare = session.jid.bare();
        let account = self.online(bare).map_or(0, |online| {
            let texts = online.edges.iter().filter_map(|edge| self.names.get(edge.name() as usize));
            let alone = texts.filter(|name| name.uses == 1).map(|name| name.text.len() + size_of::<Name>());
            online.heap_bytes() + alone.sum::<usize>()
        });
        session.heap_bytes() + account / self.resources(bare).count().max(1)
    }

    /// Whether the sum of bytes is what counting says; for [`crate::core::Core::audit`].
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn audit(&self) -> Result<(), String> {
        let sessions: usize = self.sessions.iter().map(|(_, session)| session.heap_bytes()).sum();
        let names =
            self.names.iter().map(|(_, name)| name.text.len() + name.online.as_ref().map_or(0, |o| o.heap_bytes()));
        match sessions + names.sum::<usize>() {
            behind if behind == self.behind_bytes => Ok(()),
            behind => Err(format!("the directory holds {behind} bytes, counted are {}", self.behind_bytes)),
        }
    }

    /// Bytes behind the directory: rows, JIDs, contacts, table.
    pub fn heap_bytes(&self) -> usize {
        self.sessions.heap_bytes()
            + self.behind_bytes
            + self.payloads.heap_bytes()
            + self.names.capacity() * (size_of::<Name>() + size_of::<usize>())
            + self.index.capacity() * (size_of::<u32>() + 1)
    }
}

impl Weighed for Online {
    fn heap_bytes(&self) -> usize {
        let blocked = self.blocked.as_ref().map_or(0, |blocked| size_of::<Blocked>() + blocked.heap_bytes());
        let seen = self.seen.as_ref().map_or(0, |seen| seen.heap_bytes());
        let replay = self.replay.as_ref().map_or(0, |_| size_of::<Replay>());
        let avatar = self.avatar.as_ref().map_or(0, |_| 20);
        size_of::<Self>() + size_of_val(&*self.edges) + seen + blocked + replay + avatar
    }
}

fn hash_of(keys: (u64, u64), names: &Slab<Name>, at: u32) -> u64 {
    names.get(at as usize).map_or(0, |name| hash(keys, &name.text))
}

fn hash(keys: (u64, u64), bare: &str) -> u64 {
    SipHasher13::new_with_keys(keys.0, keys.1).hash(bare.as_bytes())
}

/// The sessions of one account.
#[derive(Clone, Debug)]
pub struct Resources<'a> {
    sessions: &'a Table<SessionId, Session>,
    next: Option<SessionId>,
}

impl<'a> Iterator for Resources<'a> {
    type Item = (SessionId, &'a Session);

    fn next(&mut self) -> Option<Self::Item> {
        let id = self.next?;
        let session = self.sessions.get(id)?;
        self.next = session.next;
        Some((id, session))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    fn conn() -> ConnId {
        crate::ids::Id::from_parts(0, 1)
    }

    fn names(directory: &Directory, bare: &str) -> Vec<String> {
        directory.resources(bare).map(|(_, session)| session.jid.as_str().to_owned()).collect()
    }

    #[test]
    fn sessions_of_an_account_come_and_go_in_any_order() {
        let mut directory = Directory::new((1, 2));
        let ids: Vec<_> = (0..5)
            .map(|n| directory.insert(jid(&format!("a@h/{n}")), conn(), SessionFlags::default(), Loaded::default()))
            .collect();
        let other = directory.insert(jid("b@h/0"), conn(), SessionFlags::default(), Loaded::default());
        assert_eq!(names(&directory, "a@h"), ["a@h/4", "a@h/3", "a@h/2", "a@h/1", "a@h/0"]);
        for at in [2, 4, 0] {
            assert!(directory.remove(ids[at]).is_some());
        }
        assert_eq!(names(&directory, "a@h"), ["a@h/3", "a@h/1"]);
        assert_eq!(directory.find(jid("a@h/1").as_ref()), Some(ids[1]));
        assert_eq!(directory.find(jid("a@h/2").as_ref()), None);
        assert_eq!(directory.route(jid("b@h/0").as_ref()), Route::Local(other));
        assert!(directory.remove(ids[1]).is_some());
        assert!(directory.remove(ids[3]).is_some());
        assert!(directory.remove(ids[3]).is_none());
        assert_eq!(names(&directory, "a@h"), Vec::<String>::new());
        assert_eq!(directory.len(), 1);
    }

    #[test]
    fn many_accounts_are_found_through_growth() {
        let mut directory = Directory::new((3, 4));
        let ids: Vec<_> = (0..2000)
            .map(|n| directory.insert(jid(&format!("u{n}@h/r")), conn(), SessionFlags::default(), Loaded::default()))
            .collect();
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(directory.find(jid(&format!("u{n}@h/r")).as_ref()), Some(*id));
        }
        for id in ids {
            directory.remove(id);
        }
        assert!(directory.is_empty());
    }

    #[test]
    fn contacts_are_kept_while_their_account_is_online() {
        let mut directory = Directory::new((5, 6));
        let [from, to] = [Subscribed { from: true, to: false }, Subscribed { from: false, to: true }];
        let both = Subscribed { from: true, to: true };
        let contacts = vec![("b@h".into(), both), ("c@h".into(), from), ("x@h".into(), Subscribed::default())];
        let loaded = Loaded { contacts, ..Loaded::default() };
        let a = directory.insert(jid("a@h/1"), conn(), SessionFlags::default(), loaded);
        let second = directory.insert(jid("a@h/2"), conn(), SessionFlags::default(), Loaded::default());
        let b = directory.insert(jid("b@h/1"), conn(), SessionFlags::default(), Loaded::default());
        assert_eq!(directory.subscribed("a@h", "b@h"), both);
        assert_eq!(directory.subscribed("a@h", "x@h"), Subscribed::default());
        assert_eq!(directory.subscribed("b@h", "a@h"), Subscribed::default());
        directory.set_subscribed("a@h", "c@h", to);
        directory.set_subscribed("a@h", "d@h", from);
        directory.set_subscribed("a@h", "e@h", Subscribed::default());
        directory.set_subscribed("nobody@h", "a@h", both);
        let mut seen: Vec<_> = directory.contacts("a@h").map(|c| (c.bare.to_owned(), c.subscribed)).collect();
        seen.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(seen, [("b@h".into(), both), ("c@h".into(), to), ("d@h".into(), from)]);
        let online = directory.contacts("a@h").filter(|c| directory.resources_of(*c).next().is_some());
        assert_eq!(online.map(|c| c.bare).collect::<Vec<_>>(), ["b@h"]);
        directory.set_subscribed("a@h", "c@h", Subscribed::default());
        assert_eq!(directory.contacts("a@h").count(), 2);
        directory.remove(a);
        assert_eq!(directory.contacts("a@h").count(), 2);
        directory.remove(second);
        assert_eq!(directory.contacts("a@h").count(), 0);
        assert_eq!(directory.names.len(), 1, "only who is online");
        directory.remove(b);
        assert_eq!((directory.names.len(), directory.index.len()), (0, 0));
    }
}
