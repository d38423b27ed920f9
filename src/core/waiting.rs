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
use crate::stream::{HashSet, StreamAccounts};
use std::mem;

pub use crate::limits::TICK_BYTES_MAX;
use crate::limits::{FILL_INS_MAX, RESUMED_MAX, TICK_WRITES_MAX, VISITS_PER_TICK_MAX};

/// What negotiation may know of accounts, read from the store; remembers the row it missed.
#[derive(Debug)]
pub struct StoreAccounts<'a> {
    store: &'a mut Store,
    miss: Option<Miss>,
    is_unreadable: bool,
}

impl<'a> StoreAccounts<'a> {
    /// For one handler run. `is_unreadable`: the row that the run before missed cannot be read.
    pub fn new(store: &'a mut Store, is_unreadable: bool) -> Self {
        Self { store, miss: None, is_unreadable }
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

    fn is_unreadable(&self) -> bool {
        self.is_unreadable
    }
}

/// SCRAM keys that an account lacks, made from a password that was right.
#[derive(Debug)]
pub(super) struct FillIn {
    pub(super) account: Jid,
    pub(super) keys: Vec<ScramKeys>,
    /// The stored key that the password was right for.
    pub(super) proven_by: Vec<u8>,
}

/// Adds the keys, if the password is still the account's. Nothing is written if there is nothing to
/// change or the overlay is full.
///
/// # Errors
///
/// [`Miss`]: run again.
fn fill_in(store: &mut Store, fill: &FillIn) -> Result<Change, Miss> {
    let (domain, localpart) = (fill.account.domainpart(), fill.account.localpart().unwrap_or_default());
    let Some(row) = accounts::get(store, domain, localpart)? else { return Ok(Change::Absent) };
    let mut credentials = accounts::credentials(&row);
    if !credentials.fill_in(&fill.keys, &fill.proven_by) {
        return Ok(Change::Exists);
    }
    accounts::set(store, domain, localpart, &accounts::account(&credentials))
}

impl Core {
    pub(super) fn park(&mut self, id: ConnId, fetch: FetchId) {
        self.metrics.parked += 1;
        self.parked.insert(fetch, id);
        self.set_gate(id, Gates::PARKED, true);
    }

    /// Fills in what an account lacks, behind its login's back. Nothing was promised: where it cannot be
    /// done, the next good login does it.
    pub(super) fn fill_in(&mut self, fill: FillIn, resumed: Option<FetchId>) {
        match resumed {
            Some(fetch) => self.store.resume(fetch),
            None => self.store.begin(),
        }
        match fill_in(&mut self.store, &fill) {
            Ok(Change::Done) => {
                self.store.finish();
            }
            Err(miss) if self.fill_ins.len() < FILL_INS_MAX => {
                let fetch = self.store.abandon(miss);
                self.fill_ins.insert(fetch, fill);
            }
            Ok(Change::Absent | Change::Exists | Change::Full) | Err(_) => {
                self.store.discard();
            }
        }
    }

    /// The end of a tick: what the storage thread has to do.
    pub fn submit(&mut self, now: Now, into: &mut Vec<Request>) {
        self.go_on(now);
        self.wants_tick = false;
        self.outboxes.end_tick();
        self.store.submit(now.mono_ms, into);
    }

    /// Goes on with what waited for the next tick, in turn.
    pub fn go_on(&mut self, now: Now) {
        self.decongest(now);
        self.go_on_with_fetched(now);
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

    /// So many connections with sessions have something to say in this tick: each may append its share, and waits in
    /// turn with what it says beyond. One that asks for much then costs those behind it no more than many that ask
    /// for little.
    pub fn share_tick(&mut self, ready: usize) {
        let visits = (ready + self.paused.len()).clamp(1, VISITS_PER_TICK_MAX);
        self.visit_bytes = self.tick_bytes_max() / visits;
    }

    /// A connection is turned to.
    pub(super) fn begin_visit(&mut self) {
        self.visit_ends = self.outboxes.tick_bytes().saturating_add(self.visit_bytes);
    }

    /// Whether it has had its share, or the tick is full.
    pub(super) fn is_visit_over(&self) -> bool {
        self.is_tick_full() || self.outboxes.tick_bytes() >= self.visit_ends
    }

    /// Whether more should be read before what there is is written; leaves room for what is paused.
    pub fn wants_more(&self) -> bool {
        self.outboxes.tick_bytes() < self.tick_bytes_max() / 2 && self.outboxes.dirty() < TICK_WRITES_MAX
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
            self.release_held(now);
            self.release_effects(now);
            self.ease(now);
        }
        self.release_answers();
        self.fetched.extend(woken.ready.drain(..));
        self.go_on_with_fetched(now);
        for fetch in mem::take(&mut woken.failed) {
            if let Some(id) = self.parked.remove(&fetch) {
                self.run_without(id, now);
            } else if self.fill_ins.remove(&fetch).is_none()
                && self.settling.remove(&fetch).is_none()
                && !self.wake_bind(fetch, false, now)
            {
                self.wake_request(fetch, false, now);
            }
        }
    }

    /// Goes on with what has got its rows, as much as one tick may take.
    fn go_on_with_fetched(&mut self, now: Now) {
        for _ in 0..RESUMED_MAX {
            let Some(fetch) = self.fetched.pop_front() else { return };
            if let Some(id) = self.parked.remove(&fetch) {
                self.run_again(id, fetch, now);
            } else if let Some(fill) = self.fill_ins.remove(&fetch) {
                self.fill_in(fill, Some(fetch));
            } else if let Some((account, replay)) = self.settling.remove(&fetch) {
                self.settle_delivered(account, replay, Some(fetch));
            } else if !self.wake_bind(fetch, true, now) && !self.wake_request(fetch, true, now) {
                self.store.release(fetch);
            }
        }
    }

    /// The row cannot be read: the frame runs again and is told so. A login fails for now; what cannot
    /// do without the row ends its stream.
    fn run_without(&mut self, id: ConnId, now: Now) {
        self.unreadable = Some(id);
        self.set_gate(id, Gates::PARKED, false);
        self.go_on_reading(id, now);
        self.unreadable = None;
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
        let binding: Vec<FetchId> =
            self.binding.iter().filter(|(_, (conn, _))| *conn == id).map(|(fetch, _)| *fetch).collect();
        for fetch in binding {
            self.binding.remove(&fetch);
            self.store.release(fetch);
        }
        self.bound_hashes.remove(&id);
        self.pressed.retain(|conn| *conn != id);
    }
}
