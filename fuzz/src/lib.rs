//! What is fuzzed: one function a target, from bytes to a panic or none.
//!
//! The same functions run under libFuzzer (`fuzz_targets/`) and, for a bounded time and on any toolchain, in
//! `tests/fuzz_smoke.rs`.

pub mod targets;

pub use targets::{config, jid, keys, lua, negotiation, port, rows, sasl, session, sqlite, tls, xml};
