//! What a client has written, and what of it must be there after a kill.
//!
//! ```text
//! states: after the last acknowledged write, and after each later one ──kill──▶ what is read must be one of them
//! ```
//!
//! One of them as a whole: a later write without an earlier one, or half a write, is none of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// All that one account has written by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Contacts elsewhere, with their names.
    pub(crate) roster: BTreeMap<String, String>,
    /// Private XML by the name of its element.
    pub(crate) private: BTreeMap<String, String>,
    pub(crate) vcard: String,
    pub(crate) blocked: BTreeSet<String>,
    /// The number of the last message to somebody who is away.
    pub(crate) messages: u32,
}

/// The states that an account may be found in.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The first one is acknowledged.
    states: VecDeque<State>,
    /// Writes up to the first state.
    first: u64,
    /// Writes that an answer has acknowledged.
    told: u64,
}

impl History {
    pub(crate) fn new() -> Self {
        Self { states: VecDeque::from([State::default()]), first: 0, told: 0 }
    }

    /// The state after all that was written.
    pub(crate) fn last(&self) -> &State {
        self.states.back().unwrap()
    }

    /// A write is sent; returns its number.
    pub(crate) fn write(&mut self, change: impl FnOnce(&mut State)) -> u64 {
        let mut state = self.last().clone();
        change(&mut state);
        self.states.push_back(state);
        self.first + self.states.len() as u64 - 1
    }

    /// An answer has come: this write, and all before it on the same stream, are there for good.
    pub(crate) fn acknowledge(&mut self, write: u64) {
        while self.first < write {
            self.states.pop_front();
            self.first += 1;
            self.told += 1;
        }
    }

    /// How many writes an answer has acknowledged.
    pub(crate) fn told(&self) -> u64 {
        self.told
    }

    /// Takes what was found after a restart.
    pub(crate) fn found(&mut self, found: State) -> Result<(), String> {
        if !self.states.contains(&found) {
            return Err(format!(
                "found {found:#?}\nacknowledged {:#?}\nlast {:#?}",
                self.states.front(),
                self.states.back()
            ));
        }
        self.first += self.states.len() as u64 - 1;
        self.states = VecDeque::from([found]);
        Ok(())
    }
}

/// One side's view of the other in a pair: who sees whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) to: bool,
    pub(crate) from: bool,
    pub(crate) ask: bool,
}

impl Side {
    pub(crate) fn of(subscription: &str, ask: bool) -> Self {
        Self { to: matches!(subscription, "to" | "both"), from: matches!(subscription, "from" | "both"), ask }
    }
}

/// Two accounts: whether each sees the other, and whether it has asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pair {
    sees: [bool; 2],
    asks: [bool; 2],
}

/// What one of the two says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
}

impl Said {
    pub(crate) const ALL: [Self; 4] = [Self::Subscribe, Self::Subscribed, Self::Unsubscribe, Self::Unsubscribed];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Subscribed => "subscribed",
            Self::Unsubscribe => "unsubscribe",
            Self::Unsubscribed => "unsubscribed",
        }
    }
}

impl Pair {
    /// What the roster of the `who`th says of the other.
    pub(crate) fn side(self, who: usize) -> Side {
        Side { to: self.sees[who], from: self.sees[1 - who], ask: self.asks[who] }
    }

    /// What follows when the `who`th says this; `None` if it changes nothing in its own roster.
    pub(crate) fn after(self, who: usize, said: Said) -> Option<Self> {
        let other = 1 - who;
        let mut next = self;
        match said {
            Said::Subscribe if !self.sees[who] => next.asks[who] = true,
            Said::Subscribed if self.asks[other] => (next.asks[other], next.sees[other]) = (false, true),
            Said::Unsubscribe => (next.asks[who], next.sees[who]) = (false, false),
            Said::Unsubscribed if self.sees[other] => next.sees[other] = false,
            _ => {}
        }
        (next.side(who) != self.side(who)).then_some(next)
    }
}
