//! Who is online, where, and seen by whom. Knows no extension and no socket.
//!
//! ```text
//! dispatch ──JID──▶ Directory ──SessionId──▶ Sessions ──ConnId──▶ outbox
//! ```

pub mod directory;
pub mod presence;
pub mod session;
