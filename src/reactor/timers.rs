//! Deadlines, in order: at most one a key.
//!
//! A sorted set instead of a wheel: only connections that negotiate, wait or close have a deadline;
//! ten thousand idle sessions have none, and the next wake-up is the first entry, so idle costs
//! nothing. Setting and clearing is O(log n) over those few.

use std::collections::BTreeSet;

/// Deadlines of keys, earliest first. The caller remembers each key's deadline.
#[derive(Debug)]
pub struct Timers<K> {
    set: BTreeSet<(u64, K)>,
}

impl<K: Ord + Copy> Default for Timers<K> {
    fn default() -> Self {
        Self { set: BTreeSet::new() }
    }
}

impl<K: Ord + Copy> Timers<K> {
    /// Moves `key` from its deadline `old_ms` (0: none) to `new_ms` (0: none).
    pub fn set(&mut self, key: K, old_ms: u64, new_ms: u64) {
        if old_ms == new_ms {
            return;
        }
        if old_ms != 0 {
            self.set.remove(&(old_ms, key));
        }
        if new_ms != 0 {
            self.set.insert((new_ms, key));
        }
    }

    /// The earliest deadline.
    pub fn next_ms(&self) -> Option<u64> {
        self.set.first().map(|(deadline, _)| *deadline)
    }

    /// Takes one key whose deadline is not after `now_ms`.
    pub fn expired(&mut self, now_ms: u64) -> Option<K> {
        let (deadline, key) = *self.set.first()?;
        if deadline > now_ms {
            return None;
        }
        self.set.remove(&(deadline, key));
        Some(key)
    }

    /// Whether `key` has this deadline.
    pub fn has(&self, key: K, deadline_ms: u64) -> bool {
        self.set.contains(&(deadline_ms, key))
    }

    /// How many deadlines are set.
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether no deadline is set.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_expire_in_order_and_only_once() {
        let mut timers = Timers::default();
        timers.set('a', 0, 30);
        timers.set('b', 0, 10);
        timers.set('c', 0, 20);
        timers.set('c', 20, 0);
        timers.set('a', 30, 5);
        assert_eq!(timers.next_ms(), Some(5));
        assert_eq!(timers.expired(4), None);
        assert_eq!(timers.expired(10), Some('a'));
        assert_eq!(timers.expired(10), Some('b'));
        assert_eq!(timers.expired(10), None);
        assert!(timers.is_empty());
    }
}
