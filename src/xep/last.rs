//! XEP-0012: Last Activity: of the server, its uptime; of an account, since when it has been away.
//!
//! ```text
//! asker may see the account's presence? ──no──▶ forbidden, also for nobody     ──yes──▶ 0, or seconds since
//! ```

use super::{Extension, IqEntry, IqKind, IqRequest, Outcome, Target, may_see};
use crate::im::columns::Columns;
use crate::im::last;
use crate::im::stop::Stop;
use crate::stanza::StanzaCondition;
use crate::xml::Writer;

const NS: &str = "jabber:iq:last";

/// The table.
pub const EXTENSION: Extension = Extension {
    server_features: &[NS],
    account_features: &[],
    iq: &[IqEntry { ns: NS, name: "query", handler: query }],
};

fn query(request: &IqRequest<'_>, columns: &mut Columns<'_>, out: &mut Vec<u8>) -> Result<Outcome, Stop> {
    if request.kind == IqKind::Set {
        return Ok(Outcome::Pass);
    }
    let mut status = String::new();
    let seconds = match request.target {
        Target::Server => request.now.mono_ms.saturating_sub(request.about.started_ms) / 1000,
        Target::OwnAccount | Target::Stranger => {
            if !may_see(request, columns)? {
                return Err(StanzaCondition::Forbidden.into());
            }
            // One that is connected counts, also without presence (§4).
            match columns.directory.online(request.to.bare()) {
                Some(_) => 0,
                None => {
                    let last = last::get(columns, request.to)?.ok_or(StanzaCondition::ItemNotFound)?;
                    status = last.status;
                    request.now.unix_s().saturating_sub(last.unix_s)
                }
            }
        }
    };
    let mut xml = Writer::new(out);
    xml.open("query").attr("xmlns", NS).attr("seconds", &seconds.to_string()).text(&status).close();
    Ok(Outcome::Handled)
}
