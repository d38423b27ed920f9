//! SCRAM, the server's side, with and without channel binding.
//!
//! ```text
//! client-first ──first──▶ server-first + Pending ──finish(client-final)──▶ server-final
//! ```
//!
//! Pure over its inputs: the nonce is handed in, so that the RFCs' examples run through this code.
//! Names that nobody has run through it as well, with keys made up from a secret, so that only the proof
//! is wrong.
//!
//! RFC 5802, RFC 7677, RFC 9266, RFC 5929 §4; XEP-0474 for `h=`.

#[cfg(test)]
mod tests;

use super::exchange;
use super::keys::{SALT_BYTES, ScramHash, ScramKeys};
use super::message::{ChannelFlag, ClientFinal, ClientFirst};
use super::{Authenticated, BindingType, Lookup, Mechanism, SaslCondition, SaslContext, SaslStep, base64};
use crate::crypto::hmac;
use crate::jid;
use subtle::ConstantTimeEq as _;

/// What is kept between the two messages of the client.
#[derive(Debug)]
pub(super) struct Pending {
    mechanism: Mechanism,
    localpart: String,
    keys: ScramKeys,
    /// Whether the keys are an account's; else they are made up, and no proof fits.
    known: bool,
    disabled: bool,
    /// What `c=` must say.
    channel: String,
    /// Both halves.
    nonce: String,
    /// client-first-message-bare and server-first-message, with the commas behind them.
    signed: String,
}

/// What the client's first message leads to.
#[derive(Debug)]
pub(super) enum First {
    Miss,
    Challenge(Box<Pending>, Vec<u8>),
    Failure(SaslCondition),
}

/// Takes client-first-message. `nonce` is the server's half, fresh for every exchange.
pub(super) fn first(
    mechanism: Mechanism,
    hash: ScramHash,
    data: &[u8],
    nonce: &str,
    cx: &mut SaslContext<'_>,
) -> First {
    let message = match ClientFirst::parse(data) {
        Ok(message) => message,
        Err(condition) => return First::Failure(condition),
    };
    let Some(channel) = channel_input(mechanism, &message, cx) else {
        return First::Failure(SaslCondition::NotAuthorized);
    };
    // The name is signed as received but looked up prepared (RFC 5802 §5.1).
    let Ok(localpart) = jid::prepare_localpart(&message.username) else {
        return First::Failure(SaslCondition::NotAuthorized);
    };
    // Depends on nothing but what the client said, so it may be told before the proof.
    if message.authzid.as_deref().is_some_and(|authzid| !exchange::is_own(authzid, &localpart, cx.domain)) {
        return First::Failure(SaslCondition::InvalidAuthzid);
    }
    let found = cx.accounts.credentials(cx.domain, &localpart);
    if matches!(found, Lookup::Miss) {
        return First::Miss;
    }
    // Made up for everybody, so that it takes nobody longer.
    let fake = fake_keys(cx.fake_secret, cx.domain, &localpart, hash, cx.iterations);
    let (keys, known, disabled) = match found {
        Lookup::Miss => return First::Miss,
        Lookup::Absent => (fake, false, false),
        Lookup::Found(account) => match account.get(hash) {
            Some(keys) => (keys.clone(), true, account.disabled),
            None => (fake, false, false),
        },
    };
    let nonce = format!("{}{nonce}", message.nonce);
    let salt = base64::encode(&keys.salt);
    let mut server_first = format!("r={nonce},s={salt},i={}", keys.iterations);
    if !cx.offer.mechanisms.is_empty() {
        let offered = hash.digest(cx.offer.downgrade_input().as_bytes());
        server_first.push_str(",h=");
        server_first.push_str(&base64::encode(offered));
    }
    let signed = format!("{},{server_first},", message.bare);
    let localpart = localpart.into_owned();
    let pending =
        Pending { mechanism, localpart, keys, known, disabled, channel: base64::encode(channel), nonce, signed };
    First::Challenge(Box::new(pending), server_first.into_bytes())
}

/// What the client must repeat in `c=`: its header and the channel's data. `None` if the flag and the
/// mechanism, or the flag and the offer, do not fit (RFC 5802 §6).
fn channel_input(mechanism: Mechanism, message: &ClientFirst<'_>, cx: &SaslContext<'_>) -> Option<Vec<u8>> {
    let mut input = message.gs2_header.as_bytes().to_vec();
    match (message.flag, mechanism.is_plus()) {
        (ChannelFlag::Bound(name), true) => {
            let binding = BindingType::parse(name).filter(|binding| cx.offer.bindings.contains(binding))?;
            input.extend(cx.bindings.get(binding)?);
            Some(input)
        }
        (ChannelFlag::Unsupported, false) => Some(input),
        // It did not see our PLUS: somebody took it away.
        (ChannelFlag::Unoffered, false) if cx.offer.has_plus() => None,
        (ChannelFlag::Unoffered, false) => Some(input),
        (ChannelFlag::Bound(_), false) | (ChannelFlag::Unsupported | ChannelFlag::Unoffered, true) => None,
    }
}

/// Keys for a name without an account, the same ones every time it is tried.
pub(super) fn fake_keys(secret: &[u8; 32], domain: &str, localpart: &str, hash: ScramHash, rounds: u32) -> ScramKeys {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let make = |what: &str, length: usize| {
        let input = [what, hash.name(), domain, localpart].join("\0");
        hmac::sign(&secret, input.as_bytes()).as_ref().iter().copied().take(length).collect()
    };
    ScramKeys {
        hash,
        iterations: rounds.clamp(super::ITERATIONS_MIN, super::ITERATIONS_MAX),
        salt: make("salt", SALT_BYTES),
        stored_key: make("stored key", hash.output_bytes()),
        server_key: make("server key", hash.output_bytes()),
    }
}

impl Pending {
    /// Takes client-final-message.
    pub(super) fn finish(self, data: &[u8]) -> SaslStep {
        let message = match ClientFinal::parse(data) {
            Ok(message) => message,
            Err(condition) => return SaslStep::Failure(condition),
        };
        let auth_message = format!("{}{}", self.signed, message.without_proof);
        let right = message.channel == self.channel
            && message.nonce == self.nonce
            && self.is_proven(&message.proof, &auth_message);
        match (right && self.known, self.disabled) {
            (false, _) => SaslStep::Failure(SaslCondition::NotAuthorized),
            (true, true) => SaslStep::Failure(SaslCondition::AccountDisabled),
            (true, false) => SaslStep::Success(self.succeed(&auth_message)),
        }
    }

    /// Takes the signature off the proof; what is left must be the client's key.
    fn is_proven(&self, proof: &[u8], auth_message: &str) -> bool {
        let hash = self.keys.hash;
        let signature = hash.hmac(&self.keys.stored_key, auth_message.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        proof.len() == hash.output_bytes() && bool::from(hash.digest(&client_key).as_ref().ct_eq(&self.keys.stored_key))
    }

    fn succeed(self, auth_message: &str) -> Authenticated {
        let signature = self.keys.hash.hmac(&self.keys.server_key, auth_message.as_bytes());
        Authenticated {
            localpart: self.localpart,
            data: Some(format!("v={}", base64::encode(signature)).into_bytes()),
            mechanism: self.mechanism,
            fill_in: Vec::new(),
            proven_by: self.keys.stored_key.clone(),
            anonymous: false,
        }
    }
}
