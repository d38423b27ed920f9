//! Rosters: the rows (RFC 6121 §2).
//!
//! ```text
//! domain ‖ localpart ‖ contact ──▶ Item       domain ‖ localpart ──▶ Meta: version, counts
//!                              ──▶ request    domain ‖ localpart ‖ version ──▶ the contact removed then
//! ```
//!
//! A row without an item in it ("None + Pending In" that nobody asked to have in the list, RFC 6121 §3.1.3) is kept
//! in the same table and never shown. Every change moves the version in [`Meta`], in the same unit as the row.

use crate::im::subscription::State;
use crate::jid::JidRef;
use crate::limits::ROSTER_REMOVALS_MAX;
use crate::storage::keys::{Key, Parts, Table};
use crate::storage::{Batch, Miss, Store, StoreFull};
use crate::xml::escape_attr;

/// The format of the rows here; the first byte of every one.
const ROW_VERSION: u8 = 1;
/// Rows asked of the store at a time.
const PAGE_ROWS: u32 = 256;

/// What an account keeps about a contact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// Where the subscription stands.
    pub state: State,
    /// Whether a request of the contact is approved before it comes (RFC 6121 §3.4).
    pub approved: bool,
    /// Whether it is in the list that clients see.
    pub listed: bool,
    /// The roster's version when the item last changed.
    pub version: u64,
    /// The user's name for the contact.
    pub name: String,
    /// The user's groups.
    pub groups: Vec<String>,
}

/// What an account's roster is as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Made by chance with the first change: a roster that was deleted and made anew has another one.
    pub epoch: u64,
    /// Rises with each change that clients see.
    pub version: u64,
    /// Removals up to this version are forgotten.
    pub removals_from: u64,
    /// Removals that are remembered.
    pub removals: u32,
    /// Rows, those that are not listed included.
    pub items: u32,
    /// Requests that wait for their answer.
    pub requests: u32,
    /// About as many bytes as all that is listed takes on the wire: it must fit an outbox.
    pub bytes: u64,
}

impl Meta {
    /// The version as clients see it (RFC 6121 §2.6: opaque to them).
    pub fn ver(&self) -> String {
        format!("{:x}-{}", self.epoch, self.version)
    }

    /// The version number in a `ver`, if it is one of this roster's.
    pub fn parse_ver(&self, ver: &str) -> Option<u64> {
        let (epoch, version) = ver.split_once('-')?;
        let version: u64 = version.parse().ok()?;
        (u64::from_str_radix(epoch, 16) == Ok(self.epoch) && version <= self.version).then_some(version)
    }
}

fn key_of(table: Table, account: JidRef<'_>) -> Key {
    Key::new(table).text(account.domainpart()).text(account.localpart().unwrap_or_default())
}

/// Reads what an account keeps about a contact (a prepared bare JID).
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn get(store: &mut Store, account: JidRef<'_>, contact: &str) -> Result<Option<Item>, Miss> {
    let row = store.get(key_of(Table::Roster, account).text(contact).as_bytes())?;
    Ok(row.and_then(|row| decode(&row)))
}

/// The key of one row, to ask for many at once.
pub fn key(account: JidRef<'_>, contact: &str) -> Key {
    key_of(Table::Roster, account).text(contact)
}

/// The key of the row of an account's [`Meta`].
pub fn meta_key(account: JidRef<'_>) -> Key {
    key_of(Table::RosterMeta, account)
}

/// Reads the whole roster, rows that are not listed included, in byte order of the contacts.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn list(store: &mut Store, account: JidRef<'_>) -> Result<Vec<(String, Item)>, Miss> {
    let mut items = Vec::new();
    all(store, &key_of(Table::Roster, account), |key, row| {
        let contact = contact_of(key)?;
        items.push((contact, decode(row)?));
        Some(())
    })?;
    Ok(items)
}

/// Reads all rows below a key, a page at a time.
fn all(store: &mut Store, prefix: &Key, mut each: impl FnMut(&[u8], &[u8]) -> Option<()>) -> Result<(), Miss> {
    let mut range = prefix.range(PAGE_ROWS);
    loop {
        let rows = store.range(&range)?;
        for (key, row) in &rows {
            let _skipped = each(key, row);
        }
        match rows.last() {
            Some((key, _)) if rows.len() >= PAGE_ROWS as usize => range = range.behind(key),
            _ => return Ok(()),
        }
    }
}

fn contact_of(key: &[u8]) -> Option<String> {
    let mut parts = Parts::of(key, Table::Roster).or_else(|| Parts::of(key, Table::Requests))?;
    parts.part()?;
    parts.part()?;
    parts.text()
}

/// Reads what the roster is as a whole.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn meta(store: &mut Store, account: JidRef<'_>) -> Result<Meta, Miss> {
    Ok(store.get(meta_key(account).as_bytes())?.map_or_else(Meta::default, |row| decode_meta(&row)))
}

/// Reads the contacts that were removed behind a version, with the version of each removal.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn removed_since(store: &mut Store, account: JidRef<'_>, version: u64) -> Result<Vec<(u64, String)>, Miss> {
    let prefix = key_of(Table::RosterGone, account);
    let range = prefix.range(ROSTER_REMOVALS_MAX + 1).behind(prefix.clone().number(version).as_bytes());
    let rows = store.range(&range)?;
    let removal = |(key, row): &(Vec<u8>, Vec<u8>)| {
        let mut parts = Parts::of(key, Table::RosterGone)?;
        parts.part()?;
        parts.part()?;
        Some((parts.number()?, String::from_utf8(row.get(1..)?.to_vec()).ok()?))
    };
    Ok(rows.iter().filter_map(removal).collect())
}

/// Changes to one roster, put together and then written as one.
#[derive(Debug)]
pub struct Change {
    meta: Meta,
    batch: Batch,
}

impl Change {
    /// Starts from what the roster is; `epoch` is taken if it has none yet. Where too many removals are remembered
    /// they are forgotten: whoever knows an older version than this gets the whole roster.
    ///
    /// # Errors
    ///
    /// [`Miss`]: run again.
    pub fn of(store: &mut Store, account: JidRef<'_>, epoch: u64) -> Result<Self, Miss> {
        let mut meta = meta(store, account)?;
        let mut batch = Batch::new();
        if meta.removals >= ROSTER_REMOVALS_MAX {
            for (version, _) in removed_since(store, account, 0)? {
                batch.delete(key_of(Table::RosterGone, account).number(version).as_bytes());
            }
            (meta.removals, meta.removals_from) = (0, meta.version);
        }
        if meta.epoch == 0 {
            meta.epoch = epoch.max(1);
        }
        Ok(Self { meta, batch })
    }

    /// What the roster is after the change.
    pub fn meta(&self) -> Meta {
        self.meta
    }

    /// Sets an item in place of `old`. Only what clients see moves the version.
    pub fn put(&mut self, account: JidRef<'_>, contact: &str, old: Option<&Item>, item: &mut Item) {
        if old.is_none() {
            self.meta.items = self.meta.items.saturating_add(1);
        }
        if item.listed {
            self.meta.version = self.meta.version.saturating_add(1);
            item.version = self.meta.version;
        }
        self.meta.bytes -= old.map_or(0, |old| shown_bytes(contact, old)).min(self.meta.bytes);
        // A damaged row may hold any number.
        self.meta.bytes = self.meta.bytes.saturating_add(shown_bytes(contact, item));
        self.batch.put(key(account, contact).as_bytes(), &encode(item));
    }

    /// Sets an item of which clients see nothing new.
    pub fn put_quietly(&mut self, account: JidRef<'_>, contact: &str, is_new: bool, item: &mut Item) {
        if is_new {
            self.meta.items = self.meta.items.saturating_add(1);
        }
        self.batch.put(key(account, contact).as_bytes(), &encode(item));
    }

    /// Takes an item out; a listed one is remembered as removed.
    pub fn delete(&mut self, account: JidRef<'_>, contact: &str, old: &Item) {
        self.batch.delete(key(account, contact).as_bytes());
        self.meta.items = self.meta.items.saturating_sub(1);
        self.meta.bytes -= shown_bytes(contact, old).min(self.meta.bytes);
        if !old.listed {
            return;
        }
        self.meta.version = self.meta.version.saturating_add(1);
        let mut row = vec![ROW_VERSION];
        row.extend_from_slice(contact.as_bytes());
        self.batch.put(key_of(Table::RosterGone, account).number(self.meta.version).as_bytes(), &row);
        self.meta.removals = self.meta.removals.saturating_add(1);
    }

    /// Keeps a request of `contact` until it is answered: the whole stanza.
    pub fn put_request(&mut self, account: JidRef<'_>, contact: &str, is_new: bool, stanza: &[u8]) {
        if is_new {
            self.meta.requests = self.meta.requests.saturating_add(1);
        }
        let mut row = vec![ROW_VERSION];
        row.extend_from_slice(stanza);
        self.batch.put(key_of(Table::Requests, account).text(contact).as_bytes(), &row);
    }

    /// Forgets the request of `contact`, which is there.
    pub fn delete_request(&mut self, account: JidRef<'_>, contact: &str) {
        self.meta.requests = self.meta.requests.saturating_sub(1);
        self.batch.delete(key_of(Table::Requests, account).text(contact).as_bytes());
    }

    /// Writes all of it.
    ///
    /// # Errors
    ///
    /// [`StoreFull`]: nothing is written.
    pub fn write(mut self, store: &mut Store, account: JidRef<'_>) -> Result<Meta, StoreFull> {
        self.batch.put(meta_key(account).as_bytes(), &encode_meta(self.meta));
        store.apply(self.batch)?;
        Ok(self.meta)
    }
}

/// Reads the request of a contact that waits for its answer: the whole stanza.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn request(store: &mut Store, account: JidRef<'_>, contact: &str) -> Result<Option<Vec<u8>>, Miss> {
    let row = store.get(key_of(Table::Requests, account).text(contact).as_bytes())?;
    Ok(row.and_then(|row| row.get(1..).map(<[u8]>::to_vec)))
}

/// Reads all requests that wait for their answer: contact and stanza.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn requests(store: &mut Store, account: JidRef<'_>) -> Result<Vec<(String, Vec<u8>)>, Miss> {
    let mut requests = Vec::new();
    all(store, &key_of(Table::Requests, account), |key, row| {
        requests.push((contact_of(key)?, row.get(1..)?.to_vec()));
        Some(())
    })?;
    Ok(requests)
}

/// What an item takes in a roster on the wire, escaped, with room for its attributes; nothing if it is not listed.
fn shown_bytes(contact: &str, item: &Item) -> u64 {
    if !item.listed {
        return 0;
    }
    let mut out = b"<item jid='' name='' subscription='none' ask='subscribe' approved='true'></item>".to_vec();
    escape_attr(contact, &mut out);
    escape_attr(&item.name, &mut out);
    for group in &item.groups {
        out.extend_from_slice(b"<group></group>");
        escape_attr(group, &mut out);
    }
    out.len() as u64
}

fn encode(item: &Item) -> Vec<u8> {
    let flags = u8::from(item.approved) | u8::from(item.listed) << 1;
    let mut row = vec![ROW_VERSION, item.state as u8, flags];
    row.extend(item.version.to_be_bytes());
    for text in std::iter::once(&item.name).chain(&item.groups) {
        let bytes = text.as_bytes();
        // Names and groups are bounded far below this by whoever sets them.
        let len = u16::try_from(bytes.len()).unwrap_or(0);
        row.extend(len.to_be_bytes());
        row.extend_from_slice(bytes.get(..usize::from(len)).unwrap_or_default());
    }
    row
}

/// `None`: the row does not read, and counts as not there.
fn decode(row: &[u8]) -> Option<Item> {
    let (&[format, state, flags], rest) = row.split_first_chunk()?;
    let (version, mut rest) = rest.split_first_chunk()?;
    let mut texts = Vec::new();
    while let Some((len, tail)) = rest.split_first_chunk() {
        let (text, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        texts.push(String::from_utf8(text.to_vec()).ok()?);
        rest = tail;
    }
    if format != ROW_VERSION || texts.is_empty() {
        return None;
    }
    Some(Item {
        state: State::from_number(state)?,
        approved: flags & 1 != 0,
        listed: flags & 2 != 0,
        version: u64::from_be_bytes(*version),
        name: texts.remove(0),
        groups: texts,
    })
}

fn encode_meta(meta: Meta) -> Vec<u8> {
    let mut row = vec![ROW_VERSION];
    for number in [meta.epoch, meta.version, meta.removals_from] {
        row.extend(number.to_be_bytes());
    }
    for number in [meta.removals, meta.items, meta.requests] {
        row.extend(number.to_be_bytes());
    }
    row.extend(meta.bytes.to_be_bytes());
    row
}

fn decode_meta(row: &[u8]) -> Meta {
    let long = |at: usize| row.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let short = |at: usize| row.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_be_bytes(*bytes));
    Meta {
        epoch: long(1),
        version: long(9),
        removals_from: long(17),
        removals: short(25),
        items: short(29),
        requests: short(33),
        // Rows of before bytes were counted end here: what was there then is not counted.
        bytes: long(37),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jid::Jid;
    use crate::storage::{Memory, offline};

    fn account() -> Jid {
        Jid::parse("romeo@example.net").unwrap()
    }

    fn change(engine: &mut Memory, what: impl Fn(&mut Change, JidRef<'_>)) -> Meta {
        offline::run(engine, |store| {
            let account = account();
            let mut change = Change::of(store, account.as_ref(), 7)?;
            what(&mut change, account.as_ref());
            Ok(change.write(store, account.as_ref()).unwrap())
        })
        .unwrap()
    }

    #[test]
    fn items_are_written_listed_and_removed_with_rising_versions() {
        let engine = &mut Memory::new();
        let item = Item {
            state: State::To,
            listed: true,
            name: "Juliet".into(),
            groups: vec!["Friends".into(), "Capulets".into()],
            ..Item::default()
        };
        let meta = change(engine, |change, account| {
            change.put(account, "juliet@example.com", None, &mut item.clone());
            change.put(account, "hidden@example.com", None, &mut Item { state: State::NoneIn, ..Item::default() });
        });
        assert_eq!((meta.epoch, meta.version, meta.items), (7, 1, 2));
        assert_eq!(meta.ver(), "7-1");
        assert_eq!(meta.parse_ver("7-1"), Some(1));
        assert_eq!([meta.parse_ver("7-2"), meta.parse_ver("8-1"), meta.parse_ver("x")], [None; 3]);
        let rows = offline::run(engine, |store| list(store, account().as_ref())).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1], ("juliet@example.com".into(), Item { version: 1, ..item.clone() }));
        let meta = change(engine, |change, account| change.delete(account, "juliet@example.com", &item));
        assert_eq!((meta.version, meta.items, meta.removals), (2, 1, 1));
        let gone = offline::run(engine, |store| removed_since(store, account().as_ref(), 0)).unwrap();
        assert_eq!(gone, [(2, "juliet@example.com".to_owned())]);
        assert_eq!(offline::run(engine, |store| removed_since(store, account().as_ref(), 2)).unwrap(), []);
    }

    #[test]
    fn removals_are_forgotten_when_there_are_too_many() {
        let engine = &mut Memory::new();
        let item = Item { listed: true, ..Item::default() };
        for number in 0..=ROSTER_REMOVALS_MAX {
            let meta = change(engine, |change, account| change.delete(account, &format!("c{number}@h"), &item));
            assert!(meta.removals <= ROSTER_REMOVALS_MAX);
        }
        let meta = offline::run(engine, |store| super::meta(store, account().as_ref())).unwrap();
        assert_eq!((meta.removals, meta.removals_from), (1, u64::from(ROSTER_REMOVALS_MAX)));
        assert_eq!(offline::run(engine, |store| removed_since(store, account().as_ref(), 0)).unwrap().len(), 1);
    }

    #[test]
    fn requests_are_kept_as_they_came() {
        let engine = &mut Memory::new();
        change(engine, |change, account| change.put_request(account, "a@b", true, b"<presence/>"));
        let kept = offline::run(engine, |store| requests(store, account().as_ref())).unwrap();
        assert_eq!(kept, [("a@b".to_owned(), b"<presence/>".to_vec())]);
        let meta = change(engine, |change, account| change.delete_request(account, "a@b"));
        assert_eq!(meta.requests, 0);
        assert_eq!(offline::run(engine, |store| request(store, account().as_ref(), "a@b")).unwrap(), None);
    }

    #[test]
    fn a_broken_row_is_no_item() {
        let row = encode(&Item { name: "x".into(), ..Item::default() });
        assert!(decode(&row).is_some());
        for end in 0..row.len() {
            let _ = decode(&row[..end]);
        }
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[9, 0, 0]), None);
    }
}
