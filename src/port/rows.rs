//! Persons as rows of the store, both ways, while no server runs on it.
//!
//! ```text
//! Import: Person, Person, … ──one commit for some of them──▶ Store        Export: Store ──an account──▶ Person
//! ```
//!
//! A person's rows are written with one commit: a crash leaves whole persons, and an import that is run again goes on.
//! Rosters begin with a version of their own: a client that knew the old server's must not be told that nothing changed.

use super::element::Element;
use super::{Contact, Offline, Person, Waiting};
use crate::crypto::digest;
use crate::im::accounts::{self, Change};
use crate::im::blocks::{self, Blocked};
use crate::im::directory::Subscribed;
use crate::im::offline::{self as messages, Kept};
use crate::im::removal::TABLES;
use crate::im::roster::{self, Item};
use crate::im::subscription::State;
use crate::im::{private, vcard};
use crate::jid::{Jid, JidRef};
use crate::limits::{COMMIT_BYTES_MAX, PERSON_BYTES_MAX, PERSONS_PER_COMMIT_MAX};
use crate::random::Random;
use crate::sasl::{Credentials, base64};
use crate::storage::keys::{Key, Parts, Table};
use crate::storage::{Engine, Miss, Store, StoreError, StoreFull, offline};
use crate::xml::CLIENT;
use std::collections::VecDeque;

/// The namespace of vCards.
const VCARD: &str = "vcard-temp";

/// Rows asked of the store at a time.
const NEED_ROWS: usize = 128;

/// What has been imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Accounts made, those replaced not among them.
    pub accounts: u64,
    /// Accounts replaced.
    pub replaced: u64,
    /// Accounts that were there and stay as they are.
    pub skipped: u64,
    /// Roster items.
    pub contacts: u64,
    /// Subscription requests.
    pub requests: u64,
    /// Messages that wait.
    pub offline: u64,
    /// vCards.
    pub vcards: u64,
    /// Elements of private XML.
    pub private: u64,
    /// Blocked addresses.
    pub blocks: u64,
}

/// Writes persons.
pub struct Import<'a> {
    engine: &'a mut dyn Engine,
    store: Store,
    replaces: bool,
    waiting: Vec<Person>,
    bytes: usize,
    random: Random,
    counts: Counts,
}

impl std::fmt::Debug for Import<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Import").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl<'a> Import<'a> {
    /// An import into the store behind `engine`; accounts that are there are kept unless `replaces`.
    pub fn new(engine: &'a mut dyn Engine, replaces: bool, random: Random) -> Self {
        // Room for the largest person beside the others of a commit, and the rows' own share.
        let room = usize::try_from(PERSON_BYTES_MAX).unwrap_or(usize::MAX).saturating_mul(8);
        let (waiting, counts) = (Vec::new(), Counts::default());
        Self { engine, store: Store::new(room), replaces, waiting, bytes: 0, random, counts }
    }

    /// Takes a person, whose keys are there; it is on disk at the latest when [`finish`](Self::finish) returns.
    /// `skipped` is told who was there already.
    ///
    /// # Errors
    ///
    /// The store's. Everybody before is on disk, or will be made again.
    pub fn add(&mut self, person: Person, skipped: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        self.bytes += person.bytes();
        self.waiting.push(person);
        if self.bytes >= COMMIT_BYTES_MAX || self.waiting.len() >= PERSONS_PER_COMMIT_MAX {
            self.commit(skipped)?;
        }
        Ok(())
    }

    /// Writes who still waits.
    ///
    /// # Errors
    ///
    /// As for [`add`](Self::add).
    pub fn finish(&mut self, skipped: &mut dyn FnMut(String)) -> Result<Counts, StoreError> {
        self.commit(skipped)?;
        Ok(self.counts)
    }

    fn commit(&mut self, skipped: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        let persons = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        let (replaces, epoch) = (self.replaces, self.random.next_u64());
        let outcomes = offline::run_on(&mut self.store, self.engine, |store| {
            // All that a new person's run reads, so that it does not begin anew for each row.
            let keys: Vec<Key> = persons.iter().flat_map(keys_of).collect();
            keys.chunks(NEED_ROWS).try_for_each(|keys| store.need(keys))?;
            let mut outcomes = Vec::with_capacity(persons.len());
            for person in &persons {
                match write(store, person, replaces, epoch) {
                    Ok(outcome) => outcomes.push(outcome),
                    Err(Stop::Miss(miss)) => return Err(miss),
                    Err(Stop::Full) => return Ok(None),
                }
            }
            Ok(Some(outcomes))
        })?;
        let full = || StoreError::Io {
            kind: std::io::ErrorKind::OutOfMemory,
            detail: "an account is too large to be written at once".to_owned(),
        };
        for (person, outcome) in persons.iter().zip(outcomes.ok_or_else(full)?) {
            match outcome {
                Outcome::Made => self.counts.accounts += 1,
                Outcome::Replaced => self.counts.replaced += 1,
                Outcome::Skipped => {
                    self.counts.skipped += 1;
                    skipped(person.bare());
                    continue;
                }
            }
            self.counts.add(person);
        }
        Ok(())
    }
}

impl Counts {
    fn add(&mut self, person: &Person) {
        self.contacts += person.roster.len() as u64;
        self.requests += person.requests.len() as u64;
        self.offline += person.offline.len() as u64;
        self.vcards += u64::from(person.vcard.is_some());
        self.private += person.private.len() as u64;
        self.blocks += person.blocks.len() as u64;
    }
}

/// Why a person is not written now.
enum Stop {
    Miss(Miss),
    Full,
}

impl From<Miss> for Stop {
    fn from(miss: Miss) -> Self {
        Self::Miss(miss)
    }
}

impl From<StoreFull> for Stop {
    fn from(_: StoreFull) -> Self {
        Self::Full
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Made,
    Replaced,
    Skipped,
}

/// The rows that a new person's run reads.
fn keys_of(person: &Person) -> Vec<Key> {
    let metas = [Table::Accounts, Table::RosterMeta, Table::OfflineMeta, Table::PrivateMeta];
    let mut keys: Vec<Key> = metas.into_iter().map(|table| under(table, person)).collect();
    keys.push(Key::new(Table::AccountCounters).text(&person.domain));
    let private = person.private.iter();
    keys.extend(private.map(|element| under(Table::Private, person).text(&element.ns).text(&element.name)));
    keys
}

fn under(table: Table, person: &Person) -> Key {
    Key::new(table).text(&person.domain).text(&person.localpart)
}

fn write(store: &mut Store, person: &Person, replaces: bool, epoch: u64) -> Result<Outcome, Stop> {
    let Person { domain, localpart, .. } = person;
    let credentials = Credentials { keys: person.keys.clone(), disabled: person.disabled };
    let account = accounts::account(&credentials);
    let outcome = match accounts::create(store, domain, localpart, &account)? {
        Change::Done => Outcome::Made,
        Change::Exists if !replaces => return Ok(Outcome::Skipped),
        Change::Exists => match accounts::set(store, domain, localpart, &account)? {
            Change::Done => {
                erase(store, person)?;
                Outcome::Replaced
            }
            _ => return Err(Stop::Full),
        },
        Change::Absent | Change::Full => return Err(Stop::Full),
    };
    let Ok(jid) = Jid::from_parts(Some(localpart), domain, None) else { return Ok(outcome) };
    write_roster(store, jid.as_ref(), person, epoch)?;
    write_rest(store, jid.as_ref(), person)?;
    Ok(outcome)
}

fn write_rest(store: &mut Store, account: JidRef<'_>, person: &Person) -> Result<(), Stop> {
    for Offline { stamp_ms, stanza } in &person.offline {
        // The bounds are for messages to come: what waited already goes on waiting.
        match messages::add(store, account, *stamp_ms, &bytes(stanza), (u32::MAX, u64::MAX))? {
            Kept::Yes => {}
            Kept::Full => return Err(Stop::Full),
        }
    }
    for element in &person.private {
        let key = (element.ns.as_str(), element.name.as_str());
        match private::set(store, account, key, &bytes(element), (u32::MAX, u64::MAX))? {
            private::Kept::Yes => {}
            private::Kept::TooMuch | private::Kept::Busy => return Err(Stop::Full),
        }
    }
    if let Some(vcard) = &person.vcard {
        vcard::set(store, account, &bytes(vcard), photo(vcard))?;
    }
    let blocked: Blocked = person.blocks.iter().filter_map(|text| Jid::parse(text).ok()).collect();
    if !blocked.is_empty() {
        blocks::set(store, account, &blocked)?;
    }
    Ok(())
}

/// What the scanner accepted when it was added to its person.
fn bytes(element: &Element) -> Vec<u8> {
    element.to_xml().unwrap_or_default()
}

/// SHA-1 of the photo in a vCard (XEP-0153 §3.1).
fn photo(vcard: &Element) -> Option<[u8; 20]> {
    let picture = vcard.child(VCARD, "PHOTO")?.child(VCARD, "BINVAL")?.text();
    let picture = base64::decode_2045(picture).filter(|picture| !picture.is_empty())?;
    digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &picture).as_ref().try_into().ok()
}

/// Removes all that an account has beside itself.
fn erase(store: &mut Store, person: &Person) -> Result<(), Stop> {
    for table in TABLES {
        for (key, _) in store.range(&under(table, person).range(u32::MAX))? {
            store.delete(&key)?;
        }
    }
    Ok(())
}

fn write_roster(store: &mut Store, account: JidRef<'_>, person: &Person, epoch: u64) -> Result<(), Stop> {
    if person.roster.is_empty() && person.requests.is_empty() {
        return Ok(());
    }
    let mut change = roster::Change::of(store, account, epoch)?;
    let asks = |jid: &str| person.requests.binary_search_by(|waiting| waiting.from.as_str().cmp(jid)).is_ok();
    for Contact { jid, name, to, from, asks: out, approved, groups } in &person.roster {
        let state = State::from_parts(Subscribed { to: *to, from: *from }, *out, asks(jid));
        let (name, groups) = (name.clone(), groups.clone());
        let mut item = Item { state, approved: *approved, listed: true, version: 0, name, groups };
        change.put(account, jid, None, &mut item);
    }
    for Waiting { from, stanza } in &person.requests {
        match person.roster.binary_search_by(|contact| contact.jid.cmp(from)) {
            // Whoever sees the account already waits for nothing.
            Ok(at) if person.roster.get(at).is_some_and(|contact| contact.from) => continue,
            Ok(_) => {}
            Err(_) => change.put(account, from, None, &mut Item { state: State::NoneIn, ..Item::default() }),
        }
        change.put_request(account, from, true, &bytes(stanza));
    }
    change.write(store, account)?;
    Ok(())
}

/// Reads all accounts, domain by domain, in order.
#[derive(Debug)]
pub struct Export<'a, E> {
    engine: &'a mut E,
    /// Domains to come.
    domains: VecDeque<String>,
    /// Localparts of the first domain to come.
    page: VecDeque<String>,
    after: Option<String>,
}

impl<'a, E: Engine> Export<'a, E> {
    /// An export of all domains that have accounts, hosted or not.
    ///
    /// # Errors
    ///
    /// The store's.
    pub fn new(engine: &'a mut E) -> Result<Self, StoreError> {
        let rows = offline::run(engine, |store| store.range(&Key::new(Table::AccountCounters).range(u32::MAX)))?;
        let domain = |(key, _): &(Vec<u8>, Vec<u8>)| Parts::of(key, Table::AccountCounters)?.text();
        let domains = rows.iter().filter_map(domain).collect();
        Ok(Self { engine, domains, page: VecDeque::new(), after: None })
    }

    /// The next person; none at the end. What cannot be read goes to `tell`, with whose it is.
    ///
    /// # Errors
    ///
    /// The store's.
    pub fn next(&mut self, tell: &mut dyn FnMut(&str, String)) -> Result<Option<Person>, StoreError> {
        loop {
            let Some(domain) = self.domains.front().cloned() else { return Ok(None) };
            if let Some(localpart) = self.page.pop_front() {
                self.after = Some(localpart.clone());
                let read = offline::run(self.engine, |store| read(store, &domain, &localpart))?;
                if let Some((person, faults)) = read {
                    faults.into_iter().for_each(|what| tell(&person.bare(), what));
                    return Ok(Some(person));
                }
                continue;
            }
            let after = self.after.take();
            let page = offline::run(self.engine, |store| accounts::list(store, &domain, after.as_deref(), u32::MAX))?;
            self.page = page.into_iter().map(|(localpart, _)| localpart).collect();
            if self.page.is_empty() {
                self.domains.pop_front();
            }
        }
    }
}

/// A person, and what of it does not read.
type Read = (Person, Vec<String>);

fn read(store: &mut Store, domain: &str, localpart: &str) -> Result<Option<Read>, Miss> {
    let Some(account) = accounts::get(store, domain, localpart)? else { return Ok(None) };
    let mut faults = Vec::new();
    let credentials = accounts::credentials(&account);
    if credentials.keys.is_empty() {
        faults.push("there are no keys to log in with".to_owned());
    }
    let mut person = Person {
        localpart: localpart.to_owned(),
        domain: domain.to_owned(),
        disabled: credentials.disabled,
        keys: credentials.keys,
        ..Person::default()
    };
    person.keys.sort_by_key(|keys| keys.hash);
    if let Ok(account) = Jid::from_parts(Some(localpart), domain, None) {
        read_roster(store, account.as_ref(), &mut person, &mut faults)?;
        read_rest(store, account.as_ref(), &mut person, &mut faults)?;
    }
    Ok(Some((person, faults)))
}

fn read_rest(
    store: &mut Store,
    account: JidRef<'_>,
    person: &mut Person,
    faults: &mut Vec<String>,
) -> Result<(), Miss> {
    let mut results = Vec::new();
    for message in messages::list(store, account)? {
        let stanza = stanza(&message.stanza).map_err(|why| format!("a stored message: {why}"));
        results.push(stanza.and_then(|stanza| person.add_offline(stanza, Some(message.unix_ms))));
    }
    if let Some(xml) = vcard::get(store, account)? {
        let vcard = stanza(&xml).map_err(|why| format!("its vCard: {why}"));
        results.push(vcard.and_then(|vcard| person.set_vcard(vcard)));
    }
    for (_, name, xml) in private::list(store, account)? {
        let element = stanza(&xml).map_err(|why| format!("the private element {name}: {why}"));
        results.push(element.and_then(|element| person.add_private(element)));
    }
    for jid in blocks::get(store, account)?.iter() {
        results.push(person.add_block(jid.as_str()));
    }
    faults.extend(results.into_iter().filter_map(Result::err));
    Ok(())
}

fn read_roster(
    store: &mut Store,
    account: JidRef<'_>,
    person: &mut Person,
    faults: &mut Vec<String>,
) -> Result<(), Miss> {
    for (jid, item) in roster::list(store, account)? {
        let Item { state, approved, listed, name, groups, .. } = item;
        if !listed && !approved {
            continue;
        }
        let Subscribed { to, from } = state.subscribed();
        person.roster.push(Contact { jid, name, to, from, asks: state.asks(), approved, groups });
    }
    for (from, xml) in roster::requests(store, account)? {
        if let Err(what) = stanza(&xml).and_then(|stanza| person.add_request(stanza)) {
            faults.push(format!("the subscription request of {from}: {what}"));
        }
    }
    Ok(())
}

/// A stored stanza, or any element that was stored as it came on a stream.
fn stanza(xml: &[u8]) -> Result<Element, String> {
    Element::parse(xml, CLIENT).map_err(|fault| fault.what)
}
