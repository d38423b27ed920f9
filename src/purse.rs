//! A session's purse: the bytes and the work that it may still cause now, filled up at a rate.
//!
//! ```text
//! Rates ──so much a slot──▶ Purse { bytes, work } ──spent──▶ below zero: wait so many slots
//! ```
//!
//! Eight bytes a session, and no timer: it is filled up when it is looked at. Time is in slots of
//! [`SLOT_MS`], so that slow rates do not round to nothing.

use crate::clock::Now;
use crate::limits::{RATE_BURST_S, RATE_WAIT_SLOTS_MAX, SLOT_MS};

/// What one session may send.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    bytes_per_slot: i32,
    work_per_slot: i32,
}

impl Rates {
    /// So many bytes and so many stanzas a second; 0: as much as it likes.
    pub fn new(bytes_per_s: u64, stanzas_per_s: u64) -> Self {
        let per_slot = |per_s: u64| match per_s {
            0 => i32::MAX,
            per_s => i32::try_from(per_s.saturating_mul(SLOT_MS) / 1000).unwrap_or(i32::MAX).max(1),
        };
        Self { bytes_per_slot: per_slot(bytes_per_s), work_per_slot: per_slot(stanzas_per_s) }
    }
}

/// What a session may still send now; below zero it owes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purse {
    bytes: i32,
    work: i32,
}

/// Slots that a full purse lasts.
const BURST_SLOTS: i32 = (RATE_BURST_S * 1000 / SLOT_MS) as i32;

impl Purse {
    /// As full as it gets.
    pub fn full(rates: &Rates) -> Self {
        let burst = |per_slot: i32| per_slot.saturating_mul(BURST_SLOTS);
        Self { bytes: burst(rates.bytes_per_slot), work: burst(rates.work_per_slot) }
    }

    /// Puts in what so many slots bring.
    pub fn refill(&mut self, rates: &Rates, slots: u32) {
        let full = Self::full(rates);
        let slots = i32::try_from(slots).unwrap_or(i32::MAX);
        let add = |has: i32, per_slot: i32, full: i32| has.saturating_add(per_slot.saturating_mul(slots)).min(full);
        self.bytes = add(self.bytes, rates.bytes_per_slot, full.bytes);
        self.work = add(self.work, rates.work_per_slot, full.work);
    }

    /// Takes the price of what was read.
    pub fn spend_bytes(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(i32::try_from(bytes).unwrap_or(i32::MAX));
    }

    /// Takes the price of what was done.
    pub fn spend_work(&mut self, work: u32) {
        self.work = self.work.saturating_sub(i32::try_from(work).unwrap_or(i32::MAX));
    }

    /// Whether nothing is left.
    pub fn is_empty(self) -> bool {
        self.bytes < 0 || self.work < 0
    }

    /// In how many slots something will be there.
    pub fn wait_slots(self, rates: &Rates) -> u32 {
        let slots = |has: i32, per_slot: i32| has.min(0).unsigned_abs() / per_slot.unsigned_abs().max(1) + 1;
        slots(self.bytes, rates.bytes_per_slot).max(slots(self.work, rates.work_per_slot)).min(RATE_WAIT_SLOTS_MAX)
    }
}

/// The slot of a time on the tick's clock.
pub fn slot(now: Now) -> u32 {
    u32::try_from(now.mono_ms / SLOT_MS).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purse_lasts_a_burst_and_fills_at_its_rate() {
        let rates = Rates::new(1_000, 100);
        let mut purse = Purse::full(&rates);
        purse.spend_bytes(1_000 * RATE_BURST_S as usize);
        assert!(!purse.is_empty());
        purse.spend_bytes(1);
        assert!(purse.is_empty());
        assert_eq!(purse.wait_slots(&rates), 1);
        purse.refill(&rates, 1);
        assert!(!purse.is_empty());
        purse.spend_work(100 * RATE_BURST_S as u32 + 25);
        assert_eq!((purse.is_empty(), purse.wait_slots(&rates)), (true, 3));
        purse.refill(&rates, 3);
        assert!(!purse.is_empty());
        purse.refill(&rates, u32::MAX);
        assert_eq!(purse, Purse::full(&rates));
        purse.spend_work(u32::MAX);
        assert_eq!(purse.wait_slots(&rates), RATE_WAIT_SLOTS_MAX);
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let rates = Rates::new(0, 0);
        let mut purse = Purse::full(&rates);
        purse.spend_bytes(1 << 30);
        purse.spend_work(1 << 30);
        assert!(!purse.is_empty());
        purse.refill(&rates, 1);
        assert_eq!(purse, Purse::full(&rates));
    }
}
