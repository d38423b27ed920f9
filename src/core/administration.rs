//! Administration: what the control socket asks, done by the same rules as everything else.
//!
//! A request runs like a handler: a missing row parks it, and its answer leaves when what it wrote is
//! on disk.

use super::{Core, HELD_TIMEOUT_MS, lend};
use crate::admin::{self, Answer, Refusal, UserRequest};
use crate::clock::Now;
use crate::storage::{FetchId, Ticket};
use std::collections::BTreeMap;

/// Requests that wait for rows and answers that wait for commits.
#[derive(Debug, Default)]
pub(super) struct Administration {
    parked: BTreeMap<FetchId, (u64, UserRequest)>,
    held: Vec<Held>,
    answers: Vec<(u64, Answer)>,
}

#[derive(Debug)]
struct Held {
    ticket: Ticket,
    deadline_ms: u64,
    caller: u64,
    answer: Answer,
}

impl Administration {
    /// Requests that wait for rows.
    pub(super) fn parked(&self) -> usize {
        self.parked.len()
    }
}

impl Core {
    /// Carries out a request about accounts; the answer comes with [`Core::take_answers`], under the
    /// same `caller`.
    pub fn administer(&mut self, caller: u64, request: UserRequest, now: Now) {
        self.run_request(caller, request, None, now);
    }

    /// Answers that may leave: what they promise is on disk.
    pub fn take_answers(&mut self, into: &mut Vec<(u64, Answer)>) {
        into.append(&mut self.administration.answers);
    }

    fn run_request(&mut self, caller: u64, request: UserRequest, resumed: Option<FetchId>, now: Now) {
        match resumed {
            Some(fetch) => self.store.resume(fetch),
            None => self.store.begin(),
        }
        self.outboxes.begin();
        let hosted: Vec<&str> = self.domains.names().collect();
        let mut dispatch = lend!(self, now, None);
        match admin::execute(&request, &hosted, &mut dispatch.columns) {
            Ok(answer) => {
                let ticket = match &answer {
                    Answer::Done => self.store.finish(),
                    // It says nothing of any row, and must not wait for the disk that is behind.
                    Answer::Refused(Refusal::Busy) => {
                        self.undo_request();
                        Ticket::NONE
                    }
                    Answer::Users { .. }
                    | Answer::Progress { .. }
                    | Answer::BackedUp { .. }
                    | Answer::Status(_)
                    | Answer::Refused(_) => self.undo_request(),
                };
                if answer == Answer::Done {
                    // What contacts hear of it waits like the answer.
                    if !self.store.is_durable(ticket) {
                        self.outboxes.hold(ticket.number(), now.mono_ms + HELD_TIMEOUT_MS);
                    }
                    self.account_changed(&request, now);
                    self.carry_out_effects(ticket, now);
                }
                let deadline_ms = now.mono_ms + HELD_TIMEOUT_MS;
                self.administration.held.push(Held { ticket, deadline_ms, caller, answer });
                self.release_answers();
            }
            Err(miss) => {
                self.outboxes.take_back();
                self.effects.clear();
                let fetch = self.store.abandon(miss);
                self.administration.parked.insert(fetch, (caller, request));
            }
        }
    }

    /// Takes back what a request's run has written and appended; returns the ticket that its answer waits for.
    fn undo_request(&mut self) -> Ticket {
        self.outboxes.take_back();
        self.effects.clear();
        self.store.discard()
    }

    fn account_changed(&mut self, request: &UserRequest, now: Now) {
        match request {
            UserRequest::Passwd { address, .. } => {
                self.forget_verifiers(address.bare());
                self.end_logins(address.bare(), now);
            }
            UserRequest::Add { .. }
            | UserRequest::Del { .. }
            | UserRequest::Disable { .. }
            | UserRequest::Invite { .. }
            | UserRequest::Announce { .. }
            | UserRequest::Motd { .. }
            | UserRequest::List { .. } => {}
        }
    }

    pub(super) fn forget_verifiers(&mut self, bare: &str) {
        let (localpart, domain) = bare.split_once('@').unwrap_or(("", bare));
        self.verifiers.forget(domain, localpart);
    }

    /// Moves answers whose ticket is durable to those that may leave.
    pub(super) fn release_answers(&mut self) {
        let (store, answers) = (&self.store, &mut self.administration.answers);
        let held = std::mem::take(&mut self.administration.held);
        for held in held {
            if store.is_durable(held.ticket) {
                answers.push((held.caller, held.answer));
            } else {
                self.administration.held.push(held);
            }
        }
    }

    /// Answers that have waited too long for the disk: their fate is unknown, and that is what is said.
    pub(super) fn expire_answers(&mut self, now: Now) {
        let overdue = |held: &Held| held.deadline_ms <= now.mono_ms;
        let (late, rest) = std::mem::take(&mut self.administration.held).into_iter().partition(overdue);
        self.administration.held = rest;
        let late: Vec<Held> = late;
        for held in late {
            let why = format!(
                "the disk has not taken it within {} s; whether it was done is unknown",
                HELD_TIMEOUT_MS / 1000
            );
            self.administration.answers.push((held.caller, Answer::Refused(Refusal::Failed { why })));
        }
    }

    pub(super) fn answers_deadline_ms(&self) -> Option<u64> {
        self.administration.held.iter().map(|held| held.deadline_ms).min()
    }

    /// A row that a request waited for is there, or cannot be had; false if no request waited for it.
    pub(super) fn wake_request(&mut self, fetch: FetchId, is_there: bool, now: Now) -> bool {
        let Some((caller, request)) = self.administration.parked.remove(&fetch) else { return false };
        if is_there {
            self.run_request(caller, request, Some(fetch), now);
        } else {
            let why = "the store cannot be read; see the log".to_owned();
            self.administration.answers.push((caller, Answer::Refused(Refusal::Failed { why })));
        }
        true
    }
}
