//! The directory: which session, if any, answers for a JID.
//!
//! ```text
//! bare JID ──keyed hash──▶ first SessionId ──next──▶ second ──next──▶ …
//! ```
//!
//! The table holds ids only (8 bytes an account); the JIDs they are found by stand in the sessions.
//! The hash is keyed, since peers choose what is hashed. The answer is a closed enum that has room
//! for sessions on other processes and other servers (`docs/architecture.md`, "Beyond one machine").

use crate::ids::{ConnId, SessionId, Table};
use crate::im::session::Session;
use crate::jid::{Jid, JidRef};
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use std::hash::Hasher as _;

/// Where stanzas for a JID go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A session of this process.
    Local(SessionId),
    /// A session of another process of this cluster. Nothing makes this yet.
    Peer(u32),
    /// A domain that is not hosted here.
    Remote,
    /// A hosted domain, and nobody there to take it.
    Nobody,
}

/// All sessions, and the way to find them.
#[derive(Debug)]
pub struct Directory {
    sessions: Table<SessionId, Session>,
    accounts: HashTable<SessionId>,
    keys: (u64, u64),
}

impl Directory {
    /// Empty; `keys` makes the hash unpredictable to peers.
    pub fn new(keys: (u64, u64)) -> Self {
        Self { sessions: Table::new(), accounts: HashTable::new(), keys }
    }

    /// Gives back what a past load has left.
    pub fn shrink(&mut self) {
        self.sessions.shrink();
        let keys = self.keys;
        let sessions = &self.sessions;
        self.accounts
            .shrink_to_fit(|id| sessions.get(*id).map_or(0, |session| hash(keys, session.jid.as_ref().bare())));
    }

    /// The session, unless it has ended.
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(id)
    }

    /// The session to change, unless it has ended. Its JID and list link must stay as they are.
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.get_mut(id)
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

    /// The sessions of one account, newest first.
    pub fn resources(&self, bare: &str) -> Resources<'_> {
        let first = self.accounts.find(hash(self.keys, bare), |id| self.is_of(*id, bare)).copied();
        Resources { sessions: &self.sessions, next: first }
    }

    /// The session of exactly this full JID.
    pub fn find(&self, jid: JidRef<'_>) -> Option<SessionId> {
        let resource = jid.resourcepart()?;
        let mut resources = self.resources(jid.bare());
        resources.find(|(_, session)| session.jid.as_ref().resourcepart() == Some(resource)).map(|(id, _)| id)
    }

    /// Where stanzas for this full JID go, its domain being hosted here.
    pub fn route(&self, jid: JidRef<'_>) -> Route {
        self.find(jid).map_or(Route::Nobody, Route::Local)
    }

    fn is_of(&self, id: SessionId, bare: &str) -> bool {
        self.sessions.get(id).is_some_and(|session| session.jid.as_ref().bare() == bare)
    }

    /// Adds a session; the caller has made sure that its full JID is free.
    pub fn insert(&mut self, jid: Jid, conn: ConnId, anonymous: bool) -> SessionId {
        let bare_hash = hash(self.keys, jid.as_ref().bare());
        let bare = jid.as_ref().bare().to_owned();
        let first = self.accounts.find(bare_hash, |id| self.is_of(*id, &bare)).copied();
        let mut session = Session::new(jid, conn, anonymous);
        session.next = first;
        let id = self.sessions.insert(session);
        match self.accounts.find_mut(bare_hash, |other| Some(*other) == first) {
            Some(entry) => *entry = id,
            None => {
                let (sessions, keys) = (&self.sessions, self.keys);
                self.accounts.insert_unique(bare_hash, id, |id| {
                    sessions.get(*id).map_or(0, |session| hash(keys, session.jid.as_ref().bare()))
                });
            }
        }
        id
    }

    /// Takes a session out.
    pub fn remove(&mut self, id: SessionId) -> Option<Session> {
        let bare = self.sessions.get(id)?.jid.as_ref().bare().to_owned();
        let bare_hash = hash(self.keys, &bare);
        let next = self.sessions.get(id)?.next;
        let first = self.accounts.find(bare_hash, |other| self.is_of(*other, &bare)).copied();
        if first == Some(id) {
            self.replace_first(bare_hash, id, next);
        } else {
            self.unlink(first, id, next);
        }
        let session = self.sessions.remove(id);
        if self.sessions.is_empty() {
            self.accounts = HashTable::new();
        }
        session
    }

    fn replace_first(&mut self, bare_hash: u64, id: SessionId, next: Option<SessionId>) {
        let Ok(mut entry) = self.accounts.find_entry(bare_hash, |other| *other == id) else { return };
        match next {
            Some(next) => *entry.get_mut() = next,
            None => {
                entry.remove();
            }
        }
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

    /// Bytes behind the directory: rows, JIDs, table.
    pub fn heap_bytes(&self) -> usize {
        let behind: usize = self.sessions.iter().map(|(_, session)| session.heap_bytes()).sum();
        self.sessions.heap_bytes() + behind + self.accounts.capacity() * (size_of::<SessionId>() + 1)
    }
}

fn hash(keys: (u64, u64), bare: &str) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(keys.0, keys.1);
    hasher.write(bare.as_bytes());
    hasher.finish()
}

/// The sessions of one account.
#[derive(Debug)]
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
        let ids: Vec<_> = (0..5).map(|n| directory.insert(jid(&format!("a@h/{n}")), conn(), false)).collect();
        let other = directory.insert(jid("b@h/0"), conn(), false);
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
        let ids: Vec<_> = (0..2000).map(|n| directory.insert(jid(&format!("u{n}@h/r")), conn(), false)).collect();
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(directory.find(jid(&format!("u{n}@h/r")).as_ref()), Some(*id));
        }
        for id in ids {
            directory.remove(id);
        }
        assert!(directory.is_empty());
    }
}
