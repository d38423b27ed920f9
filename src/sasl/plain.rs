//! PLAIN, and every other login that hands over a password.
//!
//! The password is hashed on another thread, once against the account's strongest set and, if that was
//! right, once for each set that the account lacks. A password that was right lately is recognised
//! (`verifiers.rs`) and costs no hashing; one that is not recognised is never refused for it.
//!
//! RFC 4616; XEP-0034's own example leaves the authorization identity and its NUL away.

use super::keys::ScramHash;
use super::verifiers::Verifier;
use super::{Authenticated, HashJob, HashOutcome, Lookup, Mechanism, SaslCondition, SaslContext, SaslStep};
use super::{exchange, scram};
use crate::jid;
use zeroize::Zeroize as _;

/// What is kept while the password is being hashed: not the password.
#[derive(Debug)]
pub(super) struct Pending {
    localpart: String,
    /// Whether there is such an account; else the job runs against keys that are made up.
    known: bool,
    disabled: bool,
    /// The stored key of the set that the job compares with.
    proven_by: Vec<u8>,
    verifier: Verifier,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.proven_by.zeroize();
    }
}

/// A step, or work for the hashing thread with what must be remembered meanwhile.
#[derive(Debug)]
pub(super) enum Outcome {
    Step(SaslStep),
    Hash(Box<Pending>, HashJob),
}

/// Takes PLAIN's only message.
pub(super) fn login(data: &[u8], cx: &mut SaslContext<'_>) -> Outcome {
    let Some((authzid, username, password)) = parse(data, cx.legacy_plain) else {
        return failure(SaslCondition::MalformedRequest);
    };
    if !authzid.is_empty() {
        let own = jid::prepare_localpart(username).is_ok_and(|name| exchange::is_own(authzid, &name, cx.domain));
        if !own {
            return failure(SaslCondition::InvalidAuthzid);
        }
    }
    check(username, password, cx)
}

/// authzid, authcid, password. Neither of the latter may be empty (RFC 4616 §2).
fn parse(data: &[u8], legacy: bool) -> Option<(&str, &str, &str)> {
    let text = std::str::from_utf8(data).ok()?;
    let mut fields = text.split('\0');
    let fields = [fields.next(), fields.next(), fields.next(), fields.next()];
    let (authzid, username, password) = match fields {
        [Some(authzid), Some(username), Some(password), None] => (authzid, username, password),
        [Some(username), Some(password), None, None] if legacy => ("", username, password),
        _ => return None,
    };
    (!username.is_empty() && !password.is_empty()).then_some((authzid, username, password))
}

/// Checks a password, neither name nor password prepared.
pub(super) fn check(username: &str, password: &str, cx: &mut SaslContext<'_>) -> Outcome {
    // Neither says anything about accounts: no account has such a name, none such a password.
    let (Ok(localpart), Ok(password)) = (jid::prepare_localpart(username), jid::prepare_password(password)) else {
        return failure(SaslCondition::NotAuthorized);
    };
    let account = match cx.accounts.credentials(cx.domain, &localpart) {
        Lookup::Miss => return Outcome::Step(SaslStep::Miss),
        Lookup::Absent => None,
        Lookup::Found(account) => Some(account),
    };
    let fake = scram::fake_keys(cx.fake_secret, cx.domain, &localpart, ScramHash::Sha256, cx.iterations);
    let real = account.as_ref().and_then(|account| account.strongest());
    let keys = real.cloned().unwrap_or(fake);
    let verifier = cx.verifiers.verifier(cx.domain, &localpart, &password, &keys.stored_key);
    let mut pending = Pending {
        localpart: localpart.into_owned(),
        known: real.is_some(),
        disabled: account.as_ref().is_some_and(|account| account.disabled),
        proven_by: keys.stored_key.clone(),
        verifier,
    };
    if pending.known && cx.verifiers.is_known(&pending.verifier, cx.now) {
        return Outcome::Step(pending.succeed(Mechanism::Plain, &HashOutcome::default()));
    }
    let missing: Vec<_> = account.iter().flat_map(|account| account.missing()).collect();
    let job = HashJob::new(&password, Some(keys), missing.into_iter(), cx.iterations, cx.random);
    Outcome::Hash(Box::new(pending), job)
}

impl Pending {
    /// Takes what the hashing thread found.
    pub(super) fn finish(mut self, mechanism: Mechanism, outcome: &HashOutcome, cx: &mut SaslContext<'_>) -> SaslStep {
        if !(outcome.verified && self.known) {
            return SaslStep::Failure(SaslCondition::NotAuthorized);
        }
        if !self.disabled {
            cx.verifiers.remember(&self.verifier, cx.now);
        }
        self.succeed(mechanism, outcome)
    }

    /// The password is right. Only now may anything be said about the account.
    fn succeed(&mut self, mechanism: Mechanism, outcome: &HashOutcome) -> SaslStep {
        if self.disabled {
            return SaslStep::Failure(SaslCondition::AccountDisabled);
        }
        SaslStep::Success(Authenticated {
            localpart: std::mem::take(&mut self.localpart),
            data: None,
            mechanism,
            fill_in: outcome.derived.clone(),
            proven_by: std::mem::take(&mut self.proven_by),
            anonymous: false,
        })
    }
}

fn failure(condition: SaslCondition) -> Outcome {
    Outcome::Step(SaslStep::Failure(condition))
}
