//! Stonechat: a small Jabber/XMPP server that speaks both dialects of STARTTLS, XEP-0035's of 2002 and RFC 6120's.
//!
//! ```text
//! host ──Config, Parts──▶ server::Server ──sockets, time──▶ core::Core ──▶ stream, dispatch, im, storage
//! test ──bytes, time─────────────────────────────────────▶ core::Core ──▶ bytes, actions
//! ```
//!
//! A host program embeds it in one of two ways:
//!
//! - [`server::Server`] has sockets, TLS and a loop of its own: [`server::start`] opens the listeners, then
//!   [`server::Server::run`] serves in a thread, or [`server::Server::tick`] takes one turn in the host's loop. The host
//!   brings the store ([`storage::Disk`], [`storage::Memory`] or its own [`storage::Engine`]) and the certificates
//!   ([`transport::TlsDomains`]). `examples/embed.rs` is a whole program.
//! - [`core::Core`] takes bytes and the time and gives back bytes and actions, without a socket, a clock or a disk.
//!   `examples/test_double.rs` makes an XMPP server of it that lives in a variable, for the tests of a client.
//!
//! Components (XEP-0114) plug into both: [`server::Parts::components`] names those that may connect, and
//! [`core::Domains::with_components`] with [`core::Core::accept_component`] take one without a socket.
//!
//! A server without TLS, for a test, that ends at once:
//!
//! ```
//! use stonechat::config::{Config, ListenerConfig, ListenerKind};
//! use stonechat::server::{Parts, start};
//! use stonechat::storage::Memory;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let addresses = vec!["127.0.0.1:0".parse()?];
//! let listener = ListenerConfig { kind: ListenerKind::StartTls, addresses, all_must_open: true };
//! let mut config = Config { listeners: vec![listener], ..Config::default() };
//! for domain in &mut config.domains {
//!     (domain.self_signed, domain.tls_required) = (false, false);
//! }
//! let parts = Parts {
//!     tls: None,
//!     components: Vec::new(),
//!     reload: Box::new(|_| Err("there is nothing to load again".into())),
//!     engine: Box::new(Memory::new()),
//!     control: None,
//!     signals: false,
//! };
//! let mut server = start(&config, parts)?;
//! assert!(server.listeners().all(|(address, _)| address.port() != 0));
//! server.handle().stop(); // From any thread; here before it has begun.
//! server.run()?;
//! # Ok(())
//! # }
//! ```
//!
//! The library prints nothing and logs through the `log` facade. It takes no signal unless
//! [`server::Parts::signals`] says so. How the parts fit: `docs/architecture.md`.

pub mod clock;
pub mod crypto;
pub mod ids;
pub mod jid;
pub mod limits;
pub mod metrics;
pub mod purse;
pub mod random;
#[cfg(test)]
mod scratch;
pub mod sys;

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
pub mod port;
pub mod server;

pub mod cli;
