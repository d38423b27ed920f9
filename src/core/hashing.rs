//! The queue of passwords to be hashed: bounded, and fair between addresses.
//!
//! ```text
//! login ──push──▶ one queue an address ──round robin──▶ hashing thread ──▶ Input::Hashed
//! ```
//!
//! PBKDF2 takes milliseconds, so it runs off the loop. One address that sends a thousand logins gets
//! a thousand places in its own queue, not in front of anybody else. When all places are taken, the
//! address with the longest queue loses one, and its client is told to come back
//! (`temporary-auth-failure`).

use crate::conn::AddressKey;
use crate::ids::ConnId;
use crate::sasl::HashJob;
use std::collections::{BTreeMap, VecDeque};

/// Work for the hashing thread.
#[derive(Debug)]
pub struct HashTask {
    /// Who waits for it.
    pub conn: ConnId,
    /// The work.
    pub job: HashJob,
}

/// Tasks that wait.
#[derive(Debug)]
pub(super) struct HashQueue {
    queues: BTreeMap<AddressKey, VecDeque<HashTask>>,
    turns: VecDeque<AddressKey>,
    len: usize,
    max: usize,
    /// Bytes behind all tasks, themselves included.
    bytes: usize,
}

impl HashTask {
    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.job.heap_bytes()
    }
}

impl HashQueue {
    /// A queue of at most `max` tasks.
    pub(super) fn new(max: usize) -> Self {
        Self { queues: BTreeMap::new(), turns: VecDeque::new(), len: 0, max, bytes: 0 }
    }

    /// Adds a task. If no place is left, returns the task that had to give way: the newest of the
    /// address with the longest queue, which may be this one.
    pub(super) fn push(&mut self, address: AddressKey, task: HashTask) -> Option<HashTask> {
        let evicted = if self.len >= self.max { self.evict(address) } else { Evicted::Nothing };
        if matches!(evicted, Evicted::Newcomer) {
            return Some(task);
        }
        let queue = self.queues.entry(address).or_default();
        if queue.is_empty() {
            self.turns.push_back(address);
        }
        self.bytes += task.heap_bytes();
        queue.push_back(task);
        self.len += 1;
        match evicted {
            Evicted::Other(task) => Some(task),
            Evicted::Nothing | Evicted::Newcomer => None,
        }
    }

    fn evict(&mut self, newcomer: AddressKey) -> Evicted {
        let own = self.queues.get(&newcomer).map_or(0, VecDeque::len);
        let longest = self.queues.iter().max_by_key(|(_, queue)| queue.len());
        let Some((longest, _)) = longest.filter(|(_, queue)| queue.len() > own + 1) else { return Evicted::Newcomer };
        let longest = *longest;
        let task = self.queues.get_mut(&longest).and_then(VecDeque::pop_back);
        self.len -= usize::from(task.is_some());
        self.bytes -= task.as_ref().map_or(0, HashTask::heap_bytes);
        task.map_or(Evicted::Newcomer, Evicted::Other)
    }

    /// Takes the next task, addresses in turn.
    pub(super) fn pop(&mut self) -> Option<HashTask> {
        while let Some(address) = self.turns.pop_front() {
            let Some(queue) = self.queues.get_mut(&address) else { continue };
            let task = queue.pop_front();
            if queue.is_empty() {
                self.queues.remove(&address);
            } else {
                self.turns.push_back(address);
            }
            if let Some(task) = task {
                self.len -= 1;
                self.bytes -= task.heap_bytes();
                return Some(task);
            }
        }
        None
    }

    /// Takes out what nobody waits for any more.
    pub(super) fn forget(&mut self, address: AddressKey, conn: ConnId) {
        let Some(queue) = self.queues.get_mut(&address) else { return };
        let (len, bytes) = (queue.len(), queue.iter().map(HashTask::heap_bytes).sum::<usize>());
        queue.retain(|task| task.conn != conn);
        self.len -= len - queue.len();
        self.bytes -= bytes - queue.iter().map(HashTask::heap_bytes).sum::<usize>();
        if queue.is_empty() {
            self.queues.remove(&address);
            self.turns.retain(|turn| *turn != address);
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes behind them.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the sums are what counting says.
    pub(super) fn audit(&self) -> Result<(), String> {
        let tasks = || self.queues.values().flatten();
        let (len, bytes) = (tasks().count(), tasks().map(HashTask::heap_bytes).sum::<usize>());
        match (len, bytes) == (self.len, self.bytes) {
            true => Ok(()),
            false => Err(format!("{len} passwords of {bytes} bytes wait, counted are {} of {}", self.len, self.bytes)),
        }
    }
}

enum Evicted {
    Nothing,
    Other(HashTask),
    Newcomer,
}
