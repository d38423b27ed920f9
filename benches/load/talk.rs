//! Pairs that talk: the part of a scenario that sends messages and judges how they arrive.
//!
//! Each pair has a window of messages under way: one that arrives lets the next go. Or it has a pace: a message
//! every so many nanoseconds whether or not the last has arrived, so that a stall of the server is seen by all
//! messages that were due in it, and not by one.

use crate::crowd::Member;
use crate::histogram::Histogram;
use crate::numbers::{self, Mark, Stream, Tally};
use crate::swarm::Swarm;

/// Throughput is counted in slices of this length.
pub(crate) const SLICE_NS: u64 = 100_000_000;

/// When a pair sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rhythm {
    /// So many messages under way.
    Window(u32),
    /// One each so many nanoseconds.
    Every(u64),
}

/// One sender and its receiver.
#[derive(Debug)]
struct Pair {
    sender: usize,
    head: Vec<u8>,
    stream: Stream,
}

/// All pairs of a scenario.
#[derive(Debug)]
pub(crate) struct Talk {
    pairs: Vec<Pair>,
    rhythm: Rhythm,
    size: usize,
    pub(crate) tally: Tally,
    /// From the writing of a message to the reading of it.
    pub(crate) latencies: Histogram,
    /// Messages that arrived in each slice since [`Self::measure`].
    pub(crate) slices: Vec<u64>,
    measured_from_ns: u64,
    has_begun: bool,
    /// Sends nothing more; what arrives is not measured.
    is_draining: bool,
    /// With a pace: when the next round is due.
    due_ns: u64,
    frame: Vec<u8>,
}

impl Talk {
    /// Every `sides` members are a pair: two, or one that talks to itself.
    pub(crate) fn new(members: &[Member], sides: usize, rhythm: Rhythm, size: usize) -> Self {
        let pair = |sides: &[Member]| {
            let to = sides.last().map(|member| member.jid.as_str()).unwrap_or_default();
            Pair { sender: sides[0].id, head: numbers::head(to), stream: Stream::default() }
        };
        Self {
            pairs: members.chunks_exact(sides).map(pair).collect(),
            rhythm,
            size,
            tally: Tally::default(),
            latencies: Histogram::default(),
            slices: Vec::new(),
            measured_from_ns: 0,
            has_begun: false,
            is_draining: false,
            due_ns: 0,
            frame: Vec::new(),
        }
    }

    /// Begins to measure: what was before was for warming up.
    pub(crate) fn measure(&mut self, now_ns: u64) {
        self.latencies.clear();
        self.slices.clear();
        self.measured_from_ns = now_ns;
    }

    /// Stops sending.
    pub(crate) fn drain(&mut self) {
        self.is_draining = true;
    }

    /// Whether [`Self::drain`] was called.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// Whether all that was sent has arrived, after [`Self::drain`].
    pub(crate) fn is_drained(&self) -> bool {
        self.is_draining && self.outstanding() == 0
    }

    /// Takes what has not arrived by now as lost.
    pub(crate) fn conclude(&mut self) -> Tally {
        self.tally.lost = self.outstanding();
        self.tally
    }

    fn outstanding(&self) -> u64 {
        self.pairs.iter().map(|pair| pair.stream.outstanding()).sum()
    }

    /// Sends what is due; call it in each tick.
    pub(crate) fn tick(&mut self, swarm: &mut Swarm) {
        if self.is_draining {
            return;
        }
        let now_ns = swarm.now_ns();
        match self.rhythm {
            Rhythm::Window(window) if !self.has_begun => {
                for pair in 0..self.pairs.len() {
                    (0..window).for_each(|_| self.send(swarm, pair, now_ns));
                }
            }
            Rhythm::Window(_) => {}
            Rhythm::Every(interval_ns) => {
                if !self.has_begun {
                    self.due_ns = now_ns;
                }
                while self.due_ns <= now_ns {
                    (0..self.pairs.len()).for_each(|pair| self.send(swarm, pair, now_ns));
                    self.due_ns += interval_ns;
                }
            }
        }
        self.has_begun = true;
    }

    /// When [`Self::tick`] has something to do again; nothing but what arrives wakes a window.
    pub(crate) fn due_ns(&self) -> u64 {
        if self.is_draining || self.due_ns == 0 { u64::MAX } else { self.due_ns }
    }

    /// Takes a message that arrived; anything else is let be.
    pub(crate) fn frame(&mut self, swarm: &mut Swarm, frame: &[u8]) {
        if !frame.starts_with(b"<message") {
            return;
        }
        let mark = numbers::read(frame).filter(|mark| (mark.stream as usize) < self.pairs.len());
        let Some(mark) = mark else {
            self.tally.refused += 1;
            return;
        };
        let (pair, now_ns) = (mark.stream as usize, swarm.now_ns());
        self.pairs[pair].stream.arrived(mark.number, &mut self.tally);
        if self.is_draining {
            return;
        }
        self.latencies.record(now_ns.saturating_sub(mark.sent_ns));
        self.count(now_ns);
        if let Rhythm::Window(_) = self.rhythm {
            self.send(swarm, pair, now_ns);
        }
    }

    fn count(&mut self, now_ns: u64) {
        let slice = (now_ns.saturating_sub(self.measured_from_ns) / SLICE_NS) as usize;
        if self.slices.len() <= slice {
            self.slices.resize(slice + 1, 0);
        }
        self.slices[slice] += 1;
    }

    fn send(&mut self, swarm: &mut Swarm, pair: usize, sent_ns: u64) {
        let Pair { sender, head, stream } = &mut self.pairs[pair];
        let mark = Mark { stream: pair as u64, number: stream.next(), sent_ns };
        numbers::write(&mut self.frame, head, mark, self.size);
        swarm.send(*sender, &self.frame);
    }
}
