//! Messages that wait for somebody who is away: the rows (XEP-0160).
//!
//! ```text
//! domain ‖ localpart ‖ number ──▶ when, the stanza as it is relayed
//! domain ‖ localpart          ──▶ the next number, how many, how many bytes
//! ```
//!
//! A message is deleted when it has left for a client, not when it is about to: a connection that breaks, or a power
//! cut, may bring it twice but never loses it.

use crate::jid::JidRef;
use crate::storage::keys::{Key, Parts, Table};
use crate::storage::{Batch, Miss, Store, StoreFull};

/// The format of the rows; their first byte.
const ROW_VERSION: u8 = 1;
/// Rows asked of the store at a time.
const PAGE_ROWS: u32 = 256;

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its place in the line.
    pub number: u64,
    /// When it came, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The whole stanza as it is relayed.
    pub stanza: Vec<u8>,
}

/// How many messages wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The number of the next one.
    pub next: u64,
    /// How many there are.
    pub messages: u32,
    /// Bytes of their stanzas.
    pub bytes: u64,
}

fn key_of(table: Table, account: JidRef<'_>) -> Key {
    Key::new(table).text(account.domainpart()).text(account.localpart().unwrap_or_default())
}

/// The key of the row of an account's [`Meta`].
pub fn meta_key(account: JidRef<'_>) -> Key {
    key_of(Table::OfflineMeta, account)
}

/// Reads how many messages wait.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn meta(store: &mut Store, account: JidRef<'_>) -> Result<Meta, Miss> {
    let row = store.get(meta_key(account).as_bytes())?;
    let meta = row.and_then(|row| {
        let (next, rest) = row.get(1..)?.split_first_chunk()?;
        let (messages, rest) = rest.split_first_chunk()?;
        let bytes = rest.first_chunk()?;
        Some(Meta {
            next: u64::from_be_bytes(*next),
            messages: u32::from_be_bytes(*messages),
            bytes: u64::from_be_bytes(*bytes),
        })
    });
    Ok(meta.unwrap_or_default())
}

fn put_meta(batch: &mut Batch, account: JidRef<'_>, meta: Meta) {
    let mut row = vec![ROW_VERSION];
    row.extend(meta.next.to_be_bytes());
    row.extend(meta.messages.to_be_bytes());
    row.extend(meta.bytes.to_be_bytes());
    batch.put(meta_key(account).as_bytes(), &row);
}

/// What became of a message for somebody who is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Kept {
    /// It waits.
    Yes,
    /// Too many, or too much, waits already; nothing was written.
    Full,
}

/// Adds a message to the line.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn add(
    store: &mut Store,
    account: JidRef<'_>,
    unix_ms: u64,
    stanza: &[u8],
    (messages_max, bytes_max): (u32, u64),
) -> Result<Kept, Miss> {
    let mut meta = meta(store, account)?;
    let bytes = meta.bytes.saturating_add(stanza.len() as u64);
    if meta.messages >= messages_max || bytes > bytes_max {
        return Ok(Kept::Full);
    }
    let mut row = vec![ROW_VERSION];
    row.extend(unix_ms.to_be_bytes());
    row.extend_from_slice(stanza);
    let mut batch = Batch::new();
    batch.put(key_of(Table::Offline, account).number(meta.next).as_bytes(), &row);
    // A damaged row may hold any number.
    meta = Meta { next: meta.next.saturating_add(1), messages: meta.messages.saturating_add(1), bytes };
    put_meta(&mut batch, account, meta);
    Ok(store.apply(batch).map_or_else(|StoreFull| Kept::Full, |()| Kept::Yes))
}

/// Reads all messages that wait, oldest first.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn list(store: &mut Store, account: JidRef<'_>) -> Result<Vec<Waiting>, Miss> {
    let mut messages = Vec::new();
    let mut range = key_of(Table::Offline, account).range(PAGE_ROWS);
    loop {
        let rows = store.range(&range)?;
        messages.extend(rows.iter().filter_map(|(key, row)| decode(key, row)));
        match rows.last() {
            Some((key, _)) if rows.len() >= PAGE_ROWS as usize => range = range.behind(key),
            _ => return Ok(messages),
        }
    }
}

fn decode(key: &[u8], row: &[u8]) -> Option<Waiting> {
    let mut parts = Parts::of(key, Table::Offline)?;
    parts.part()?;
    parts.part()?;
    let (unix_ms, stanza) = row.get(1..)?.split_first_chunk()?;
    Some(Waiting { number: parts.number()?, unix_ms: u64::from_be_bytes(*unix_ms), stanza: stanza.to_vec() })
}

/// Deletes the messages up to and with a number: they have left. At most a page of them; false if there are more.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn delete(store: &mut Store, account: JidRef<'_>, up_to: u64) -> Result<Result<bool, StoreFull>, Miss> {
    let mut meta = meta(store, account)?;
    let mut batch = Batch::new();
    let rows = store.range(&key_of(Table::Offline, account).range(PAGE_ROWS))?;
    let left = rows.iter().filter_map(|(key, row)| decode(key, row)).take_while(|message| message.number <= up_to);
    for message in left {
        batch.delete(key_of(Table::Offline, account).number(message.number).as_bytes());
        meta.messages = meta.messages.saturating_sub(1);
        meta.bytes = meta.bytes.saturating_sub(message.stanza.len() as u64);
    }
    if batch.is_empty() {
        return Ok(Ok(true));
    }
    let is_all = batch.len() < PAGE_ROWS as usize;
    put_meta(&mut batch, account, meta);
    Ok(store.apply(batch).map(|()| is_all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jid::Jid;
    use crate::storage::{Memory, offline::run};

    #[test]
    fn messages_wait_in_order_within_their_bounds_until_they_have_left() {
        let engine = &mut Memory::new();
        let jid = Jid::parse("juliet@example.com").unwrap();
        let account = jid.as_ref();
        let add = |engine: &mut Memory, text: &str| {
            run(engine, |store| super::add(store, account, 5, text.as_bytes(), (3, 10))).unwrap()
        };
        assert_eq!(add(engine, "one"), Kept::Yes);
        assert_eq!(add(engine, "two"), Kept::Yes);
        assert_eq!(add(engine, "three"), Kept::Full, "11 bytes");
        assert_eq!(add(engine, "3"), Kept::Yes);
        assert_eq!(add(engine, "4"), Kept::Full, "four messages");
        let texts = |engine: &mut Memory| -> Vec<(u64, String)> {
            let waiting = run(engine, |store| list(store, account)).unwrap();
            waiting.into_iter().map(|w| (w.number, String::from_utf8(w.stanza).unwrap())).collect()
        };
        assert_eq!(texts(engine), [(0, "one".into()), (1, "two".into()), (2, "3".into())]);
        assert!(run(engine, |store| delete(store, account, 1)).unwrap().unwrap(), "all of them");
        assert_eq!(texts(engine), [(2, "3".into())]);
        let meta = run(engine, |store| meta(store, account)).unwrap();
        assert_eq!(meta, Meta { next: 3, messages: 1, bytes: 1 });
        assert_eq!(add(engine, "later"), Kept::Yes);
        assert_eq!(texts(engine), [(2, "3".into()), (3, "later".into())]);
    }
}
