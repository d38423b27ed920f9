//! Rates: how much one session may send, in bytes and in work; past it, its connection is read later.
//!
//! ```text
//! read ──▶ bytes spent ──▶ each frame: work spent ──▶ in debt? gate shut ──refilled──▶ read on
//! ```
//!
//! Work is what a stanza causes, not what it is called: each copy that it makes, each write, each fetch, each
//! error, each address that the session has not written to lately; and what is read and written for it, rows, contacts
//! and bytes. So floods of presence, of subscriptions, of queries and of errors all meet the same bound, and who asks for
//! a long roster pays for a long roster. Nothing is refused: what is not read fills the kernel's
//! buffers, and TCP tells the sender.
//!
//! A purse is two numbers in the connection's row, filled up when something is read: an idle session costs
//! no timer.

use super::Core;
use crate::clock::Now;
use crate::conn::{Conn, Gates, Phase};
use crate::ids::{ConnId, Id as _, SessionId};
use crate::limits::{
    BYTES_PER_WORK, CONTACTS_PER_WORK, RECIPIENT_BITS, RECIPIENT_SLOTS, ROWS_PER_WORK, SLOT_MS, WORK_ERROR, WORK_FETCH,
    WORK_HASH, WORK_RECIPIENT, WORK_WRITE,
};
use crate::metrics::Metrics;
use crate::purse::{Rates, slot};
use memchr::memchr;
use siphasher::sip::SipHasher13;
use std::collections::BTreeMap;
use std::mem;

/// What a frame has caused beside itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Caused {
    /// Outboxes that it was written to.
    pub(super) copies: usize,
    /// Whether it wrote to the store.
    pub(super) wrote: bool,
    /// Whether it was answered with an error.
    pub(super) was_refused: bool,
    /// Rows that it read.
    pub(super) rows: u64,
    /// Contacts that it went through.
    pub(super) contacts: u64,
    /// Bytes that it read of rows, and appended.
    pub(super) bytes: u64,
    /// Whether it waits for a row, or for a password to be hashed.
    pub(super) waits: Option<Waits>,
}

/// Sums of all that was done so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    /// Runs that have written to the store.
    pub(super) written: u64,
    errors: u64,
    rows: u64,
    contacts: u64,
    bytes: u64,
}

/// What a frame waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    Row,
    Hash,
}

impl Caused {
    fn work(self) -> u32 {
        let waits = match self.waits {
            Some(Waits::Row) => WORK_FETCH,
            Some(Waits::Hash) => WORK_HASH,
            // The first copy is the stanza itself.
            None => 1,
        };
        let copies = u32::try_from(self.copies.saturating_sub(1)).unwrap_or(u32::MAX);
        let wrote = if self.wrote { WORK_WRITE } else { 0 };
        let refused = if self.was_refused { WORK_ERROR } else { 0 };
        let length = self.rows / ROWS_PER_WORK + self.contacts / CONTACTS_PER_WORK + self.bytes / BYTES_PER_WORK;
        copies.saturating_add(waits + wrote + refused).saturating_add(u32::try_from(length).unwrap_or(u32::MAX))
    }
}

impl Core {
    /// Where the sums stand before a frame's run, for [`Core::charge`].
    pub(super) fn meter(&self) -> Meter {
        let (rows, bytes_read) = self.store.read();
        let Metrics { contacts_walked: contacts, stanza_errors: errors, .. } = self.metrics;
        let bytes = bytes_read + self.outboxes.tick_bytes() as u64;
        Meter { written: self.store.written(), errors, rows, contacts, bytes }
    }

    /// Takes the price of a frame of so many bytes. One that has to run again is read again, whole: that is paid again.
    pub(super) fn charge(&mut self, id: ConnId, before: Meter, waits: Option<Waits>, frame_bytes: usize) {
        let after = self.meter();
        let caused = Caused {
            copies: self.outboxes.run_appends(),
            wrote: after.written > before.written,
            was_refused: after.errors > before.errors,
            rows: after.rows - before.rows,
            contacts: after.contacts - before.contacts,
            bytes: after.bytes - before.bytes,
            waits,
        };
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.purse.spend_work(caused.work());
        if waits.is_some() {
            conn.purse.spend_bytes(frame_bytes);
        }
    }

    /// Takes the price of an address that a session has not written to lately.
    pub(super) fn charge_recipient(&mut self, id: ConnId, session: SessionId, to: &[u8], now: Now) {
        // What it means, not how it was written: `&#64;` is an `@`.
        let bare = memchr(b'/', to).and_then(|end| to.get(..end)).unwrap_or(to);
        // Domains are few, and most are this server's own.
        if memchr(b'@', bare).is_some()
            && self.recipients.is_new(session, bare, slot(now))
            && let Some(conn) = self.conns.get_mut(id)
        {
            conn.purse.spend_work(WORK_RECIPIENT);
        }
    }

    /// Fills up the purse of a connection that is read.
    pub(super) fn refill(conn: &mut Conn, rates: &Rates, slot: u32) {
        if conn.heard_slot != slot {
            conn.purse.refill(rates, slot.saturating_sub(conn.heard_slot));
            conn.heard_slot = slot;
        }
    }

    /// A session has sent more than it may: it is read again when its purse has something in it.
    pub(super) fn slow_down(&mut self, id: ConnId, now: Now) {
        let Some(conn) = self.conns.get(id) else { return };
        let due = slot(now).saturating_add(conn.purse.wait_slots(&self.settings.rates));
        self.slowed.entry(due).or_default().push(id);
        self.metrics.slowed += 1;
        self.set_gate(id, Gates::SLOWED, true);
    }

    /// Reads those again whose time has come.
    pub(super) fn speed_up(&mut self, now: Now) {
        let slot = slot(now);
        while let Some(entry) = self.slowed.first_entry().filter(|entry| *entry.key() <= slot) {
            for id in entry.remove() {
                let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.gates.has(Gates::SLOWED)) else { continue };
                Self::refill(conn, &self.settings.rates, slot);
                if conn.purse.is_empty() {
                    self.slow_down(id, now);
                    continue;
                }
                self.set_gate(id, Gates::SLOWED, false);
                self.go_on_reading(id, now);
            }
        }
    }

    /// When [`Core::speed_up`] has something to do.
    pub(super) fn speed_up_at_ms(&self) -> Option<u64> {
        self.slowed.first_key_value().map(|(slot, _)| u64::from(*slot) * SLOT_MS)
    }

    /// A reader that does not read: what it asks for waits too.
    pub(super) fn congest(&mut self, id: ConnId) {
        self.congested.push(id);
        self.set_gate(id, Gates::CONGESTED, true);
    }

    /// Goes on with readers that have caught up.
    pub(super) fn decongest(&mut self, now: Now) {
        for id in mem::take(&mut self.congested) {
            if !self.conns.get(id).is_some_and(|conn| conn.gates.has(Gates::CONGESTED)) {
                continue;
            }
            if !self.outboxes.has_eased(id) {
                self.congested.push(id);
                continue;
            }
            self.set_gate(id, Gates::CONGESTED, false);
            self.go_on_reading(id, now);
        }
    }

    /// Whether every connection that waits is on the list that it waits on.
    pub(super) fn audit_waiting(&self) -> Result<(), String> {
        for (id, conn) in self.conns.iter().filter(|(_, conn)| !matches!(conn.phase, Phase::Closing { .. })) {
            let slowed = self.slowed.values().flatten().filter(|other| **other == id).count();
            let congested = self.congested.iter().filter(|other| **other == id).count();
            let gates = [(Gates::SLOWED, slowed, "slowed down"), (Gates::CONGESTED, congested, "congested")];
            if let Some((_, count, how)) =
                gates.iter().find(|(gate, count, _)| usize::from(conn.gates.has(*gate)) != *count)
            {
                return Err(format!("{id} is listed {count} times as {how}, its gate says otherwise"));
            }
        }
        Ok(())
    }
}

/// Connections that are slowed down, by the slot in which they are looked at again.
pub(super) type Slowed = BTreeMap<u32, Vec<ConnId>>;

/// Who has written to whom lately: two sets of bits, the older one forgotten once a minute. Another pair's bit may
/// be taken for one's own: then an address is free of charge, which harms nobody.
pub(super) struct Recipients {
    keys: (u64, u64),
    lately: Box<[u64]>,
    before: Box<[u64]>,
    count: u32,
    turned_slot: u32,
}

impl std::fmt::Debug for Recipients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recipients").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Recipients {
    /// Nobody has written to anybody.
    pub(super) fn new(keys: (u64, u64)) -> Self {
        let bits = || vec![0; RECIPIENT_BITS / 64].into_boxed_slice();
        Self { keys, lately: bits(), before: bits(), count: 0, turned_slot: 0 }
    }

    /// Bytes behind it.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.lately) + size_of_val(&*self.before)
    }

    /// Notes that a session writes to an address; true if it has not done so lately.
    fn is_new(&mut self, session: SessionId, bare: &[u8], slot: u32) -> bool {
        if slot >= self.turned_slot.saturating_add(RECIPIENT_SLOTS) || self.count as usize > RECIPIENT_BITS / 4 {
            mem::swap(&mut self.lately, &mut self.before);
            self.lately.fill(0);
            (self.count, self.turned_slot) = (0, slot);
        }
        // Who writes goes into the keys: what the hash makes of an address is not to be known of any session.
        let who = u64::from(session.slot()) << 32 | u64::from(session.generation());
        let hasher = SipHasher13::new_with_keys(self.keys.0 ^ who, self.keys.1);
        let bit = hasher.hash(bare) as usize % RECIPIENT_BITS;
        let (word, mask) = (bit / 64, 1_u64 << (bit % 64));
        let Some(lately) = self.lately.get_mut(word) else { return false };
        if *lately & mask != 0 {
            return false;
        }
        *lately |= mask;
        self.count += 1;
        self.before.get(word).is_none_or(|before| before & mask == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_new_once_in_a_while() {
        let mut recipients = Recipients::new((1, 2));
        let (one, other) = (SessionId::from_parts(1, 1), SessionId::from_parts(2, 1));
        assert!(recipients.is_new(one, b"a@h", 600));
        assert!(!recipients.is_new(one, b"a@h", 600));
        assert!(recipients.is_new(other, b"a@h", 600) && recipients.is_new(one, b"b@h", 600));
        // The minute's end does not forget what was just there; the next one's does.
        assert!(!recipients.is_new(one, b"a@h", 600 + RECIPIENT_SLOTS));
        assert!(recipients.is_new(one, b"b@h", 600 + 2 * RECIPIENT_SLOTS));
    }

    #[test]
    fn a_flood_of_addresses_is_still_told_apart() {
        let mut recipients = Recipients::new((1, 2));
        let one = SessionId::from_parts(1, 1);
        let new = (0..200_000).filter(|n| recipients.is_new(one, format!("u{n}@h").as_bytes(), 1)).count();
        assert!(new > 100_000, "{new}");
    }

    #[test]
    fn what_a_frame_causes_is_its_price() {
        let caused = |copies, wrote, was_refused, waits| {
            Caused { copies, wrote, was_refused, waits, ..Caused::default() }.work()
        };
        assert_eq!(caused(1, false, false, None), 1);
        assert_eq!(caused(500, false, false, None), 500);
        assert_eq!(caused(1, true, false, None), 1 + WORK_WRITE);
        assert_eq!(caused(1, false, true, None), 1 + WORK_ERROR);
        assert_eq!(caused(0, false, false, Some(Waits::Row)), WORK_FETCH);
        assert_eq!(caused(0, false, false, Some(Waits::Hash)), WORK_HASH);
        let long = Caused {
            copies: 1,
            rows: 3 * ROWS_PER_WORK,
            contacts: 5 * CONTACTS_PER_WORK,
            bytes: 7 * BYTES_PER_WORK,
            ..Caused::default()
        };
        assert_eq!(long.work(), 1 + 3 + 5 + 7);
        assert_eq!(Caused { rows: u64::MAX, ..long }.work(), u32::MAX);
    }
}
