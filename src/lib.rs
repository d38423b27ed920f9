//! Stonechat: a small, fast Jabber/XMPP server that speaks both dialects of STARTTLS.
//!
//! See `docs/architecture.md` for how the parts fit.

pub mod clock;
pub mod crypto;
pub mod ids;
pub mod jid;
pub mod random;

pub mod transport;
pub mod xml;

pub mod config;
pub mod sasl;
pub mod stanza;
pub mod storage;

pub mod stream;

pub mod im;

pub mod admin;
pub mod boot;

pub mod cli;
