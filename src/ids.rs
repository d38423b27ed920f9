//! Ids with a generation: a slot may be reused, an id never is.
//!
//! ```text
//! Table::insert ──▶ Id { slot, generation } ──▶ Table::get: Some(row), or None once the row is gone
//! ```
//!
//! A stale id reaches nobody: every look-up compares the generation. Rows live in a `slab::Slab`.

use slab::Slab;
use std::fmt;
use std::hash::Hash;

/// An id of a [`Table`]: a slot number and the generation that was put there.
pub trait Id: Copy + Eq + Hash + fmt::Debug {
    /// Puts an id together from its parts.
    fn from_parts(slot: u32, generation: u32) -> Self;
    /// The row number; reused after the row is removed.
    fn slot(self) -> u32;
    /// The generation; never reused within 2^32 inserts.
    fn generation(self) -> u32;
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $letter:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name {
            slot: u32,
            generation: u32,
        }

        impl Id for $name {
            fn from_parts(slot: u32, generation: u32) -> Self {
                Self { slot, generation }
            }
            fn slot(self) -> u32 {
                self.slot
            }
            fn generation(self) -> u32 {
                self.generation
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "{}.{}"), self.slot, self.generation)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
    };
}

id!(
    /// The TCP side: one row of the connection column.
    ConnId, "c"
);
id!(
    /// A bound resource; outlives its connection once XEP-0198 is there.
    SessionId, "s"
);

/// A slab whose rows are reached by ids with a generation.
#[derive(Debug)]
pub struct Table<I, T> {
    rows: Slab<Row<T>>,
    next_generation: u32,
    id: std::marker::PhantomData<I>,
}

#[derive(Debug)]
struct Row<T> {
    generation: u32,
    value: T,
}

impl<I: Id, T> Default for Table<I, T> {
    fn default() -> Self {
        Self { rows: Slab::new(), next_generation: 1, id: std::marker::PhantomData }
    }
}

impl<I: Id, T> Table<I, T> {
    /// An empty table; allocates with its first row.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row.
    pub fn insert(&mut self, value: T) -> I {
        let generation = self.next_generation;
        self.next_generation = self.next_generation.wrapping_add(1).max(1);
        let slot = self.rows.insert(Row { generation, value });
        I::from_parts(u32::try_from(slot).unwrap_or(u32::MAX), generation)
    }

    /// The row, unless it is gone.
    pub fn get(&self, id: I) -> Option<&T> {
        let row = self.rows.get(id.slot() as usize)?;
        (row.generation == id.generation()).then_some(&row.value)
    }

    /// The row to change, unless it is gone.
    pub fn get_mut(&mut self, id: I) -> Option<&mut T> {
        let row = self.rows.get_mut(id.slot() as usize)?;
        (row.generation == id.generation()).then_some(&mut row.value)
    }

    /// Takes the row out; its slot may be reused at once, its id never.
    pub fn remove(&mut self, id: I) -> Option<T> {
        self.get(id)?;
        let row = self.rows.try_remove(id.slot() as usize)?;
        if self.rows.is_empty() {
            self.rows.shrink_to_fit();
        }
        Some(row.value)
    }

    /// One more than the highest slot in use.
    pub fn slots(&self) -> usize {
        self.rows.iter().next_back().map_or(0, |(slot, _)| slot + 1)
    }

    /// Gives back the room behind the highest slot in use.
    pub fn shrink(&mut self) {
        self.rows.shrink_to_fit();
    }

    /// The id of whatever is in `slot` now.
    pub fn id_at(&self, slot: u32) -> Option<I> {
        let row = self.rows.get(slot as usize)?;
        Some(I::from_parts(slot, row.generation))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All ids, in slot order.
    pub fn ids(&self) -> impl Iterator<Item = I> + '_ {
        self.rows.iter().map(|(slot, row)| I::from_parts(slot as u32, row.generation))
    }

    /// All rows, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (I, &T)> + '_ {
        self.rows.iter().map(|(slot, row)| (I::from_parts(slot as u32, row.generation), &row.value))
    }

    /// Bytes reserved for rows.
    pub fn heap_bytes(&self) -> usize {
        self.rows.capacity() * (size_of::<Row<T>>() + size_of::<usize>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_reaches_nobody() {
        let mut table: Table<ConnId, &str> = Table::new();
        let first = table.insert("first");
        assert_eq!(table.remove(first), Some("first"));
        let second = table.insert("second");
        assert_eq!(first.slot(), second.slot());
        assert_eq!(table.get(first), None);
        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get(second), Some(&"second"));
        assert_eq!(table.id_at(second.slot()), Some(second));
    }
}
