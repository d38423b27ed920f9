//! Presence payloads: each distinct one is kept once, however many sessions have sent it.
//!
//! ```text
//! <presence id='x'><c …/></presence> ──without from, to, id──▶ bytes ──keyed hash──▶ PayloadId, counted
//! ```
//!
//! Ten thousand sessions of one kind of client say the same thing. Counted by hand; the owner of an id gives it back.

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use slab::Slab;

/// A payload that is kept; to be given back with [`Payloads::release`].
#[derive(Debug, PartialEq, Eq)]
pub struct PayloadId(u32);

#[derive(Debug)]
struct Payload {
    bytes: Box<[u8]>,
    uses: u32,
}

/// All payloads.
#[derive(Debug)]
pub struct Payloads {
    rows: Slab<Payload>,
    index: HashTable<u32>,
    keys: (u64, u64),
    bytes: usize,
}

impl Payloads {
    /// None yet; `keys` makes the hash unpredictable to peers.
    pub fn new(keys: (u64, u64)) -> Self {
        Self { rows: Slab::new(), index: HashTable::new(), keys, bytes: 0 }
    }

    /// Keeps a payload, or counts the one that is there already.
    pub fn keep(&mut self, bytes: &[u8]) -> PayloadId {
        let (keys, rows) = (self.keys, &mut self.rows);
        let hash = hash(keys, bytes);
        if let Some(at) = self.index.find(hash, |at| rows.get(*at as usize).is_some_and(|row| &*row.bytes == bytes)) {
            if let Some(row) = rows.get_mut(*at as usize) {
                row.uses += 1;
            }
            return PayloadId(*at);
        }
        let at = rows.insert(Payload { bytes: bytes.into(), uses: 1 }) as u32;
        self.bytes += bytes.len();
        let rows = &self.rows;
        self.index.insert_unique(hash, at, |at| rows.get(*at as usize).map_or(0, |row| self::hash(keys, &row.bytes)));
        PayloadId(at)
    }

    /// The bytes.
    pub fn get(&self, id: &PayloadId) -> &[u8] {
        self.rows.get(id.0 as usize).map_or(&[], |row| &row.bytes)
    }

    /// Gives a payload back; the last one frees it.
    #[allow(clippy::needless_pass_by_value, reason = "an id that was given back must not be used again")]
    pub fn release(&mut self, id: PayloadId) {
        let Some(row) = self.rows.get_mut(id.0 as usize) else { return };
        row.uses -= 1;
        if row.uses > 0 {
            return;
        }
        let hash = hash(self.keys, &row.bytes);
        self.bytes -= row.bytes.len();
        self.rows.remove(id.0 as usize);
        if let Ok(entry) = self.index.find_entry(hash, |at| *at == id.0) {
            entry.remove();
        }
        if self.rows.is_empty() {
            (self.rows, self.index) = (Slab::new(), HashTable::new());
        }
    }

    /// Gives back what a past load has left.
    pub fn shrink(&mut self) {
        self.rows.shrink_to_fit();
        let (keys, rows) = (self.keys, &self.rows);
        self.index.shrink_to_fit(|at| rows.get(*at as usize).map_or(0, |row| hash(keys, &row.bytes)));
    }

    /// How many distinct ones there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nobody has sent presence.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes behind them.
    pub fn heap_bytes(&self) -> usize {
        let row = size_of::<Payload>() + size_of::<usize>();
        self.bytes + self.rows.capacity() * row + self.index.capacity() * (size_of::<u32>() + 1)
    }
}

fn hash(keys: (u64, u64), bytes: &[u8]) -> u64 {
    SipHasher13::new_with_keys(keys.0, keys.1).hash(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_payloads_are_one() {
        let mut payloads = Payloads::new((1, 2));
        let one = payloads.keep(b"/>");
        let same = payloads.keep(b"/>");
        let other = payloads.keep(b"><show>away</show></presence>");
        assert_eq!(one, same);
        assert_eq!(payloads.len(), 2);
        payloads.release(one);
        assert_eq!(payloads.get(&same), b"/>");
        payloads.release(same);
        assert_eq!((payloads.len(), payloads.get(&other).len()), (1, 29));
        payloads.release(other);
        assert!(payloads.is_empty());
        assert_eq!(payloads.heap_bytes(), 0);
    }
}
