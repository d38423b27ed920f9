//! Sessions: bound resources, apart from the connections that carry them.
//!
//! A session is not a connection (XEP-0198 will let it outlive one), so it has an id of its own and
//! names its connection instead of living inside it.
//!
//! RFC 6120 §7, RFC 6121 §4.

use crate::ids::{ConnId, SessionId};
use crate::im::payloads::PayloadId;
use crate::jid::Jid;

/// One bound resource.
#[derive(Debug)]
pub struct Session {
    /// The full JID; prepared.
    pub jid: Jid,
    /// The connection that carries it.
    pub conn: ConnId,
    /// The number of its bare JID in the directory.
    pub(super) name: u32,
    /// The next session of the same account: sessions of one account form a list.
    pub(super) next: Option<SessionId>,
    /// What was last broadcast; none before initial presence and after unavailable.
    pub(super) presence: Option<Box<Available>>,
    /// Who got directed presence and must hear of the end (RFC 6121 §4.6.3).
    pub directed: Option<Box<Directed>>,
    /// Small facts.
    pub flags: SessionFlags,
}

/// Small facts about a session, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionFlags(u8);

impl SessionFlags {
    /// The account exists only as long as this session (XEP-0175).
    pub const ANONYMOUS: Self = Self(1);
    /// It has asked for the roster, and gets pushes (RFC 6121 §2.2).
    pub const INTERESTED: Self = Self(2);
    /// It has asked for the block list, and gets pushes (XEP-0191 §3.3).
    pub const BLOCK_LIST: Self = Self(4);
    /// It has asked for the roster with a version, and pushes tell it theirs (RFC 6121 §2.6).
    pub const VERSIONED: Self = Self(8);

    /// Its account is no more, and it ends when that is on disk: what it says until then counts for nothing.
    pub const GONE: Self = Self(32);

    /// Its connection is inside TLS.
    pub const ENCRYPTED: Self = Self(16);

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

/// Targets of directed presence. Boxed with its header: nearly every session has none.
#[derive(Debug, Default)]
pub struct Directed(pub Vec<Jid>);

/// An available resource's presence.
#[derive(Debug)]
pub struct Available {
    /// RFC 6121 §4.7.2.3: negative means no messages to the bare JID.
    pub priority: i8,
    /// The stanza's `id`, which answers to probes have too (§4.3.2).
    pub id: Option<Box<str>>,
    /// The rest of the stanza: checked bytes, behind `<presence` and its addresses and id.
    pub(super) payload: PayloadId,
}

impl Session {
    /// A session without presence.
    pub fn new(jid: Jid, conn: ConnId, flags: SessionFlags) -> Self {
        Self { jid, conn, name: u32::MAX, next: None, presence: None, directed: None, flags }
    }

    /// Whether initial presence was sent (RFC 6121 §4.2).
    pub fn is_available(&self) -> bool {
        self.presence.is_some()
    }

    /// The priority if available.
    pub fn priority(&self) -> Option<i8> {
        self.presence.as_ref().map(|presence| presence.priority)
    }

    /// Bytes on the heap behind this row.
    pub fn heap_bytes(&self) -> usize {
        let presence =
            self.presence.as_ref().map_or(0, |p| size_of::<Available>() + p.id.as_ref().map_or(0, |id| id.len()));
        let directed = self.directed.as_ref().map_or(0, |list| {
            size_of::<Directed>()
                + list.0.capacity() * size_of::<Jid>()
                + list.0.iter().map(Jid::heap_bytes).sum::<usize>()
        });
        self.jid.heap_bytes() + presence + directed
    }
}
