//! One row of the connection column: what a connection is doing, without its socket.
//!
//! ```text
//!            Header, Element …            Bound
//! accept ──▶ Negotiating(Box) ──────────▶ Bound ──▶ Closing ──▶ freed at the end of the tick
//!        └─▶ Joining(Box) ──handshake──▶ Component ──┘
//! ```
//!
//! An idle bound connection is this row, an empty outbox and a session: no buffer, no parser, no
//! timer. What only a connection in motion needs is boxed and goes when it is done.

use crate::ids::SessionId;
use crate::purse::Purse;
use crate::storage::Ticket;
use crate::stream::component::{ComponentStream, JoinedStream};
use crate::stream::{Ask, Negotiation};
use crate::xml::{Scan, StreamNs};
use std::net::IpAddr;

/// The row.
#[derive(Debug)]
pub struct Conn {
    /// What it is doing.
    pub phase: Phase,
    /// The unfinished frame, or frames that wait behind a closed gate.
    pub partial: Option<Box<Partial>>,
    /// Why nothing is read, if so.
    pub gates: Gates,
    /// Small facts, see the constants of [`Flags`].
    pub flags: Flags,
    /// Its deadline in the timers, 0 for none.
    pub deadline_ms: u64,
    /// When something was last read of its session, in slots of the tick's clock; then its purse was filled up.
    pub heard_slot: u32,
    /// What its session may still send now.
    pub purse: Purse,
    /// The address it came from, as far as limits care.
    pub address: AddressKey,
}

/// What a connection is doing.
#[derive(Debug)]
pub enum Phase {
    /// Not bound yet.
    Negotiating(Box<Negotiating>),
    /// Carries a session.
    Bound(Bound),
    /// An external component that has not proven itself yet.
    Joining(Box<ComponentStream>),
    /// An external component (XEP-0114).
    Component(Box<JoinedStream>),
    /// Our end of the stream is written; what still comes is thrown away.
    Closing {
        /// The namespaces of its header, to see its end come; `None` is the standard header.
        ns: Option<Box<StreamNs>>,
    },
    /// A handler has the state in its hands.
    Taken,
}

impl Phase {
    /// Whether stanzas come and go: a session's, or a component's.
    pub fn carries_stanzas(&self) -> bool {
        matches!(self, Self::Bound(_) | Self::Component(_))
    }
}

/// A connection before its session.
#[derive(Debug)]
pub struct Negotiating {
    /// The automaton.
    pub automaton: Negotiation,
    /// Where the peer is, for throttling.
    pub peer: IpAddr,
    /// The answer that may not leave yet: a login is being slowed down, or what was read is not on disk.
    pub delayed: Option<Delayed>,
    /// The hash outcome that waits for a row.
    pub waiting_hash: Option<crate::sasl::HashOutcome>,
    /// What it has done towards an account of its own (XEP-0077).
    pub registering: Registering,
    /// The highest ticket that this login has read: until it is durable no answer leaves, also where a hash or a delay
    /// lies between the reading and the answer.
    pub ticket: Ticket,
    /// The bytes that it was last counted with.
    pub counted: usize,
}

impl Negotiating {
    /// Bytes behind it, itself included.
    pub fn heap_bytes(&self) -> usize {
        let delayed = self
            .delayed
            .as_ref()
            .map_or(0, |delayed| delayed.out.capacity() + delayed.asks.capacity() * size_of::<Ask>());
        let invitation = self.registering.invitation.as_ref().map_or(0, String::capacity);
        size_of::<Self>() + self.automaton.heap_bytes() + delayed + invitation
    }
}

impl Phase {
    /// Bytes behind it, as they were last counted: only a negotiation changes while it lasts.
    pub fn heap_bytes(&self) -> usize {
        let behind = |ns: &StreamNs| size_of::<StreamNs>() + ns.heap_bytes();
        match self {
            Self::Negotiating(negotiating) => negotiating.counted,
            Self::Bound(bound) => {
                bound.ns.as_deref().map_or(0, behind) + bound.lang.as_ref().map_or(0, |lang| lang.len())
            }
            Self::Joining(_) => size_of::<ComponentStream>(),
            Self::Component(component) => {
                let lang = component.lang.as_ref().map_or(0, |lang| lang.len());
                size_of::<JoinedStream>() + component.ns.as_deref().map_or(0, behind) + lang + component.name.len()
            }
            Self::Closing { ns } => ns.as_deref().map_or(0, behind),
            Self::Taken => 0,
        }
    }
}

/// What a stream has done towards an account of its own.
#[derive(Debug, Default)]
pub struct Registering {
    /// The invitation that it has shown, while that was good (XEP-0445 §4).
    pub invitation: Option<String>,
    /// Requests that it has made.
    pub requests: u8,
    /// A password waits to be hashed, or its frame to run again.
    pub is_waiting: bool,
}

/// What leaves later.
#[derive(Debug)]
pub struct Delayed {
    /// Bytes for the outbox.
    pub out: Vec<u8>,
    /// Asks that follow them.
    pub asks: Vec<Ask>,
    /// When, at the latest; what waits for the disk is given up then.
    pub deadline_ms: u64,
}

/// A connection that carries a session.
#[derive(Debug)]
pub struct Bound {
    /// The session.
    pub session: SessionId,
    /// What the stream header declared; `None` is the standard header.
    pub ns: Option<Box<StreamNs>>,
    /// The stream's language, given to stanzas that name none (RFC 6120 §8.1.5).
    pub lang: Option<Box<str>>,
    /// Whether the stream is one of RFC 6120; errors on others carry a text.
    pub version_1: bool,
}

impl Bound {
    /// The namespaces of the stream header.
    pub fn ns(&self) -> &StreamNs {
        self.ns.as_deref().unwrap_or(StreamNs::standard())
    }
}

/// The start of a frame that has not come whole, with the scanner's place in it.
#[derive(Debug, Default)]
pub struct Partial {
    /// All bytes since the frame's start.
    pub bytes: Vec<u8>,
    /// Where the scanner is.
    pub scan: Scan,
}

impl Partial {
    /// Bytes behind it.
    pub fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity() + self.scan.heap_bytes()
    }
}

/// Reasons not to read, as a set: reading goes on when it is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gates(u16);

impl Gates {
    /// From accepting `starttls` to the flip.
    pub const STARTTLS: Self = Self(1);
    /// A frame waits for a row.
    pub const PARKED: Self = Self(2);
    /// A password is being hashed.
    pub const HASHING: Self = Self(4);
    /// A failed login is being slowed down.
    pub const DELAYED: Self = Self(8);
    /// Our side of the transport is shut.
    pub const CLOSED: Self = Self(16);
    /// Its stanzas have filled this tick's share of the outboxes.
    pub const PAUSED: Self = Self(32);
    /// An answer waits for the disk.
    pub const HELD: Self = Self(64);
    /// Its stanzas write faster than the disk takes it.
    pub const PRESSED: Self = Self(128);
    /// It has sent more than its rate allows.
    pub const SLOWED: Self = Self(256);
    /// It does not read what it is sent.
    pub const CONGESTED: Self = Self(512);

    /// Those that are over when the stream is.
    pub const OF_A_STREAM: [Self; 9] = [
        Self::STARTTLS,
        Self::PARKED,
        Self::HASHING,
        Self::DELAYED,
        Self::HELD,
        Self::PAUSED,
        Self::PRESSED,
        Self::SLOWED,
        Self::CONGESTED,
    ];

    /// Whether reading goes on.
    pub fn is_open(self) -> bool {
        self.0 == 0
    }

    /// Whether this reason is in the set.
    pub fn has(self, gate: Self) -> bool {
        self.0 & gate.0 != 0
    }

    /// Adds or takes out a reason.
    pub fn set(&mut self, gate: Self, shut: bool) {
        if shut {
            self.0 |= gate.0;
        } else {
            self.0 &= !gate.0;
        }
    }
}

/// Small facts about a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// TLS from the first byte (XEP-0368).
    pub const DIRECT: Self = Self(1);
    /// A stream header is expected next.
    pub const HEADER: Self = Self(2);
    /// The automaton wants to know when the outbox has drained.
    pub const TELL_DRAINED: Self = Self(4);
    /// Counted among those that have not logged in.
    pub const UNAUTHENTICATED: Self = Self(8);
    /// Its end has been asked of the transport.
    pub const ENDING: Self = Self(16);
    /// Between the flip and the end of the handshake: no XML may be sent.
    pub const HANDSHAKING: Self = Self(64);
    /// Has been asked whether it is there, and has not said anything since.
    pub const PINGED: Self = Self(128);

    /// Whether it is set.
    pub fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    /// Sets or clears it.
    pub fn set(&mut self, flag: Self, on: bool) {
        if on {
            self.0 |= flag.0;
        } else {
            self.0 &= !flag.0;
        }
    }
}

/// An address as limits see it: an IPv4 address, or the /64 of an IPv6 address (one customer's line).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressKey(u64);

impl AddressKey {
    /// Whether it is this machine itself.
    pub const LOOPBACK: Self = Self(0);

    /// The key of an address. All of loopback is one key: it is the host itself.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            address if address.is_loopback() => Self::LOOPBACK,
            IpAddr::V4(v4) => Self(0x0000_FFFF_0000_0000 | u64::from(v4.to_bits())),
            IpAddr::V6(v6) => Self((v6.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_is_small() {
        assert!(size_of::<Conn>() <= 80, "{}", size_of::<Conn>());
    }

    #[test]
    fn gates_are_a_set() {
        let mut gates = Gates::default();
        gates.set(Gates::STARTTLS, true);
        gates.set(Gates::PARKED, true);
        gates.set(Gates::STARTTLS, false);
        assert!(!gates.is_open() && gates.has(Gates::PARKED) && !gates.has(Gates::STARTTLS));
        gates.set(Gates::PARKED, false);
        assert!(gates.is_open());
    }

    #[test]
    fn addresses_of_one_line_share_a_key() {
        let key = |text: &str| AddressKey::of(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_eq!(key("::1"), key("127.0.0.2"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
