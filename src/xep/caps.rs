//! XEP-0115: Entity Capabilities: what the server can do, as one hash.
//!
//! ```text
//! identities, features, forms ──§5.1──▶ text ──SHA-1──▶ ver ──▶ stream features, disco#info of node#ver
//! ```

use super::disco;
use crate::crypto::digest;
use crate::sasl::base64;
use crate::xml::Writer;

/// The namespace of the element.
pub const NS: &str = "http://jabber.org/protocol/caps";
/// What stands before the hash in a node.
pub const NODE: &str = "urn:x-stonechat:server";

/// One line of a form in the verification string: a field and its values.
pub type Field = (String, Vec<String>);

/// The verification string's hash (§5.1): all of it sorted by bytes.
pub fn ver(identities: &[[&str; 4]], features: &[&str], forms: &[(String, Vec<Field>)]) -> String {
    let mut text = String::new();
    let mut identities: Vec<String> = identities.iter().map(|identity| identity.join("/")).collect();
    identities.sort();
    let mut features: Vec<&str> = features.to_vec();
    features.sort_unstable();
    features.dedup();
    let lines = identities.iter().map(String::as_str).chain(features);
    let mut forms = forms.to_vec();
    forms.sort();
    let fields = forms.iter().flat_map(|(form_type, fields)| {
        let mut fields = fields.clone();
        fields.sort();
        let lines = fields.into_iter().flat_map(|(var, mut values)| {
            values.sort();
            std::iter::once(var).chain(values)
        });
        std::iter::once(form_type.clone()).chain(lines)
    });
    for line in lines.map(str::to_owned).chain(fields) {
        text.push_str(&line);
        text.push('<');
    }
    base64::encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}

/// The element in stream features (§6.3).
pub fn feature(contacts: &[(String, Vec<String>)]) -> Vec<u8> {
    let ver = disco::server_ver(contacts);
    let mut out = Vec::new();
    Writer::new(&mut out)
        .open("c")
        .attr("xmlns", NS)
        .attr("hash", "sha-1")
        .attr("node", NODE)
        .attr("ver", &ver)
        .close();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_xep() {
        let features = [
            "http://jabber.org/protocol/disco#info",
            "http://jabber.org/protocol/disco#items",
            "http://jabber.org/protocol/muc",
            "http://jabber.org/protocol/caps",
        ];
        // §5.2
        let exodus = ["client", "pc", "", "Exodus 0.9.1"];
        assert_eq!(ver(&[exodus], &features, &[]), "QgayPKawpkPSDYmwT/WM94uAlu0=");
        // §5.3
        let psi = [["client", "pc", "en", "Psi 0.11"], ["client", "pc", "el", "\u{3a8} 0.11"]];
        let field = |var: &str, values: &[&str]| (var.to_owned(), values.iter().map(|&v| v.to_owned()).collect());
        let form = (
            "urn:xmpp:dataforms:softwareinfo".to_owned(),
            vec![
                field("ip_version", &["ipv4", "ipv6"]),
                field("os", &["Mac"]),
                field("os_version", &["10.5.1"]),
                field("software", &["Psi"]),
                field("software_version", &["0.11"]),
            ],
        );
        assert_eq!(ver(&psi, &features, &[form]), "q07IKJEyjvHSyhy//CH0CxmKi8w=");
    }
}
