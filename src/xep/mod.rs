//! The extensions: one file each, one line each in [`EXTENSIONS`], whose order is the hook order.
//!
//! ```text
//! dispatch ──IqRequest──▶ handler by payload namespace ──payload bytes──▶ dispatch wraps the result
//! ```
//!
//! A handler is a plain function: it looks at the request, writes the payload of the result, or says
//! which stanza error it is. Wrapping, addressing and delivery are the caller's.

pub mod admin;
pub mod avatar;
pub mod blocking;
pub mod caps;
pub mod commands;
pub mod delay;
pub mod disco;
pub mod forms;
pub mod last;
pub mod ping;
pub mod private;
pub mod register;
pub mod roster;
pub mod session;
pub mod time;
pub mod vcard;
pub mod version;

use crate::clock::Now;
use crate::crypto::hmac;
use crate::im::columns::Columns;
use crate::im::roster as roster_rows;
use crate::im::sender::Sender;
use crate::im::stop::Stop;
use crate::jid::JidRef;
use crate::xml::{Element, Tree};

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
    pub sender: Sender<'a>,
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
    /// The payload.
    pub fn payload(&self) -> Option<Element<'_>> {
        self.tree.root().children().next()
    }

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
    /// Contact addresses by their field (XEP-0157), in order.
    pub contacts: Vec<(String, Vec<String>)>,
    /// Bare JIDs of those who may use the commands of XEP-0133, prepared.
    pub admins: Vec<String>,
    /// PBKDF2 rounds for passwords that are set here.
    pub scram_iterations: u32,
    /// When the server was started, on the tick's clock.
    pub started_ms: u64,
    /// Made at the start: for [`About::sign`].
    pub key: [u8; 32],
}

impl About {
    /// A keyed hash over words, so that nobody else can name them: for ids that the server gives out and takes back.
    pub fn sign(&self, words: &[&str]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key);
        let mut context = hmac::Context::with_key(&key);
        for word in words {
            context.update(word.as_bytes());
            context.update(&[0]);
        }
        avatar::hex(context.sign().as_ref().get(..16).unwrap_or_default())
    }
}

impl Default for About {
    fn default() -> Self {
        Self {
            name: "Stonechat",
            version: env!("CARGO_PKG_VERSION"),
            os: None,
            contacts: Vec::new(),
            admins: Vec::new(),
            scram_iterations: 10_000,
            started_ms: 0,
            key: [0; 32],
        }
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
pub const EXTENSIONS: &[Extension] = &[
    roster::EXTENSION,
    disco::EXTENSION,
    ping::EXTENSION,
    version::EXTENSION,
    time::EXTENSION,
    session::EXTENSION,
    blocking::EXTENSION,
    vcard::EXTENSION,
    private::EXTENSION,
    last::EXTENSION,
    commands::EXTENSION,
    register::EXTENSION,
];

/// Whether who asks may see the presence of the account that is asked: it is its own, or the account's roster says so.
///
/// # Errors
///
/// [`Stop`]: a row is missing.
pub fn may_see(request: &IqRequest<'_>, columns: &mut Columns<'_>) -> Result<bool, Stop> {
    if request.target == Target::OwnAccount {
        return Ok(true);
    }
    let Some(asker) = request.sender.jid(columns.directory).map(|jid| jid.to_bare().to_owned()) else {
        return Ok(false);
    };
    if columns.directory.online(request.to.bare()).is_some() {
        let is_blocked = columns.directory.has_blocked(request.to.bare(), asker.as_ref());
        return Ok(!is_blocked && columns.directory.subscribed(request.to.bare(), asker.as_str()).from);
    }
    let item = roster_rows::get(columns.store, request.to, asker.as_str())?;
    Ok(item.is_some_and(|item| item.state.subscribed().from))
}

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
