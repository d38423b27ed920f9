//! Stonechat: a small, fast Jabber/XMPP server that speaks both dialects of STARTTLS.
//!
//! See `docs/architecture.md` for how the parts fit. A host program embeds it in one of two ways:
//! [`server::Server`] with sockets and a loop of its own, or [`core::Core`], which takes bytes and the
//! time and gives back bytes and actions.

pub mod clock;
pub mod crypto;
pub mod ids;
pub mod jid;
pub mod metrics;
pub mod random;
mod sys;

pub mod reactor;
pub mod transport;
pub mod xml;

pub mod action;
pub mod config;
pub mod outbox;
pub mod sasl;
pub mod stanza;
pub mod storage;

pub mod stream;

pub mod im;

pub mod xep;

pub mod dispatch;

pub mod admin;
pub mod boot;
pub mod conn;
pub mod core;
pub mod server;

pub mod cli;
