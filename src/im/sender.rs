//! Who a stanza is from: a session of ours, or somebody elsewhere for whom a component, or one day a server, vouches.
//!
//! ```text
//! client ──▶ Session(id): its address is the session's      component ──▶ Remote: its address was judged at the door
//! ```

use crate::ids::{ConnId, SessionId};
use crate::im::directory::Directory;
use crate::jid::JidRef;

/// Who a stanza is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender<'a> {
    /// A session of this process.
    Session(SessionId),
    /// Somebody of a domain that is not hosted here.
    Remote {
        /// The address, prepared; that it belongs to whoever sent it is known.
        jid: JidRef<'a>,
        /// The connection that it came over, and where answers go.
        conn: ConnId,
    },
}

impl<'a> Sender<'a> {
    /// The session, if it is one.
    pub fn session(self) -> Option<SessionId> {
        match self {
            Self::Session(id) => Some(id),
            Self::Remote { .. } => None,
        }
    }

    /// The address; none if the session has ended.
    pub fn jid<'d>(self, directory: &'d Directory) -> Option<JidRef<'d>>
    where
        'a: 'd,
    {
        match self {
            Self::Session(id) => directory.get(id).map(|session| session.jid.as_ref()),
            Self::Remote { jid, .. } => Some(jid),
        }
    }

    /// Where answers go; none if the session has ended.
    pub fn conn(self, directory: &Directory) -> Option<ConnId> {
        match self {
            Self::Session(id) => directory.get(id).map(|session| session.conn),
            Self::Remote { conn, .. } => Some(conn),
        }
    }
}
