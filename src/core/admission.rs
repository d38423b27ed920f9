//! Admission: who may connect, by the counts of connections in all and from one address.
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
    /// As many connections as the process may have.
    Full,
    /// As many connections as one address may have.
    AddressFull,
    /// The server is shutting down.
    ShuttingDown,
}

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionLimits {
    /// Connections at the same time.
    pub connections_max: usize,
    /// Connections at the same time from one address (or IPv6 /64).
    pub connections_per_address_max: usize,
}

/// Counts of connections.
#[derive(Debug)]
pub(super) struct Admission {
    limits: AdmissionLimits,
    total: usize,
    by_address: HashMap<AddressKey, u32, Keyed>,
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
        Self { limits, total: 0, by_address: HashMap::with_hasher(keyed) }
    }

    /// Lets a connection in, or says why not.
    ///
    /// # Errors
    ///
    /// [`Refused`]: close the socket without a word.
    pub(super) fn admit(&mut self, address: AddressKey) -> Result<(), Refused> {
        if self.total >= self.limits.connections_max {
            return Err(Refused::Full);
        }
        if address != AddressKey::LOOPBACK {
            let count = self.by_address.entry(address).or_insert(0);
            if *count as usize >= self.limits.connections_per_address_max {
                return Err(Refused::AddressFull);
            }
            *count += 1;
        }
        self.total += 1;
        Ok(())
    }

    /// Connections now.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Connections now that count towards their address.
    pub(super) fn counted(&self) -> usize {
        self.by_address.values().map(|count| *count as usize).sum()
    }

    /// A connection that was let in has gone.
    pub(super) fn leave(&mut self, address: AddressKey) {
        self.total = self.total.saturating_sub(1);
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
        if self.by_address.is_empty() {
            self.by_address.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> AddressKey {
        AddressKey::of(text.parse().unwrap())
    }

    #[test]
    fn bounds_hold_and_places_come_back() {
        let limits = AdmissionLimits { connections_max: 4, connections_per_address_max: 2 };
        let mut admission = Admission::new(limits, Keyed(1, 2));
        let (one, two, home) = (key("192.0.2.1"), key("192.0.2.2"), key("127.0.0.1"));
        assert_eq!(admission.admit(one), Ok(()));
        assert_eq!(admission.admit(one), Ok(()));
        assert_eq!(admission.admit(one), Err(Refused::AddressFull));
        assert_eq!(admission.admit(two), Ok(()));
        assert_eq!(admission.admit(home), Ok(()));
        assert_eq!(admission.admit(home), Err(Refused::Full));
        admission.leave(one);
        assert_eq!(admission.admit(one), Ok(()));
        for address in [one, one, two, home] {
            admission.leave(address);
        }
        assert!(admission.by_address.is_empty() && admission.total == 0);
    }
}
