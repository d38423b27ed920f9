//! Tokens: what a readiness event is about.
//!
//! A connection's token is its slot. A slot is reused only after the tick in which it was freed, so
//! an event can never be about the slot's next owner.

use mio::Token;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A connection, by slot.
    Conn(u32),
    /// A listener, by place in the list.
    Listener(usize),
    /// The control socket.
    Control,
    /// A client of the control socket, by slot.
    ControlClient(usize),
    /// Another thread has something for the loop.
    Waker,
    /// A signal asked for the end.
    Stop,
    /// A signal asked for a reload.
    Reload,
}

const KIND_BITS: u32 = 3;
const KIND_MASK: usize = (1 << KIND_BITS) - 1;

impl Source {
    /// As mio wants it.
    pub fn token(self) -> Token {
        let (kind, number) = match self {
            Self::Conn(slot) => (0, slot as usize),
            Self::Listener(at) => (1, at),
            Self::Control => (2, 0),
            Self::ControlClient(at) => (3, at),
            Self::Waker => (4, 0),
            Self::Stop => (5, 0),
            Self::Reload => (6, 0),
        };
        Token(number << KIND_BITS | kind)
    }

    /// Back from mio; `None` for a token that was never given out.
    pub fn from_token(token: Token) -> Option<Self> {
        let number = token.0 >> KIND_BITS;
        Some(match token.0 & KIND_MASK {
            0 => Self::Conn(u32::try_from(number).ok()?),
            1 => Self::Listener(number),
            2 => Self::Control,
            3 => Self::ControlClient(number),
            4 => Self::Waker,
            5 => Self::Stop,
            6 => Self::Reload,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_they_were() {
        let all = [
            Source::Conn(0),
            Source::Conn(70_000),
            Source::Listener(3),
            Source::Control,
            Source::ControlClient(5),
            Source::Waker,
            Source::Stop,
            Source::Reload,
        ];
        for source in all {
            assert_eq!(Source::from_token(source.token()), Some(source));
        }
        assert_eq!(Source::from_token(Token(7)), None);
    }
}
