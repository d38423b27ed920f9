//! The control protocol: what `stonechat user …` and its like ask of a running server.
//!
//! ```text
//! CLI ──one JSON line──▶ socket in the data folder ──Request──▶ execute ──Answer──▶ one JSON line
//! ```
//!
//! Versioned and bounded; nothing here knows the socket. Passwords do not travel: the caller derives the SCRAM keys,
//! so the loop never hashes on an operator's behalf. The keys are as secret as passwords, and no `Debug` shows them.
//! `wire` is how it is written, `client` the blocking side for the command line.

pub mod client;
mod wire;

#[cfg(test)]
mod tests;

use crate::im::accounts::{self, ACCOUNT_PAGE_MAX, Change};
use crate::im::columns::Columns;
use crate::im::invites::{self, Invite};
use crate::im::motd;
use crate::im::removal;
use crate::im::stop::Stop;
use crate::jid::Jid;
use crate::sasl::Credentials;
use crate::stanza::StanzaCondition;
use crate::storage::{Miss, Store};
use crate::xep::admin::announce_to_all;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The version of the protocol; another one is refused.
pub const CONTROL_VERSION: u32 = 1;
use crate::limits::PAGE_BYTES_MAX;
pub use crate::limits::{CONTROL_CONNECTIONS_MAX, CONTROL_LINE_BYTES_MAX, CONTROL_TIMEOUT_S, HOSTED_SHOWN_MAX};

const _: () = assert!(PAGE_BYTES_MAX + 4 * 1024 < CONTROL_LINE_BYTES_MAX);

/// Where the control socket of a data folder is.
pub fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}

/// What is asked of a running server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Something about accounts; [`execute`] answers it from the store.
    User(UserRequest),
    /// A copy of the store, into the file that comes with the line; answered with [`Answer::Progress`], any number of them,
    /// and [`Answer::BackedUp`].
    Backup,
    /// How the server is; answered with [`Answer::Status`].
    Status,
    /// Certificates and log level again, as SIGHUP does.
    Reload,
    /// An orderly end, as SIGTERM does.
    Stop,
}

/// What is asked about accounts. Addresses are prepared bare JIDs with a localpart.
#[derive(Clone, PartialEq, Eq)]
pub enum UserRequest {
    /// A new account.
    Add {
        /// Its address.
        address: Jid,
        /// What it may log in with.
        credentials: Credentials,
    },
    /// Another password.
    Passwd {
        /// The account's address.
        address: Jid,
        /// What it may log in with from now on.
        credentials: Credentials,
    },
    /// The account, gone.
    Del {
        /// Its address.
        address: Jid,
    },
    /// Whether the account may log in.
    Disable {
        /// Its address.
        address: Jid,
        /// Whether it may not.
        disabled: bool,
    },
    /// An invitation to make an account (XEP-0401).
    Invite {
        /// The prepared domain where it is good.
        domain: String,
        /// What the newcomer shows; made by the caller, and as secret as a password.
        token: String,
        /// The username that it is kept for.
        localpart: Option<String>,
        /// Until when it is good, in seconds since 1970.
        expires_unix_s: u64,
    },
    /// A headline to everybody who is online.
    Announce {
        /// The prepared domain.
        domain: String,
        /// What is said.
        text: String,
    },
    /// The message of the day.
    Motd {
        /// The prepared domain.
        domain: String,
        /// What it is; none takes it back.
        text: Option<String>,
    },
    /// One page of a domain's accounts.
    List {
        /// A prepared domainpart.
        domain: String,
        /// The last localpart of the page before.
        after: Option<String>,
    },
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done, and on disk. To be sent when the run's ticket is durable.
    Done,
    /// One page of localparts; `more` says whether another may follow.
    Users {
        /// In byte order.
        localparts: Vec<String>,
        /// Whether to ask again, after the last one.
        more: bool,
    },
    /// How far a backup is: the answer is still to come.
    Progress {
        /// Rows copied.
        rows: u64,
        /// About how many there are.
        total: u64,
    },
    /// The backup is whole, and on disk.
    BackedUp {
        /// Rows in it.
        rows: u64,
    },
    /// How the server is.
    Status(Box<Status>),
    /// It was not done.
    Refused(Refusal),
}

/// How a server is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub program: String,
    /// The process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// The hosted domains.
    pub domains: Vec<String>,
    /// Connections now.
    pub connections: u64,
    /// Bound sessions now.
    pub sessions: u64,
    /// Whatever else is counted, by name.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The line is not a request of this protocol.
    BadRequest {
        /// What is wrong with it.
        why: String,
    },
    /// The request has another version.
    UnsupportedVersion,
    /// The domain is not hosted.
    NoSuchDomain {
        /// That domain.
        domain: String,
        /// Those that are, as far as there is room for them.
        hosted: Vec<String>,
    },
    /// There is no such account.
    NoSuchAccount {
        /// Its address.
        address: String,
    },
    /// There is such an account already.
    AccountExists {
        /// Its address.
        address: String,
    },
    /// Too much waits for the disk, or too many ask at once.
    Busy,
    /// The server tried and could not.
    Failed {
        /// What happened.
        why: String,
    },
}

/// Answers what is asked about accounts. `hosted` are the prepared names of the domains.
///
/// After [`Answer::Done`] to a `Passwd` the caller forgets the account's verifiers; what a `Del` leaves to be done is
/// among the columns' effects.
///
/// # Errors
///
/// [`Miss`]: run again when the rows are there.
pub fn execute(request: &UserRequest, hosted: &[&str], columns: &mut Columns<'_>) -> Result<Answer, Miss> {
    let domain = request.domain();
    if !hosted.contains(&domain) {
        let hosted = hosted.iter().take(HOSTED_SHOWN_MAX).map(|&name| name.to_owned()).collect();
        return Ok(Answer::Refused(Refusal::NoSuchDomain { domain: domain.to_owned(), hosted }));
    }
    let store = &mut *columns.store;
    let (address, change) = match request {
        UserRequest::Add { address, credentials } => {
            (address, accounts::create(store, domain, localpart(address), &accounts::account(credentials))?)
        }
        UserRequest::Passwd { address, credentials } => {
            // Whether it is disabled stays.
            let old = accounts::get(store, domain, localpart(address))?;
            let disabled = old.is_some_and(|old| old.summary.disabled);
            let account = accounts::account(&Credentials { disabled, ..credentials.clone() });
            (address, accounts::set(store, domain, localpart(address), &account)?)
        }
        UserRequest::Del { address } => (address, delete(address, columns)?),
        UserRequest::Disable { address, disabled } => (address, set_disabled(address, *disabled, columns)?),
        UserRequest::Invite { token, localpart, expires_unix_s, .. } => {
            return invite(domain, token, localpart.as_deref(), *expires_unix_s, columns);
        }
        UserRequest::Announce { text, .. } => {
            let told = announce_to_all(domain, text, columns);
            log::info!("{told} sessions of {domain} were told an announcement");
            return Ok(Answer::Done);
        }
        UserRequest::Motd { text, .. } => {
            let set = match text {
                Some(text) => motd::proclaim(columns, domain, text),
                None => motd::set(columns.store, domain, 0, ""),
            };
            return Ok(set.map_or(Answer::Refused(Refusal::Busy), |()| Answer::Done));
        }
        UserRequest::List { domain, after } => return page(store, domain, after.as_deref()),
    };
    let address = address.as_str().to_owned();
    Ok(match change {
        Change::Absent => Answer::Refused(Refusal::NoSuchAccount { address }),
        Change::Done => Answer::Done,
        Change::Exists => Answer::Refused(Refusal::AccountExists { address }),
        Change::Full => Answer::Refused(Refusal::Busy),
    })
}

/// Removes an account with all that is kept for it.
fn delete(address: &Jid, columns: &mut Columns<'_>) -> Result<Change, Miss> {
    match removal::remove(columns, address.as_ref()) {
        Ok(()) => Ok(Change::Done),
        Err(Stop::Miss(miss)) => Err(miss),
        Err(Stop::Refuse(refusal)) if refusal.condition == StanzaCondition::ItemNotFound => Ok(Change::Absent),
        // There is no room now. Nothing is hashed here.
        Err(Stop::Refuse(_) | Stop::Hash(_)) => Ok(Change::Full),
    }
}

fn set_disabled(address: &Jid, disabled: bool, columns: &mut Columns<'_>) -> Result<Change, Miss> {
    match crate::xep::admin::set_disabled(address, disabled, columns) {
        Ok(()) => Ok(Change::Done),
        Err(Stop::Miss(miss)) => Err(miss),
        Err(Stop::Refuse(refusal)) if refusal.condition == StanzaCondition::ItemNotFound => Ok(Change::Absent),
        Err(Stop::Refuse(_) | Stop::Hash(_)) => Ok(Change::Full),
    }
}

/// Keeps an invitation, unless there is an account of the name that it is for.
fn invite(
    domain: &str,
    token: &str,
    localpart: Option<&str>,
    expires_unix_s: u64,
    columns: &mut Columns<'_>,
) -> Result<Answer, Miss> {
    if let Some(localpart) = localpart {
        let is_taken = accounts::get(columns.store, domain, localpart)?.is_some()
            || invites::reserved(columns.store, domain, localpart, columns.now.unix_s())?.is_some();
        if is_taken {
            return Ok(Answer::Refused(Refusal::AccountExists { address: format!("{localpart}@{domain}") }));
        }
    }
    let localpart = localpart.map(str::to_owned);
    let invite = Invite { domain: domain.to_owned(), localpart, inviter: None, expires_unix_s, uses: 1 };
    let kept = invites::add(columns.store, token, &invite, columns.now.unix_s())?;
    Ok(kept.map_or(Answer::Refused(Refusal::Busy), |()| Answer::Done))
}

/// The next accounts, as many as one line holds.
fn page(store: &mut Store, domain: &str, after: Option<&str>) -> Result<Answer, Miss> {
    let rows = accounts::list(store, domain, after, ACCOUNT_PAGE_MAX)?;
    let found = rows.len();
    let mut room = PAGE_BYTES_MAX;
    let mut localparts = Vec::with_capacity(found);
    for (localpart, _) in rows {
        // Every byte may need an escape; quotes and a comma come with each.
        let Some(left) = room.checked_sub(2 * localpart.len() + 3) else { break };
        room = left;
        localparts.push(localpart);
    }
    let more = localparts.len() < found || found == ACCOUNT_PAGE_MAX as usize;
    Ok(Answer::Users { localparts, more })
}

fn localpart(address: &Jid) -> &str {
    address.localpart().unwrap_or_default()
}

impl UserRequest {
    /// The domain concerned.
    pub fn domain(&self) -> &str {
        match self {
            Self::Add { address, .. }
            | Self::Passwd { address, .. }
            | Self::Del { address }
            | Self::Disable { address, .. } => address.domainpart(),
            Self::List { domain, .. }
            | Self::Invite { domain, .. }
            | Self::Announce { domain, .. }
            | Self::Motd { domain, .. } => domain,
        }
    }
}

impl fmt::Debug for UserRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, whom) = match self {
            Self::Add { address, .. } => ("Add", address.as_str()),
            Self::Passwd { address, .. } => ("Passwd", address.as_str()),
            Self::Del { address } => ("Del", address.as_str()),
            Self::Disable { address, disabled: true } => ("Disable", address.as_str()),
            Self::Disable { address, disabled: false } => ("Enable", address.as_str()),
            Self::List { domain, .. } => ("List", domain.as_str()),
            Self::Invite { domain, .. } => ("Invite", domain.as_str()),
            Self::Announce { domain, .. } => ("Announce", domain.as_str()),
            Self::Motd { domain, .. } => ("Motd", domain.as_str()),
        };
        write!(f, "{name}({whom})")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRequest { why } => write!(f, "the request is not understood: {why}"),
            Self::UnsupportedVersion => {
                write!(f, "this server speaks version {CONTROL_VERSION} of the control protocol")
            }
            Self::NoSuchDomain { domain, hosted } => {
                write!(f, "the domain {domain} is not hosted here; hosted: {}", hosted.join(", "))
            }
            Self::NoSuchAccount { address } => write!(f, "there is no account {address}"),
            Self::AccountExists { address } => write!(f, "there is an account {address} already"),
            Self::Busy => f.write_str("the server is busy; try again"),
            Self::Failed { why } => f.write_str(why),
        }
    }
}
