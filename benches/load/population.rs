//! Who there is: accounts by number, the contacts of some of them, and a file of XEP-0227 that brings them to a server.
//!
//! ```text
//! user0 … userN        know nobody: logins, handshakes, chat, offline messages
//! friend0 … friendN    in a circle, each a mutual contact of the K/2 before and behind: whatever has presence
//! friendhub0 …         the same with few people and many contacts
//! ```
//!
//! All have the same password and the same salt, which is no way to run a server: it spares the generator one
//! PBKDF2 an account, and costs the server what any salt costs.

use std::io::{self, Write};

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::args::{Options, Scenario};
use crate::scram::{self, Hash};

/// Iterations of the accounts' keys: what `stonechat user add` takes.
pub(crate) const ITERATIONS: u32 = 10_000;
/// Pairs that every scenario finds accounts for.
const PAIRS_MIN: u32 = 50;
/// The small circle: everybody knows nearly everybody.
const HUBS: u32 = 202;
const HUB_CONTACTS: u32 = 200;
/// Everybody's salt.
pub(crate) const SALT: &[u8] = b"the load test's salt";

/// Accounts that are each other's contacts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Circle {
    /// Their names are this and a number from zero.
    pub(crate) prefix: String,
    pub(crate) count: u32,
    /// Contacts of each: an even number below `count`.
    pub(crate) contacts: u32,
}

impl Circle {
    /// As many contacts as are wanted and the circle has room for.
    fn new(prefix: String, count: u32, contacts: u32) -> Self {
        Self { prefix, count, contacts: contacts.min(count.saturating_sub(1)) / 2 * 2 }
    }

    /// The contacts of an account: half of them before it, half behind.
    pub(crate) fn contacts_of(&self, account: u32) -> impl Iterator<Item = u32> + use<> {
        let (account, count, half) = (u64::from(account), u64::from(self.count), u64::from(self.contacts / 2));
        let steps = (1..=half).flat_map(move |step| [step, count - step]);
        steps.map(move |step| ((account + step) % count) as u32)
    }
}

/// Who there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Population {
    /// Accounts without contacts.
    pub(crate) users: u32,
    /// A large circle of people with some contacts each.
    pub(crate) friends: Circle,
    /// A small one of people with many.
    pub(crate) hubs: Circle,
}

impl Population {
    /// What the options need: an account for each session that shall have contacts, two for each pair.
    pub(crate) fn of(options: &Options) -> Self {
        let pairs = options.pairs.iter().max().copied().unwrap_or(1).max(PAIRS_MIN);
        let grown = options.growth.iter().filter(|_| options.scenarios.contains(&Scenario::Growth));
        let friends = options.sessions.iter().chain(grown).max().copied().unwrap_or(1);
        Self {
            users: options.accounts.max(pairs * 2).max(options.concurrency * 2),
            friends: Circle::new(options.friends.clone(), friends, options.contacts),
            hubs: Circle::new(format!("{}hub", options.friends), HUBS, HUB_CONTACTS),
        }
    }

    /// Writes all of them as a file of XEP-0227.
    pub(crate) fn write(&self, options: &Options, out: &mut dyn Write) -> io::Result<()> {
        let domain = &options.domain;
        let hashed: String = [Hash::Sha1, Hash::Sha256].into_iter().map(|hash| credentials(hash, options)).collect();
        let keys = if options.clear_passwords { "" } else { &hashed };
        let password =
            if options.clear_passwords { format!(" password='{}'", options.password) } else { String::new() };
        write!(out, "<?xml version='1.0'?><server-data xmlns='urn:xmpp:pie:0'><host jid='{domain}'>")?;
        for account in 0..self.users {
            write!(out, "<user name='{}{account}'{password}>{keys}</user>", options.users)?;
        }
        for circle in [&self.friends, &self.hubs] {
            for account in 0..circle.count {
                let prefix = &circle.prefix;
                write!(out, "<user name='{prefix}{account}'{password}>{keys}<query xmlns='jabber:iq:roster'>")?;
                for contact in circle.contacts_of(account) {
                    write!(out, "<item jid='{prefix}{contact}@{domain}' subscription='both'/>")?;
                }
                out.write_all(b"</query></user>")?;
            }
        }
        out.write_all(b"</host></server-data>\n")
    }
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
    let circle = Circle::new("friend".to_owned(), 7, 99);
    for account in 0..circle.count {
        let mut known: Vec<u32> = circle.contacts_of(account).collect();
        let mutual = known.iter().all(|other| circle.contacts_of(*other).any(|back| back == account));
        known.sort_unstable();
        known.dedup();
        if known.len() != circle.contacts as usize || known.contains(&account) || !mutual {
            return Err(format!("population: the contacts of {account} are {known:?}"));
        }
    }
    Ok(())
}
