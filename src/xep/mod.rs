//! The extensions: one file each, one line each in [`EXTENSIONS`], whose order is the hook order.
//!
//! ```text
//! dispatch ──IqRequest──▶ handler by payload namespace ──payload bytes──▶ dispatch wraps the result
//! ```
//!
//! A handler is a plain function: it looks at the request, writes the payload of the result, or says
//! which stanza error it is. Wrapping, addressing and delivery are the caller's.

pub mod avatar;
pub mod delay;
pub mod disco;
pub mod ping;
pub mod roster;
pub mod session;
pub mod time;
pub mod version;

use crate::clock::Now;
use crate::ids::SessionId;
use crate::im::columns::Columns;
use crate::im::stop::Stop;
use crate::jid::JidRef;
use crate::xml::Tree;

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The hosted domain itself.
    Server,
    /// The sender's own account: no `to`, or the own bare JID.
    OwnAccount,
    /// The bare JID of somebody who does not share presence with the sender, or of nobody: both get the same answer.
    Stranger,
}

/// `get` or `set`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IqKind {
    /// Asks.
    Get,
    /// Changes.
    Set,
}

/// An IQ request that this server answers itself.
#[derive(Debug)]
pub struct IqRequest<'a> {
    /// Who asks.
    pub sender: SessionId,
    /// Who is asked.
    pub target: Target,
    /// Its address, prepared: the domain, or an account's bare JID, also where the stanza had none.
    pub to: JidRef<'a>,
    /// `get` or `set`.
    pub kind: IqKind,
    /// The whole stanza as a tree; its first child is the payload.
    pub tree: &'a Tree,
    /// What the server says about itself.
    pub about: &'a About,
    /// The time of this tick.
    pub now: Now,
}

impl IqRequest<'_> {
    /// An attribute of the payload.
    pub fn payload_attr(&self, name: &str) -> Option<&str> {
        self.tree.root().children().next().and_then(|payload| payload.attr(name))
    }
}

/// What the server says about itself.
#[derive(Clone, Debug)]
pub struct About {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The operating system, if it may be told (XEP-0092 §5).
    pub os: Option<&'static str>,
}

impl Default for About {
    fn default() -> Self {
        Self { name: "Stonechat", version: env!("CARGO_PKG_VERSION"), os: None }
    }
}

/// What a handler did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The payload of the result, possibly empty, is written.
    Handled,
    /// Not for this handler.
    Pass,
}

/// Answers a request; appends the payload to `out`. What it refuses, misses or has hashed is a [`Stop`].
pub type IqHandler = fn(request: &IqRequest<'_>, columns: &mut Columns<'_>, out: &mut Vec<u8>) -> Result<Outcome, Stop>;

/// One IQ payload that an extension answers.
#[derive(Clone, Copy, Debug)]
pub struct IqEntry {
    /// The payload's namespace.
    pub ns: &'static str,
    /// The payload's name.
    pub name: &'static str,
    /// The handler.
    pub handler: IqHandler,
}

/// One extension's table.
#[derive(Clone, Copy, Debug)]
pub struct Extension {
    /// Features that disco#info of the server lists.
    pub server_features: &'static [&'static str],
    /// Features that disco#info of the own account lists.
    pub account_features: &'static [&'static str],
    /// IQ payloads.
    pub iq: &'static [IqEntry],
}

/// All extensions, in hook order.
pub const EXTENSIONS: &[Extension] =
    &[roster::EXTENSION, disco::EXTENSION, ping::EXTENSION, version::EXTENSION, time::EXTENSION, session::EXTENSION];

/// Finds who answers a payload and lets them.
///
/// # Errors
///
/// What the handler says.
pub fn answer(
    ns: &str,
    name: &str,
    request: &IqRequest<'_>,
    columns: &mut Columns<'_>,
    out: &mut Vec<u8>,
) -> Result<Outcome, Stop> {
    let entries = EXTENSIONS.iter().flat_map(|extension| extension.iq);
    for entry in entries.filter(|entry| entry.ns == ns && entry.name == name) {
        match (entry.handler)(request, columns, out)? {
            Outcome::Pass => {}
            Outcome::Handled => return Ok(Outcome::Handled),
        }
    }
    Ok(Outcome::Pass)
}
