//! Rows to write as one: puts and deletes, one a key, in key order.

use std::collections::BTreeMap;
use std::ops::Bound;

/// What a row costs in memory beside its own bytes: two boxes and its share of a tree node. A guess.
const ROW_OVERHEAD_BYTES: usize = 64;

/// Writes that become durable together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    rows: BTreeMap<Box<[u8]>, Option<Box<[u8]>>>,
    bytes: usize,
}

impl Batch {
    /// Nothing to write.
    pub const fn new() -> Self {
        Self { rows: BTreeMap::new(), bytes: 0 }
    }

    /// Sets a row.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.set(key.into(), Some(value.into()));
    }

    /// Removes a row. The tombstone stays in the batch.
    pub fn delete(&mut self, key: &[u8]) {
        self.set(key.into(), None);
    }

    fn set(&mut self, key: Box<[u8]>, value: Option<Box<[u8]>>) {
        let key_bytes = key.len();
        self.bytes += row_bytes(key_bytes, value.as_deref());
        if let Some(old) = self.rows.insert(key, value) {
            self.bytes -= row_bytes(key_bytes, old.as_deref());
        }
    }

    /// What the batch says about `key`: nothing, that it is deleted, or its value.
    pub fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.rows.get(key).map(Option::as_deref)
    }

    /// All writes in key order; `None` is a delete.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.rows.iter().map(|(key, value)| (&**key, value.as_deref()))
    }

    /// The writes from `from` (included) to `to` (excluded).
    pub(super) fn range(&self, from: &[u8], to: &[u8]) -> impl DoubleEndedIterator<Item = (&[u8], Option<&[u8]>)> {
        // An inverted range makes a BTreeMap panic.
        let from = from.min(to);
        self.rows
            .range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)))
            .map(|(key, value)| (&**key, value.as_deref()))
    }

    /// Moves the writes of `newer` over those here; `newer` is then empty.
    pub(super) fn absorb(&mut self, newer: &mut Self) {
        for (key, value) in std::mem::take(newer).rows {
            self.set(key, value);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        // Most frames write nothing, and dropping an empty tree is not free.
        if !self.rows.is_empty() {
            *self = Self::default();
        }
    }

    /// How many rows are written.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes held, with an allowance for the tree itself.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What one row counts against the overlay's bound.
pub(super) fn row_bytes(key_bytes: usize, value: Option<&[u8]>) -> usize {
    ROW_OVERHEAD_BYTES + key_bytes + value.map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_follow_the_rows() {
        let mut batch = Batch::default();
        batch.put(b"key", b"value");
        assert_eq!(batch.bytes(), ROW_OVERHEAD_BYTES + 8);
        batch.put(b"key", b"v");
        assert_eq!(batch.bytes(), ROW_OVERHEAD_BYTES + 4);
        batch.delete(b"key");
        assert_eq!(batch.bytes(), ROW_OVERHEAD_BYTES + 3);
        let mut newer = Batch::default();
        newer.put(b"key", b"12");
        newer.put(b"other", b"");
        batch.absorb(&mut newer);
        assert_eq!(batch.bytes(), 2 * ROW_OVERHEAD_BYTES + 10);
        assert_eq!((newer.bytes(), newer.len()), (0, 0));
        assert_eq!(batch.get(b"key"), Some(Some(&b"12"[..])));
    }
}
