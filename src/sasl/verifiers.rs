//! Passwords that were right lately, recognised without PBKDF2 and without being kept.
//!
//! An entry is an HMAC under a key that only this process has and that dies with it, over domain,
//! account, password, and the stored key that the password was proven against: when the password changes,
//! what was remembered for the old one fits nothing any more, even if a login was under way. A hit logs in; a
//! mismatch means nothing and takes the full PBKDF2, so that guessing stays slow.
//!
//! One entry an account, at most so many accounts, each for so long; in memory only.

use crate::clock::Now;
use crate::crypto::hmac;
use crate::random::Random;
use std::collections::BTreeMap;
use std::fmt;
use subtle::ConstantTimeEq as _;

/// Which account: an HMAC of its address, so that the map needs no other hasher.
type Account = [u8; 32];

/// What a right password would be recognised by.
#[derive(Clone)]
pub(super) struct Verifier {
    account: Account,
    tag: hmac::Tag,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

/// The remembered ones.
pub struct VerifierCache {
    key: hmac::Key,
    entries: BTreeMap<Account, Entry>,
    /// Least recently used first.
    order: BTreeMap<u64, Account>,
    uses: u64,
    entries_max: usize,
    lifetime_ms: u64,
}

struct Entry {
    tag: hmac::Tag,
    expires_ms: u64,
    /// Its key in `order`.
    used: u64,
}

impl VerifierCache {
    /// An empty one. With no entries or no lifetime it recognises nothing.
    pub fn new(random: &mut Random, entries_max: usize, lifetime_s: u64) -> Self {
        let mut key = [0; 32];
        random.fill(&mut key);
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            entries: BTreeMap::new(),
            order: BTreeMap::new(),
            uses: 0,
            entries_max,
            lifetime_ms: lifetime_s.saturating_mul(1000),
        }
    }

    /// What `password` would be recognised by. All four are prepared or binary, so no NUL is ambiguous.
    pub(super) fn verifier(&self, domain: &str, localpart: &str, password: &str, stored_key: &[u8]) -> Verifier {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [domain.as_bytes(), b"\0", localpart.as_bytes(), b"\0", password.as_bytes(), b"\0", stored_key] {
            context.update(part);
        }
        Verifier { account: self.account(domain, localpart), tag: context.sign() }
    }

    /// Whether it was right, lately. Compared in constant time.
    pub(super) fn is_known(&mut self, verifier: &Verifier, now: Now) -> bool {
        let used = self.uses;
        let Some(entry) = self.entries.get_mut(&verifier.account) else { return false };
        if entry.expires_ms <= now.mono_ms {
            self.remove(&verifier.account);
            return false;
        }
        if !bool::from(entry.tag.as_ref().ct_eq(verifier.tag.as_ref())) {
            return false;
        }
        self.order.remove(&entry.used);
        entry.used = used;
        self.order.insert(used, verifier.account);
        self.uses += 1;
        true
    }

    /// Remembers that it was right, in the place of what was known of the account.
    pub(super) fn remember(&mut self, verifier: &Verifier, now: Now) {
        if self.entries_max == 0 || self.lifetime_ms == 0 {
            return;
        }
        self.remove(&verifier.account);
        while let Some((_, oldest)) = self.order.first_key_value() {
            let oldest = *oldest;
            let expired = self.entries.get(&oldest).is_none_or(|entry| entry.expires_ms <= now.mono_ms);
            if !expired && self.entries.len() < self.entries_max {
                break;
            }
            self.remove(&oldest);
        }
        let expires_ms = now.mono_ms.saturating_add(self.lifetime_ms);
        self.order.insert(self.uses, verifier.account);
        self.entries.insert(verifier.account, Entry { tag: verifier.tag, expires_ms, used: self.uses });
        self.uses += 1;
    }

    /// Forgets an account: its password was changed, or it was disabled or deleted.
    pub fn forget(&mut self, domain: &str, localpart: &str) {
        let account = self.account(domain, localpart);
        self.remove(&account);
    }

    /// Accounts remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes on the heap, about: a B-tree's nodes are at least half full.
    pub fn heap_bytes(&self) -> usize {
        let entry = size_of::<Account>() + size_of::<Entry>() + size_of::<(u64, Account)>();
        self.entries.len() * entry * 3 / 2
    }

    fn account(&self, domain: &str, localpart: &str) -> Account {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [domain.as_bytes(), b"\0", localpart.as_bytes()] {
            context.update(part);
        }
        let mut account = [0; 32];
        for (to, from) in account.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        account
    }

    fn remove(&mut self, account: &Account) {
        if let Some(entry) = self.entries.remove(account) {
            self.order.remove(&entry.used);
        }
    }
}

impl fmt::Debug for VerifierCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierCache").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = &[1; 32];

    fn at(second: u64) -> Now {
        Now { mono_ms: second * 1000, unix_ms: 0 }
    }

    fn cache(entries_max: usize) -> VerifierCache {
        VerifierCache::new(&mut Random::seeded(1), entries_max, 60)
    }

    fn knows(cache: &mut VerifierCache, localpart: &str, password: &str, second: u64) -> bool {
        let verifier = cache.verifier("a.example", localpart, password, KEY);
        cache.is_known(&verifier, at(second))
    }

    fn remember(cache: &mut VerifierCache, localpart: &str, password: &str, second: u64) {
        let verifier = cache.verifier("a.example", localpart, password, KEY);
        cache.remember(&verifier, at(second));
    }

    #[test]
    fn only_the_same_password_of_the_same_account_under_the_same_keys_is_known() {
        let mut cache = cache(8);
        remember(&mut cache, "juliet", "pencil", 0);
        assert!(knows(&mut cache, "juliet", "pencil", 59));
        assert!(!knows(&mut cache, "juliet", "pencils", 0));
        assert!(!knows(&mut cache, "romeo", "pencil", 0));
        let other_domain = cache.verifier("b.example", "juliet", "pencil", KEY);
        assert!(!cache.is_known(&other_domain, at(0)));
        let other_keys = cache.verifier("a.example", "juliet", "pencil", &[2; 32]);
        assert!(!cache.is_known(&other_keys, at(0)), "the password was changed meanwhile");
        assert!(knows(&mut cache, "juliet", "pencil", 0), "a wrong guess pushes nothing out");
    }

    #[test]
    fn entries_expire_however_often_they_are_used() {
        let mut cache = cache(8);
        remember(&mut cache, "juliet", "pencil", 0);
        assert!(knows(&mut cache, "juliet", "pencil", 59));
        assert!(!knows(&mut cache, "juliet", "pencil", 60));
        assert!(cache.is_empty());
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut cache = cache(2);
        remember(&mut cache, "a", "p", 0);
        remember(&mut cache, "b", "p", 0);
        assert!(knows(&mut cache, "a", "p", 1));
        remember(&mut cache, "c", "p", 1);
        assert_eq!((cache.len(), cache.order.len()), (2, 2));
        assert!(knows(&mut cache, "a", "p", 1) && knows(&mut cache, "c", "p", 1));
        assert!(!knows(&mut cache, "b", "p", 1));
    }

    #[test]
    fn forgotten_and_switched_off() {
        let mut on = cache(8);
        remember(&mut on, "a", "p", 0);
        remember(&mut on, "b", "p", 0);
        on.forget("a.example", "a");
        assert!(!knows(&mut on, "a", "p", 0));
        assert!(knows(&mut on, "b", "p", 0));
        let mut off = cache(0);
        remember(&mut off, "a", "p", 0);
        assert!(off.is_empty());
    }
}
