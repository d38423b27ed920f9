//! Admission: who may connect, by the counts of connections in all and from one address, and by how
//! often that address has connected lately.
//!
//! Loopback is the host itself and only counts towards the whole (a gateway or a load test on the
//! same machine is not a stranger). RFC 6120 §13.12 (1), (2); XEP-0205.

use crate::conn::AddressKey;
use siphasher::sip::SipHasher13;
use std::collections::HashMap;
use std::hash::BuildHasher;

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As many connections as the process may have, in all or before their login.
    Full,
    /// As many connections as one address may have.
    AddressFull,
    /// As many new connections as one address may open in this time.
    TooFast,
    /// The server is shutting down.
    ShuttingDown,
}

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionLimits {
    /// Connections at the same time.
    pub connections_max: usize,
    /// Connections at the same time that have not logged in.
    pub connections_before_login_max: usize,
    /// Handshakes of TLS under way at the same time.
    pub handshakes_max: usize,
    /// Connections at the same time from one address (or IPv6 /64).
    pub connections_per_address_max: usize,
    /// Those of them that have not logged in.
    pub before_login_per_address_max: usize,
    /// New connections a minute from one address: as many at once, then one each time its share of the
    /// minute is over.
    pub connects_per_address_per_minute_max: u32,
}

pub(super) use crate::limits::PACED_ADDRESSES_MAX;
/// What one connection costs; a minute gives this many for each that is allowed.
const CONNECT_COST: u64 = 60_000;

/// How much one address may still do.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Of [`CONNECT_COST`] each.
    tokens: u64,
    at_ms: u64,
}

impl Pace {
    fn refill(&mut self, per_minute: u64, now_ms: u64) {
        let earned = now_ms.saturating_sub(self.at_ms).saturating_mul(per_minute);
        self.tokens = self.tokens.saturating_add(earned).min(per_minute * CONNECT_COST);
        self.at_ms = now_ms;
    }
}

/// Connections of one address.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    all: u32,
    before_login: u32,
}

/// Counts of connections.
#[derive(Debug)]
pub(super) struct Admission {
    limits: AdmissionLimits,
    total: usize,
    /// Those that have not logged in.
    before_login: usize,
    by_address: HashMap<AddressKey, Count, Keyed>,
    paces: HashMap<AddressKey, Pace, Keyed>,
}

/// A hasher whose keys no peer knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keyed(pub(super) u64, pub(super) u64);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

impl Admission {
    /// Nobody connected yet.
    pub(super) fn new(limits: AdmissionLimits, keyed: Keyed) -> Self {
        Self {
            limits,
            total: 0,
            before_login: 0,
            by_address: HashMap::with_hasher(keyed),
            paces: HashMap::with_hasher(keyed),
        }
    }

    /// Lets a connection in, or says why not.
    ///
    /// # Errors
    ///
    /// [`Refused`]: close the socket without a word.
    pub(super) fn admit(&mut self, address: AddressKey, now_ms: u64) -> Result<(), Refused> {
        if self.is_full() {
            return Err(Refused::Full);
        }
        if address != AddressKey::LOOPBACK {
            let count = self.by_address.get(&address).copied().unwrap_or_default();
            let is_full = count.all as usize >= self.limits.connections_per_address_max
                || count.before_login as usize >= self.limits.before_login_per_address_max;
            if is_full {
                return Err(Refused::AddressFull);
            }
            self.take_pace(address, now_ms)?;
            let count = Count { all: count.all + 1, before_login: count.before_login + 1 };
            self.by_address.insert(address, count);
        }
        self.total += 1;
        self.before_login += 1;
        Ok(())
    }

    fn take_pace(&mut self, address: AddressKey, now_ms: u64) -> Result<(), Refused> {
        let per_minute = u64::from(self.limits.connects_per_address_per_minute_max);
        if self.paces.len() >= PACED_ADDRESSES_MAX && !self.paces.contains_key(&address) {
            self.make_room(now_ms);
        }
        let fresh = Pace { tokens: per_minute * CONNECT_COST, at_ms: now_ms };
        let pace = self.paces.entry(address).or_insert(fresh);
        pace.refill(per_minute, now_ms);
        pace.tokens = pace.tokens.checked_sub(CONNECT_COST).ok_or(Refused::TooFast)?;
        Ok(())
    }

    /// Forgets half of the table: all that a minute has refilled, and those that have waited longest.
    fn make_room(&mut self, now_ms: u64) {
        self.forget_refilled(now_ms);
        if self.paces.len() < PACED_ADDRESSES_MAX / 2 {
            return;
        }
        let mut times: Vec<u64> = self.paces.values().map(|pace| pace.at_ms).collect();
        let (_, &mut median, _) = times.select_nth_unstable(PACED_ADDRESSES_MAX / 4);
        self.paces.retain(|_, pace| pace.at_ms > median);
    }

    fn forget_refilled(&mut self, now_ms: u64) {
        let per_minute = u64::from(self.limits.connects_per_address_per_minute_max);
        self.paces.retain(|_, pace| {
            let mut later = *pace;
            later.refill(per_minute, now_ms);
            later.tokens < per_minute * CONNECT_COST
        });
    }

    /// Gives back what a past load has left.
    pub(super) fn shrink(&mut self, now_ms: u64) {
        self.forget_refilled(now_ms);
        self.paces.shrink_to_fit();
        self.by_address.shrink_to_fit();
    }

    /// Connections now.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Connections now that count towards their address.
    pub(super) fn counted(&self) -> usize {
        self.by_address.values().map(|count| count.all as usize).sum()
    }

    /// Whether nobody can be let in until somebody leaves.
    pub(super) fn is_full(&self) -> bool {
        self.total >= self.limits.connections_max || self.is_full_before_login()
    }

    /// Whether all places before the login are taken.
    pub(super) fn is_full_before_login(&self) -> bool {
        self.before_login >= self.limits.connections_before_login_max
    }

    /// Whether as many handshakes are under way as may be.
    pub(super) fn is_full_of_handshakes(&self, handshakes: usize) -> bool {
        handshakes >= self.limits.handshakes_max
    }

    /// Bytes behind it.
    pub(super) fn heap_bytes(&self) -> usize {
        self.by_address.capacity() * (size_of::<(AddressKey, Count)>() + 1)
            + self.paces.capacity() * (size_of::<(AddressKey, Pace)>() + 1)
    }

    /// Connections now that count towards their address and have not logged in.
    pub(super) fn counted_before_login(&self) -> usize {
        self.by_address.values().map(|count| count.before_login as usize).sum()
    }

    /// Connections now that have not logged in.
    pub(super) fn before_login(&self) -> usize {
        self.before_login
    }

    /// A connection that was let in has logged in, or goes without.
    pub(super) fn settle(&mut self, address: AddressKey) {
        self.before_login = self.before_login.saturating_sub(1);
        if let Some(count) = self.by_address.get_mut(&address) {
            count.before_login = count.before_login.saturating_sub(1);
        }
    }

    /// A connection that was let in has gone.
    pub(super) fn leave(&mut self, address: AddressKey) {
        self.total = self.total.saturating_sub(1);
        if let Some(count) = self.by_address.get_mut(&address) {
            count.all -= 1;
            if count.all == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> AddressKey {
        AddressKey::of(text.parse().unwrap())
    }

    fn admission(connections_max: usize, per_address: usize, per_minute: u32) -> Admission {
        let limits = AdmissionLimits {
            connections_max,
            connections_before_login_max: usize::MAX,
            handshakes_max: usize::MAX,
            connections_per_address_max: per_address,
            before_login_per_address_max: usize::MAX,
            connects_per_address_per_minute_max: per_minute,
        };
        Admission::new(limits, Keyed(1, 2))
    }

    #[test]
    fn bounds_hold_and_places_come_back() {
        let mut admission = admission(4, 2, 1_000);
        let (one, two, home) = (key("192.0.2.1"), key("192.0.2.2"), key("127.0.0.1"));
        assert_eq!(admission.admit(one, 0), Ok(()));
        assert_eq!(admission.admit(one, 0), Ok(()));
        assert_eq!(admission.admit(one, 0), Err(Refused::AddressFull));
        assert_eq!(admission.admit(two, 0), Ok(()));
        assert_eq!(admission.admit(home, 0), Ok(()));
        assert_eq!(admission.admit(home, 0), Err(Refused::Full));
        admission.leave(one);
        assert_eq!(admission.admit(one, 0), Ok(()));
        for address in [one, one, two, home] {
            admission.leave(address);
        }
        assert!(admission.by_address.is_empty() && admission.total == 0);
    }

    fn connects(admission: &mut Admission, address: AddressKey, now_ms: u64, tries: usize) -> usize {
        let come_and_go = |admission: &mut Admission| {
            let admitted = admission.admit(address, now_ms).is_ok();
            if admitted {
                admission.leave(address);
            }
            admitted
        };
        (0..tries).filter(|_| come_and_go(admission)).count()
    }

    #[test]
    fn an_address_that_comes_too_often_waits() {
        let mut admission = admission(100, 100, 60);
        let (one, two, home) = (key("192.0.2.1"), key("2001:db8::1"), key("::1"));
        assert_eq!(connects(&mut admission, one, 1_000, 100), 60);
        assert_eq!(admission.admit(one, 1_000), Err(Refused::TooFast));
        // What is refused costs nothing: one a second comes back.
        assert_eq!(connects(&mut admission, one, 1_999, 10), 0);
        assert_eq!(connects(&mut admission, one, 2_000, 10), 1);
        assert_eq!(connects(&mut admission, one, 12_000, 100), 10);
        // Nobody else pays for it, and the host itself is no stranger.
        assert_eq!(connects(&mut admission, two, 12_000, 100), 60);
        assert_eq!(connects(&mut admission, home, 12_000, 1_000), 1_000);
        // More than the minute's is never saved up; then both are forgotten.
        assert_eq!(connects(&mut admission, one, 1_000_000, 100), 60);
        admission.shrink(1_059_999);
        assert_eq!(admission.paces.len(), 1);
        admission.shrink(1_060_000);
        assert!(admission.paces.is_empty());
    }

    #[test]
    fn the_table_of_addresses_is_bounded() {
        let mut admission = admission(10, 10, 60);
        let last = 3 * PACED_ADDRESSES_MAX as u64;
        for number in 0..last {
            let address = std::net::Ipv6Addr::from_bits((0x2001_0db8_0000_0000 | u128::from(number)) << 64);
            assert_eq!(connects(&mut admission, AddressKey::of(address.into()), number, 60), 60);
            assert!(admission.paces.len() <= PACED_ADDRESSES_MAX);
        }
        // Who came last is still remembered.
        let address = std::net::Ipv6Addr::from_bits((0x2001_0db8_0000_0000 | u128::from(last - 1)) << 64);
        assert_eq!(admission.admit(AddressKey::of(address.into()), last), Err(Refused::TooFast));
    }

    #[test]
    fn those_before_their_login_have_a_bound_of_their_own() {
        let limits = AdmissionLimits {
            connections_max: 4,
            connections_before_login_max: 2,
            handshakes_max: 1,
            connections_per_address_max: 4,
            before_login_per_address_max: 1,
            connects_per_address_per_minute_max: 1_000,
        };
        let mut admission = Admission::new(limits, Keyed(1, 2));
        let home = key("127.0.0.1");
        assert_eq!(admission.admit(home, 0), Ok(()));
        assert_eq!(admission.admit(home, 0), Ok(()));
        assert_eq!(admission.admit(home, 0), Err(Refused::Full));
        admission.settle(home);
        assert!(!admission.is_full_before_login());
        // One address may not have them all, whatever it has besides.
        let far = key("192.0.2.1");
        assert_eq!(admission.admit(far, 0), Ok(()));
        assert_eq!((admission.total(), admission.before_login()), (3, 2));
        admission.settle(home);
        assert_eq!(admission.admit(far, 0), Err(Refused::AddressFull));
        admission.settle(far);
        assert_eq!(admission.admit(far, 0), Ok(()));
        assert!(admission.is_full_of_handshakes(1) && !admission.is_full_of_handshakes(0));
    }
}
