//! XEP-0030: Service Discovery, for the domain and for accounts; XEP-0157: contact addresses.
//!
//! Features are those that the extensions' tables name, so nothing is announced that is not there. An account tells
//! itself and those who may see its presence; anybody else gets the same as for an account that is not there (§8).

use super::{EXTENSIONS, Extension, IqEntry, IqKind, IqRequest, Outcome, Target, caps, may_see};
use crate::im::columns::Columns;
use crate::im::stop::Stop;
use crate::stanza::StanzaCondition;
use crate::xml::Writer;

const NS_INFO: &str = "http://jabber.org/protocol/disco#info";
const NS_ITEMS: &str = "http://jabber.org/protocol/disco#items";
const NS_FORM: &str = "jabber:x:data";
/// The name of the form with contact addresses (XEP-0157 §3).
const SERVER_INFO: &str = "http://jabber.org/network/serverinfo";
/// Features that no table of an extension names: what `dispatch` and `im` do.
const CORE_FEATURES: [&str; 2] = [caps::NS, "msgoffline"];

/// The table.
pub const EXTENSION: Extension = Extension {
    server_features: &[NS_INFO, NS_ITEMS],
    account_features: &[NS_INFO, NS_ITEMS],
    iq: &[
        IqEntry { ns: NS_INFO, name: "query", handler: info },
        IqEntry { ns: NS_ITEMS, name: "query", handler: items },
    ],
};

fn server_features() -> Vec<&'static str> {
    let extensions = EXTENSIONS.iter().flat_map(|extension| extension.server_features);
    let mut features: Vec<&str> = extensions.copied().chain(CORE_FEATURES).collect();
    features.sort_unstable();
    features.dedup();
    features
}

/// The hash of what the server says of itself (XEP-0115).
pub fn server_ver(contacts: &[(String, Vec<String>)]) -> String {
    let forms: Vec<_> =
        (!contacts.is_empty()).then(|| (SERVER_INFO.to_owned(), contacts.to_vec())).into_iter().collect();
    caps::ver(&[["server", "im", "", super::About::default().name]], &server_features(), &forms)
}

fn info(request: &IqRequest<'_>, columns: &mut Columns<'_>, out: &mut Vec<u8>) -> Result<Outcome, Stop> {
    if request.kind == IqKind::Set {
        return Ok(Outcome::Pass);
    }
    let node = request.payload_attr("node");
    match request.target {
        Target::Server => {
            if let Some(node) = node {
                let own = node.strip_prefix(caps::NODE).and_then(|rest| rest.strip_prefix('#'));
                if own != Some(server_ver(&request.about.contacts).as_str()) {
                    return super::commands::node_info(request, columns, node, out);
                }
            }
            server_info(request, node, out);
        }
        Target::OwnAccount | Target::Stranger => {
            if !may_see(request, columns)? {
                return Ok(Outcome::Pass);
            }
            if node.is_some() {
                return Err(StanzaCondition::ItemNotFound.into());
            }
            account_info(out);
        }
    }
    Ok(Outcome::Handled)
}

fn server_info(request: &IqRequest<'_>, node: Option<&str>, out: &mut Vec<u8>) {
    let mut xml = Writer::new(out);
    xml.open("query").attr("xmlns", NS_INFO).attr_opt("node", node);
    xml.open("identity").attr("category", "server").attr("type", "im").attr("name", request.about.name).close();
    for feature in server_features() {
        xml.open("feature").attr("var", feature).close();
    }
    if !request.about.contacts.is_empty() {
        xml.open("x").attr("xmlns", NS_FORM).attr("type", "result");
        xml.open("field").attr("var", "FORM_TYPE").attr("type", "hidden").leaf("value", SERVER_INFO).close();
        for (var, values) in &request.about.contacts {
            xml.open("field").attr("var", var).attr("type", "list-multi");
            for value in values {
                xml.leaf("value", value);
            }
            xml.close();
        }
        xml.close();
    }
    xml.close();
}

fn account_info(out: &mut Vec<u8>) {
    let mut xml = Writer::new(out);
    xml.open("query").attr("xmlns", NS_INFO);
    xml.open("identity").attr("category", "account").attr("type", "registered").close();
    for feature in EXTENSIONS.iter().flat_map(|extension| extension.account_features) {
        xml.open("feature").attr("var", feature).close();
    }
    xml.close();
}

fn items(request: &IqRequest<'_>, columns: &mut Columns<'_>, out: &mut Vec<u8>) -> Result<Outcome, Stop> {
    if request.kind == IqKind::Set {
        return Ok(Outcome::Pass);
    }
    let node = request.payload_attr("node");
    if let (Target::Server, Some(node)) = (request.target, node) {
        return super::commands::node_items(request, columns, node, out);
    }
    if node.is_some() && request.target != Target::Stranger {
        return Err(StanzaCondition::ItemNotFound.into());
    }
    let mut xml = Writer::new(out);
    xml.open("query").attr("xmlns", NS_ITEMS).attr_opt("node", node);
    if request.target == Target::Server {
        for component in columns.hosts.components() {
            xml.open("item").attr("jid", component).close();
        }
    }
    xml.close();
    Ok(Outcome::Handled)
}
