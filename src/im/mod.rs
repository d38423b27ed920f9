//! Instant messaging: who there is, who is online, and what reaches whom. Knows no extension and no socket.

pub mod accounts;
