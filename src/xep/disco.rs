//! XEP-0030: Service Discovery, for the domain and the own account.
//!
//! Features are those that the extensions' tables name, so nothing is announced that is not there.
//! Other accounts are not answered here: without a presence subscription (roster issue) everybody is
//! a stranger to everybody, and strangers get the same answer for a missing and a forbidden account
//! (§8), which dispatch gives.

use super::{EXTENSIONS, Extension, IqEntry, IqKind, IqRequest, Outcome, Target};
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

fn info(request: &IqRequest<'_>, out: &mut Vec<u8>) -> Outcome {
    if request.kind == IqKind::Set {
        return Outcome::Pass;
    }
    if request.payload_attr("node").is_some() {
        return Outcome::Refused(StanzaCondition::ItemNotFound);
    }
    let mut xml = Writer::new(out);
    xml.open("query").attr("xmlns", NS_INFO);
    let (category, kind) = match request.target {
        Target::Server => ("server", "im"),
        Target::OwnAccount => ("account", "registered"),
    };
    xml.open("identity").attr("category", category).attr("type", kind);
    if request.target == Target::Server {
        xml.attr("name", request.about.name);
    }
    xml.close();
    for extension in EXTENSIONS {
        let features = match request.target {
            Target::Server => extension.server_features,
            Target::OwnAccount => extension.account_features,
        };
        for feature in features {
            xml.open("feature").attr("var", feature).close();
        }
    }
    xml.close();
    Outcome::Handled
}

fn items(request: &IqRequest<'_>, out: &mut Vec<u8>) -> Outcome {
    if request.kind == IqKind::Set {
        return Outcome::Pass;
    }
    if request.payload_attr("node").is_some() {
        return Outcome::Refused(StanzaCondition::ItemNotFound);
    }
    Writer::new(out).open("query").attr("xmlns", NS_ITEMS).close();
    Outcome::Handled
}
