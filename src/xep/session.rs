//! The session request of RFC 3921 §3: nothing to do, but old clients wait for the answer.
//!
//! RFC 6121 has no such step; it is advertised as optional (draft-cridland-xmpp-session).

use super::{Extension, IqEntry, IqKind, IqRequest, Outcome, Target};
use crate::im::columns::Columns;
use crate::im::stop::Stop;

/// The table.
pub const EXTENSION: Extension = Extension {
    server_features: &[],
    account_features: &[],
    iq: &[IqEntry { ns: "urn:ietf:params:xml:ns:xmpp-session", name: "session", handler: session }],
};

fn session(request: &IqRequest<'_>, _: &mut Columns<'_>, _out: &mut Vec<u8>) -> Result<Outcome, Stop> {
    match (request.kind, request.target) {
        (IqKind::Set, Target::Server | Target::OwnAccount) => Ok(Outcome::Handled),
        (IqKind::Get, _) | (_, Target::Stranger) => Ok(Outcome::Pass),
    }
}
