//! XEP-0227: the portable format, one XML file (or several, by XInclude).
//!
//! ```text
//! server-data ─ host jid ─ user name ─┬ scram-credentials…          ├ vCard
//!                                     ├ roster, presence requests   ├ private XML
//!                                     └ blocklist, or privacy lists └ offline-messages
//! ```
//!
//! Two things beyond the XEP's words are written: the block list as XEP-0191 itself has it (the XEP knows privacy lists
//! only, which are read too), and an element of our own for a disabled account.

mod privacy;
mod read;
mod write;

pub use read::Reader;
pub use write::Writer;

/// The format's namespace.
const PIE: &str = "urn:xmpp:pie:0";
/// SCRAM keys.
const SCRAM: &str = "urn:xmpp:pie:0#scram";
const ROSTER: &str = "jabber:iq:roster";
const PRIVATE: &str = "jabber:iq:private";
const PRIVACY: &str = "jabber:iq:privacy";
const BLOCKING: &str = "urn:xmpp:blocking";
const VCARD: &str = "vcard-temp";
const XINCLUDE: &str = "http://www.w3.org/2001/XInclude";
/// Our own: the account may not log in.
const STONECHAT: &str = "urn:stonechat:port:0";

#[cfg(test)]
mod tests;
