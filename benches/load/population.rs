//! Who there is: accounts by number, the contacts of some of them, and a file of XEP-0227 that brings them to a server.
//!
//! ```text
//! user0 … userN        know nobody: logins, handshakes, chat, offline messages
//! friend0 … friendN    in a circle, each a mutual contact of the K/2 before and behind: whatever has presence
//! ```
//!
//! All have the same password and the same salt, which is no way to run a server: it spares the generator one
//! PBKDF2 an account, and costs the server what any salt costs.

use std::io::{self, Write};

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::args::Options;
use crate::scram::{self, Hash};

/// Iterations of the accounts' keys: what `stonechat user add` takes.
const ITERATIONS: u32 = 10_000;
/// Everybody's salt.
const SALT: &[u8] = b"the load test's salt";

/// How many accounts there are of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Population {
    /// Accounts without contacts.
    pub(crate) users: u32,
    /// Accounts in the circle.
    pub(crate) friends: u32,
    /// Contacts of each of those: an even number below theirs.
    pub(crate) contacts: u32,
}

impl Population {
    /// What the options need: an account for each session that shall have contacts, two for each pair.
    pub(crate) fn of(options: &Options) -> Self {
        let pairs = options.pairs.iter().max().copied().unwrap_or(1);
        let friends = options.sessions.iter().max().copied().unwrap_or(1);
        Self { users: options.accounts.max(pairs * 2), friends, contacts: contacts_of(options.contacts, friends) }
    }

    /// Writes all of them as a file of XEP-0227.
    pub(crate) fn write(&self, options: &Options, out: &mut dyn Write) -> io::Result<()> {
        let keys: String = [Hash::Sha1, Hash::Sha256].into_iter().map(|hash| credentials(hash, options)).collect();
        let domain = &options.domain;
        write!(out, "<?xml version='1.0'?><server-data xmlns='urn:xmpp:pie:0'><host jid='{domain}'>")?;
        for account in 0..self.users {
            write!(out, "<user name='{}{account}'>{keys}</user>", options.users)?;
        }
        for account in 0..self.friends {
            write!(out, "<user name='{}{account}'>{keys}<query xmlns='jabber:iq:roster'>", options.friends)?;
            for contact in circle(account, self.friends, self.contacts) {
                write!(out, "<item jid='{}{contact}@{domain}' subscription='both'/>", options.friends)?;
            }
            out.write_all(b"</query></user>")?;
        }
        out.write_all(b"</host></server-data>\n")
    }
}

/// As many contacts as a circle of `friends` has room for, and an even number.
fn contacts_of(wanted: u32, friends: u32) -> u32 {
    wanted.min(friends.saturating_sub(1)) / 2 * 2
}

/// The contacts of an account: half of them before it, half behind.
fn circle(account: u32, friends: u32, contacts: u32) -> impl Iterator<Item = u32> {
    let (account, friends) = (u64::from(account), u64::from(friends));
    let half = u64::from(contacts / 2);
    let steps = (1..=half).flat_map(move |step| [step, friends - step]);
    steps.map(move |step| ((account + step) % friends) as u32)
}

fn credentials(hash: Hash, options: &Options) -> String {
    let (stored_key, server_key) = scram::stored(hash, &options.password, SALT, ITERATIONS);
    let (stored_key, server_key) = (BASE64_STANDARD.encode(stored_key), BASE64_STANDARD.encode(server_key));
    let salt = BASE64_STANDARD.encode(SALT);
    format!(
        "<scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='{}'><iter-count>{ITERATIONS}</iter-count>\
         <salt>{salt}</salt><server-key>{server_key}</server-key><stored-key>{stored_key}</stored-key>\
         </scram-credentials>",
        hash.mechanism()
    )
}

/// Known answers; run before every load test.
pub(crate) fn self_check() -> Result<(), String> {
    let (friends, contacts) = (7, contacts_of(99, 7));
    for account in 0..friends {
        let mut known: Vec<u32> = circle(account, friends, contacts).collect();
        let mutual = known.iter().all(|other| circle(*other, friends, contacts).any(|back| back == account));
        known.sort_unstable();
        known.dedup();
        if known.len() != contacts as usize || known.contains(&account) || !mutual {
            return Err(format!("population: the contacts of {account} are {known:?}"));
        }
    }
    Ok(())
}
