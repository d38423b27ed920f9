//! Randomness as a source that is handed in: the system's for real, a seeded stream for tests.
//!
//! Whatever is random in the protocol (stream ids, resources, nonces, salts) comes from here, so a
//! whole run can be replayed from one seed.

use crate::crypto::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::SecureRandom as _;

/// Bytes of randomness in a token: 128 bits.
pub const TOKEN_BYTES: usize = 16;

/// Where random bytes come from.
#[derive(Debug)]
pub struct Random(Source);

#[derive(Debug)]
enum Source {
    System(rand::SystemRandom),
    /// HMAC-SHA-256 in counter mode: reproducible, and good enough to look random to a test.
    Seeded {
        key: hmac::Key,
        counter: u64,
    },
}

impl Random {
    /// The operating system's generator.
    pub fn system() -> Self {
        Self(Source::System(rand::SystemRandom::new()))
    }

    /// The same bytes for the same seed. For tests and simulation only.
    pub fn seeded(seed: u64) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &seed.to_be_bytes());
        Self(Source::Seeded { key, counter: 0 })
    }

    /// Fills `out`.
    ///
    /// # Panics
    ///
    /// If the operating system has no randomness to give: nothing safe can be done without it, and
    /// no peer can bring it about.
    pub fn fill(&mut self, out: &mut [u8]) {
        match &mut self.0 {
            Source::System(system) => {
                system.fill(out).expect("the operating system's random source answers");
            }
            Source::Seeded { key, counter } => {
                for chunk in out.chunks_mut(32) {
                    *counter = counter.wrapping_add(1);
                    let tag = hmac::sign(key, &counter.to_be_bytes());
                    for (to, from) in chunk.iter_mut().zip(tag.as_ref()) {
                        *to = *from;
                    }
                }
            }
        }
    }

    /// A random number.
    pub fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    /// A token of 128 random bits: 22 characters, safe in XML, URLs and resources.
    pub fn token(&mut self) -> String {
        let mut bytes = [0; TOKEN_BYTES];
        self.fill(&mut bytes);
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_and_seeds_differ() {
        let draw = |seed| {
            let mut random = Random::seeded(seed);
            (random.token(), random.next_u64())
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_eq!(draw(1).0.len(), 22);
    }

    #[test]
    fn tokens_of_the_system_differ() {
        let mut random = Random::system();
        assert_ne!(random.token(), random.token());
    }
}
