//! How long a login must wait, by how many failed lately: for the same account, and from the same place.
//!
//! Nothing is ever locked: an account's delay has a small ceiling, so that whoever guesses at it cannot keep
//! its owner out, and what failed is forgotten by and by. A success clears what is held against the
//! account, never what is held against the place: else one login of one's own would buy the next guess.
//!
//! Apply the delay to every attempt before it is judged. If only failures waited, a guesser would hang up
//! early and know.

use crate::clock::Now;
use crate::random::Random;
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::net::IpAddr;

use crate::limits::{DELAY_FIRST_MS, FAILURES_MAX};

/// How failures of one kind are held against their source.
struct Rule {
    /// Failures that cost nothing. Behind one address there may be a household, or a village.
    free: u32,
    /// Where doubling ends.
    delay_ms_max: u64,
    /// After this long without a failure, one is forgotten; after as long again, another.
    forget_ms: u64,
}

const ACCOUNT: Rule = Rule { free: 2, delay_ms_max: 4_000, forget_ms: 30_000 };
const PLACE: Rule = Rule { free: 8, delay_ms_max: 8_000, forget_ms: 15_000 };

/// Failed logins of late. Two tables, so that a flood from many places pushes no account out.
#[derive(Debug)]
pub struct Throttle {
    keys: (u64, u64),
    accounts: BTreeMap<u128, Failures>,
    places: BTreeMap<u128, Failures>,
    entries_max: usize,
    totals: Totals,
}

/// Logins since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// That succeeded.
    pub good: u64,
    /// That failed for a wrong name, password or proof.
    pub failed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    /// When the last one was, or when the last one was forgotten.
    since_ms: u64,
}

impl Throttle {
    /// An empty one that holds at most so many accounts, and as many places.
    pub fn new(random: &mut Random, entries_max: usize) -> Self {
        let keys = (random.next_u64(), random.next_u64());
        Self { keys, accounts: BTreeMap::new(), places: BTreeMap::new(), entries_max, totals: Totals::default() }
    }

    /// How long an attempt from `peer`, at `account` (domain and localpart, prepared) if it names one, must
    /// wait. Zero for nearly everybody.
    pub fn delay_ms(&self, peer: IpAddr, account: Option<(&str, &str)>, now: Now) -> u64 {
        let place = self.places.get(&self.place(peer)).map_or(0, |failures| PLACE.delay_ms(failures, now));
        let account = account
            .and_then(|(domain, localpart)| self.accounts.get(&self.account(domain, localpart)))
            .map_or(0, |failures| ACCOUNT.delay_ms(failures, now));
        place.max(account)
    }

    /// An attempt failed, for whatever reason that a guess can fail for.
    pub fn failed(&mut self, peer: IpAddr, account: Option<(&str, &str)>, now: Now) {
        self.totals.failed += 1;
        let place = self.place(peer);
        PLACE.add(&mut self.places, place, self.entries_max, now);
        if let Some((domain, localpart)) = account {
            let account = self.account(domain, localpart);
            ACCOUNT.add(&mut self.accounts, account, self.entries_max, now);
        }
    }

    /// The owner of an account logged in.
    pub fn succeeded(&mut self, domain: &str, localpart: &str) {
        self.totals.good += 1;
        let account = self.account(domain, localpart);
        self.accounts.remove(&account);
    }

    /// Logins since the start.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Bytes on the heap, about: a B-tree's nodes are at least half full.
    pub fn heap_bytes(&self) -> usize {
        (self.accounts.len() + self.places.len()) * size_of::<(u128, Failures)>() * 3 / 2
    }

    fn account(&self, domain: &str, localpart: &str) -> u128 {
        self.hash(&[domain.as_bytes(), localpart.as_bytes()])
    }

    /// A network rather than an address: /64 for IPv6, which one host has at its whim.
    fn place(&self, peer: IpAddr) -> u128 {
        match peer.to_canonical() {
            IpAddr::V4(address) => self.hash(&[&address.octets()]),
            IpAddr::V6(address) => self.hash(&[&address.segments().map(u16::to_be_bytes).as_flattened()[..8]]),
        }
    }

    fn hash(&self, parts: &[&[u8]]) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
        for part in parts {
            hasher.write(part);
            hasher.write_u8(0);
        }
        hasher.finish128().as_u128()
    }
}

impl Rule {
    /// What is left of the failures by now.
    fn remaining(&self, failures: &Failures, now: Now) -> u32 {
        let forgotten = now.mono_ms.saturating_sub(failures.since_ms) / self.forget_ms;
        failures.count.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }

    fn delay_ms(&self, failures: &Failures, now: Now) -> u64 {
        match self.remaining(failures, now).saturating_sub(self.free) {
            0 => 0,
            counted => (DELAY_FIRST_MS << (counted - 1).min(FAILURES_MAX)).min(self.delay_ms_max),
        }
    }

    fn add(&self, table: &mut BTreeMap<u128, Failures>, key: u128, entries_max: usize, now: Now) {
        let before = table.get(&key).map_or(0, |failures| self.remaining(failures, now));
        if before == 0 && !table.contains_key(&key) && table.len() >= entries_max {
            self.make_room(table, now);
        }
        if entries_max > 0 {
            table.insert(key, Failures { count: (before + 1).min(FAILURES_MAX), since_ms: now.mono_ms });
        }
    }

    /// Drops what is forgotten, or else whoever has the least to answer for. A walk over the table, but
    /// only when it is full, and each time behind a login that failed, which cost more.
    fn make_room(&self, table: &mut BTreeMap<u128, Failures>, now: Now) {
        table.retain(|_, failures| self.remaining(failures, now) > 0);
        let least = table.iter().min_by_key(|(_, failures)| (self.remaining(failures, now), failures.since_ms));
        if let Some(key) = least.map(|(key, _)| *key) {
            table.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JULIET: Option<(&str, &str)> = Some(("a.example", "juliet"));

    fn at(ms: u64) -> Now {
        Now { mono_ms: ms, unix_ms: 0 }
    }

    fn peer(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn throttle(entries_max: usize) -> Throttle {
        Throttle::new(&mut Random::seeded(1), entries_max)
    }

    #[test]
    fn an_accounts_delay_doubles_up_to_a_ceiling_from_wherever_it_is_tried() {
        let mut throttle = throttle(100);
        let mut delays = Vec::new();
        for host in 0..10 {
            throttle.failed(peer(&format!("192.0.2.{host}")), JULIET, at(0));
            delays.push(throttle.delay_ms(peer("198.51.100.1"), JULIET, at(0)));
        }
        assert_eq!(delays, [0, 0, 250, 500, 1000, 2000, 4000, 4000, 4000, 4000]);
        assert_eq!(throttle.delay_ms(peer("198.51.100.1"), Some(("a.example", "romeo")), at(0)), 0);
        assert_eq!(throttle.delay_ms(peer("198.51.100.1"), Some(("b.example", "juliet")), at(0)), 0);
    }

    #[test]
    fn a_place_is_slowed_whatever_account_it_tries() {
        let mut throttle = throttle(100);
        for user in 0..20 {
            let user = format!("user{user}");
            throttle.failed(peer("192.0.2.1"), Some(("a.example", &user)), at(0));
        }
        assert_eq!(throttle.delay_ms(peer("192.0.2.1"), JULIET, at(0)), 8000);
        assert_eq!(throttle.delay_ms(peer("::ffff:192.0.2.1"), None, at(0)), 8000);
        assert_eq!(throttle.delay_ms(peer("192.0.2.2"), JULIET, at(0)), 0);
    }

    #[test]
    fn an_ipv6_place_is_its_slash_64() {
        let mut throttle = throttle(100);
        for host in 0..20 {
            throttle.failed(peer(&format!("2001:db8:1:2::{host:x}")), None, at(0));
        }
        assert_eq!(throttle.delay_ms(peer("2001:db8:1:2:ffff::1"), None, at(0)), 8000);
        assert_eq!(throttle.delay_ms(peer("2001:db8:1:3::1"), None, at(0)), 0);
    }

    #[test]
    fn failures_are_forgotten_one_by_one() {
        let mut throttle = throttle(100);
        for _ in 0..4 {
            throttle.failed(peer("192.0.2.1"), JULIET, at(0));
        }
        let delay = |ms| throttle.delay_ms(peer("198.51.100.1"), JULIET, at(ms));
        assert_eq!([delay(0), delay(29_999), delay(30_000), delay(60_000)], [500, 500, 250, 0]);
    }

    /// A success clears the account, not the place: else one's own account would buy guesses at others.
    #[test]
    fn a_success_clears_the_account_only() {
        let mut throttle = throttle(100);
        for _ in 0..20 {
            throttle.failed(peer("192.0.2.1"), JULIET, at(0));
        }
        throttle.succeeded("a.example", "juliet");
        assert_eq!(throttle.delay_ms(peer("198.51.100.1"), JULIET, at(0)), 0);
        assert_eq!(throttle.delay_ms(peer("192.0.2.1"), JULIET, at(0)), 8000);
    }

    #[test]
    fn the_tables_are_bounded_and_keep_the_worst() {
        let mut throttle = throttle(16);
        for _ in 0..20 {
            throttle.failed(peer("192.0.2.1"), JULIET, at(0));
        }
        for host in 0..1_000_u32 {
            let user = host.to_string();
            throttle.failed(IpAddr::from(host.to_be_bytes()), Some(("a.example", &user)), at(u64::from(host)));
        }
        assert_eq!((throttle.accounts.len(), throttle.places.len()), (16, 16));
        assert_eq!(throttle.delay_ms(peer("192.0.2.1"), None, at(1_000)), 8000);
        assert_eq!(throttle.delay_ms(peer("198.51.100.1"), JULIET, at(1_000)), 4000);
    }
}
