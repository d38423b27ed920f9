//! What an account keeps instead of a password: sets of SCRAM keys, and their bytes in the store.
//!
//! RFC 5802 §3 (StoredKey, ServerKey), RFC 7677.

use super::{ITERATIONS_MAX, ITERATIONS_MIN};
use crate::crypto::{digest, hmac, pbkdf2};
use std::fmt;
use std::num::NonZeroU32;
use zeroize::{Zeroize as _, Zeroizing};

use crate::limits::{KEY_BYTES_MAX, SALT_BYTES_MAX};
/// Salt of new sets: 128 bits.
pub(super) const SALT_BYTES: usize = 16;
/// What one account's keys can take in the store.
pub const CREDENTIALS_BYTES_MAX: usize = 3 + ScramHash::ALL.len() * (6 + SALT_BYTES_MAX + 2 * KEY_BYTES_MAX);
/// The layout of [`Credentials::encode`].
const VERSION: u8 = 1;

/// The hashes that SCRAM is used with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScramHash {
    /// RFC 5802.
    Sha1,
    /// RFC 7677; the stronger.
    Sha256,
}

impl ScramHash {
    /// Both, weakest first.
    pub const ALL: [Self; 2] = [Self::Sha1, Self::Sha256];

    /// The name that IANA registered for the hash.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
        }
    }

    /// Octets that the hash gives.
    pub fn output_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    fn id(self) -> u8 {
        match self {
            Self::Sha1 => 1,
            Self::Sha256 => 2,
        }
    }

    fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.id() == id)
    }

    /// H(data).
    pub(super) fn digest(self, data: &[u8]) -> digest::Digest {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
        };
        digest::digest(algorithm, data)
    }

    /// HMAC(key, data).
    pub(super) fn hmac(self, key: &[u8], data: &[u8]) -> hmac::Tag {
        let algorithm = match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), data)
    }

    /// Hi(password, salt, iterations). Slow by purpose: never on the loop's thread.
    pub(super) fn salted_password(self, password: &[u8], salt: &[u8], iterations: u32) -> Zeroizing<Vec<u8>> {
        let algorithm = match self {
            Self::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        };
        let mut out = Zeroizing::new(vec![0; self.output_bytes()]);
        pbkdf2::derive(algorithm, NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN), salt, password, &mut out);
        out
    }
}

/// One set: what proves a password under one hash, without being it.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// Which hash.
    pub hash: ScramHash,
    /// PBKDF2 rounds.
    pub iterations: u32,
    /// Salt.
    pub salt: Vec<u8>,
    /// H(ClientKey).
    pub stored_key: Vec<u8>,
    /// What the server proves itself with.
    pub server_key: Vec<u8>,
}

impl ScramKeys {
    /// Bytes of memory behind it.
    pub(super) fn heap_bytes(&self) -> usize {
        self.salt.capacity() + self.stored_key.capacity() + self.server_key.capacity()
    }

    /// Derives a set from a prepared password. Slow by purpose: never on the loop's thread.
    pub(super) fn derive(hash: ScramHash, password: &[u8], salt: Vec<u8>, iterations: u32) -> Self {
        let salted = hash.salted_password(password, &salt, iterations);
        let client_key = hash.hmac(&salted, b"Client Key");
        let stored_key = hash.digest(client_key.as_ref()).as_ref().to_vec();
        let server_key = hash.hmac(&salted, b"Server Key").as_ref().to_vec();
        Self { hash, iterations, salt, stored_key, server_key }
    }

    /// Whether the lengths and the count are ones that this server would have written.
    fn is_sound(&self) -> bool {
        let key_bytes = self.hash.output_bytes();
        (ITERATIONS_MIN..=ITERATIONS_MAX).contains(&self.iterations)
            && (1..=SALT_BYTES_MAX).contains(&self.salt.len())
            && self.stored_key.len() == key_bytes
            && self.server_key.len() == key_bytes
    }
}

impl Drop for ScramKeys {
    fn drop(&mut self) {
        self.stored_key.zeroize();
        self.server_key.zeroize();
    }
}

impl fmt::Debug for ScramKeys {
    /// Without the keys: they are as good as the password to whoever can listen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramKeys")
            .field("hash", &self.hash)
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// All that an account has to log in with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// At most one set a hash.
    pub keys: Vec<ScramKeys>,
    /// Whether the account may not log in.
    pub disabled: bool,
}

impl Credentials {
    /// The set for `hash`.
    pub fn get(&self, hash: ScramHash) -> Option<&ScramKeys> {
        self.keys.iter().find(|keys| keys.hash == hash)
    }

    /// The set of the strongest hash.
    pub fn strongest(&self) -> Option<&ScramKeys> {
        self.keys.iter().max_by_key(|keys| keys.hash)
    }

    /// The hashes for which there is no set.
    pub fn missing(&self) -> impl Iterator<Item = ScramHash> + '_ {
        ScramHash::ALL.into_iter().filter(|hash| self.get(*hash).is_none())
    }

    /// Adds the sets that are still missing, if the password they come from is still the account's:
    /// `proven_by` must be one of its stored keys. Says whether anything was added.
    pub fn fill_in(&mut self, sets: &[ScramKeys], proven_by: &[u8]) -> bool {
        if !self.keys.iter().any(|keys| keys.stored_key == proven_by) {
            return false;
        }
        let before = self.keys.len();
        for set in sets {
            if self.get(set.hash).is_none() {
                self.keys.push(set.clone());
            }
        }
        self.keys.len() > before
    }

    /// The bytes that are stored: version, disabled, number of sets, then each set with its lengths.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(CREDENTIALS_BYTES_MAX);
        let sets = self.keys.iter().filter(|keys| keys.is_sound());
        out.extend([VERSION, u8::from(self.disabled), u8::try_from(sets.clone().count()).unwrap_or(u8::MAX)]);
        for keys in sets {
            out.push(keys.hash.id());
            out.extend(keys.iterations.to_be_bytes());
            out.push(u8::try_from(keys.salt.len()).unwrap_or(u8::MAX));
            out.extend(&keys.salt);
            out.extend(&keys.stored_key);
            out.extend(&keys.server_key);
        }
        out
    }

    /// Reads what [`Credentials::encode`] wrote. `None` for anything else, down to the last byte.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let [VERSION, disabled @ 0..=1, count] = *take(&mut rest, 3)? else { return None };
        let mut credentials = Self { keys: Vec::new(), disabled: disabled == 1 };
        for _ in 0..count {
            let hash = ScramHash::from_id(*take(&mut rest, 1)?.first()?)?;
            let iterations = u32::from_be_bytes(take(&mut rest, 4)?.try_into().ok()?);
            let salt_bytes = usize::from(*take(&mut rest, 1)?.first()?);
            let salt = take(&mut rest, salt_bytes)?.to_vec();
            let stored_key = take(&mut rest, hash.output_bytes())?.to_vec();
            let server_key = take(&mut rest, hash.output_bytes())?.to_vec();
            let keys = ScramKeys { hash, iterations, salt, stored_key, server_key };
            if !keys.is_sound() || credentials.get(hash).is_some() {
                return None;
            }
            credentials.keys.push(keys);
        }
        rest.is_empty().then_some(credentials)
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn set(hash: ScramHash, byte: u8) -> ScramKeys {
        let key = vec![byte; hash.output_bytes()];
        ScramKeys { hash, iterations: ITERATIONS_MIN, salt: vec![byte; 16], stored_key: key.clone(), server_key: key }
    }

    #[test]
    fn bytes_and_back() {
        for disabled in [false, true] {
            for keys in [
                vec![],
                vec![set(ScramHash::Sha1, 1)],
                vec![set(ScramHash::Sha256, 2)],
                vec![set(ScramHash::Sha256, 2), set(ScramHash::Sha1, 1)],
            ] {
                let credentials = Credentials { keys, disabled };
                let bytes = credentials.encode();
                assert!(bytes.len() <= CREDENTIALS_BYTES_MAX);
                assert_eq!(Credentials::decode(&bytes).as_ref(), Some(&credentials));
                for end in 0..bytes.len() {
                    assert_eq!(Credentials::decode(&bytes[..end]), None, "cut at {end}");
                }
                assert_eq!(Credentials::decode(&[bytes.as_slice(), &[0]].concat()), None, "one byte more");
            }
        }
    }

    #[test]
    fn what_this_server_would_not_write_is_not_read() {
        let good = Credentials { keys: vec![set(ScramHash::Sha1, 1)], disabled: false }.encode();
        let with = |index: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[index] = value;
            Credentials::decode(&bytes)
        };
        assert!(Credentials::decode(&good).is_some());
        assert_eq!(with(0, 2), None, "a newer version");
        assert_eq!(with(1, 2), None, "neither disabled nor not");
        assert_eq!(with(3, 9), None, "an unknown hash");
        assert_eq!(with(4, 255), None, "rounds without end");
        assert_eq!(with(6, 0), None, "fewer rounds than 4096");
        assert_eq!(with(8, 0), None, "no salt");
        let twice = [&[1, 0, 2], &good[3..], &good[3..]].concat();
        assert_eq!(Credentials::decode(&twice), None, "the same hash twice");
    }

    #[test]
    fn garbage_never_panics() {
        let mut random = Random::seeded(1);
        for _ in 0..10_000 {
            let mut bytes = vec![0; (random.next_u64() % 160) as usize];
            random.fill(&mut bytes);
            if let [version, disabled, count, ..] = bytes.as_mut_slice() {
                (*version, *disabled, *count) = (1, *disabled % 2, *count % 3);
            }
            if let Some(credentials) = Credentials::decode(&bytes) {
                assert_eq!(credentials.encode(), bytes);
            }
        }
    }

    #[test]
    fn a_fill_in_needs_the_password_of_today() {
        let mut account = Credentials { keys: vec![set(ScramHash::Sha1, 1)], disabled: false };
        let late = [set(ScramHash::Sha256, 9), set(ScramHash::Sha1, 9)];
        assert!(!account.fill_in(&late, &[7; 20]), "proven by keys that the account no longer has");
        assert!(account.fill_in(&late, &[1; 20]));
        assert_eq!(account.get(ScramHash::Sha256), Some(&set(ScramHash::Sha256, 9)));
        assert_eq!(account.get(ScramHash::Sha1), Some(&set(ScramHash::Sha1, 1)), "never replaced");
        assert!(!account.fill_in(&late, &[1; 20]), "nothing missing");
        assert_eq!(account.strongest().map(|keys| keys.hash), Some(ScramHash::Sha256));
    }

    #[test]
    fn keys_are_never_printed() {
        let credentials = Credentials { keys: vec![set(ScramHash::Sha1, 0xAB)], disabled: false };
        assert!(!format!("{credentials:?}").contains("171"));
    }
}
