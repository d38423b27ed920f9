//! XEP-0199: XMPP Ping, answered for the domain and the own account. The server's own pings: `core/silence.rs`.

use super::{Extension, IqEntry, IqKind, IqRequest, Outcome, Target};
use crate::im::columns::Columns;
use crate::im::stop::Stop;

const NS: &str = "urn:xmpp:ping";

/// The table.
pub const EXTENSION: Extension = Extension {
    server_features: &[NS],
    account_features: &[NS],
    iq: &[IqEntry { ns: NS, name: "ping", handler: ping }],
};

fn ping(request: &IqRequest<'_>, _: &mut Columns<'_>, _out: &mut Vec<u8>) -> Result<Outcome, Stop> {
    match (request.kind, request.target) {
        (IqKind::Get, Target::Server | Target::OwnAccount) => Ok(Outcome::Handled),
        (IqKind::Set, _) | (_, Target::Stranger) => Ok(Outcome::Pass),
    }
}
