//! The client's side of SCRAM and PLAIN, for tests and the bundled load test.
//!
//! ```text
//! first() ──▶ server ──server-first──▶ answer() ──▶ server ──server-final──▶ verify()
//! ```
//!
//! It shares the primitives with the server but none of its steps, so that the two check each other. It is
//! as strict as a client should be: nonce, rounds, signature, and with [`ScramClient::expecting`] the
//! list of mechanisms (XEP-0474).
//!
//! RFC 5802, RFC 7677, RFC 9266, RFC 4616.

use super::{BindingType, ITERATIONS_MAX, ITERATIONS_MIN, ScramHash, base64};
use crate::jid;
use std::fmt;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// PLAIN's message.
pub fn plain(authzid: &str, username: &str, password: &str) -> Vec<u8> {
    [authzid, username, password].join("\0").into_bytes()
}

/// What the client says of channel binding (RFC 5802 §6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientBinding {
    /// `n`: it has none.
    Unsupported,
    /// `y`: it has, and the server offered no mechanism for it.
    Unoffered,
    /// `p=`: this type, with the channel's data.
    Bound(BindingType, Vec<u8>),
}

/// Why a client gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// Not a message of SCRAM, or one out of turn.
    Malformed,
    /// The nonce does not continue ours.
    WrongNonce,
    /// Fewer rounds than RFC 5802 allows, or so many that they are an attack.
    BadIterations,
    /// The server did not send the list of mechanisms and bindings that arrived.
    Downgraded,
    /// The server does not know our password's keys.
    WrongSignature,
    /// The server said `e=`.
    Refused,
    /// Our own password cannot be prepared.
    BadPassword,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the server's message is not SCRAM's",
            Self::WrongNonce => "the server's nonce does not continue ours",
            Self::BadIterations => "the server's iteration count is not acceptable",
            Self::Downgraded => "the mechanisms offered were changed on the way",
            Self::WrongSignature => "the server could not prove that it knows the account",
            Self::Refused => "the server refused",
            Self::BadPassword => "the password has characters that no password may have",
        })
    }
}

impl std::error::Error for ClientError {}

/// One login.
pub struct ScramClient {
    hash: ScramHash,
    /// With its prefix and both commas.
    gs2_header: String,
    channel: Vec<u8>,
    password: Zeroizing<String>,
    nonce: String,
    /// client-first-message-bare.
    bare: String,
    /// What `h=` must be a hash of.
    offer: Option<String>,
    /// What the server must sign with its key, once it is known.
    signature: Option<Vec<u8>>,
}

impl ScramClient {
    /// A login as `username`. `nonce` is printable ASCII without a comma, and fresh.
    pub fn new(hash: ScramHash, binding: ClientBinding, username: &str, password: &str, nonce: &str) -> Self {
        let (flag, channel) = match binding {
            ClientBinding::Unsupported => ("n".to_owned(), Vec::new()),
            ClientBinding::Unoffered => ("y".to_owned(), Vec::new()),
            ClientBinding::Bound(binding, data) => (format!("p={}", binding.name()), data),
        };
        Self {
            hash,
            gs2_header: format!("{flag},,"),
            channel,
            password: Zeroizing::new(password.to_owned()),
            nonce: nonce.to_owned(),
            bare: format!("n={},r={nonce}", escape(username)),
            offer: None,
            signature: None,
        }
    }

    /// Asks to act as `authzid`, a bare JID.
    #[must_use]
    pub fn acting_as(mut self, authzid: &str) -> Self {
        let flag = self.gs2_header.split(',').next().unwrap_or_default();
        self.gs2_header = format!("{flag},a={},", escape(authzid));
        self
    }

    /// Has the server's hash, if it sends one, compared with these lists (XEP-0474 §6.2).
    #[must_use]
    pub fn expecting(mut self, mechanisms: &[&str], bindings: &[&str]) -> Self {
        let sorted = |names: &[&str]| {
            let mut names = names.to_vec();
            names.sort_unstable();
            names.join("\u{1E}")
        };
        let bindings = if bindings.is_empty() { String::new() } else { format!("\u{1F}{}", sorted(bindings)) };
        self.offer = Some(format!("{}{bindings}", sorted(mechanisms)));
        self
    }

    /// client-first-message.
    pub fn first(&self) -> Vec<u8> {
        format!("{}{}", self.gs2_header, self.bare).into_bytes()
    }

    /// Takes server-first-message, gives client-final-message. Runs PBKDF2: slow by purpose.
    ///
    /// # Errors
    ///
    /// [`ClientError`]: log nobody in, tell the user.
    pub fn answer(&mut self, server_first: &[u8]) -> Result<Vec<u8>, ClientError> {
        let server_first = std::str::from_utf8(server_first).map_err(|_| ClientError::Malformed)?;
        let mut attributes = server_first.split(',');
        let nonce = value(attributes.next(), "r=")?;
        let salt = base64::decode_strict(value(attributes.next(), "s=")?).ok_or(ClientError::Malformed)?;
        let rounds: u32 = value(attributes.next(), "i=")?.parse().map_err(|_| ClientError::Malformed)?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(ClientError::WrongNonce);
        }
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&rounds) {
            return Err(ClientError::BadIterations);
        }
        if let Some(offered) = attributes.find_map(|attribute| attribute.strip_prefix("h=")) {
            self.check_offer(offered)?;
        }
        let password = jid::prepare_password(&self.password).map_err(|_| ClientError::BadPassword)?;
        let salted = self.hash.salted_password(password.as_bytes(), &salt, rounds);
        let channel = [self.gs2_header.as_bytes(), &self.channel].concat();
        let without_proof = format!("c={},r={nonce}", base64::encode(channel));
        let auth_message = format!("{},{server_first},{without_proof}", self.bare);
        let server_key = self.hash.hmac(&salted, b"Server Key");
        self.signature = Some(self.hash.hmac(server_key.as_ref(), auth_message.as_bytes()).as_ref().to_vec());
        let proof = base64::encode(self.proof(&salted, &auth_message));
        Ok(format!("{without_proof},p={proof}").into_bytes())
    }

    /// Takes server-final-message.
    ///
    /// # Errors
    ///
    /// [`ClientError`]: whoever is at the other end is not the server that has our account.
    pub fn verify(&self, server_final: &[u8]) -> Result<(), ClientError> {
        let server_final = std::str::from_utf8(server_final).map_err(|_| ClientError::Malformed)?;
        let first = server_final.split(',').next();
        if first.is_some_and(|attribute| attribute.starts_with("e=")) {
            return Err(ClientError::Refused);
        }
        let found = base64::decode_strict(value(first, "v=")?).ok_or(ClientError::Malformed)?;
        let expected = self.signature.as_ref().ok_or(ClientError::Malformed)?;
        if bool::from(found.ct_eq(expected)) { Ok(()) } else { Err(ClientError::WrongSignature) }
    }

    fn check_offer(&self, found: &str) -> Result<(), ClientError> {
        match &self.offer {
            Some(offer) if base64::encode(self.hash.digest(offer.as_bytes())) != found => Err(ClientError::Downgraded),
            Some(_) | None => Ok(()),
        }
    }

    /// ClientKey XOR HMAC(H(ClientKey), AuthMessage).
    fn proof(&self, salted: &[u8], auth_message: &str) -> Vec<u8> {
        let client_key = self.hash.hmac(salted, b"Client Key");
        let stored_key = self.hash.digest(client_key.as_ref());
        let signature = self.hash.hmac(stored_key.as_ref(), auth_message.as_bytes());
        client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect()
    }
}

impl fmt::Debug for ScramClient {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramClient").field("hash", &self.hash).field("bare", &self.bare).finish_non_exhaustive()
    }
}

/// RFC 5802 §5.1: the two characters that a `saslname` cannot hold.
fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

fn value<'a>(attribute: Option<&'a str>, name: &str) -> Result<&'a str, ClientError> {
    attribute.and_then(|attribute| attribute.strip_prefix(name)).ok_or(ClientError::Malformed)
}
