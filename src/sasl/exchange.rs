//! One running mechanism: whose turn it is, and what came before.
//!
//! ```text
//! Start ─(nothing)─▶ Asked ─data─▶ ┐
//! Start ─data──────────────────────┼▶ Scram ─data─▶ Done
//!                                  ├▶ Hashing ─outcome─▶ Done
//!                                  └▶ Done
//! ```
//!
//! All mechanisms here let the client speak first; who comes without an initial response is asked for it
//! by an empty challenge (RFC 4422 §3.3, §5).

use super::scram::First;
use super::{HashOutcome, anonymous, external, plain, scram};
use super::{Mechanism, SASL_MESSAGE_BYTES_MAX, SaslCondition, SaslContext, SaslStep};
use crate::jid::Jid;
use std::mem;

/// One running mechanism. Small: what is large is boxed, and only while it is needed.
#[derive(Debug)]
pub struct Exchange {
    mechanism: Mechanism,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The mechanism was not offered.
    Refused,
    /// Nothing was said yet.
    Start,
    /// The client was asked to begin.
    Asked,
    /// Its first message is answered.
    Scram(Box<scram::Pending>),
    /// Its password is being hashed.
    Hashing(Box<plain::Pending>),
    /// Over, one way or the other.
    Done,
}

impl Exchange {
    /// Begins. A mechanism that is not in the offer fails at its first step with `invalid-mechanism`.
    pub fn start(mechanism: Mechanism, cx: &SaslContext<'_>) -> Self {
        let offered = cx.offer.mechanisms.contains(&mechanism);
        Self { mechanism, state: if offered { State::Start } else { State::Refused } }
    }

    /// Which one runs.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Takes the client's next message, decoded: `None` if there was no data at all, which differs from
    /// empty data only in front (RFC 6120 §6.4.2).
    ///
    /// After [`SaslStep::Miss`] nothing has changed. After success or failure, every further step fails.
    pub fn step(&mut self, data: Option<&[u8]>, cx: &mut SaslContext<'_>) -> SaslStep {
        match (mem::replace(&mut self.state, State::Done), data) {
            (State::Refused, _) => SaslStep::Failure(SaslCondition::InvalidMechanism),
            (_, Some(data)) if data.len() > SASL_MESSAGE_BYTES_MAX => malformed(),
            (State::Start, None) if !self.needs_no_data(cx) => {
                self.state = State::Asked;
                SaslStep::Challenge(Vec::new())
            }
            (state @ (State::Start | State::Asked), data) => {
                let step = self.first(data.unwrap_or_default(), cx);
                if matches!(step, SaslStep::Miss) {
                    self.state = state;
                }
                step
            }
            (State::Scram(pending), data) => pending.finish(data.unwrap_or_default()),
            (State::Hashing(_) | State::Done, _) => malformed(),
        }
    }

    /// Takes what a [`SaslStep::Hash`] led to. Never answers [`SaslStep::Miss`].
    pub fn hashed(&mut self, outcome: &HashOutcome, cx: &mut SaslContext<'_>) -> SaslStep {
        match mem::replace(&mut self.state, State::Done) {
            State::Hashing(pending) => pending.finish(self.mechanism, outcome, cx),
            State::Refused | State::Start | State::Asked | State::Scram(_) | State::Done => malformed(),
        }
    }

    /// ANONYMOUS has nothing that must be said (XEP-0175, example 4), nor has EXTERNAL in the dialect of
    /// 2002, where it succeeds at once.
    fn needs_no_data(&self, cx: &SaslContext<'_>) -> bool {
        match self.mechanism {
            Mechanism::Anonymous => true,
            Mechanism::External => cx.legacy_plain,
            Mechanism::ScramSha256Plus
            | Mechanism::ScramSha1Plus
            | Mechanism::ScramSha256
            | Mechanism::ScramSha1
            | Mechanism::Plain => false,
        }
    }

    fn first(&mut self, data: &[u8], cx: &mut SaslContext<'_>) -> SaslStep {
        match (self.mechanism, self.mechanism.hash()) {
            (mechanism, Some(hash)) => {
                let nonce = cx.random.token();
                match scram::first(mechanism, hash, data, &nonce, cx) {
                    First::Miss => SaslStep::Miss,
                    First::Failure(condition) => SaslStep::Failure(condition),
                    First::Challenge(pending, challenge) => {
                        self.state = State::Scram(pending);
                        SaslStep::Challenge(challenge)
                    }
                }
            }
            (Mechanism::External, None) => external::login(data, cx),
            (Mechanism::Anonymous, None) => anonymous::login(data, cx),
            (_, None) => {
                let outcome = plain::login(data, cx);
                self.hash_or(outcome)
            }
        }
    }

    fn hash_or(&mut self, outcome: plain::Outcome) -> SaslStep {
        match outcome {
            plain::Outcome::Step(step) => step,
            plain::Outcome::Hash(pending, job) => {
                self.state = State::Hashing(pending);
                SaslStep::Hash(job)
            }
        }
    }
}

/// Checks a username and a password that came in the clear inside TLS without SASL: XEP-0078.
///
/// The exchange is to be kept only for [`SaslStep::Hash`], whose outcome it takes. After
/// [`SaslStep::Miss`] make the same call again. Whether password login is allowed is the caller's question.
pub fn check_password(username: &str, password: &str, cx: &mut SaslContext<'_>) -> (Exchange, SaslStep) {
    let mut exchange = Exchange { mechanism: Mechanism::Plain, state: State::Done };
    let outcome = plain::check(username, password, cx);
    let step = exchange.hash_or(outcome);
    (exchange, step)
}

/// Whether an authorization identity is the account's own bare JID (RFC 6120 §6.3.8). Nobody may act as
/// anybody else here.
pub(super) fn is_own(authzid: &str, localpart: &str, domain: &str) -> bool {
    Jid::parse(authzid)
        .is_ok_and(|jid| jid.is_bare() && jid.localpart() == Some(localpart) && jid.domainpart() == domain)
}

fn malformed() -> SaslStep {
    SaslStep::Failure(SaslCondition::MalformedRequest)
}
