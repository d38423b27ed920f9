//! The client's side of SASL, written from the RFCs and not from the server's code.
//!
//! RFC 4616 (PLAIN), RFC 5802 and 7677 (SCRAM), XEP-0474 (the hash over what was offered).

use super::Login;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use stonechat::crypto::{digest, hmac, pbkdf2};

/// What the server may not go below (RFC 7677 §4).
const ITERATIONS_MIN: u32 = 4096;

/// One SCRAM conversation.
pub(super) struct Scram {
    hash: Hash,
    password: String,
    gs2: String,
    binding: Vec<u8>,
    first_bare: String,
    signature: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hash {
    Sha1,
    Sha256,
}

impl Scram {
    /// `binding` is the channel binding's data, for -PLUS.
    pub(super) fn new(login: &Login, binding: Option<Vec<u8>>, nonce: &str) -> Result<Self, String> {
        let plus = login.mechanism.ends_with("-PLUS");
        let hash = if login.mechanism.starts_with("SCRAM-SHA-256") { Hash::Sha256 } else { Hash::Sha1 };
        let flag = match (&login.flag, plus, &login.binding) {
            (Some(flag), ..) => flag.clone(),
            (None, true, Some(kind)) => format!("p={kind}"),
            (None, true, None) => return Err("a -PLUS mechanism needs binding=".to_owned()),
            (None, false, _) => "n".to_owned(),
        };
        let binding = match (plus, binding) {
            (true, None) => return Err("this peer has no such channel binding".to_owned()),
            (true, Some(data)) => data,
            (false, _) => Vec::new(),
        };
        let user = login.user.replace('=', "=3D").replace(',', "=2C");
        Ok(Self {
            hash,
            password: login.password.clone(),
            gs2: format!("{flag},,"),
            binding,
            first_bare: format!("n={user},r={nonce}"),
            signature: Vec::new(),
        })
    }

    /// The first message, base64.
    pub(super) fn first(&self) -> String {
        STANDARD.encode(format!("{}{}", self.gs2, self.first_bare))
    }

    /// Answers the server's first message; `offered` is what the server announced before.
    pub(super) fn last(&mut self, challenge: &str, offered: &str) -> Result<String, String> {
        let message = decode(challenge)?;
        let nonce = attribute(&message, 'r')?;
        let own = self.first_bare.rsplit("r=").next().unwrap_or_default();
        if nonce.len() <= own.len() || !nonce.starts_with(own) {
            return Err(format!("the nonce `{nonce}` does not go on from `{own}`"));
        }
        let salt = STANDARD.decode(attribute(&message, 's')?).map_err(|error| format!("the salt: {error}"))?;
        let iterations: u32 = attribute(&message, 'i')?.parse().map_err(|_| "the iteration count is no number")?;
        let iterations = NonZeroU32::new(iterations).filter(|count| count.get() >= ITERATIONS_MIN);
        let iterations = iterations.ok_or_else(|| format!("fewer than {ITERATIONS_MIN} iterations"))?;
        if let Ok(came) = attribute(&message, 'h')
            && came != self.hash.offer(offered)
        {
            return Err("XEP-0474: the hash is not that of what was offered".to_owned());
        }

        let mut channel = self.gs2.clone().into_bytes();
        channel.extend_from_slice(&self.binding);
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(channel));
        let signed = format!("{},{message},{without_proof}", self.first_bare);
        let salted = self.hash.pbkdf2(&self.password, &salt, iterations);
        let client_key = self.hash.hmac(&salted, b"Client Key");
        let stored_key = self.hash.digest(&client_key);
        let client_signature = self.hash.hmac(&stored_key, signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&client_signature).map(|(a, b)| a ^ b).collect();
        let server_key = self.hash.hmac(&salted, b"Server Key");
        self.signature = self.hash.hmac(&server_key, signed.as_bytes());
        Ok(STANDARD.encode(format!("{without_proof},p={}", STANDARD.encode(proof))))
    }

    /// Checks the server's last message.
    pub(super) fn verify(&self, data: &str) -> Result<(), String> {
        let message = decode(data)?;
        let came = STANDARD.decode(attribute(&message, 'v')?).map_err(|error| format!("the signature: {error}"))?;
        if came == self.signature { Ok(()) } else { Err("the server's signature is wrong".to_owned()) }
    }
}

/// `authzid NUL user NUL password` without an authzid, base64.
pub(super) fn plain(login: &Login) -> String {
    STANDARD.encode(format!("\0{}\0{}", login.user, login.password))
}

fn decode(data: &str) -> Result<String, String> {
    let bytes = STANDARD.decode(data).map_err(|error| format!("`{data}` is no base64: {error}"))?;
    String::from_utf8(bytes).map_err(|_| "a SCRAM message is not UTF-8".to_owned())
}

fn attribute(message: &str, name: char) -> Result<&str, String> {
    let found = message.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    found.ok_or_else(|| format!("`{message}` has no `{name}=`"))
}

impl Hash {
    fn digest(self, data: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
        };
        digest::digest(algorithm, data).as_ref().to_vec()
    }

    fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), data).as_ref().to_vec()
    }

    /// Computed once for the same input: a transcript is played again and again.
    fn pbkdf2(self, password: &str, salt: &[u8], iterations: NonZeroU32) -> Vec<u8> {
        type Done = Mutex<BTreeMap<(Hash, String, Vec<u8>, NonZeroU32), Vec<u8>>>;
        static DONE: Done = Mutex::new(BTreeMap::new());
        let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (self, password.to_owned(), salt.to_vec(), iterations);
        done.entry(key).or_insert_with(|| self.pbkdf2_anew(password, salt, iterations)).clone()
    }

    fn pbkdf2_anew(self, password: &str, salt: &[u8], iterations: NonZeroU32) -> Vec<u8> {
        let (algorithm, length) = match self {
            Self::Sha1 => (pbkdf2::PBKDF2_HMAC_SHA1, 20),
            Self::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, 32),
        };
        let mut out = vec![0; length];
        pbkdf2::derive(algorithm, iterations, salt, password.as_bytes(), &mut out);
        out
    }

    /// XEP-0474 §5.1 over the features as they were sent.
    fn offer(self, offered: &str) -> String {
        let mut list = join(between(offered, "<mechanism>", "</mechanism>"));
        let kinds = between(offered, "<channel-binding ", ">").into_iter().filter_map(|tag| {
            let (_, value) = tag.split_once("type=")?;
            let quote = value.chars().next()?;
            value[1..].split(quote).next()
        });
        let kinds: BTreeSet<&str> = kinds.collect();
        if offered.contains("urn:xmpp:sasl-cb:0") {
            list = format!("{list}\u{1f}{}", join(kinds));
        }
        STANDARD.encode(self.digest(list.as_bytes()))
    }
}

fn join(words: BTreeSet<&str>) -> String {
    words.into_iter().collect::<Vec<_>>().join("\u{1e}")
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> BTreeSet<&'a str> {
    text.split(open).skip(1).filter_map(|rest| rest.split(close).next()).collect()
}
