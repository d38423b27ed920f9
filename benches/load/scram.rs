//! The client's side of SCRAM (RFC 5802, RFC 7677), without channel binding.
//!
//! The slow part, PBKDF2, is kept per hash, password, salt and iteration count: as a client may (RFC 5802
//! §5.1), and so that the generator does not become the bottleneck of a login storm.

use std::collections::HashMap;
use std::num::NonZeroU32;

use base64::prelude::{BASE64_STANDARD, Engine};
use stonechat::crypto::{digest, hmac, pbkdf2, rand};

/// Most iterations that are computed for a server: one that asks for more would only stall the load test.
const ITERATIONS_MAX: u32 = 1_000_000;

/// The hash of a mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
}

impl Hash {
    /// The SASL mechanism that uses it.
    pub(crate) fn mechanism(self) -> &'static str {
        match self {
            Self::Sha1 => "SCRAM-SHA-1",
            Self::Sha256 => "SCRAM-SHA-256",
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
        }
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        }
    }
}

/// What PBKDF2 depends on: hash, password, salt, iterations.
type Recipe = (Hash, String, Vec<u8>, u32);
/// What comes of it: client key and server key.
type KeyPair = (hmac::Tag, hmac::Tag);

/// The keys of passwords seen before.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    known: HashMap<Recipe, KeyPair>,
}

impl Keys {
    fn get(&mut self, hash: Hash, password: &str, salt: &[u8], iterations: NonZeroU32) -> KeyPair {
        let recipe = (hash, password.to_owned(), salt.to_vec(), iterations.get());
        *self.known.entry(recipe).or_insert_with(|| derive(hash, password, salt, iterations))
    }
}

fn derive(hash: Hash, password: &str, salt: &[u8], iterations: NonZeroU32) -> KeyPair {
    let mut salted = vec![0; hash.digest().output_len()];
    pbkdf2::derive(hash.pbkdf2(), iterations, salt, password.as_bytes(), &mut salted);
    let key = hmac::Key::new(hash.hmac(), &salted);
    (hmac::sign(&key, b"Client Key"), hmac::sign(&key, b"Server Key"))
}

/// What a server keeps of a password: the stored key and the server key.
pub(crate) fn stored(hash: Hash, password: &str, salt: &[u8], iterations: u32) -> (Vec<u8>, Vec<u8>) {
    let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    let (client_key, server_key) = derive(hash, password, salt, iterations);
    (digest::digest(hash.digest(), client_key.as_ref()).as_ref().to_vec(), server_key.as_ref().to_vec())
}

/// One running exchange.
#[derive(Debug)]
pub(crate) struct Scram {
    hash: Hash,
    nonce: String,
    first_bare: String,
    server_signature: Option<hmac::Tag>,
}

impl Scram {
    /// Begins an exchange with a fresh nonce.
    pub(crate) fn new(hash: Hash, user: &str) -> Self {
        let mut bytes = [0; 18];
        // Without randomness a nonce repeats, which costs a load test nothing.
        let _ = rand::SecureRandom::fill(&rand::SystemRandom::new(), &mut bytes);
        Self::with_nonce(hash, user, BASE64_STANDARD.encode(bytes))
    }

    fn with_nonce(hash: Hash, user: &str, nonce: String) -> Self {
        let first_bare = format!("n={},r={nonce}", user.replace('=', "=3D").replace(',', "=2C"));
        Self { hash, nonce, first_bare, server_signature: None }
    }

    /// The client's first message.
    pub(crate) fn first(&self) -> String {
        format!("n,,{}", self.first_bare)
    }

    /// Answers the server's first message with the client's final one.
    pub(crate) fn answer(&mut self, server_first: &str, password: &str, keys: &mut Keys) -> Result<String, String> {
        let part = |name: char| server_first.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        let nonce = part('r').filter(|nonce| nonce.starts_with(&self.nonce)).ok_or("SCRAM: the nonce is not ours")?;
        let salt = part('s').and_then(|salt| BASE64_STANDARD.decode(salt).ok()).ok_or("SCRAM: no salt")?;
        let iterations: NonZeroU32 = part('i').and_then(|i| i.parse().ok()).ok_or("SCRAM: no iteration count")?;
        if iterations.get() > ITERATIONS_MAX {
            return Err(format!("SCRAM: {iterations} iterations are too many"));
        }
        let (client_key, server_key) = keys.get(self.hash, password, &salt, iterations);
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{},{server_first},{without_proof}", self.first_bare);
        let stored_key = digest::digest(self.hash.digest(), client_key.as_ref());
        let signature = hmac::sign(&hmac::Key::new(self.hash.hmac(), stored_key.as_ref()), signed.as_bytes());
        let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let server_key = hmac::Key::new(self.hash.hmac(), server_key.as_ref());
        self.server_signature = Some(hmac::sign(&server_key, signed.as_bytes()));
        Ok(format!("{without_proof},p={}", BASE64_STANDARD.encode(proof)))
    }

    /// Whether the server's final message proves that it knows the password's keys.
    pub(crate) fn verify(&self, server_final: &str) -> bool {
        let claimed = server_final.strip_prefix("v=").and_then(|rest| rest.split(',').next());
        let claimed = claimed.and_then(|text| BASE64_STANDARD.decode(text).ok());
        match (claimed, &self.server_signature) {
            (Some(claimed), Some(signature)) => claimed == signature.as_ref(),
            _ => false,
        }
    }
}

/// The examples of RFC 5802 §5 and RFC 7677 §3; run before every load test.
pub(crate) fn self_check() -> Result<(), String> {
    let cases = [
        (
            Hash::Sha1,
            "fyko+d2lbbFgONRv9qkxdawL",
            "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ),
        (
            Hash::Sha256,
            "rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ),
    ];
    for (hash, nonce, first, answer, last) in cases {
        let mut scram = Scram::with_nonce(hash, "user", nonce.to_owned());
        let got = scram.answer(first, "pencil", &mut Keys::default())?;
        if got != answer || !scram.verify(last) || scram.verify("v=AAAA") {
            return Err(format!("scram: {hash:?} gave {got}"));
        }
    }
    Ok(())
}
