//! When accounts were last there: the rows (XEP-0012 §4).
//!
//! ```text
//! last resource goes ──▶ memory, bounded ──once a minute, when many wait, at the end──▶ domain ‖ localpart ──▶ when, status
//! ```
//!
//! A commit for every goodbye would wear out a memory card for a figure that hardly anybody asks for; a power cut may
//! lose up to a minute of it.

use crate::im::columns::Columns;
use crate::jid::{Jid, JidRef};
use crate::limits::{LAST_KEPT_MAX, LAST_STATUS_BYTES_MAX, LAST_TOGETHER_MAX, LAST_WRITE_MS};
use crate::storage::keys::{Key, Table};
use crate::storage::{Miss, Store, StoreFull};
use std::collections::BTreeMap;

/// The format of the row; its first byte.
const ROW_VERSION: u8 = 1;

/// When an account was last there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Last {
    /// When its last resource went, in seconds since 1970.
    pub unix_s: u64,
    /// What it said.
    pub status: String,
}

/// Goodbyes that are not in the store yet.
#[derive(Debug, Default)]
pub struct Goodbyes {
    seen: BTreeMap<Jid, Last>,
    /// Bytes behind those.
    bytes: usize,
    /// When they are to be written; 0 if there are none.
    pub due_ms: u64,
}

impl Goodbyes {
    /// Notes a goodbye. Where too many wait already it is not kept: the minute is over soon.
    pub fn note(&mut self, account: Jid, unix_s: u64, mut status: String, now_ms: u64) {
        if self.seen.len() >= LAST_KEPT_MAX && !self.seen.contains_key(&account) {
            return;
        }
        if status.len() > LAST_STATUS_BYTES_MAX {
            status.clear();
        }
        self.keep(account, Last { unix_s, status });
        if self.due_ms == 0 {
            self.due_ms = now_ms + LAST_WRITE_MS;
        }
        // Not where the disk is full already and the next try has been put off.
        if self.seen.len() == LAST_TOGETHER_MAX {
            self.due_ms = now_ms;
        }
    }

    /// Writes all of them; what there is no room for now is written later.
    ///
    /// # Errors
    ///
    /// [`StoreFull`]: some are left.
    pub fn write(&mut self, store: &mut Store) -> Result<(), StoreFull> {
        while let Some((account, last)) = self.seen.pop_first() {
            self.bytes -= bytes_of(&account, &last);
            if let Err(full) = store.put(key(account.as_ref()).as_bytes(), &encode(&last)) {
                self.keep(account, last);
                return Err(full);
            }
        }
        self.due_ms = 0;
        Ok(())
    }

    /// An account is no more.
    pub fn forget(&mut self, account: &Jid) {
        if let Some(last) = self.seen.remove(account) {
            self.bytes -= bytes_of(account, &last);
        }
        if self.seen.is_empty() {
            self.due_ms = 0;
        }
    }

    fn keep(&mut self, account: Jid, last: Last) {
        self.bytes += bytes_of(&account, &last);
        // The key that is there already stays; it has the same length.
        let key_bytes = size_of::<Jid>() + account.heap_bytes();
        if let Some(old) = self.seen.insert(account, last) {
            self.bytes -= key_bytes + size_of::<Last>() + old.status.len();
        }
    }

    /// Bytes behind them.
    pub fn heap_bytes(&self) -> usize {
        self.bytes
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

fn bytes_of(account: &Jid, last: &Last) -> usize {
    size_of::<Jid>() + account.heap_bytes() + size_of::<Last>() + last.status.len()
}

fn key(account: JidRef<'_>) -> Key {
    Key::new(Table::LastActivity).text(account.domainpart()).text(account.localpart().unwrap_or_default())
}

/// Reads when an account was last there.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn get(columns: &mut Columns<'_>, account: JidRef<'_>) -> Result<Option<Last>, Miss> {
    if let Some(last) = columns.goodbyes.seen.get(&account.to_bare().to_owned()) {
        return Ok(Some(last.clone()));
    }
    Ok(columns.store.get(key(account).as_bytes())?.and_then(|row| decode(&row)))
}

fn encode(last: &Last) -> Vec<u8> {
    let mut row = vec![ROW_VERSION];
    row.extend(last.unix_s.to_be_bytes());
    row.extend_from_slice(last.status.as_bytes());
    row
}

fn decode(row: &[u8]) -> Option<Last> {
    let (unix_s, status) = row.get(1..)?.split_first_chunk()?;
    Some(Last { unix_s: u64::from_be_bytes(*unix_s), status: String::from_utf8(status.to_vec()).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goodbyes_are_written_together_and_bounded() {
        let mut goodbyes = Goodbyes::default();
        for number in 0..=LAST_KEPT_MAX {
            goodbyes.note(Jid::parse(&format!("u{number:04}@h")).unwrap(), 7, "bye".into(), 1000);
            let wait_ms = if number + 1 < LAST_TOGETHER_MAX { LAST_WRITE_MS } else { 0 };
            assert_eq!(goodbyes.due_ms, 1000 + wait_ms, "{number}");
        }
        assert_eq!(goodbyes.len(), LAST_KEPT_MAX);
        let mut store = Store::default();
        store.begin();
        goodbyes.write(&mut store).unwrap();
        let row = store.get(key(Jid::parse("u0000@h").unwrap().as_ref()).as_bytes()).unwrap().unwrap();
        assert_eq!(decode(&row), Some(Last { unix_s: 7, status: "bye".into() }));
        assert!(goodbyes.is_empty() && goodbyes.due_ms == 0);
        let mut full = Store::new(1);
        full.begin();
        goodbyes.note(Jid::parse("a@h").unwrap(), 7, String::new(), 1000);
        assert_eq!(goodbyes.write(&mut full), Err(StoreFull));
        assert_eq!(goodbyes.len(), 1);
    }
}
