//! SASL in both dialects: which element does what, and how it is written.
//!
//! ```text
//! <auth/>, <response/>, <abort/> ──base64──▶ Exchange ──SaslStep──▶ <challenge/>, <success/>, <failure/>
//! ```
//!
//! | | RFC 6120 §6 | XEP-0034 |
//! |---|---|---|
//! | prefix | none, own xmlns | the client's, from its header |
//! | base64 | RFC 4648, strict | RFC 2045, white space ignored |
//! | last data | in `<success/>` | in a `<challenge/>`, acknowledged by an empty `<response/>` |
//! | failure | a condition | a text |
//! | after success | a new stream | the same stream, `jabber:iq:auth` |
//!
//! RFC 6120 §6; XEP-0034; XEP-0178 §2; RFC 4422.

use super::element::Verb;
use super::error::StreamCondition;
use super::interface::{Ask, Context, DomainPolicy, Parked};
use super::wire::{data, named, write_data, write_failure, write_second_failure, write_success};
use super::{Account, Dialect, Hashing, Login, Negotiation, Running, Secured, Stage, State, Stream};
use crate::jid::Jid;
use crate::sasl::{
    Authenticated, BindingData, Exchange, HashOutcome, ITERATIONS_DEFAULT, Mechanism, SaslCondition, SaslContext,
    SaslStep,
};
use crate::xml::{Head, StreamNs};
use zeroize::Zeroize;

/// The clear channel has nothing to bind to.
static NO_BINDINGS: BindingData = BindingData { exporter: None, server_end_point: None };

impl Drop for Secured {
    /// The exporter is as secret as the session keys; once the login is done nobody needs it.
    fn drop(&mut self) {
        self.bindings.exporter.zeroize();
    }
}

impl Negotiation {
    /// A SASL element in the stream's own dialect.
    pub(super) fn sasl(&mut self, verb: Verb, head: &Head, bytes: &[u8], cx: &mut Context<'_>) -> Result<(), Parked> {
        let Some(stream) = &self.stream else { return Ok(()) };
        match (stream.login, &self.state, verb) {
            // §6.4.6: on this stream it is not a question any more.
            (Login::Done, ..) => self.fail(cx, StreamCondition::NotAuthorized, None),
            // XEP-0034 never promised SASL to who did not ask for it.
            (Login::Password | Login::Nothing, ..) => self.fail(cx, StreamCondition::UnsupportedStanzaType, None),
            (Login::TlsFirst, ..) => self.reject(SaslCondition::EncryptionRequired, cx),
            // XEP-0034 §2.4: after success, every further attempt simply fails.
            (Login::Sasl, State::LoggedIn, _) => write_second_failure(stream, cx.out),
            (Login::Sasl, _, Verb::Abort) => {
                self.tries.sasl_failed = true;
                write_failure(stream, SaslCondition::Aborted, cx.out);
                self.state = State::Open;
            }
            (Login::Sasl, _, Verb::Auth) => return self.auth(head, bytes, cx),
            (Login::Sasl, State::Exchanging(_), Verb::Response) => return self.response(head, bytes, cx),
            (Login::Sasl, State::Confirming(_), Verb::Response) => self.confirm(head, bytes, cx),
            (Login::Sasl, _, Verb::Response) => self.sasl_failed(SaslCondition::MalformedRequest, None, cx),
        }
        Ok(())
    }

    /// `<auth/>`: ends whatever was running (§6.4.2) and starts anew, within the bound.
    fn auth(&mut self, head: &Head, bytes: &[u8], cx: &mut Context<'_>) -> Result<(), Parked> {
        let Some(stream) = &self.stream else { return Ok(()) };
        let request = self.mechanism(stream, head, bytes).and_then(|mechanism| {
            let data = data(head, bytes, &self.ns, stream.dialect)?;
            Ok((mechanism, data))
        });
        let (mechanism, data) = match request {
            Ok(request) if self.has_login_left() => request,
            Ok(_) => {
                self.too_many(cx);
                return Ok(());
            }
            Err(condition) => {
                self.reject(condition, cx);
                return Ok(());
            }
        };
        let domain = cx.policy.domain(&stream.domain);
        let addresses = addresses(mechanism, domain, &self.stage, cx);
        let mut sasl = sasl_context(stream, &self.stage, domain, &addresses, cx);
        let mut exchange = Exchange::start(mechanism, &sasl);
        let step = exchange.step(data.as_deref().map(Vec::as_slice), &mut sasl);
        if matches!(step, SaslStep::Miss) && !cx.accounts.is_unreadable() {
            return Err(Parked);
        }
        self.tries.logins += 1;
        let localpart = data.and_then(|data| named(mechanism, &data));
        self.stepped(Running { exchange, localpart }, step, cx);
        Ok(())
    }

    fn response(&mut self, head: &Head, bytes: &[u8], cx: &mut Context<'_>) -> Result<(), Parked> {
        let (Some(stream), State::Exchanging(running)) = (&self.stream, &mut self.state) else { return Ok(()) };
        let mechanism = running.exchange.mechanism();
        let data = match data(head, bytes, &self.ns, stream.dialect) {
            Ok(data) => data.unwrap_or_default(), // §6.4.3: an empty response is one of zero length.
            Err(condition) => {
                self.sasl_failed(condition, None, cx);
                return Ok(());
            }
        };
        let domain = cx.policy.domain(&stream.domain);
        let addresses = addresses(mechanism, domain, &self.stage, cx);
        let mut sasl = sasl_context(stream, &self.stage, domain, &addresses, cx);
        let step = running.exchange.step(Some(&data), &mut sasl);
        if matches!(step, SaslStep::Miss) && !cx.accounts.is_unreadable() {
            return Err(Parked);
        }
        if running.localpart.is_none() {
            running.localpart = named(mechanism, &data);
        }
        if let State::Exchanging(running) = std::mem::replace(&mut self.state, State::Open) {
            self.stepped(*running, step, cx);
        }
        Ok(())
    }

    /// The mechanism that `<auth/>` names, if it may be used.
    fn mechanism(&self, stream: &Stream, head: &Head, bytes: &[u8]) -> Result<Mechanism, SaslCondition> {
        let name = head.attr(bytes, "mechanism");
        match name.as_deref().and_then(Mechanism::parse) {
            Some(mechanism) if stream.offer.mechanisms.contains(&mechanism) => Ok(mechanism),
            // §6.5.4: it would do, but not here.
            Some(Mechanism::Plain) if matches!(self.stage, Stage::Clear) => Err(SaslCondition::EncryptionRequired),
            _ => Err(SaslCondition::InvalidMechanism),
        }
    }

    /// Does what a mechanism decided.
    fn stepped(&mut self, running: Running, step: SaslStep, cx: &mut Context<'_>) {
        let Some(stream) = &self.stream else { return };
        match step {
            SaslStep::Challenge(data) => {
                write_data(stream, "challenge", &data, cx.out);
                self.state = State::Exchanging(Box::new(running));
            }
            SaslStep::Hash(job) => {
                cx.asks.push(Ask::ReadGate(false));
                cx.asks.push(Ask::Hash(job));
                self.state = State::Hashing(Box::new(Hashing::Sasl(running)));
            }
            SaslStep::Success(login) => self.succeeded(login, cx),
            SaslStep::Failure(condition) => self.sasl_failed(condition, running.localpart.as_deref(), cx),
            // The account cannot be read now; that says nothing about the login.
            SaslStep::Miss => self.sasl_failed(SaslCondition::TemporaryAuthFailure, None, cx),
        }
    }

    /// The hashing thread is done.
    pub(super) fn hashed(&mut self, outcome: &HashOutcome, cx: &mut Context<'_>) {
        let State::Hashing(hashing) = std::mem::replace(&mut self.state, State::Open) else { return };
        let Some(stream) = &self.stream else { return };
        cx.asks.push(Ask::ReadGate(true));
        let domain = cx.policy.domain(&stream.domain);
        let mut sasl = sasl_context(stream, &self.stage, domain, &[], cx);
        match *hashing {
            Hashing::Sasl(mut running) => {
                let step = running.exchange.hashed(outcome, &mut sasl);
                self.stepped(running, step, cx);
            }
            Hashing::IqAuth(mut attempt) => {
                let step = attempt.exchange.hashed(outcome, &mut sasl);
                self.iq_auth_stepped(attempt, step, cx);
            }
        }
    }

    /// The hashing thread has too much to do.
    pub(super) fn overloaded(&mut self, cx: &mut Context<'_>) {
        let State::Hashing(hashing) = std::mem::replace(&mut self.state, State::Open) else { return };
        cx.asks.push(Ask::ReadGate(true));
        match *hashing {
            Hashing::Sasl(_) => self.sasl_failed(SaslCondition::TemporaryAuthFailure, None, cx),
            Hashing::IqAuth(attempt) => {
                let busy = SaslStep::Failure(SaslCondition::TemporaryAuthFailure);
                self.iq_auth_stepped(attempt, busy, cx);
            }
        }
    }

    /// The right one. In RFC 6120's way a new stream follows; in that of 2002 this one goes on.
    fn succeeded(&mut self, login: Authenticated, cx: &mut Context<'_>) {
        let Some(stream) = &self.stream else { return };
        let data = login.data.clone();
        let dialect = stream.dialect;
        if !self.is_whom_the_header_named(&login) {
            return self.fail(cx, StreamCondition::InvalidFrom, None);
        }
        let Some(account) = self.welcome(login, cx) else {
            return self.fail(cx, StreamCondition::InternalServerError, None);
        };
        let Some(stream) = &self.stream else { return };
        match (dialect, data) {
            (Dialect::Rfc6120, data) => {
                write_success(stream, data.as_deref(), cx.out);
                self.stage = Stage::Known(account);
                self.stream = None;
                self.ns = StreamNs::new();
                cx.asks.push(Ask::NewStream);
                self.state = State::Opening;
            }
            (Dialect::Xep0035, Some(data)) => {
                write_data(stream, "challenge", &data, cx.out);
                self.state = State::Confirming(Box::new(account));
            }
            (Dialect::Xep0035, None) => {
                write_success(stream, None, cx.out);
                self.stage = Stage::Known(account);
                self.state = State::LoggedIn;
            }
        }
    }

    /// §6.4.6: who says inside TLS who he is and then logs in as somebody else is not served. A certificate, or the
    /// lack of any name, may well lead to another address than the client expected.
    fn is_whom_the_header_named(&self, login: &Authenticated) -> bool {
        let is_assigned = matches!(login.mechanism, Mechanism::External | Mechanism::Anonymous);
        let Some(stream) = &self.stream else { return false };
        let named = stream.from.as_ref().filter(|from| from.localpart().is_some() && !is_assigned);
        named.is_none_or(|from| {
            from.localpart() == Some(login.localpart.as_str()) && from.domainpart() == &*stream.domain
        })
    }

    /// What every good login brings with it: the throttle is told, missing hashes are stored.
    pub(super) fn welcome(&mut self, login: Authenticated, cx: &mut Context<'_>) -> Option<Account> {
        let domain = &*self.stream.as_ref()?.domain;
        let jid = Jid::from_parts(Some(&login.localpart), domain, None).ok()?;
        self.slow(Some(&login.localpart), cx);
        if !login.anonymous {
            cx.throttle.succeeded(domain, &login.localpart);
        }
        if !login.fill_in.is_empty() {
            let (account, keys) = (jid.clone(), login.fill_in);
            cx.asks.push(Ask::FillIn { account, keys, proven_by: login.proven_by });
        }
        Some(Account { jid, anonymous: login.anonymous })
    }

    /// XEP-0034: the client has seen the mechanism's last word.
    fn confirm(&mut self, head: &Head, bytes: &[u8], cx: &mut Context<'_>) {
        let State::Confirming(account) = std::mem::replace(&mut self.state, State::Open) else { return };
        let Some(stream) = &self.stream else { return };
        match data(head, bytes, &self.ns, stream.dialect) {
            Ok(data) if data.as_ref().is_none_or(|data| data.is_empty()) => {
                write_success(stream, None, cx.out);
                self.stage = Stage::Known(*account);
                self.state = State::LoggedIn;
            }
            Ok(_) => self.sasl_failed(SaslCondition::MalformedRequest, None, cx),
            Err(condition) => self.sasl_failed(condition, None, cx),
        }
    }

    /// Whether another login may be tried on this stream (§6.4.5).
    pub(super) fn has_login_left(&self) -> bool {
        let max = self.stream.as_ref().map_or(1, |stream| stream.sasl_attempts_max.max(1));
        self.tries.logins < max
    }

    /// An `<auth/>` that does not even begin.
    fn reject(&mut self, condition: SaslCondition, cx: &mut Context<'_>) {
        if !self.has_login_left() {
            return self.too_many(cx);
        }
        self.tries.logins += 1;
        self.sasl_failed(condition, None, cx);
    }

    /// `<failure/>`; another attempt may follow. `named` is the localpart at which it was made.
    fn sasl_failed(&mut self, condition: SaslCondition, named: Option<&str>, cx: &mut Context<'_>) {
        if condition == SaslCondition::NotAuthorized {
            self.blame(named, cx);
        }
        if let Some(stream) = &self.stream {
            write_failure(stream, condition, cx.out);
        }
        self.tries.sasl_failed = true;
        self.state = State::Open;
    }

    /// A guess may have failed: it is slowed by what came before, and counts for what comes after.
    pub(super) fn blame(&self, named: Option<&str>, cx: &mut Context<'_>) {
        self.slow(named, cx);
        let account = self.domain().zip(named);
        cx.throttle.failed(cx.peer, account, cx.now);
    }

    /// Holds the answer back, good or bad: if only failures waited, a guesser would not wait for them.
    fn slow(&self, named: Option<&str>, cx: &mut Context<'_>) {
        let ms = cx.throttle.delay_ms(cx.peer, self.domain().zip(named), cx.now);
        if ms > 0 {
            cx.asks.push(Ask::Delay { ms });
        }
    }
}

/// What EXTERNAL may choose from: the chain is judged again at every step, since time goes on.
fn addresses(mechanism: Mechanism, domain: Option<&DomainPolicy>, stage: &Stage, cx: &Context<'_>) -> Vec<String> {
    match (mechanism, domain, stage) {
        (Mechanism::External, Some(domain), Stage::Secure(secured)) if domain.external => {
            cx.policy.judge(&domain.name, &secured.chain, cx.now.unix_s()).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// What a mechanism may see of all this.
pub(super) fn sasl_context<'c>(
    stream: &'c Stream,
    stage: &'c Stage,
    domain: Option<&DomainPolicy>,
    addresses: &'c [String],
    cx: &'c mut Context<'_>,
) -> SaslContext<'c> {
    let bindings = match stage {
        Stage::Secure(secured) => &secured.bindings,
        Stage::Clear | Stage::Known(_) => &NO_BINDINGS,
    };
    SaslContext {
        domain: &stream.domain,
        offer: &stream.offer,
        bindings,
        certificate_addresses: addresses,
        accounts: &mut *cx.accounts,
        random: &mut *cx.random,
        fake_secret: cx.fake_secret,
        verifiers: &mut *cx.verifiers,
        iterations: domain.map_or(ITERATIONS_DEFAULT, |domain| domain.iterations),
        now: cx.now,
        legacy_plain: stream.dialect == Dialect::Xep0035,
    }
}
