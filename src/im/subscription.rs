//! Subscriptions: the state machine of RFC 6121 Appendix A, as data.
//!
//! ```text
//! state × stanza × direction ──table──▶ Step { new state, routed or delivered?, what the server says itself }
//! ```
//!
//! Nine states, eight stanzas. What happens to a step (rows, pushes, presence) is `dispatch/subscription.rs`.

use crate::im::directory::Subscribed;
use crate::stanza::PresenceType;

/// Where a subscription stands, seen from one side (RFC 6121 A.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// No subscription, nothing asked.
    #[default]
    None = 0,
    /// The user has asked.
    NoneOut = 1,
    /// The contact has asked.
    NoneIn = 2,
    /// Both have asked.
    NoneOutIn = 3,
    /// The user sees the contact.
    To = 4,
    /// The user sees the contact, who has asked too.
    ToIn = 5,
    /// The contact sees the user.
    From = 6,
    /// The contact sees the user, who has asked too.
    FromOut = 7,
    /// Each sees the other.
    Both = 8,
}

impl State {
    /// Every one, in order.
    pub const ALL: [Self; 9] = [
        Self::None,
        Self::NoneOut,
        Self::NoneIn,
        Self::NoneOutIn,
        Self::To,
        Self::ToIn,
        Self::From,
        Self::FromOut,
        Self::Both,
    ];

    /// The one with this number, as rows have it.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The state that an imported roster describes.
    pub fn from_parts(subscribed: Subscribed, asks: bool, is_asked: bool) -> Self {
        match (subscribed.to, subscribed.from, asks, is_asked) {
            (true, true, ..) => Self::Both,
            (true, false, _, true) => Self::ToIn,
            (true, false, _, false) => Self::To,
            (false, true, true, _) => Self::FromOut,
            (false, true, false, _) => Self::From,
            (false, false, true, true) => Self::NoneOutIn,
            (false, false, true, false) => Self::NoneOut,
            (false, false, false, true) => Self::NoneIn,
            (false, false, false, false) => Self::None,
        }
    }

    /// Who sees whom.
    pub fn subscribed(self) -> Subscribed {
        Subscribed {
            to: matches!(self, Self::To | Self::ToIn | Self::Both),
            from: matches!(self, Self::From | Self::FromOut | Self::Both),
        }
    }

    /// Whether the user waits for the contact's answer: `ask='subscribe'` (RFC 6121 §2.1.2.2).
    pub fn asks(self) -> bool {
        matches!(self, Self::NoneOut | Self::NoneOutIn | Self::FromOut)
    }

    /// Whether the contact waits for the user's answer.
    pub fn is_asked(self) -> bool {
        matches!(self, Self::NoneIn | Self::NoneOutIn | Self::ToIn)
    }

    /// The `subscription` attribute of a roster item (RFC 6121 §2.1.2.5).
    pub fn name(self) -> &'static str {
        match self {
            Self::None | Self::NoneOut | Self::NoneIn | Self::NoneOutIn => "none",
            Self::To | Self::ToIn => "to",
            Self::From | Self::FromOut => "from",
            Self::Both => "both",
        }
    }
}

/// The four stanzas of subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Ask {
    /// Wants to subscribe.
    Subscribe = 0,
    /// Gives a subscription up.
    Unsubscribe = 1,
    /// Allows the recipient to subscribe.
    Subscribed = 2,
    /// Takes a subscription back, or refuses one.
    Unsubscribed = 3,
}

impl Ask {
    /// Every one, in the table's order.
    pub const ALL: [Self; 4] = [Self::Subscribe, Self::Unsubscribe, Self::Subscribed, Self::Unsubscribed];

    /// The stanza of a presence type, if it is about subscriptions.
    pub fn of(kind: PresenceType) -> Option<Self> {
        match kind {
            PresenceType::Subscribe => Some(Self::Subscribe),
            PresenceType::Unsubscribe => Some(Self::Unsubscribe),
            PresenceType::Subscribed => Some(Self::Subscribed),
            PresenceType::Unsubscribed => Some(Self::Unsubscribed),
            PresenceType::Available | PresenceType::Unavailable | PresenceType::Error | PresenceType::Probe => None,
        }
    }

    /// The presence type on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Subscribed => "subscribed",
            Self::Unsubscribed => "unsubscribed",
        }
    }
}

/// What the server says by itself when a stanza comes in (RFC 6121 A.3, the notes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    Nothing,
    /// `subscribed`: the contact has the subscription already.
    Subscribed,
    /// `unsubscribed`: the contact's subscription is over.
    Unsubscribed,
}

/// One cell of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The state from now on.
    pub state: State,
    /// Whether the stanza goes on: out to the contact's server, or in to the user's resources.
    pub passes: bool,
    /// What the server says by itself.
    pub reply: Reply,
}

/// A cell: `R` passes the stanza on, `-` does not, then the new state's number; `=` the same. Behind an inbound cell:
/// `s` the server answers `subscribed`, `u` `unsubscribed`.
type Row = [&'static str; 9];

/// What the user sends (RFC 6121 A.2).
const OUT: [Row; 4] = [
    // None  +Out  +In   +O+I  To    To+In From  From+O Both
    ["R1", "R=", "R3", "R=", "R=", "R=", "R7", "R=", "R="],
    ["R=", "R0", "R=", "R2", "R0", "R2", "R=", "R6", "R6"],
    ["-=", "-=", "R6", "R7", "-=", "R8", "-=", "-=", "-="],
    ["-=", "-=", "R0", "R1", "-=", "R4", "R0", "R1", "R4"],
];

/// What the contact sends (RFC 6121 A.3).
const IN: [Row; 4] = [
    ["R2", "R3", "-=", "-=", "R5", "-=", "-=s", "-=s", "-=s"],
    ["-=", "-=", "R0u", "R1u", "-=", "R4u", "R0u", "R1u", "R4u"],
    ["-=", "R4", "-=", "R5", "-=", "-=", "-=", "R8", "-="],
    ["-=", "R0", "-=", "R2", "R0", "R2", "-=", "R6", "R6"],
];

fn step(table: &[Row; 4], state: State, ask: Ask) -> Step {
    let cell = table.get(ask as usize).and_then(|row| row.get(state as usize)).copied().unwrap_or("-=");
    let mut marks = cell.bytes();
    let passes = marks.next() == Some(b'R');
    let state = match marks.next() {
        Some(digit) if digit.is_ascii_digit() => State::from_number(digit - b'0').unwrap_or(state),
        _ => state,
    };
    let reply = match marks.next() {
        Some(b's') => Reply::Subscribed,
        Some(b'u') => Reply::Unsubscribed,
        _ => Reply::Nothing,
    };
    Step { state, passes, reply }
}

/// What happens when the user sends `ask` to the contact.
pub fn outbound(state: State, ask: Ask) -> Step {
    step(&OUT, state, ask)
}

/// What happens when the contact's `ask` comes in.
pub fn inbound(state: State, ask: Ask) -> Step {
    step(&IN, state, ask)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6121 A.2 and A.3, derived from what the states mean instead of from the tables.
    fn expected(state: State, ask: Ask, is_outbound: bool) -> Step {
        let Subscribed { to, from } = state.subscribed();
        let (asks, is_asked) = (state.asks(), state.is_asked());
        let make = |to: bool, from: bool, asks: bool, is_asked: bool| {
            State::from_parts(Subscribed { to, from }, asks && !to, is_asked && !from)
        };
        let nothing = Step { state, passes: false, reply: Reply::Nothing };
        let go = |state: State| Step { state, passes: true, reply: Reply::Nothing };
        match (is_outbound, ask) {
            (true, Ask::Subscribe) => go(make(to, from, true, is_asked)),
            (true, Ask::Unsubscribe) => go(make(false, from, false, is_asked)),
            (true, Ask::Subscribed) if is_asked => go(make(to, true, asks, false)),
            (true, Ask::Unsubscribed) if is_asked || from => go(make(to, false, asks, false)),
            (false, Ask::Subscribe) if from => Step { reply: Reply::Subscribed, ..nothing },
            (false, Ask::Subscribe) if !is_asked => go(make(to, from, asks, true)),
            (false, Ask::Unsubscribe) if from || is_asked => {
                Step { reply: Reply::Unsubscribed, ..go(make(to, false, asks, false)) }
            }
            (false, Ask::Subscribed) if asks => go(make(true, from, false, is_asked)),
            (false, Ask::Unsubscribed) if to || asks => go(make(false, from, false, is_asked)),
            _ => nothing,
        }
    }

    #[test]
    fn every_cell_is_what_the_states_mean() {
        let mut cells = 0;
        for state in State::ALL {
            for ask in Ask::ALL {
                assert_eq!(outbound(state, ask), expected(state, ask, true), "out {ask:?} in {state:?}");
                assert_eq!(inbound(state, ask), expected(state, ask, false), "in {ask:?} in {state:?}");
                cells += 2;
            }
        }
        assert_eq!(cells, 72);
    }

    #[test]
    fn states_are_told_by_their_parts() {
        for state in State::ALL {
            assert_eq!(State::from_parts(state.subscribed(), state.asks(), state.is_asked()), state);
            assert_eq!(State::from_number(state as u8), Some(state));
        }
        assert_eq!(State::from_number(9), None);
    }
}
