//! Bound streams, and those of components: every frame goes through dispatch.

use super::components::frame_of;
use super::input::Progress;
use super::rates::Waits;
use super::{Core, HELD_TIMEOUT_MS, lend};
use crate::clock::Now;
use crate::conn::{Flags, Gates, Phase};
use crate::dispatch::{Done, Verdict};
use crate::ids::ConnId;
use crate::im::columns::Effect;
use crate::im::directory::Replay;
use crate::im::{motd, offline};
use crate::jid::{Jid, JidRef};
use crate::sasl::HashOutcome;
use crate::stanza::StanzaCondition;
use crate::storage::{FetchId, Miss, Pressure, Store, StoreFull, Ticket};
use crate::stream::error::StreamCondition;
use crate::xml::{Scan, Step};
use std::mem;

impl Core {
    pub(super) fn bound_item(&mut self, id: ConnId, step: Step, scan: &Scan, bytes: &[u8], now: Now) -> Progress {
        match step {
            Step::Frame { .. } => return self.bound_frame(id, scan, bytes, now),
            Step::StreamEnd { .. } => self.peer_ended(id, now),
            Step::Header { .. } => self.end_stream(id, StreamCondition::UnsupportedStanzaType, None, now),
            // White space is a keepalive (RFC 6120 §4.6.1).
            Step::Whitespace { .. } | Step::Incomplete => {}
        }
        Progress::Took
    }

    /// One frame's run over the store: it ends, or it waits and runs again from its top.
    pub(super) fn bound_frame(&mut self, id: ConnId, scan: &Scan, bytes: &[u8], now: Now) -> Progress {
        let mut scratch = mem::take(&mut self.scratch.from);
        let progress = self.run_frame(id, scan, bytes, &mut scratch, now);
        self.scratch.from = scratch;
        progress
    }

    fn run_frame(&mut self, id: ConnId, scan: &Scan, bytes: &[u8], scratch: &mut String, now: Now) -> Progress {
        let Some(conn) = self.conns.get(id) else { return Progress::Took };
        let frame = match frame_of(id, conn, scan, bytes, scratch) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Progress::Took,
            Err(condition) => {
                self.end_stream(id, condition, None, now);
                return Progress::Took;
            }
        };
        let resumed = self.resuming.remove(&id);
        let is_unreadable = self.unreadable.take_if(|unreadable| *unreadable == id).is_some();
        let hashed = self.bound_hashes.remove(&id);
        let outcome = hashed.as_ref().and_then(Option::as_ref);
        match resumed {
            Some(fetch) => self.store.resume(fetch),
            None => self.store.begin(),
        }
        self.outboxes.begin();
        let before = self.meter();
        let session = frame.sender.session();
        let mut dispatch = lend!(self, now, outcome);
        let done = match dispatch.frame(frame) {
            Done::Missed(_) if is_unreadable => {
                Done::Held(dispatch.refuse_frame(frame, StanzaCondition::InternalServerError))
            }
            // Its password lost its place in the queue.
            Done::Hash(_) if hashed.as_ref().is_some_and(Option::is_none) => {
                Done::Held(dispatch.refuse_frame(frame, StanzaCondition::ResourceConstraint))
            }
            done => done,
        };
        let waits = match &done {
            Done::Missed(_) => Some(Waits::Row),
            Done::Hash(_) => Some(Waits::Hash),
            Done::Held(_) | Done::Answered(_) | Done::Verdict(_) => None,
        };
        self.charge(id, before, waits, bytes.len());
        if waits.is_none()
            && let Some(session) = session
            && let Some(to) = scan.head().attr(bytes, "to")
        {
            self.charge_recipient(id, session, to.as_bytes(), now);
        }
        match done {
            Done::Held(ticket) => {
                self.hold(id, ticket, before.written, now);
                self.carry_out_effects(ticket, now);
            }
            Done::Answered(ticket) => {
                let ticket = self.owed.get(&id).map_or(ticket, |owed| ticket.max(*owed));
                self.hold(id, ticket, before.written, now);
                self.carry_out_effects(ticket, now);
            }
            Done::Verdict(verdict) => {
                self.store.discard();
                match verdict {
                    Verdict::Error(condition) => self.end_stream(id, condition, None, now),
                    Verdict::End => self.peer_ended(id, now),
                }
            }
            Done::Missed(miss) => {
                let fetch = self.store.abandon(miss);
                if let Some(hashed) = hashed {
                    self.bound_hashes.insert(id, hashed);
                }
                self.park(id, fetch);
                return Progress::Parked;
            }
            Done::Hash(job) => {
                self.hash(id, *job, now);
                return Progress::Parked;
            }
        }
        Progress::Took
    }

    /// What the run appended waits for the disk, if it promises what is not there yet. A connection whose frames
    /// write faster than the disk takes it is not read meanwhile.
    fn hold(&mut self, id: ConnId, ticket: Ticket, before: u64, now: Now) {
        if !self.store.is_durable(ticket) {
            self.outboxes.hold(ticket.number(), now.mono_ms + HELD_TIMEOUT_MS);
        }
        if self.store.written() == before {
            return;
        }
        self.owed.insert(id, self.store.filling());
        if self.store.pressure() >= Pressure::High {
            self.pressed.push(id);
            self.set_gate(id, Gates::PRESSED, true);
        }
    }

    /// The disk has caught up: who wrote too fast is read again.
    pub(super) fn ease(&mut self, now: Now) {
        let store = &self.store;
        self.owed.retain(|_, ticket| !store.is_durable(*ticket));
        if self.store.pressure() >= Pressure::High {
            return;
        }
        for (account, replay) in mem::take(&mut self.delivered) {
            self.settle_delivered(account, replay, None);
        }
        for id in mem::take(&mut self.pressed) {
            if self.conns.get(id).is_some_and(|conn| conn.phase.carries_stanzas()) {
                self.set_gate(id, Gates::PRESSED, false);
                self.go_on_reading(id, now);
            }
        }
    }

    /// The outbox of a session has left: what has waited for its account, and was in it, is settled.
    pub(super) fn bound_drained(&mut self, id: ConnId) {
        let Some(Phase::Bound(bound)) = self.conns.get(id).map(|conn| &conn.phase) else { return };
        let session = bound.session;
        let Some(account) = self.directory.get(session).map(|session| session.jid.to_bare()) else { return };
        let Some(mut online) = self.directory.online_mut(account.as_str()) else { return };
        let replay = online.replay.as_deref_mut().filter(|it| it.session == session && !it.has_left).map(|replay| {
            replay.has_left = true;
            *replay
        });
        drop(online);
        if let Some(replay) = replay {
            self.settle_delivered(account, replay, None);
            // Draining is the last step of a tick: what it wants of the store needs one more.
            self.wants_tick = true;
        }
    }

    /// Deletes messages that have left, and notes the message of the day as seen. Nothing was promised: what cannot
    /// be written now is tried again when the disk has caught up, and after a power cut they come twice.
    pub(super) fn settle_delivered(&mut self, account: Jid, replay: Replay, resumed: Option<FetchId>) {
        match resumed {
            Some(fetch) => self.store.resume(fetch),
            None => self.store.begin(),
        }
        match settle(&mut self.store, account.as_ref(), replay) {
            Ok(Ok(Settled::Whole)) => {
                self.store.finish();
                if let Some(mut online) = self.directory.online_mut(account.as_str()) {
                    online.replay.take_if(|latest| **latest == replay);
                }
            }
            Ok(Ok(Settled::InPart)) => {
                self.store.finish();
                self.delivered.push((account, replay));
            }
            Ok(Err(StoreFull)) => {
                self.store.discard();
                self.delivered.push((account, replay));
            }
            Err(miss) => {
                let fetch = self.store.abandon(miss);
                self.settling.insert(fetch, (account, replay));
            }
        }
    }

    /// The hash that a bound frame waits for is there, or lost its place: the frame runs again.
    pub(super) fn bound_hashed(&mut self, id: ConnId, outcome: Option<HashOutcome>, now: Now) {
        self.bound_hashes.insert(id, outcome);
        self.set_gate(id, Gates::HASHING, false);
        self.go_on_reading(id, now);
        if !self.conns.get(id).is_some_and(|conn| conn.gates.has(Gates::PARKED)) {
            self.bound_hashes.remove(&id);
        }
    }

    /// Does what handlers have left to be done after they returned.
    ///
    /// What ends streams waits for the ticket, as the answer does: it must not be overtaken by the end.
    pub(super) fn carry_out_effects(&mut self, ticket: Ticket, now: Now) {
        for effect in mem::take(&mut self.effects) {
            match effect {
                Effect::EndSession { .. } | Effect::AccountGone { .. } if !self.store.is_durable(ticket) => {
                    self.held_effects.push((ticket, effect));
                }
                effect => self.carry_out_effect(effect, now),
            }
        }
    }

    /// Does what has waited for the disk.
    pub(super) fn release_effects(&mut self, now: Now) {
        let held = mem::take(&mut self.held_effects);
        for (ticket, effect) in held {
            match self.store.is_durable(ticket) {
                true => self.carry_out_effect(effect, now),
                false => self.held_effects.push((ticket, effect)),
            }
        }
    }

    fn carry_out_effect(&mut self, effect: Effect, now: Now) {
        match effect {
            Effect::EndSession { session, condition } => {
                if let Some(conn) = self.directory.get(session).map(|session| session.conn) {
                    self.end_stream(conn, condition, None, now);
                }
            }
            Effect::TellDrained { session } => {
                let conn = self.directory.get(session).map(|session| session.conn);
                if let Some(conn) = conn.and_then(|id| self.conns.get_mut(id)) {
                    conn.flags.set(Flags::TELL_DRAINED, true);
                }
            }
            Effect::AccountGone { bare } => {
                self.forget_verifiers(&bare);
                self.end_account(&bare, now);
                // Its sessions have just said goodbye.
                self.goodbyes.forget(&JidRef::of_prepared(&bare).to_owned());
            }
            Effect::PasswordChanged { bare } => {
                self.forget_verifiers(&bare);
                self.end_logins(&bare, now);
            }
        }
    }
}

/// How far a settlement has come.
enum Settled {
    /// To its end.
    Whole,
    /// More messages are to be deleted than one run may.
    InPart,
}

fn settle(store: &mut Store, account: JidRef<'_>, replay: Replay) -> Result<Result<Settled, StoreFull>, Miss> {
    if let Some(number) = replay.motd
        && let Err(full) = motd::see(store, account, number)
    {
        return Ok(Err(full));
    }
    let Some(up_to) = replay.up_to else { return Ok(Ok(Settled::Whole)) };
    let deleted = offline::delete(store, account, up_to)?;
    Ok(deleted.map(|all| if all { Settled::Whole } else { Settled::InPart }))
}
