//! PBKDF2 as work that is carried to another thread: it takes milliseconds by purpose.
//!
//! A job owns everything it needs and wipes it when dropped, run or not.

use super::ITERATIONS_MAX;
use super::ITERATIONS_MIN;
use super::keys::{SALT_BYTES, ScramHash, ScramKeys};
use crate::random::Random;
use std::fmt;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Verifies a password against one set of keys, derives new sets from it, or both.
pub struct HashJob {
    password: Zeroizing<String>,
    /// Nothing is derived from a password that does not verify.
    verify: Option<ScramKeys>,
    derive: Vec<NewSet>,
}

/// What a set is going to be derived with.
struct NewSet {
    hash: ScramHash,
    salt: Vec<u8>,
    iterations: u32,
}

/// What a [`HashJob`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HashOutcome {
    /// Whether the password is the right one; true if there was nothing to compare it with.
    pub verified: bool,
    /// The sets asked for; none if the password was wrong.
    pub derived: Vec<ScramKeys>,
}

/// Sets for a new password, as `user add` and `user passwd` need them. `password` must be what
/// [`crate::jid::prepare_password`] gave; `iterations` is kept between the least and the most allowed.
pub fn derive(password: &str, hashes: &[ScramHash], iterations: u32, random: &mut Random) -> HashJob {
    HashJob::new(password, None, hashes.iter().copied(), iterations, random)
}

impl HashJob {
    /// `password` is prepared.
    pub(super) fn new(
        password: &str,
        verify: Option<ScramKeys>,
        derive: impl Iterator<Item = ScramHash>,
        iterations: u32,
        random: &mut Random,
    ) -> Self {
        let iterations = iterations.clamp(ITERATIONS_MIN, ITERATIONS_MAX);
        let derive = derive.map(|hash| {
            let mut salt = vec![0; SALT_BYTES];
            random.fill(&mut salt);
            NewSet { hash, salt, iterations }
        });
        Self { password: Zeroizing::new(password.to_owned()), verify, derive: derive.collect() }
    }

    /// Bytes of memory behind it.
    pub fn heap_bytes(&self) -> usize {
        let keys = self.verify.as_ref().map_or(0, ScramKeys::heap_bytes);
        let sets = self.derive.capacity() * size_of::<NewSet>();
        self.password.capacity() + keys + sets + self.derive.iter().map(|set| set.salt.capacity()).sum::<usize>()
    }

    /// Does the work. Takes about a millisecond a set and 10,000 rounds: for the hashing thread.
    pub fn run(mut self) -> HashOutcome {
        let password = self.password.as_bytes();
        let verified = self.verify.as_ref().is_none_or(|keys| {
            let found = ScramKeys::derive(keys.hash, password, keys.salt.clone(), keys.iterations);
            bool::from(found.stored_key.ct_eq(&keys.stored_key))
        });
        let sets = std::mem::take(&mut self.derive);
        let derived = match verified {
            true => {
                sets.into_iter().map(|set| ScramKeys::derive(set.hash, password, set.salt, set.iterations)).collect()
            }
            false => Vec::new(),
        };
        HashOutcome { verified, derived }
    }
}

impl fmt::Debug for HashJob {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashJob")
            .field("verify", &self.verify)
            .field("derive", &self.derive.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(password: &str) -> Vec<ScramKeys> {
        derive(password, &ScramHash::ALL, ITERATIONS_MIN, &mut Random::seeded(1)).run().derived
    }

    #[test]
    fn new_sets_verify_their_password_only() {
        for keys in sets("pencil") {
            assert_eq!(keys.salt.len(), SALT_BYTES);
            assert_eq!(keys.iterations, ITERATIONS_MIN);
            let check = |password: &str| {
                let job = HashJob::new(password, Some(keys.clone()), [].into_iter(), 0, &mut Random::seeded(2));
                job.run().verified
            };
            assert!(check("pencil"));
            assert!(!check("pencils"));
        }
    }

    #[test]
    fn salts_differ_and_rounds_have_a_floor() {
        let mut random = Random::seeded(3);
        let job = derive("pencil", &ScramHash::ALL, 1, &mut random).run();
        let [sha1, sha256] = job.derived.as_slice() else { panic!("two sets") };
        assert_ne!(sha1.salt, sha256.salt);
        assert_eq!(sha1.iterations, ITERATIONS_MIN);
    }

    #[test]
    fn nothing_is_derived_from_a_wrong_password() {
        let keys = sets("pencil").remove(0);
        let job = HashJob::new("pen", Some(keys), [ScramHash::Sha256].into_iter(), 0, &mut Random::seeded(4));
        assert_eq!(job.run(), HashOutcome { verified: false, derived: vec![] });
    }

    #[test]
    fn a_job_can_change_threads_and_hides_its_password() {
        let job = derive("pencil", &[ScramHash::Sha256], ITERATIONS_MIN, &mut Random::seeded(5));
        assert!(!format!("{job:?}").contains("pencil"));
        let outcome = std::thread::spawn(move || job.run()).join().expect("the job runs");
        assert!(outcome.verified);
    }
}
