//! Who has an account, who is online, where, and seen by whom. Knows no extension and no socket.
//!
//! ```text
//! dispatch ──JID──▶ Directory ──SessionId──▶ Sessions ──ConnId──▶ outbox
//! negotiation, administration ──▶ accounts ──▶ Store
//! ```

pub mod accounts;
pub mod announce;
pub mod blocks;
pub mod columns;
pub mod directory;
pub mod invites;
pub mod last;
pub mod load;
pub mod motd;
pub mod offline;
pub mod payloads;
pub mod presence;
pub mod private;
pub mod removal;
pub mod roster;
pub mod sender;
pub mod session;
pub mod stop;
pub mod subscribing;
pub mod subscription;
pub mod unattended;
pub mod vcard;
