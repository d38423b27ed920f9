//! Accounts: who may log in, and how many of them have which keys.
//!
//! ```text
//! sasl, admin ──▶ accounts ──▶ Store (one row an account, one row of counters a domain)
//! ```
//!
//! What an account may log in with is bytes to this file; the caller says which SCRAM sets are in
//! them. The counters of a domain change in the same unit as its accounts, so that the mechanisms
//! offered to a stream (those that every account has) cost one read.
//!
//! Every function may miss, and then has written nothing that counts: it is run again.

use crate::sasl::{Credentials, ScramHash};
use crate::storage::keys::{Key, Parts, Table};
use crate::storage::{Batch, Miss, Store};

pub use crate::limits::ACCOUNT_PAGE_MAX;

/// The format of an account's row; the first byte of every one.
const ROW_VERSION: u8 = 1;
const HAS_SHA1: u8 = 1;
const HAS_SHA256: u8 = 2;
const DISABLED: u8 = 4;

/// What is known of an account without opening its credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Whether it has keys for SCRAM-SHA-1.
    pub has_sha1: bool,
    /// Whether it has keys for SCRAM-SHA-256.
    pub has_sha256: bool,
    /// Whether it may not log in.
    pub disabled: bool,
}

/// An account's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// What is in the credentials.
    pub summary: Summary,
    /// The credentials as they were given.
    pub credentials: Vec<u8>,
}

/// How many accounts a domain has, and how many of them have keys of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// All, disabled ones included.
    pub accounts: u64,
    /// With keys for SCRAM-SHA-1.
    pub with_sha1: u64,
    /// With keys for SCRAM-SHA-256.
    pub with_sha256: u64,
}

impl Counters {
    /// Whether every account can log in with SCRAM-SHA-1. True of a domain without accounts.
    pub fn all_have_sha1(self) -> bool {
        self.with_sha1 == self.accounts
    }

    /// Whether every account can log in with SCRAM-SHA-256. True of a domain without accounts.
    pub fn all_have_sha256(self) -> bool {
        self.with_sha256 == self.accounts
    }
}

/// What an account can log in with. A row that does not read is an account that is disabled and has
/// nothing to log in with.
pub fn credentials(account: &Account) -> Credentials {
    match Credentials::decode(&account.credentials) {
        Some(credentials) => Credentials { disabled: account.summary.disabled, ..credentials },
        None => Credentials { keys: Vec::new(), disabled: true },
    }
}

/// The row of an account that can log in with `credentials`.
pub fn account(credentials: &Credentials) -> Account {
    let has = |hash| credentials.get(hash).is_some();
    let summary =
        Summary { has_sha1: has(ScramHash::Sha1), has_sha256: has(ScramHash::Sha256), disabled: credentials.disabled };
    Account { summary, credentials: credentials.encode() }
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Change {
    /// There is no such account; nothing was changed.
    Absent,
    /// It is done, and on disk when the run's ticket is durable.
    Done,
    /// There is such an account already; nothing was changed.
    Exists,
    /// Too much waits for the disk; nothing was changed.
    Full,
}

/// Makes an account, unless it is there.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn create(store: &mut Store, domain: &str, localpart: &str, account: &Account) -> Result<Change, Miss> {
    if get(store, domain, localpart)?.is_some() {
        return Ok(Change::Exists);
    }
    write(store, domain, localpart, None, Some(account))
}

/// Reads an account.
///
/// A row that cannot be read is an account that is disabled and has nothing to log in with.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn get(store: &mut Store, domain: &str, localpart: &str) -> Result<Option<Account>, Miss> {
    Ok(store.get(account_key(domain, localpart).as_bytes())?.map(|row| decode(&row)))
}

/// Replaces what an account has, if it is there.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn set(store: &mut Store, domain: &str, localpart: &str, account: &Account) -> Result<Change, Miss> {
    match get(store, domain, localpart)? {
        Some(old) => write(store, domain, localpart, Some(old.summary), Some(account)),
        None => Ok(Change::Absent),
    }
}

/// Removes an account, if it is there.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn delete(store: &mut Store, domain: &str, localpart: &str) -> Result<Change, Miss> {
    match get(store, domain, localpart)? {
        Some(old) => write(store, domain, localpart, Some(old.summary), None),
        None => Ok(Change::Absent),
    }
}

/// The next localparts of a domain, in byte order, behind `after`: at most `limit`, and at most
/// [`ACCOUNT_PAGE_MAX`]. An empty page is the end of the list.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn list(store: &mut Store, domain: &str, after: Option<&str>, limit: u32) -> Result<Vec<(String, Summary)>, Miss> {
    let mut range = Key::new(Table::Accounts).text(domain).range(limit.min(ACCOUNT_PAGE_MAX));
    if let Some(after) = after {
        range = range.behind(account_key(domain, after).as_bytes());
    }
    let rows = store.range(&range)?;
    Ok(rows.iter().filter_map(|(key, row)| Some((localpart_of(key)?, decode(row).summary))).collect())
}

/// What the accounts of a domain have in common; what a stream may be offered follows from it.
///
/// # Errors
///
/// [`Miss`]: run again.
pub fn offered(store: &mut Store, domain: &str) -> Result<Counters, Miss> {
    Ok(store.get(counters_key(domain).as_bytes())?.map_or_else(Counters::default, |row| decode_counters(&row)))
}

/// Writes the row and moves the counters: both or, when the overlay is full, neither.
fn write(
    store: &mut Store,
    domain: &str,
    localpart: &str,
    old: Option<Summary>,
    new: Option<&Account>,
) -> Result<Change, Miss> {
    let mut counters = offered(store, domain)?;
    if let Some(old) = old {
        counters.count(old, |number| number.saturating_sub(1));
    }
    if let Some(new) = new {
        counters.count(new.summary, |number| number.saturating_add(1));
    }
    let mut batch = Batch::new();
    batch.put(counters_key(domain).as_bytes(), &encode_counters(counters));
    let key = account_key(domain, localpart);
    match new {
        Some(new) => batch.put(key.as_bytes(), &encode(new)),
        None => batch.delete(key.as_bytes()),
    }
    Ok(store.apply(batch).map_or(Change::Full, |()| Change::Done))
}

impl Counters {
    fn count(&mut self, summary: Summary, change: impl Fn(u64) -> u64) {
        self.accounts = change(self.accounts);
        if summary.has_sha1 {
            self.with_sha1 = change(self.with_sha1);
        }
        if summary.has_sha256 {
            self.with_sha256 = change(self.with_sha256);
        }
    }
}

/// The key of an account's row.
pub fn key(domain: &str, localpart: &str) -> Key {
    account_key(domain, localpart)
}

fn account_key(domain: &str, localpart: &str) -> Key {
    Key::new(Table::Accounts).text(domain).text(localpart)
}

fn counters_key(domain: &str) -> Key {
    Key::new(Table::AccountCounters).text(domain)
}

fn localpart_of(key: &[u8]) -> Option<String> {
    let mut parts = Parts::of(key, Table::Accounts)?;
    parts.text()?;
    parts.text()
}

fn encode(account: &Account) -> Vec<u8> {
    let Summary { has_sha1, has_sha256, disabled } = account.summary;
    let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    let flags = flag(has_sha1, HAS_SHA1) | flag(has_sha256, HAS_SHA256) | flag(disabled, DISABLED);
    let mut row = vec![ROW_VERSION, flags];
    row.extend_from_slice(&account.credentials);
    row
}

fn decode(row: &[u8]) -> Account {
    let [ROW_VERSION, flags, credentials @ ..] = row else {
        return Account { summary: Summary { disabled: true, ..Summary::default() }, credentials: Vec::new() };
    };
    let has = |bit: u8| flags & bit != 0;
    let summary = Summary { has_sha1: has(HAS_SHA1), has_sha256: has(HAS_SHA256), disabled: has(DISABLED) };
    Account { summary, credentials: credentials.to_vec() }
}

fn encode_counters(counters: Counters) -> Vec<u8> {
    let Counters { accounts, with_sha1, with_sha256 } = counters;
    [accounts, with_sha1, with_sha256].into_iter().flat_map(u64::to_be_bytes).collect()
}

fn decode_counters(row: &[u8]) -> Counters {
    let number =
        |at: usize| row.get(at * 8..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_be_bytes(*bytes));
    Counters { accounts: number(0), with_sha1: number(1), with_sha256: number(2) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::storage::{Engine, Memory, offline};
    use std::collections::BTreeMap;

    fn account(has_sha1: bool, has_sha256: bool, credentials: &[u8]) -> Account {
        let summary = Summary { has_sha1, has_sha256, disabled: false };
        Account { summary, credentials: credentials.to_vec() }
    }

    fn run<T>(engine: &mut Memory, handler: impl FnMut(&mut Store) -> Result<T, Miss>) -> T {
        offline::run(engine, handler).unwrap()
    }

    #[test]
    fn an_account_is_made_read_changed_and_removed() {
        let engine = &mut Memory::new();
        let (one, two) = (account(true, false, b"one"), account(true, true, b"two"));
        assert_eq!(run(engine, |store| get(store, "localhost", "romeo")), None);
        assert_eq!(run(engine, |store| set(store, "localhost", "romeo", &one)), Change::Absent);
        assert_eq!(run(engine, |store| delete(store, "localhost", "romeo")), Change::Absent);
        assert_eq!(run(engine, |store| offered(store, "localhost")), Counters::default());
        assert_eq!(run(engine, |store| create(store, "localhost", "romeo", &one)), Change::Done);
        assert_eq!(run(engine, |store| create(store, "localhost", "romeo", &two)), Change::Exists);
        assert_eq!(run(engine, |store| get(store, "localhost", "romeo")), Some(one));
        assert_eq!(run(engine, |store| get(store, "elsewhere", "romeo")), None, "a domain has its own users");
        let counters = run(engine, |store| offered(store, "localhost"));
        assert_eq!(counters, Counters { accounts: 1, with_sha1: 1, with_sha256: 0 });
        assert!(counters.all_have_sha1() && !counters.all_have_sha256());
        assert_eq!(run(engine, |store| set(store, "localhost", "romeo", &two)), Change::Done);
        assert_eq!(run(engine, |store| get(store, "localhost", "romeo")), Some(two));
        assert!(run(engine, |store| offered(store, "localhost")).all_have_sha256());
        assert_eq!(run(engine, |store| delete(store, "localhost", "romeo")), Change::Done);
        assert_eq!(run(engine, |store| get(store, "localhost", "romeo")), None);
        assert_eq!(run(engine, |store| offered(store, "localhost")), Counters::default());
    }

    #[test]
    fn a_list_is_read_in_pages_of_one_domain() {
        let engine = &mut Memory::new();
        let names: Vec<String> = (0..600).map(|number| format!("user{number:04}")).collect();
        for (domain, name) in names.iter().map(|name| ("a.example", name)).chain([("a", &names[0]), ("b", &names[1])]) {
            let made = run(engine, |store| create(store, domain, name, &account(false, true, b"")));
            assert_eq!(made, Change::Done);
        }
        let (mut listed, mut pages) = (Vec::new(), Vec::new());
        loop {
            let after: Option<String> = listed.last().cloned();
            let page = run(engine, |store| list(store, "a.example", after.as_deref(), 1000));
            pages.push(page.len());
            if page.is_empty() {
                break;
            }
            assert!(page.iter().all(|(_, summary)| summary.has_sha256 && !summary.has_sha1));
            listed.extend(page.into_iter().map(|(name, _)| name));
        }
        assert_eq!(listed, names);
        assert_eq!(pages, [256, 256, 88, 0]);
        let page = run(engine, |store| list(store, "a.example", Some("user0001x"), 2));
        assert_eq!(page.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ["user0002", "user0003"]);
        assert_eq!(run(engine, |store| list(store, "a.example", None, 0)), []);
    }

    #[test]
    fn the_counters_are_what_counting_would_say() {
        let engine = &mut Memory::new();
        let mut random = Random::seeded(1);
        let mut model: BTreeMap<String, Account> = BTreeMap::new();
        for _ in 0..2000 {
            let mut below = |bound: u64| random.next_u64() % bound;
            let name = format!("user{}", below(8));
            let new = account(below(2) == 0, below(2) == 0, &[below(256) as u8]);
            let is_there = model.contains_key(&name);
            let (change, expected) = match below(3) {
                0 if is_there => (run(engine, |store| create(store, "d", &name, &new)), Change::Exists),
                0 => (run(engine, |store| create(store, "d", &name, &new)), Change::Done),
                1 if is_there => (run(engine, |store| set(store, "d", &name, &new)), Change::Done),
                1 => (run(engine, |store| set(store, "d", &name, &new)), Change::Absent),
                _ if is_there => (run(engine, |store| delete(store, "d", &name)), Change::Done),
                _ => (run(engine, |store| delete(store, "d", &name)), Change::Absent),
            };
            assert_eq!(change, expected);
            if change == Change::Done {
                let written = run(engine, |store| get(store, "d", &name));
                match &written {
                    Some(account) => drop(model.insert(name, account.clone())),
                    None => drop(model.remove(&name)),
                }
                assert!(written.is_none_or(|account| account == new));
            }
            let count = |of: fn(&Summary) -> bool| model.values().filter(|account| of(&account.summary)).count() as u64;
            let counted = Counters {
                accounts: model.len() as u64,
                with_sha1: count(|summary| summary.has_sha1),
                with_sha256: count(|summary| summary.has_sha256),
            };
            assert_eq!(run(engine, |store| offered(store, "d")), counted);
        }
    }

    #[test]
    fn two_new_accounts_in_one_tick_are_both_counted() {
        let engine = &mut Memory::new();
        let made = run(engine, |store| {
            let first = create(store, "d", "romeo", &account(true, true, b""))?;
            Ok([first, create(store, "d", "juliet", &account(true, false, b""))?])
        });
        assert_eq!(made, [Change::Done; 2]);
        let counters = run(engine, |store| offered(store, "d"));
        assert_eq!(counters, Counters { accounts: 2, with_sha1: 2, with_sha256: 1 });
    }

    #[test]
    fn a_full_overlay_changes_neither_the_account_nor_the_counters() {
        let mut store = Store::new(300);
        let mut engine = Memory::new();
        let handler =
            |store: &mut Store, bytes: usize| create(store, "d", "romeo", &account(true, true, &vec![0; bytes]));
        let mut change = Change::Absent;
        let mut parked = None;
        for bytes in [400, 400, 400, 10, 10, 10] {
            match parked {
                Some(id) => store.resume(id),
                None => store.begin(),
            }
            parked = match handler(&mut store, bytes) {
                Ok(outcome) => {
                    change = outcome;
                    store.finish();
                    None
                }
                Err(miss) => Some(store.abandon(miss)),
            };
            crate::storage::pump(&mut store, &mut engine, 0, &mut crate::storage::Woken::default());
            if bytes == 400 && parked.is_none() {
                assert_eq!(change, Change::Full);
                assert!(engine.range(&crate::storage::KeyRange::under(b"", 9)).unwrap().rows.is_empty());
            }
        }
        assert_eq!(change, Change::Done);
        assert_eq!(engine.range(&crate::storage::KeyRange::under(b"", 9)).unwrap().rows.len(), 2);
    }

    #[test]
    fn a_row_that_cannot_be_read_logs_nobody_in() {
        for row in [&b""[..], b"\x01", b"\x02\x03secret", b"\xFF"] {
            let account = decode(row);
            assert!(account.summary.disabled && account.credentials.is_empty(), "{row:?}");
        }
        let mut account = account(false, true, b"keys");
        account.summary.disabled = true;
        assert_eq!(decode(&encode(&account)), account);
        assert_eq!(decode_counters(b"\0\0"), Counters::default());
    }
}
