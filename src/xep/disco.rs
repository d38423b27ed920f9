//! XEP-0030: Service Discovery, for the domain and the own account.
//!
//! Features are those that the extensions' tables name, so nothing is announced that is not there.
//! Without a presence subscription (roster issue) everybody is a stranger to everybody, and strangers
//! get the same answer for a missing and a forbidden account: no info, and no items (§8).

use super::{EXTENSIONS, Extension, IqEntry, IqKind, IqRequest, Outcome, Target};
use crate::im::columns::Columns;
use crate::im::stop::Stop;
use crate::stanza::StanzaCondition;
use crate::xml::Writer;

const NS_INFO: &str = "http://jabber.org/protocol/disco#info";
const NS_ITEMS: &str = "http://jabber.org/protocol/disco#items";

/// The table.
pub const EXTENSION: Extension = Extension {
    server_features: &[NS_INFO, NS_ITEMS],
    account_features: &[NS_INFO, NS_ITEMS],
    iq: &[
        IqEntry { ns: NS_INFO, name: "query", handler: info },
        IqEntry { ns: NS_ITEMS, name: "query", handler: items },
    ],
};

fn info(request: &IqRequest<'_>, _: &mut Columns<'_>, out: &mut Vec<u8>) -> Result<Outcome, Stop> {
    if request.kind == IqKind::Set {
        return Ok(Outcome::Pass);
    }
    let (category, kind) = match request.target {
        Target::Server => ("server", "im"),
        Target::OwnAccount => ("account", "registered"),
        Target::Stranger => return Ok(Outcome::Pass),
    };
    if request.payload_attr("node").is_some() {
        return Err(StanzaCondition::ItemNotFound.into());
    }
    let mut xml = Writer::new(out);
    xml.open("query").attr("xmlns", NS_INFO);
    xml.open("identity").attr("category", category).attr("type", kind);
    if request.target == Target::Server {
        xml.attr("name", request.about.name);
    }
    xml.close();
    for extension in EXTENSIONS {
        let features = match request.target {
            Target::Server => extension.server_features,
            Target::OwnAccount | Target::Stranger => extension.account_features,
        };
        for feature in features {
            xml.open("feature").attr("var", feature).close();
        }
    }
    xml.close();
    Ok(Outcome::Handled)
}

fn items(request: &IqRequest<'_>, _: &mut Columns<'_>, out: &mut Vec<u8>) -> Result<Outcome, Stop> {
    if request.kind == IqKind::Set {
        return Ok(Outcome::Pass);
    }
    let node = request.payload_attr("node");
    if node.is_some() && request.target != Target::Stranger {
        return Err(StanzaCondition::ItemNotFound.into());
    }
    Writer::new(out).open("query").attr("xmlns", NS_ITEMS).attr_opt("node", node).close();
    Ok(Outcome::Handled)
}
