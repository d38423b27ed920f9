//! Actions: what must wait until the handler returns, because it touches a socket or a slot's life.

use crate::ids::ConnId;

/// A small thing for the driver to do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put TLS on the socket: the go-ahead has left in plaintext.
    Flip {
        /// The connection.
        conn: ConnId,
        /// The domain of the clear stream header: picks the certificate when the client sends no SNI.
        hint: Option<String>,
    },
    /// Reading may go on, or must stop.
    ReadGate {
        /// The connection.
        conn: ConnId,
        /// Whether reading goes on.
        open: bool,
    },
    /// Write what the outbox holds, then `close_notify` and FIN; wait a bounded time for the peer's.
    Finish {
        /// The connection.
        conn: ConnId,
    },
    /// Write what the outbox holds, then drop TCP.
    FlushAndDrop {
        /// The connection.
        conn: ConnId,
    },
    /// Drop TCP now.
    Drop {
        /// The connection.
        conn: ConnId,
    },
}

impl Action {
    /// Whose it is.
    pub fn conn(&self) -> ConnId {
        match *self {
            Self::Flip { conn, .. }
            | Self::ReadGate { conn, .. }
            | Self::Finish { conn }
            | Self::FlushAndDrop { conn }
            | Self::Drop { conn } => conn,
        }
    }
}
