//! XEP-0092: Software Version.
//!
//! The operating system is told only if the configuration says so (§5).

use super::{Extension, IqEntry, IqKind, IqRequest, Outcome, Target};
use crate::im::columns::Columns;
use crate::im::stop::Stop;
use crate::xml::Writer;

const NS: &str = "jabber:iq:version";

/// The table.
pub const EXTENSION: Extension = Extension {
    server_features: &[NS],
    account_features: &[],
    iq: &[IqEntry { ns: NS, name: "query", handler: version }],
};

fn version(request: &IqRequest<'_>, _: &mut Columns<'_>, out: &mut Vec<u8>) -> Result<Outcome, Stop> {
    if request.kind == IqKind::Set || request.target != Target::Server {
        return Ok(Outcome::Pass);
    }
    let mut xml = Writer::new(out);
    xml.open("query").attr("xmlns", NS);
    xml.open("name").text(request.about.name).close();
    xml.open("version").text(request.about.version).close();
    if let Some(os) = request.about.os {
        xml.open("os").text(os).close();
    }
    xml.close();
    Ok(Outcome::Handled)
}
