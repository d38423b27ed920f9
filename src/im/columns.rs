//! The columns that handlers are lent for one run.
//!
//! ```text
//! core ──lends──▶ Columns ──▶ dispatch, xep, im: read and write the store, append to outboxes, leave effects
//! ```
//!
//! A run is a transaction: what it writes to the store and appends to outboxes is taken back if it misses a row
//! or refuses. Memory (directory, sessions) is not taken back; see [`super::stop`].

use crate::clock::Now;
use crate::config::Limits;
use crate::ids::{ConnId, SessionId};
use crate::im::directory::Directory;
use crate::im::last::Goodbyes;
use crate::im::session::SessionFlags;
use crate::limits::{
    DIRECTED_PRESENCE_BYTES_MAX, DIRECTED_PRESENCE_MAX, ROSTER_GROUPS_MAX, ROSTER_NAME_BYTES_MAX, ROSTER_OUTBOX_SHARE,
};
use crate::metrics::Metrics;
use crate::outbox::Outboxes;
use crate::random::Random;
use crate::sasl::HashOutcome;
use crate::storage::Store;
use crate::stream::error::StreamCondition;
use crate::xml::outward;
use std::fmt;

/// The domains that this process answers for.
pub trait Hosts: fmt::Debug {
    /// Whether `domain` (prepared) is hosted here.
    fn is_hosted(&self, domain: &str) -> bool;

    /// The connection of the external component that answers for `domain`, if it is connected (XEP-0114).
    fn component(&self, domain: &str) -> Option<ConnId>;

    /// Whether `domain` is a component's, connected or not.
    fn is_component(&self, domain: &str) -> bool;

    /// The domains of the components that are connected.
    fn components(&self) -> Vec<&str>;
}

/// What may be kept for an account or a session.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Targets that one session may have sent directed presence to.
    pub directed_max: usize,
    /// Bytes of their addresses.
    pub directed_bytes_max: usize,
    /// Bytes of one presence that is kept and broadcast.
    pub presence_bytes_max: usize,
    /// Contacts of one account, those that only ask included.
    pub roster_items_max: u32,
    /// Bytes of a roster on the wire.
    pub roster_bytes_max: u64,
    /// Groups that one contact may be in.
    pub roster_groups_max: usize,
    /// Bytes of a contact's name, and of a group's.
    pub roster_name_bytes_max: usize,
    /// Subscription requests of one account that wait for an answer.
    pub requests_max: u32,
    /// Messages that wait for one account.
    pub offline_messages_max: u32,
    /// Bytes of them.
    pub offline_bytes_max: u64,
    /// JIDs that one account may block.
    pub blocked_max: usize,
    /// Bytes of them, as a list.
    pub blocked_bytes_max: usize,
    /// Bytes of a vCard.
    pub vcard_bytes_max: usize,
    /// Private XML elements of one account.
    pub private_elements_max: u32,
    /// Bytes of them.
    pub private_bytes_max: u64,
}

/// Bytes of an outbox for each message that waits: four times what a stamp takes, so that stamps fill a quarter of it.
const STAMPED_SHARE_BYTES: u32 = 512;

impl Default for Bounds {
    /// The bounds of a default configuration.
    fn default() -> Self {
        Self::from(&Limits::default())
    }
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Self {
        Self {
            directed_max: DIRECTED_PRESENCE_MAX,
            directed_bytes_max: DIRECTED_PRESENCE_BYTES_MAX,
            presence_bytes_max: limits.presence_bytes as usize,
            roster_items_max: limits.roster_items,
            // It leaves at once, and must find room beside all else that waits for a client that comes.
            roster_bytes_max: u64::from(limits.outbox_bytes / ROSTER_OUTBOX_SHARE),
            roster_groups_max: ROSTER_GROUPS_MAX,
            roster_name_bytes_max: ROSTER_NAME_BYTES_MAX,
            requests_max: limits.subscription_requests,
            // They leave at once, each with a stamp: all that waits must find room in the outbox, or the account
            // could never come back.
            offline_messages_max: limits.offline_messages.min(limits.outbox_bytes / STAMPED_SHARE_BYTES),
            offline_bytes_max: limits.offline_bytes.min(u64::from(limits.outbox_bytes) / 2),
            blocked_max: limits.blocked_jids as usize,
            // The list is told at once, and escaping makes at most six bytes of one.
            blocked_bytes_max: limits.blocked_bytes.min(limits.outbox_bytes / 8) as usize,
            vcard_bytes_max: limits.vcard_bytes as usize,
            private_elements_max: limits.private_elements,
            private_bytes_max: limits.private_bytes,
        }
    }
}

/// What the core does after the handler has returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A session's stream ends with an error.
    EndSession {
        /// Whose.
        session: SessionId,
        /// Why.
        condition: StreamCondition,
    },
    /// Rows go when what is in the session's outbox has left: see [`crate::im::directory::Replay`].
    TellDrained {
        /// The session.
        session: SessionId,
    },
    /// An account is no more: its sessions and the logins on their way to it end.
    AccountGone {
        /// Its bare JID.
        bare: String,
    },
    /// An account has another password: what is remembered of the old one goes, and so do logins on their way.
    PasswordChanged {
        /// Its bare JID.
        bare: String,
    },
}

/// Buffers that a stanza's way uses again and again.
#[derive(Debug, Default)]
pub struct Scratch {
    /// For preparing an address.
    pub jid: String,
    /// For the address that a component's stanza is from.
    pub from: String,
    /// For what is written once and appended often.
    pub out: Vec<u8>,
    /// For a presence that goes to many.
    pub presence: Vec<u8>,
    /// For those that get it.
    pub targets: Vec<SessionId>,
}

/// See the module.
#[derive(Debug)]
pub struct Columns<'a> {
    /// Who is online.
    pub directory: &'a mut Directory,
    /// Bytes to send.
    pub outboxes: &'a mut Outboxes,
    /// What lasts.
    pub store: &'a mut Store,
    /// The hosted domains.
    pub hosts: &'a dyn Hosts,
    /// Bounds of accounts and sessions.
    pub bounds: &'a Bounds,
    /// Chance.
    pub random: &'a mut Random,
    /// Counters.
    pub metrics: &'a mut Metrics,
    /// The time of this tick.
    pub now: Now,
    /// What is left for the core to do.
    pub effects: &'a mut Vec<Effect>,
    /// What became of the hash that an earlier run of this handler asked for.
    pub hashed: Option<&'a HashOutcome>,
    /// When accounts were last there, as far as it is not in the store yet.
    pub goodbyes: &'a mut Goodbyes,
    /// Buffers used again and again.
    pub scratch: &'a mut Scratch,
}

impl Columns<'_> {
    /// Whether a session's connection is inside TLS.
    pub fn is_encrypted(&self, id: SessionId) -> bool {
        self.directory.get(id).is_some_and(|session| session.flags.has(SessionFlags::ENCRYPTED))
    }

    /// Like [`Self::send`], but not before what is held for the session; see [`Outboxes::append_in_turn`].
    pub fn send_in_turn(&mut self, id: SessionId, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(session) = self.directory.get(id) {
            self.outboxes.append_in_turn(session.conn, write);
        }
    }

    /// Appends to a session's outbox; false if it has ended.
    pub fn send(&mut self, id: SessionId, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let Some(session) = self.directory.get(id) else { return false };
        self.outboxes.append(session.conn, write);
        true
    }

    /// Appends the same bytes to every available resource of an account but `except`; returns to how many.
    pub fn send_to_available(&mut self, bare: &str, except: Option<SessionId>, bytes: &[u8]) -> usize {
        let resources = self.directory.resources(bare);
        let mut count = 0;
        for (_, session) in resources.filter(|(id, session)| session.is_available() && Some(*id) != except) {
            self.outboxes.append(session.conn, |out| out.extend_from_slice(bytes));
            count += 1;
        }
        count
    }

    /// Lets `write` append to every session of an account with a flag, such as those that asked for the roster; it is
    /// told the full JID.
    pub fn send_to_flagged(&mut self, bare: &str, flag: SessionFlags, mut write: impl FnMut(&str, &mut Vec<u8>)) {
        for (_, session) in self.directory.resources(bare).filter(|(_, session)| session.flags.has(flag)) {
            self.outboxes.append(session.conn, |out| write(session.jid.as_str(), out));
        }
    }

    /// Like [`Self::send_to_component`], but not before what is held for it.
    pub fn send_to_component_in_turn(&mut self, domain: &str, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(conn) = self.hosts.component(domain) {
            self.outboxes.append_in_turn(conn, |out| outward(out, write));
        }
    }

    /// Appends to the connection of the component that answers for `domain`; false if there is none.
    pub fn send_to_component(&mut self, domain: &str, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let Some(conn) = self.hosts.component(domain) else { return false };
        self.outboxes.append(conn, |out| outward(out, write));
        true
    }
}
