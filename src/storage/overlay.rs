//! Reading through the layers: this run's writes, the two generations, then fetched rows.
//!
//! ```text
//! draft ▶ filling ▶ in flight ▶ pieces (what was fetched for this frame) ▶ Miss
//! ```
//!
//! A piece is a stretch of keys about which everything is known. A range read walks from piece to
//! piece, lays the writes over them, tombstones included, and misses at the first key that no piece
//! covers: with the rest of the range, so every rerun gets further than the one before.

use super::range::after;
use super::store::Ticket;
use super::{Batch, KeyRange, Row, Rows};
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Bound;

/// A stretch of keys as the database has them, kept up to date while it is held.
#[derive(Debug)]
pub(super) struct Piece {
    from: Vec<u8>,
    to: Vec<u8>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    bytes: usize,
}

impl Piece {
    /// What a fetch has found out.
    pub(super) fn new(range: KeyRange, fetched: Rows) -> Self {
        let KeyRange { mut from, mut to, reverse, .. } = range;
        if !fetched.complete {
            match fetched.rows.last() {
                Some((last, _)) if reverse => from.clone_from(last),
                Some((last, _)) => to = after(last),
                None => to.clone_from(&from),
            }
        }
        let bytes = fetched.rows.iter().map(|(key, value)| key.len() + value.len()).sum();
        Self { from, to, rows: fetched.rows.into_iter().collect(), bytes }
    }

    /// Takes over the writes of a generation that leaves the overlay.
    pub(super) fn apply(&mut self, generation: &Batch) {
        for (key, value) in generation.range(&self.from, &self.to) {
            let old = match value {
                Some(value) => {
                    self.bytes += key.len() + value.len();
                    self.rows.insert(key.to_vec(), value.to_vec())
                }
                None => self.rows.remove(key),
            };
            self.bytes -= old.map_or(0, |old| key.len() + old.len());
        }
    }

    /// Where it begins.
    pub(super) fn from(&self) -> &[u8] {
        &self.from
    }

    /// Bytes of keys and values.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn covers(&self, key: &[u8]) -> bool {
        *self.from <= *key && *key < *self.to
    }

    fn range(&self, from: &[u8], to: &[u8]) -> impl DoubleEndedIterator<Item = Entry<'_>> {
        let from = from.min(to);
        self.rows
            .range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)))
            .map(|(key, value)| (key.as_slice(), Some(value.as_slice())))
    }
}

/// A key and its value, or its tombstone.
type Entry<'a> = (&'a [u8], Option<&'a [u8]>);

/// All that a read may look at.
pub(super) struct View<'a> {
    /// Writes from the newest layer to the oldest, each with the ticket that its readers depend on.
    pub(super) layers: [(&'a Batch, Ticket); 3],
    /// What was fetched for this frame.
    pub(super) pieces: &'a [Piece],
}

impl View<'_> {
    /// One row and the ticket that the answer depends on; `None` if it is not known here.
    pub(super) fn get(&self, key: &[u8]) -> Option<(Option<Vec<u8>>, Ticket)> {
        for (batch, ticket) in self.layers {
            if let Some(value) = batch.get(key) {
                return Some((value.map(<[u8]>::to_vec), ticket));
            }
        }
        // Most pieces are one row; a row inside a longer one is looked for in all.
        let at = self.pieces.partition_point(|piece| piece.from() <= key);
        let nearest = at.checked_sub(1).and_then(|at| self.pieces.get(at));
        let mut covering = nearest.into_iter().chain(self.pieces).filter(|piece| piece.covers(key));
        let piece = covering.next()?;
        Some((piece.rows.get(key).cloned(), Ticket::NONE))
    }

    /// The rows of `range` and the ticket that they depend on.
    ///
    /// # Errors
    ///
    /// The part of the range that must be fetched first.
    pub(super) fn range(&self, range: &KeyRange) -> Result<(Vec<Row>, Ticket), KeyRange> {
        let (mut from, mut to) = (&*range.from, &*range.to);
        let (mut rows, mut ticket) = (Vec::new(), Ticket::NONE);
        while from < to && rows.len() < range.limit as usize {
            let piece = if range.reverse { self.piece_below(to) } else { self.piece_from(from) };
            let Some(piece) = piece else {
                let limit = range.limit - u32::try_from(rows.len()).unwrap_or(range.limit);
                return Err(KeyRange { from: from.to_vec(), to: to.to_vec(), limit, reverse: range.reverse });
            };
            let (low, high) = (from.max(&*piece.from), to.min(&*piece.to));
            self.walk(piece, low, high, range, &mut rows, &mut ticket);
            if range.reverse {
                to = low;
            } else {
                from = high;
            }
        }
        Ok((rows, ticket))
    }

    /// The piece that covers `key` and reaches furthest up.
    fn piece_from(&self, key: &[u8]) -> Option<&Piece> {
        self.pieces.iter().filter(|piece| piece.covers(key)).max_by(|a, b| a.to.cmp(&b.to))
    }

    /// The piece that covers the keys right below `key` and reaches furthest down.
    fn piece_below(&self, key: &[u8]) -> Option<&Piece> {
        self.pieces.iter().filter(|piece| *piece.from < *key && *key <= *piece.to).min_by(|a, b| a.from.cmp(&b.from))
    }

    /// Adds the rows between `low` and `high`, as the layers and the piece have them.
    fn walk(&self, piece: &Piece, low: &[u8], high: &[u8], range: &KeyRange, rows: &mut Vec<Row>, ticket: &mut Ticket) {
        let reverse = range.reverse;
        let [draft, filling, flight] = self.layers.map(|(batch, _)| directed(batch.range(low, high), reverse));
        let base = directed(piece.range(low, high), reverse);
        let mut merge = Merge { sources: [draft, filling, flight, base].map(Iterator::peekable), reverse };
        let [draft, filling, flight] = self.layers.map(|(_, ticket)| ticket);
        let tickets = [draft, filling, flight, Ticket::NONE];
        while rows.len() < range.limit as usize {
            let Some((source, (key, value))) = merge.next() else { return };
            *ticket = (*ticket).max(tickets[source]);
            if let Some(value) = value {
                rows.push((key.to_vec(), value.to_vec()));
            }
        }
    }
}

fn directed<'a>(
    entries: impl DoubleEndedIterator<Item = Entry<'a>> + 'a,
    reverse: bool,
) -> Box<dyn Iterator<Item = Entry<'a>> + 'a> {
    if reverse { Box::new(entries.rev()) } else { Box::new(entries) }
}

/// Sorted sources as one: of equal keys the first source's entry, which is the newest, hides the others.
struct Merge<'a> {
    sources: [Peekable<Box<dyn Iterator<Item = Entry<'a>> + 'a>>; 4],
    reverse: bool,
}

impl<'a> Iterator for Merge<'a> {
    type Item = (usize, Entry<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let reverse = self.reverse;
        let heads = self.sources.iter_mut().filter_map(|source| source.peek().map(|(key, _)| *key));
        let key = if reverse { heads.max() } else { heads.min() }?;
        let mut newest = None;
        for (at, source) in self.sources.iter_mut().enumerate() {
            if let Some(entry) = source.next_if(|(head, _)| *head == key) {
                newest = newest.or(Some((at, entry)));
            }
        }
        newest
    }
}
