//! The in-memory twin of the real store, for tests and simulation.

use super::{Batch, Engine, FETCH_BYTES_MAX, KeyRange, Row, Rows, StoreError};
use std::collections::BTreeMap;
use std::ops::Bound;

/// An engine that forgets everything when it is dropped.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Engine for Memory {
    fn fetch(&mut self, ranges: &[KeyRange]) -> Result<Vec<Rows>, StoreError> {
        let mut budget = FETCH_BYTES_MAX;
        ranges.iter().map(|range| self.read(range, &mut budget)).collect()
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        for (key, value) in batch.iter() {
            match value {
                Some(value) => self.rows.insert(key.to_vec(), value.to_vec()),
                None => self.rows.remove(key),
            };
        }
        Ok(())
    }

    fn count(&mut self) -> Result<u64, StoreError> {
        Ok(self.rows.len() as u64)
    }
}

impl Memory {
    fn read(&self, range: &KeyRange, budget: &mut usize) -> Result<Rows, StoreError> {
        if range.is_empty() {
            return Ok(Rows { rows: Vec::new(), complete: true });
        }
        let bounds = (Bound::Included(&*range.from), Bound::Excluded(&*range.to));
        let rows = self
            .rows
            .range::<[u8], _>(bounds)
            .map(|(key, value)| -> Result<Row, StoreError> { Ok((key.clone(), value.clone())) });
        if range.reverse { Rows::collect(range, rows.rev(), budget) } else { Rows::collect(range, rows, budget) }
    }
}
