//! Before the session: runs the negotiation automaton and does what it asks for.
//!
//! The automaton's output waits in a scratch buffer until its run is whole: a run that missed a row
//! leaves nothing behind. What it then says and asks for is carried out by `answering`.

use super::input::Progress;
use super::memory::Strain;
use super::waiting::FillIn;
use super::{Core, HashTask, StoreAccounts};
use crate::action::Action;
use crate::clock::Now;
use crate::conn::{Bound, Flags, Gates, Phase};
use crate::ids::{ConnId, SessionId};
use crate::im::directory::Loaded;
use crate::im::load;
use crate::im::session::SessionFlags;
use crate::jid::Jid;
use crate::random::Random;
use crate::sasl::{HashJob, HashOutcome};
use crate::storage::FetchId;
use crate::stream::error::StreamCondition;
use crate::stream::{Ask, BindRefusal, BoundStream, CloseHow, ConflictRule, Context, Input, Parked};
use std::mem;

/// What a stream asks to be bound to.
#[derive(Debug)]
pub(super) struct Wanted {
    account: Jid,
    resource: Option<String>,
    anonymous: bool,
    conflict: ConflictRule,
}

impl Core {
    /// Gives one input to the automaton of a connection that is not bound.
    pub(super) fn negotiate(&mut self, id: ConnId, input: Input<'_>, now: Now) -> Progress {
        let Some(conn) = self.conns.get_mut(id) else { return Progress::Took };
        let direct_tls = conn.flags.has(Flags::DIRECT);
        let mut negotiating = match mem::replace(&mut conn.phase, Phase::Taken) {
            Phase::Negotiating(negotiating) => negotiating,
            other => {
                conn.phase = other;
                return Progress::Took;
            }
        };
        match self.resuming.remove(&id) {
            Some(fetch) => self.store.resume(fetch),
            None => self.store.begin(),
        }
        let (mut out, mut asks) = (mem::take(&mut self.out), mem::take(&mut self.asks));
        let is_unreadable = self.unreadable.take_if(|unreadable| *unreadable == id).is_some();
        let mut accounts = StoreAccounts::new(&mut self.store, is_unreadable);
        let mut cx = Context {
            now,
            direct_tls,
            peer: negotiating.peer,
            policy: &self.domains,
            accounts: &mut accounts,
            random: &mut self.random,
            verifiers: &mut self.verifiers,
            throttle: &mut self.throttle,
            fake_secret: &self.fake_secret,
            out: &mut out,
            asks: &mut asks,
        };
        let result = negotiating.automaton.handle(input, &mut cx);
        let miss = accounts.take_miss();
        if let Some(conn) = self.conns.get_mut(id) {
            conn.phase = Phase::Negotiating(negotiating);
        }
        let progress = match (result, miss) {
            (Err(Parked), Some(_)) if is_unreadable => {
                self.store.discard();
                self.end_stream(id, StreamCondition::InternalServerError, None, now);
                Progress::Took
            }
            (Err(Parked), Some(miss)) => {
                let fetch = self.store.abandon(miss);
                self.park(id, fetch);
                Progress::Parked
            }
            (Err(Parked), None) | (Ok(()), _) => {
                let ticket = self.store.finish();
                self.carry_out(id, &mut out, &mut asks, ticket, now);
                Progress::Took
            }
        };
        out.clear();
        asks.clear();
        self.out = out;
        self.asks = asks;
        self.count_anew(id);
        progress
    }

    pub(super) fn ask(&mut self, id: ConnId, ask: Ask, now: Now) {
        match ask {
            Ask::ReadGate(open) => self.set_gate(id, Gates::STARTTLS, !open),
            Ask::TellDrained => {
                if let Some(conn) = self.conns.get_mut(id) {
                    conn.flags.set(Flags::TELL_DRAINED, true);
                }
            }
            Ask::Flip { hint } => {
                self.metrics.flips += 1;
                self.drop_partial(id);
                self.actions.push(Action::Flip { conn: id, hint });
            }
            Ask::NewStream => {
                if let Some(conn) = self.conns.get_mut(id) {
                    conn.flags.set(Flags::HEADER, true);
                }
            }
            Ask::Hash(job) => self.hash(id, job, now),
            Ask::Delay { .. } => {}
            Ask::Bind { account, resource, anonymous, conflict } => {
                self.bind(id, Wanted { account, resource, anonymous, conflict }, None, now);
            }
            Ask::FillIn { account, keys, proven_by } => self.fill_in(FillIn { account, keys, proven_by }, None),
            Ask::Close(how) => self.close(id, how, now),
        }
    }

    pub(super) fn hash(&mut self, id: ConnId, job: HashJob, now: Now) {
        let Some(conn) = self.conns.get(id) else { return };
        let address = conn.address;
        self.set_gate(id, Gates::HASHING, true);
        if let Some(loser) = self.hashes.push(address, HashTask { conn: id, job }) {
            self.metrics.hash_refused += 1;
            if self.runs_frames(loser.conn) {
                return self.bound_hashed(loser.conn, None, now);
            }
            self.set_gate(loser.conn, Gates::HASHING, false);
            let _parked = self.negotiate(loser.conn, Input::Overloaded, now);
            self.go_on_reading(loser.conn, now);
        }
    }

    /// The next password for the hashing thread.
    pub fn next_hash(&mut self) -> Option<HashTask> {
        loop {
            let task = self.hashes.pop()?;
            if self.conns.get(task.conn).is_some_and(|conn| conn.gates.has(Gates::HASHING)) {
                return Some(task);
            }
        }
    }

    /// The hashing thread has an outcome.
    pub fn hashed(&mut self, id: ConnId, outcome: HashOutcome, now: Now) {
        if self.runs_frames(id) {
            return self.bound_hashed(id, Some(outcome), now);
        }
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Phase::Negotiating(negotiating) = &mut conn.phase else { return };
        negotiating.waiting_hash = Some(outcome);
        self.go_on_hashed(id, now);
    }

    /// Gives a hash outcome to the automaton; it stays where it is while a row is fetched.
    pub(super) fn go_on_hashed(&mut self, id: ConnId, now: Now) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Phase::Negotiating(negotiating) = &mut conn.phase else { return };
        let Some(outcome) = negotiating.waiting_hash.take() else { return };
        if self.negotiate(id, Input::Hashed(outcome.clone()), now) == Progress::Parked {
            if let Some(Phase::Negotiating(negotiating)) = self.conns.get_mut(id).map(|conn| &mut conn.phase) {
                negotiating.waiting_hash = Some(outcome);
            }
            return;
        }
        self.set_gate(id, Gates::HASHING, false);
        self.go_on_reading(id, now);
    }

    /// Reads what routing needs of the account, if nobody is there yet, and then finds it a resource
    /// (RFC 6120 §7): the one asked for, or one of our making. Where the one asked for is in use, the rule of
    /// §7.7.2.2 decides.
    pub(super) fn bind(&mut self, id: ConnId, wanted: Wanted, resumed: Option<FetchId>, now: Now) {
        match resumed {
            Some(fetch) => self.store.resume(fetch),
            None => self.store.begin(),
        }
        let needed = !wanted.anonymous && !self.stays_online(&wanted);
        let loaded = match needed {
            true => load::account(&mut self.store, wanted.account.as_ref()),
            false => Ok(Some(Loaded::default())),
        };
        match loaded {
            // Nothing is promised: what was read is looked at again when it is asked for.
            Ok(Some(loaded)) if !self.is_going(&wanted) => {
                self.store.discard();
                self.bind_loaded(id, &wanted, loaded, now);
            }
            Ok(_) => {
                self.store.discard();
                let _parked = self.negotiate(id, Input::BindRefused(BindRefusal::NotAllowed), now);
            }
            Err(miss) => {
                let fetch = self.store.abandon(miss);
                self.binding.insert(fetch, (id, wanted));
                self.set_gate(id, Gates::PARKED, true);
            }
        }
    }

    /// Whether the account is no more, and its sessions end when that is on disk.
    fn is_going(&self, wanted: &Wanted) -> bool {
        let mut resources = self.directory.resources(wanted.account.bare());
        resources.any(|(_, session)| session.flags.has(SessionFlags::GONE))
    }

    /// Whether the account has a session that this bind will not replace: what routing needs of it goes with its last.
    fn stays_online(&self, wanted: &Wanted) -> bool {
        let asked = wanted.resource.as_deref().and_then(|resource| wanted.account.with_resource(resource).ok());
        let replaced = asked.filter(|_| wanted.conflict == ConflictRule::Replace);
        let mut resources = self.directory.resources(wanted.account.bare());
        resources.any(|(_, session)| Some(&session.jid) != replaced.as_ref())
    }

    /// The rows that a bind waited for are there, or cannot be read; false if no bind waited for it.
    pub(super) fn wake_bind(&mut self, fetch: FetchId, is_there: bool, now: Now) -> bool {
        let Some((id, wanted)) = self.binding.remove(&fetch) else { return false };
        if !self.conns.get(id).is_some_and(|conn| conn.gates.has(Gates::PARKED)) {
            self.store.release(fetch);
            return true;
        }
        self.set_gate(id, Gates::PARKED, false);
        if is_there {
            self.bind(id, wanted, Some(fetch), now);
        } else {
            let _parked = self.negotiate(id, Input::BindRefused(BindRefusal::InternalServerError), now);
        }
        self.go_on_reading(id, now);
        true
    }

    fn bind_loaded(&mut self, id: ConnId, wanted: &Wanted, loaded: Loaded, now: Now) {
        match self.find_resource(wanted, now) {
            Ok(jid) => {
                let mut flags = SessionFlags::default();
                flags.set(SessionFlags::ANONYMOUS, wanted.anonymous);
                let is_encrypted = self.conns.get(id).is_some_and(|conn| match &conn.phase {
                    Phase::Negotiating(negotiating) => negotiating.automaton.is_encrypted(),
                    Phase::Bound(_)
                    | Phase::Joining(_)
                    | Phase::Component(_)
                    | Phase::Closing { .. }
                    | Phase::Taken => false,
                });
                flags.set(SessionFlags::ENCRYPTED, is_encrypted);
                let session = self.directory.insert(jid.clone(), id, flags, loaded);
                let _parked = self.negotiate(id, Input::Bound(&jid), now);
                self.begin_session(id, session, now);
            }
            Err(refusal) => {
                let _parked = self.negotiate(id, Input::BindRefused(refusal), now);
            }
        }
    }

    fn find_resource(&mut self, wanted: &Wanted, now: Now) -> Result<Jid, BindRefusal> {
        let Wanted { account, resource, conflict, .. } = wanted;
        let made = |random: &mut Random| account.with_resource(&random.token());
        let jid = match resource {
            Some(resource) => account.with_resource(resource),
            None => made(&mut self.random),
        };
        let mut jid = jid.map_err(|_| BindRefusal::InternalServerError)?;
        if let Some(old) = self.directory.find(jid.as_ref()) {
            match conflict {
                ConflictRule::Refuse => return Err(BindRefusal::Conflict),
                ConflictRule::Rename => jid = made(&mut self.random).map_err(|_| BindRefusal::InternalServerError)?,
                ConflictRule::Replace => {
                    if let Some(conn) = self.directory.get(old).map(|session| session.conn) {
                        self.end_stream(conn, StreamCondition::Conflict, None, now);
                    }
                }
            }
        }
        let is_full = self.directory.resources(account.bare()).count() >= self.settings.resources_per_account_max;
        if is_full || self.strain() >= Strain::Scarce {
            return Err(BindRefusal::ResourceConstraint);
        }
        Ok(jid)
    }

    fn begin_session(&mut self, id: ConnId, session: SessionId, now: Now) {
        let counted = self.conns.get(id).map_or(0, |conn| conn.phase.heap_bytes());
        let stream = self.conns.get_mut(id).and_then(|conn| match mem::replace(&mut conn.phase, Phase::Taken) {
            Phase::Negotiating(negotiating) if negotiating.automaton.is_bound() => negotiating.automaton.into_bound(),
            other => {
                conn.phase = other;
                None
            }
        });
        // The stream ended instead; so does the session that it was to carry. Its end keeps its deadline.
        let (Some(BoundStream { ns, lang, jid, version_1, .. }), Some(conn)) = (stream, self.conns.get_mut(id)) else {
            self.directory.remove(session);
            return;
        };
        conn.flags.set(Flags::UNAUTHENTICATED, false);
        self.admission.settle(conn.address);
        conn.phase = Phase::Bound(Bound { session, ns, lang, version_1 });
        self.budget.behind_conns = self.budget.behind_conns + conn.phase.heap_bytes() - counted;
        self.watch(id, now);
        self.metrics.bound += 1;
        log::debug!("{id}: bound {jid}");
    }

    pub(super) fn close(&mut self, id: ConnId, how: CloseHow, now: Now) {
        match how {
            CloseHow::Linger => self.begin_closing(id, now),
            CloseHow::AfterFlush => {
                self.begin_closing(id, now);
                self.shut(id);
                self.actions.push(Action::FlushAndDrop { conn: id });
            }
            CloseHow::Now => {
                self.begin_closing(id, now);
                self.shut(id);
                self.actions.push(Action::Drop { conn: id });
            }
        }
    }
}
