//! Block lists: the rows (XEP-0191).
//!
//! ```text
//! domain ‖ localpart ──▶ the whole list: few have one, most are short, and it is always needed whole
//! ```

use crate::jid::{Jid, JidRef};
use crate::storage::keys::{Key, Table};
use crate::storage::{Miss, Store, StoreFull};

/// The format of the row; its first byte.
const ROW_VERSION: u8 = 1;

/// The JIDs that an account has blocked, prepared and sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocked(Vec<Jid>);

impl Blocked {
    /// Whether the list names `jid`: its full JID, its bare JID, its domain with the resource, or its domain.
    pub fn matches(&self, jid: JidRef<'_>) -> bool {
        self.0.iter().any(|blocked| {
            let blocked = blocked.as_ref();
            blocked.domainpart() == jid.domainpart()
                && blocked.localpart().is_none_or(|localpart| jid.localpart() == Some(localpart))
                && blocked.resourcepart().is_none_or(|resource| jid.resourcepart() == Some(resource))
        })
    }

    /// Adds a JID; false if it was there.
    pub fn add(&mut self, jid: Jid) -> bool {
        match self.0.binary_search(&jid) {
            Ok(_) => false,
            Err(at) => {
                self.0.insert(at, jid);
                true
            }
        }
    }

    /// Takes a JID out; false if it was not there.
    pub fn remove(&mut self, jid: &Jid) -> bool {
        match self.0.binary_search(jid) {
            Ok(at) => {
                self.0.remove(at);
                true
            }
            Err(_) => false,
        }
    }

    /// The list.
    pub fn iter(&self) -> impl Iterator<Item = &Jid> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is blocked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes behind it.
    pub fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<Jid>() + self.0.iter().map(Jid::heap_bytes).sum::<usize>()
    }
}

/// The key of an account's row.
pub fn key(account: JidRef<'_>) -> Key {
    Key::new(Table::Blocks).text(account.domainpart()).text(account.localpart().unwrap_or_default())
}

/// Reads an account's list; an account without one has blocked nobody.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn get(store: &mut Store, account: JidRef<'_>) -> Result<Blocked, Miss> {
    Ok(store.get(key(account).as_bytes())?.map_or_else(Blocked::default, |row| decode(&row)))
}

/// Replaces an account's list.
///
/// # Errors
///
/// [`StoreFull`]: nothing is written.
pub fn set(store: &mut Store, account: JidRef<'_>, blocked: &Blocked) -> Result<(), StoreFull> {
    let key = key(account);
    match blocked.is_empty() {
        true => store.delete(key.as_bytes()),
        false => store.put(key.as_bytes(), &encode(blocked)),
    }
}

fn encode(blocked: &Blocked) -> Vec<u8> {
    let mut row = vec![ROW_VERSION];
    for jid in blocked.iter() {
        // A JID has no NUL (RFC 7622 §3).
        row.extend_from_slice(jid.as_str().as_bytes());
        row.push(0);
    }
    row
}

fn decode(row: &[u8]) -> Blocked {
    let Some((&ROW_VERSION, list)) = row.split_first() else { return Blocked::default() };
    let texts = list.split(|byte| *byte == 0).filter(|text| !text.is_empty());
    let mut jids: Vec<Jid> =
        texts.filter_map(|text| Some(JidRef::of_prepared(std::str::from_utf8(text).ok()?).to_owned())).collect();
    jids.sort();
    Blocked(jids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    #[test]
    fn a_list_matches_what_it_names() {
        let mut blocked = Blocked::default();
        for text in ["full@a/r", "bare@a", "domain", "service/r"] {
            assert!(blocked.add(jid(text)) && !blocked.add(jid(text)));
        }
        for text in ["full@a/r", "bare@a", "bare@a/any", "domain", "any@domain", "any@domain/r", "x@service/r"] {
            assert!(blocked.matches(jid(text).as_ref()), "{text}");
        }
        for text in ["full@a", "full@a/other", "other@a", "sub.domain", "service", "x@service"] {
            assert!(!blocked.matches(jid(text).as_ref()), "{text}");
        }
        assert_eq!(decode(&encode(&blocked)), blocked);
        assert!(blocked.remove(&jid("domain")) && !blocked.remove(&jid("domain")));
        assert_eq!(blocked.len(), 3);
        assert_eq!(decode(&[]), Blocked::default());
    }
}
