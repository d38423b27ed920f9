//! A range of keys, and the rows that were read from one.

use super::FETCH_ROWS_MAX;

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Keys from `from` (included) to `to` (excluded), at most `limit` rows, from one end or the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key.
    pub from: Vec<u8>,
    /// The key behind the last one.
    pub to: Vec<u8>,
    /// Most rows wanted.
    pub limit: u32,
    /// Whether the rows are wanted from the highest key down.
    pub reverse: bool,
}

impl KeyRange {
    /// Exactly one key.
    pub fn one(key: &[u8]) -> Self {
        Self { from: key.to_vec(), to: after(key), limit: 1, reverse: false }
    }

    /// Keys from `from` (included) to `to` (excluded), up from the lowest.
    pub fn new(from: Vec<u8>, to: Vec<u8>, limit: u32) -> Self {
        Self { from, to, limit, reverse: false }
    }

    /// All keys that begin with `prefix`, up from the lowest.
    ///
    /// A prefix of nothing but `0xFF` has no end; there is none, since no table is `0xFF`.
    pub fn under(prefix: &[u8], limit: u32) -> Self {
        Self::new(prefix.to_vec(), end_of(prefix), limit)
    }

    /// The same, without the keys up to and with `key`.
    #[must_use]
    pub fn behind(mut self, key: &[u8]) -> Self {
        let from = after(key);
        if from > self.from {
            self.from = from;
        }
        self
    }

    /// The same rows from the other end.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.reverse = !self.reverse;
        self
    }

    /// Whether no key can be in it.
    pub fn is_empty(&self) -> bool {
        self.from >= self.to || self.limit == 0
    }

    /// How many rows one fetch of it may bring.
    pub fn fetch_limit(&self) -> usize {
        self.limit.min(FETCH_ROWS_MAX) as usize
    }
}

/// What one fetch of a [`KeyRange`] brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The rows, in the order of the range.
    pub rows: Vec<Row>,
    /// Whether the range holds no row behind them.
    pub complete: bool,
}

impl Rows {
    /// Takes rows from `source` until the range, [`FETCH_ROWS_MAX`] or `budget` ends it.
    ///
    /// `budget` is the bytes left to the whole fetch; the row that uses it up is still taken.
    ///
    /// # Errors
    ///
    /// The first error of `source`.
    pub fn collect<E>(
        range: &KeyRange,
        source: impl Iterator<Item = Result<Row, E>>,
        budget: &mut usize,
    ) -> Result<Self, E> {
        let mut answer = Self { rows: Vec::new(), complete: true };
        for row in source {
            if answer.rows.len() >= range.fetch_limit() || *budget == 0 {
                answer.complete = false;
                break;
            }
            let row = row?;
            *budget = budget.saturating_sub(row.0.len() + row.1.len());
            answer.rows.push(row);
        }
        Ok(answer)
    }
}

/// The lowest key above `key`.
pub(super) fn after(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}

/// The lowest key above everything that begins with `prefix`.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end;
        }
    }
    vec![0xFF]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_prefixes() {
        for (prefix, end) in [
            (&b"a"[..], &b"b"[..]),
            (b"a\x00\x01", b"a\x00\x02"),
            (b"a\xFF", b"b"),
            (b"a\xFF\xFF", b"b"),
            (b"", b"\xFF"),
        ] {
            assert_eq!(end_of(prefix), end, "{prefix:?}");
        }
    }

    #[test]
    fn a_fetch_stops_at_its_bounds_and_says_so() {
        let source = |count: u32, bytes: usize| {
            (0..count).map(move |i| Ok::<Row, ()>((i.to_be_bytes().to_vec(), vec![0; bytes])))
        };
        let take = |limit, count, bytes, mut budget| {
            let rows = Rows::collect(&KeyRange::under(b"", limit), source(count, bytes), &mut budget).unwrap();
            (rows.rows.len(), rows.complete, budget)
        };
        assert_eq!(take(10, 3, 1, 100), (3, true, 85));
        assert_eq!(take(3, 3, 1, 100), (3, true, 85));
        assert_eq!(take(2, 3, 1, 100), (2, false, 90));
        assert_eq!(take(u32::MAX, FETCH_ROWS_MAX + 1, 0, 10_000), (FETCH_ROWS_MAX as usize, false, 5904));
        assert_eq!(take(10, 10, 46, 101), (3, false, 0));
        assert_eq!(take(10, 3, 46, 101), (3, true, 0));
        assert_eq!(take(10, 10, 46, 0), (0, false, 0));
        assert_eq!(take(10, 0, 46, 0), (0, true, 0), "nothing is not more than nothing");
    }
}
