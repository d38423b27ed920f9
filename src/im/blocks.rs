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
/// What an entry takes beside its JID.
const ITEM_BYTES: usize = 16;

/// The JIDs that an account has blocked, prepared and sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocked(Vec<Jid>);

impl Blocked {
    /// Whether the list names `jid`: its full JID, its bare JID, its domain with the resource, or its domain. Four
    /// look-ups, however long the list is: every stanza asks.
    pub fn matches(&self, jid: JidRef<'_>) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let (domain, resource) = (jid.domainpart(), jid.resourcepart());
        [jid.as_str(), jid.bare(), domain].into_iter().any(|text| self.names(text, None))
            || resource.is_some() && self.names(domain, resource)
    }

    /// Whether the text is an entry, with `/` and a resource behind it if there is one.
    fn names(&self, text: &str, resource: Option<&str>) -> bool {
        let behind = resource.iter().flat_map(|resource| [b'/'].into_iter().chain(resource.bytes()));
        let wanted = text.bytes().chain(behind);
        self.0.binary_search_by(|blocked| blocked.as_str().bytes().cmp(wanted.clone())).is_ok()
    }

    /// A resource that an entry names for this bare JID, or for any JID of its domain; of several the first.
    pub fn resource_of(&self, jid: JidRef<'_>) -> Option<&str> {
        [jid.bare(), jid.domainpart()].into_iter().find_map(|text| {
            // In the order of the list `text/` stands right before all that begins with it.
            let front = || text.bytes().chain([b'/']);
            let at = self.0.partition_point(|blocked| blocked.as_str().bytes().lt(front()));
            let entry = self.0.get(at)?;
            entry.as_str().strip_prefix(text)?.strip_prefix('/')
        })
    }

    /// Whether exactly this JID is an entry.
    pub fn contains(&self, jid: &Jid) -> bool {
        self.0.binary_search(jid).is_ok()
    }

    /// The list.
    pub fn iter(&self) -> impl Iterator<Item = &Jid> {
        self.0.iter()
    }

    /// What the list takes where it is kept and told, about: each entry's bytes and those of an `<item/>` around it.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|jid| jid.as_str().len() + ITEM_BYTES).sum()
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

/// In order, each once.
impl FromIterator<Jid> for Blocked {
    fn from_iter<I: IntoIterator<Item = Jid>>(jids: I) -> Self {
        let mut jids: Vec<Jid> = jids.into_iter().collect();
        jids.sort();
        jids.dedup();
        jids.shrink_to_fit();
        Self(jids)
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
    texts.filter_map(|text| Some(JidRef::of_prepared(std::str::from_utf8(text).ok()?).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    #[test]
    fn a_list_matches_what_it_names() {
        let entries = ["full@a/r", "bare@a", "domain", "service/r", "bare@a", "full@a/r/s"];
        let blocked: Blocked = entries.into_iter().map(jid).collect();
        assert_eq!(blocked.len(), 5, "each once");
        let named =
            ["full@a/r", "full@a/r/s", "bare@a", "bare@a/any", "domain", "domain/r", "any@domain", "any@domain/r"];
        for text in named.into_iter().chain(["service/r", "x@service/r"]) {
            assert!(blocked.matches(jid(text).as_ref()), "{text}");
        }
        for text in ["full@a", "full@a/other", "other@a", "sub.domain", "service", "x@service", "full@a/r/t", "a"] {
            assert!(!blocked.matches(jid(text).as_ref()), "{text}");
        }
        assert_eq!(decode(&encode(&blocked)), blocked);
        assert!(blocked.contains(&jid("domain")) && !blocked.contains(&jid("any@domain")));
        let resources =
            ["full@a", "x@service", "bare@a", "a", "full@service"].map(|text| blocked.resource_of(jid(text).as_ref()));
        assert_eq!(resources, [Some("r"), Some("r"), None, None, Some("r")]);
        assert_eq!(decode(&[]), Blocked::default());
    }

    /// The look-ups against the sentence that they stand for (§6).
    #[test]
    fn look_ups_find_what_a_walk_finds() {
        let (names, resources) = ([None, Some("a"), Some("b")], [None, Some("r"), Some("r/r")]);
        let all = || {
            let parts = names.into_iter().flat_map(|name| ["d", "d.e"].map(|domain| (name, domain)));
            parts.flat_map(|(name, domain)| resources.map(|resource| Jid::from_parts(name, domain, resource).unwrap()))
        };
        for chosen in 0..1u32 << 18 {
            // Lists of up to three: each entry is looked up apart from the others.
            if chosen.count_ones() > 3 {
                continue;
            }
            let entries = all().enumerate().filter(|(at, _)| chosen & 1 << at != 0).map(|(_, jid)| jid);
            let blocked: Blocked = entries.collect();
            for other in all() {
                let is_named = blocked.iter().any(|entry| {
                    entry.domainpart() == other.domainpart()
                        && entry.localpart().is_none_or(|name| other.localpart() == Some(name))
                        && entry.resourcepart().is_none_or(|resource| other.resourcepart() == Some(resource))
                });
                assert_eq!(blocked.matches(other.as_ref()), is_named, "{other} in {blocked:?}");
            }
        }
    }
}
