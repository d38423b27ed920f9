//! The reactor's parts: deadlines, listeners, tokens. The loop itself is in `server.rs`.

pub mod listen;
pub mod timers;
pub mod token;
