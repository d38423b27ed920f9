//! Registration before the login: the frames of XEP-0077 and XEP-0445 on a stream that has no session.
//!
//! ```text
//! <iq/> inside TLS, before SASL ──▶ xep/register over the store ──▶ parked, hashed, held like a session's stanza
//! ```
//!
//! The stream goes on where it was: the client logs in next. Requests are counted on each stream, accounts
//! for each address.

use super::{Core, HELD_TIMEOUT_MS};
use crate::clock::Now;
use crate::config::Registration;
use crate::conn::{AddressKey, Gates, Phase};
use crate::ids::ConnId;
use crate::im::stop::{Refusal, Stop};
use crate::limits::{REGISTRATION_ADDRESSES_MAX, REGISTRATION_REQUESTS_MAX};
use crate::stanza::{self, StanzaCondition, StanzaError, StanzaKind};
use crate::stream::Policy as _;
use crate::stream::error::StreamCondition;
use crate::xep::register::{self, Done, Newcomer};
use crate::xml::{CLIENT, Head, StreamNs, Tree, Writer};
use std::collections::BTreeMap;

use super::input::Progress;

const HOUR_MS: u64 = 3_600_000;

/// Accounts made lately, by address.
#[derive(Debug, Default)]
pub(super) struct Registrations(BTreeMap<AddressKey, (u64, u32)>);

impl Registrations {
    /// Whether an address has made as many as it may.
    fn is_full(&self, address: AddressKey, max: u32, now_ms: u64) -> bool {
        match self.0.get(&address) {
            Some((since_ms, count)) => now_ms < since_ms + HOUR_MS && *count >= max,
            // Nobody is forgotten for somebody new within the hour.
            None => self.0.len() >= REGISTRATION_ADDRESSES_MAX && self.0.values().all(|(at, _)| now_ms < at + HOUR_MS),
        }
    }

    /// Bytes behind them, about: a B-tree's nodes are at least half full.
    pub(super) fn heap_bytes(&self) -> usize {
        self.0.len() * size_of::<(AddressKey, (u64, u32))>() * 3 / 2
    }

    fn count(&mut self, address: AddressKey, now_ms: u64) {
        if self.0.len() >= REGISTRATION_ADDRESSES_MAX {
            self.0.retain(|_, (since_ms, _)| now_ms < *since_ms + HOUR_MS);
        }
        let (since_ms, count) = self.0.entry(address).or_insert((now_ms, 0));
        if now_ms >= *since_ms + HOUR_MS {
            (*since_ms, *count) = (now_ms, 0);
        }
        *count += 1;
    }
}

/// Too many from here.
const TOO_MANY: Refusal = Refusal {
    condition: StanzaCondition::ResourceConstraint,
    error_type: Some(stanza::ErrorType::Wait),
    text: Some("too many accounts were made from this address; try again later"),
    application: None,
};

impl Core {
    /// Whether frames of this connection run over the store: its session's, or those of a registration.
    pub(super) fn runs_frames(&self, id: ConnId) -> bool {
        self.conns.get(id).is_some_and(|conn| match &conn.phase {
            Phase::Bound(_) | Phase::Component(_) => true,
            Phase::Negotiating(negotiating) => negotiating.registering.is_waiting,
            Phase::Joining(_) | Phase::Closing { .. } | Phase::Taken => false,
        })
    }

    /// Whether an element before the login is a request about an account, at a domain that takes such.
    pub(super) fn asks_for_account(&self, id: ConnId, head: &Head, bytes: &[u8]) -> bool {
        let Some(Phase::Negotiating(negotiating)) = self.conns.get(id).map(|conn| &conn.phase) else { return false };
        let Some(domain) = negotiating.automaton.may_register().and_then(|name| self.domains.domain(name)) else {
            return false;
        };
        let ns = negotiating.automaton.ns();
        let is_request = head.is(bytes, ns, CLIENT, "iq")
            && head
                .children()
                .first()
                .is_some_and(|child| register::PAYLOADS.iter().any(|(uri, name)| child.is(bytes, ns, uri, name)));
        is_request && domain.registration != Registration::Closed
    }

    /// Runs such a request.
    pub(super) fn register(&mut self, id: ConnId, head: &Head, bytes: &[u8], now: Now) -> Progress {
        let resumed = self.resuming.remove(&id);
        let is_unreadable = self.unreadable.take_if(|unreadable| *unreadable == id).is_some();
        let hashed = self.bound_hashes.remove(&id);
        let Some(conn) = self.conns.get_mut(id) else { return Progress::Took };
        let address = conn.address;
        let Phase::Negotiating(negotiating) = &mut conn.phase else { return Progress::Took };
        let is_again = std::mem::take(&mut negotiating.registering.is_waiting);
        if !is_again {
            negotiating.registering.requests = negotiating.registering.requests.saturating_add(1);
            if negotiating.registering.requests > REGISTRATION_REQUESTS_MAX {
                self.end_stream(id, StreamCondition::PolicyViolation, None, now);
                return Progress::Took;
            }
        }
        let Some(name) = negotiating.automaton.may_register().map(str::to_owned) else { return Progress::Took };
        let invitation = negotiating.registering.invitation.clone();
        let ns = negotiating.automaton.ns().clone();
        let Some(registration) = self.domains.domain(&name).map(|domain| domain.registration) else {
            return Progress::Took;
        };
        match resumed {
            Some(fetch) => self.store.resume(fetch),
            None => self.store.begin(),
        }
        self.outboxes.begin();
        let is_full = self.registrations.is_full(address, self.settings.registrations_per_hour, now.mono_ms);
        let iterations = self.settings.about.scram_iterations;
        let outcome = hashed.as_ref().and_then(Option::as_ref);
        let lost_its_place = hashed.as_ref().is_some_and(Option::is_none);
        let ran = {
            let mut dispatch = super::lend!(self, now, outcome);
            let (invitation, admins) = (invitation.as_deref(), self.about.admins.as_slice());
            let newcomer = Newcomer { domain: &name, registration, invitation, iterations, admins };
            match Tree::parse(bytes, head, &ns) {
                Ok(tree) if !(is_full && head.attr(bytes, "type").as_deref() == Some("set")) => {
                    register::before_login(&tree, &newcomer, &mut dispatch.columns)
                }
                Ok(_) => Err(TOO_MANY.into()),
                Err(_) => Err(StanzaCondition::BadRequest.into()),
            }
        };
        let ran = match ran {
            Err(Stop::Miss(_)) if is_unreadable => Err(StanzaCondition::InternalServerError.into()),
            Err(Stop::Hash(_)) if lost_its_place => Err(StanzaCondition::ResourceConstraint.into()),
            ran => ran,
        };
        match ran {
            Ok(done) => {
                let ticket = self.store.finish();
                self.registered(id, &done, address, now);
                let (Done::Fields(payload) | Done::Account { payload, .. } | Done::Invited { payload, .. }) = done;
                self.reply_to_newcomer(id, (head, bytes, &ns), &name, &payload);
                if !self.store.is_durable(ticket) {
                    self.outboxes.hold(ticket.number(), now.mono_ms + HELD_TIMEOUT_MS);
                }
                Progress::Took
            }
            Err(Stop::Refuse(refusal)) => {
                if refusal.condition == StanzaCondition::Conflict {
                    // Names are not to be tried out without end.
                    self.registrations.count(address, now.mono_ms);
                }
                self.outboxes.take_back();
                self.effects.clear();
                self.store.discard();
                self.refuse_newcomer(id, (head, bytes), &name, refusal);
                Progress::Took
            }
            Err(Stop::Miss(miss)) => {
                self.outboxes.take_back();
                self.effects.clear();
                let fetch = self.store.abandon(miss);
                if let Some(hashed) = hashed {
                    self.bound_hashes.insert(id, hashed);
                }
                self.waits_to_register(id);
                self.park(id, fetch);
                Progress::Parked
            }
            Err(Stop::Hash(job)) => {
                self.outboxes.take_back();
                self.effects.clear();
                self.store.discard();
                self.waits_to_register(id);
                self.hash(id, *job, now);
                Progress::Parked
            }
        }
    }

    fn waits_to_register(&mut self, id: ConnId) {
        if let Some(Phase::Negotiating(negotiating)) = self.conns.get_mut(id).map(|conn| &mut conn.phase) {
            negotiating.registering.is_waiting = true;
        }
    }

    fn registered(&mut self, id: ConnId, done: &Done, address: AddressKey, now: Now) {
        match done {
            Done::Fields(_) => {}
            Done::Account { jid, .. } => {
                log::info!("{jid} was registered");
                self.registrations.count(address, now.mono_ms);
                self.metrics.registrations += 1;
            }
            Done::Invited { token, .. } => {
                if let Some(Phase::Negotiating(negotiating)) = self.conns.get_mut(id).map(|conn| &mut conn.phase) {
                    negotiating.registering.invitation = Some(token.clone());
                }
                self.count_anew(id);
            }
        }
    }

    fn reply_to_newcomer(
        &mut self,
        id: ConnId,
        (head, bytes, _ns): (&Head, &[u8], &StreamNs),
        domain: &str,
        payload: &[u8],
    ) {
        let request = head.attr(bytes, "id");
        self.outboxes.append(id, |out| {
            let mut xml = Writer::new(out);
            xml.open("iq").attr("type", "result").attr("id", request.as_deref().unwrap_or_default());
            xml.attr("from", domain).raw(payload).close();
        });
    }

    fn refuse_newcomer(&mut self, id: ConnId, (head, bytes): (&Head, &[u8]), domain: &str, refusal: Refusal) {
        if !StanzaKind::Iq.may_be_refused(head.attr(bytes, "type").as_deref()) {
            return;
        }
        let is_old = self.conns.get(id).is_some_and(|conn| match &conn.phase {
            Phase::Negotiating(negotiating) => !negotiating.automaton.is_version_1(),
            Phase::Bound(_) | Phase::Joining(_) | Phase::Component(_) | Phase::Closing { .. } | Phase::Taken => false,
        });
        let request = head.attr(bytes, "id");
        let plain = StanzaError::new(StanzaKind::Iq, refusal.condition);
        let error = StanzaError {
            id: request.as_deref(),
            from: Some(domain),
            has_code: is_old,
            error_type: refusal.error_type.unwrap_or(plain.error_type),
            text: refusal.text,
            application: refusal.application,
            ..plain
        };
        self.outboxes.append(id, |out| stanza::error_reply(&error, out));
    }
}

/// Where the frame of a registration waits, reading does too.
const _: () = assert!(REGISTRATION_REQUESTS_MAX < u8::MAX);
const _: Gates = Gates::HASHING;
