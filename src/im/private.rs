//! Private XML: the rows (XEP-0049).
//!
//! ```text
//! domain ‖ localpart ‖ namespace ‖ name ──▶ the element      domain ‖ localpart ──▶ how many, how many bytes
//! ```

use crate::jid::JidRef;
use crate::storage::keys::{Key, Parts, Table};
use crate::storage::{Batch, Miss, Store, StoreFull};

/// The format of the rows; their first byte.
const ROW_VERSION: u8 = 1;
/// Rows asked of the store at a time.
const PAGE_ROWS: u32 = 64;

/// How much private XML an account has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Elements.
    pub elements: u32,
    /// Bytes of them.
    pub bytes: u64,
}

fn key_of(table: Table, account: JidRef<'_>) -> Key {
    Key::new(table).text(account.domainpart()).text(account.localpart().unwrap_or_default())
}

/// Reads one element.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn get(store: &mut Store, account: JidRef<'_>, ns: &str, name: &str) -> Result<Option<Vec<u8>>, Miss> {
    let row = store.get(key_of(Table::Private, account).text(ns).text(name).as_bytes())?;
    Ok(row.and_then(|row| row.get(1..).map(<[u8]>::to_vec)))
}

/// Reads all elements.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn list(store: &mut Store, account: JidRef<'_>) -> Result<Vec<(String, String, Vec<u8>)>, Miss> {
    let mut elements = Vec::new();
    let mut range = key_of(Table::Private, account).range(PAGE_ROWS);
    loop {
        let rows = store.range(&range)?;
        elements.extend(rows.iter().filter_map(|(key, row)| {
            let mut parts = Parts::of(key, Table::Private)?;
            parts.part()?;
            parts.part()?;
            Some((parts.text()?, parts.text()?, row.get(1..)?.to_vec()))
        }));
        match rows.last() {
            Some((key, _)) if rows.len() >= PAGE_ROWS as usize => range = range.behind(key),
            _ => return Ok(elements),
        }
    }
}

/// Reads how much there is.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn meta(store: &mut Store, account: JidRef<'_>) -> Result<Meta, Miss> {
    let row = store.get(key_of(Table::PrivateMeta, account).as_bytes())?;
    let meta = row.and_then(|row| {
        let (elements, rest) = row.get(1..)?.split_first_chunk()?;
        Some(Meta { elements: u32::from_be_bytes(*elements), bytes: u64::from_be_bytes(*rest.first_chunk()?) })
    });
    Ok(meta.unwrap_or_default())
}

/// What became of an element that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Kept {
    /// It is kept.
    Yes,
    /// The account has as much as it may have.
    TooMuch,
    /// Too much waits for the disk.
    Busy,
}

/// Replaces one element; an empty text takes it away.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn set(
    store: &mut Store,
    account: JidRef<'_>,
    (ns, name): (&str, &str),
    element: &[u8],
    (elements_max, bytes_max): (u32, u64),
) -> Result<Kept, Miss> {
    let old = get(store, account, ns, name)?;
    let meta = meta(store, account)?;
    let others = meta.elements.saturating_sub(u32::from(old.is_some()));
    let elements = others + u32::from(!element.is_empty());
    let bytes = meta.bytes.saturating_sub(old.map_or(0, |old| old.len() as u64)) + element.len() as u64;
    if !element.is_empty() && (elements > elements_max || bytes > bytes_max) {
        return Ok(Kept::TooMuch);
    }
    let mut batch = Batch::new();
    let key = key_of(Table::Private, account).text(ns).text(name);
    if element.is_empty() {
        batch.delete(key.as_bytes());
    } else {
        batch.put(key.as_bytes(), &[&[ROW_VERSION], element].concat());
    }
    let mut row = vec![ROW_VERSION];
    row.extend(elements.to_be_bytes());
    row.extend(bytes.to_be_bytes());
    batch.put(key_of(Table::PrivateMeta, account).as_bytes(), &row);
    Ok(store.apply(batch).map_or_else(|StoreFull| Kept::Busy, |()| Kept::Yes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jid::Jid;
    use crate::storage::{Memory, offline::run};

    #[test]
    fn elements_are_replaced_and_bounded() {
        let engine = &mut Memory::new();
        let jid = Jid::parse("alice@localhost").unwrap();
        let set = |engine: &mut Memory, name: &str, element: &str| {
            run(engine, |store| super::set(store, jid.as_ref(), ("ns", name), element.as_bytes(), (2, 10))).unwrap()
        };
        assert_eq!(set(engine, "a", "12345"), Kept::Yes);
        assert_eq!(set(engine, "a", "1234567"), Kept::Yes);
        assert_eq!(set(engine, "b", "1234"), Kept::TooMuch);
        assert_eq!(set(engine, "b", "123"), Kept::Yes);
        assert_eq!(set(engine, "c", "1"), Kept::TooMuch);
        assert_eq!(set(engine, "c", ""), Kept::Yes, "there is nothing to take away");
        let all = run(engine, |store| list(store, jid.as_ref())).unwrap();
        let expected = [("ns", "a", "1234567"), ("ns", "b", "123")];
        assert_eq!(all, expected.map(|(ns, name, xml)| (ns.to_owned(), name.to_owned(), xml.as_bytes().to_vec())));
        assert_eq!(run(engine, |store| get(store, jid.as_ref(), "ns", "c")).unwrap(), None);
        assert_eq!(set(engine, "a", ""), Kept::Yes);
        assert_eq!(run(engine, |store| get(store, jid.as_ref(), "ns", "a")).unwrap(), None);
        assert_eq!(set(engine, "c", "1234567"), Kept::Yes, "its place is free");
        let meta = run(engine, |store| meta(store, jid.as_ref())).unwrap();
        assert_eq!((meta.elements, meta.bytes), (2, 10));
    }
}
