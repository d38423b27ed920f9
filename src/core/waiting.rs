//! What waits: frames for rows, answers for commits.
//!
//! ```text
//! handler ──Miss──▶ park (gate shut) ──fetch──▶ storage thread ──▶ completed ──▶ wake: run again
//! ```
//!
//! One frame a connection waits; its bytes stay in the partial, so "run again" is "scan again". Other
//! connections go on (`docs/architecture.md`, "Storage").

use super::Core;
use crate::clock::Now;
use crate::conn::{Gates, Phase};
use crate::ids::ConnId;
use crate::im::accounts::{self, Change};
use crate::jid::Jid;
use crate::sasl::{Accounts, Credentials, Lookup, ScramKeys};
use crate::storage::{Completion, FetchId, Miss, Request, Store, Ticket, Woken};
use crate::stream::error::StreamCondition;
use crate::stream::{HashSet, StreamAccounts};
use std::mem;

/// Bytes that stanzas may append to outboxes in one tick, and at most a quarter of what one outbox holds.
pub const TICK_BYTES_MAX: usize = 256 * 1024;

/// What negotiation may know of accounts, read from the store; remembers the row it missed.
#[derive(Debug)]
pub struct StoreAccounts<'a> {
    store: &'a mut Store,
    miss: Option<Miss>,
}

impl<'a> StoreAccounts<'a> {
    /// For one handler run.
    pub fn new(store: &'a mut Store) -> Self {
        Self { store, miss: None }
    }

    /// The row that the run missed.
    pub fn take_miss(&mut self) -> Option<Miss> {
        self.miss.take()
    }

    fn found<T>(&mut self, result: Result<Option<T>, Miss>) -> Lookup<T> {
        match result {
            Ok(Some(value)) => Lookup::Found(value),
            Ok(None) => Lookup::Absent,
            Err(miss) => {
                self.miss = Some(miss);
                Lookup::Miss
            }
        }
    }
}

impl Accounts for StoreAccounts<'_> {
    fn credentials(&mut self, domain: &str, localpart: &str) -> Lookup<Credentials> {
        let row = accounts::get(self.store, domain, localpart);
        self.found(row.map(|account| account.map(|account| accounts::credentials(&account))))
    }
}

impl StreamAccounts for StoreAccounts<'_> {
    fn offered_hashes(&mut self, domain: &str) -> Lookup<HashSet> {
        let counters = accounts::offered(self.store, domain);
        let set = counters
            .map(|counters| Some(HashSet { sha1: counters.all_have_sha1(), sha256: counters.all_have_sha256() }));
        self.found(set)
    }
}

/// Adds SCRAM keys that an account lacks, if `proven_by` is still one of its stored keys.
///
/// # Errors
///
/// Nothing is there to change, the row is not in memory, or the overlay is full: nothing is written.
pub(super) fn fill_in(store: &mut Store, account: &Jid, keys: &[ScramKeys], proven_by: &[u8]) -> Result<(), ()> {
    let (domain, localpart) = (account.domainpart(), account.localpart().ok_or(())?);
    let row = accounts::get(store, domain, localpart).map_err(|_| ())?.ok_or(())?;
    let mut credentials = accounts::credentials(&row);
    if !credentials.fill_in(keys, proven_by) {
        return Err(());
    }
    match accounts::set(store, domain, localpart, &accounts::account(&credentials)).map_err(|_| ())? {
        Change::Done => Ok(()),
        Change::Absent | Change::Exists | Change::Full => Err(()),
    }
}

impl Core {
    pub(super) fn park(&mut self, id: ConnId, fetch: FetchId) {
        self.metrics.parked += 1;
        self.parked.insert(fetch, id);
        self.set_gate(id, Gates::PARKED, true);
    }

    /// The end of a tick: what the storage thread has to do.
    pub fn submit(&mut self, now: Now, into: &mut Vec<Request>) {
        self.go_on(now);
        self.outboxes.end_tick();
        self.store.submit(now.mono_ms, into);
    }

    /// Goes on with what waited for the next tick, in turn.
    pub fn go_on(&mut self, now: Now) {
        for _ in 0..self.paused.len() {
            if self.is_tick_full() {
                break;
            }
            let Some(id) = self.paused.pop_front() else { break };
            if self.conns.get(id).is_some_and(|conn| conn.gates.has(Gates::PAUSED)) {
                self.set_gate(id, Gates::PAUSED, false);
                self.go_on_reading(id, now);
            }
        }
    }

    /// Whether stanzas have appended as much as one tick may: what follows waits until that is written.
    /// A few short stanzas of a sender with a long address can become megabytes; a receiver that
    /// reads must not overflow before it is written to even once.
    pub(super) fn is_tick_full(&self) -> bool {
        self.outboxes.tick_bytes() >= self.tick_bytes_max()
    }

    /// Whether more should be read before what there is is written; leaves room for what is paused.
    pub fn wants_more(&self) -> bool {
        self.outboxes.tick_bytes() < self.tick_bytes_max() / 2
    }

    fn tick_bytes_max(&self) -> usize {
        TICK_BYTES_MAX.min(self.settings.outbox.bytes_max / 4)
    }

    /// The rest of what a connection sent waits for the next tick.
    pub(super) fn pause(&mut self, id: ConnId) {
        self.set_gate(id, Gates::PAUSED, true);
        self.paused.push_back(id);
    }

    /// The storage thread has done something.
    pub fn completed(&mut self, completion: Completion, now: Now) {
        let mut woken = Woken::default();
        self.store.complete(completion, &mut woken);
        self.wake(&mut woken, now);
    }

    /// Goes on with everything that completions have set free.
    pub fn wake(&mut self, woken: &mut Woken, now: Now) {
        for fault in woken.faults.drain(..) {
            log::error!("storage: {fault}");
        }
        if woken.durable != Ticket::NONE {
            self.outboxes.release(woken.durable.number());
            woken.durable = Ticket::NONE;
        }
        self.release_answers();
        for fetch in mem::take(&mut woken.ready) {
            match self.parked.remove(&fetch) {
                Some(id) => self.run_again(id, fetch, now),
                None if self.wake_request(fetch, true, now) => {}
                None => self.store.release(fetch),
            }
        }
        for fetch in mem::take(&mut woken.failed) {
            if self.wake_request(fetch, false, now) {
                continue;
            }
            if let Some(id) = self.parked.remove(&fetch) {
                self.set_gate(id, Gates::PARKED, false);
                self.end_stream(id, StreamCondition::InternalServerError, None, now);
            }
        }
    }

    fn run_again(&mut self, id: ConnId, fetch: FetchId, now: Now) {
        let Some(conn) = self.conns.get(id) else { return self.store.release(fetch) };
        let hash_waits = matches!(&conn.phase, Phase::Negotiating(waiting) if waiting.waiting_hash.is_some());
        self.resuming.insert(id, fetch);
        self.set_gate(id, Gates::PARKED, false);
        if hash_waits {
            self.go_on_hashed(id, now);
        } else {
            self.go_on_reading(id, now);
        }
        // The run may have ended before it read anything.
        if let Some(fetch) = self.resuming.remove(&id) {
            self.store.release(fetch);
        }
    }

    /// A connection that goes waits for nothing any more.
    pub(super) fn forget_waiting(&mut self, id: ConnId) {
        if let Some(fetch) = self.resuming.remove(&id) {
            self.store.release(fetch);
        }
        let waiting: Vec<FetchId> =
            self.parked.iter().filter(|(_, conn)| **conn == id).map(|(fetch, _)| *fetch).collect();
        for fetch in waiting {
            self.parked.remove(&fetch);
            self.store.release(fetch);
        }
    }
}
