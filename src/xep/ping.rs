//! XEP-0199: XMPP Ping, answered for the domain and the own account.
//!
//! Left out on purpose for now: pings by the server; they come with presence.

use super::{Extension, IqEntry, IqKind, IqRequest, Outcome, Target};

const NS: &str = "urn:xmpp:ping";

/// The table.
pub const EXTENSION: Extension = Extension {
    server_features: &[NS],
    account_features: &[NS],
    iq: &[IqEntry { ns: NS, name: "ping", handler: ping }],
};

fn ping(request: &IqRequest<'_>, _out: &mut Vec<u8>) -> Outcome {
    match (request.kind, request.target) {
        (IqKind::Get, Target::Server | Target::OwnAccount) => Outcome::Handled,
        (IqKind::Set, _) | (_, Target::Stranger) => Outcome::Pass,
    }
}
