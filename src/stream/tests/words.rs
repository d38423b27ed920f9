//! What clients say and servers answer, word for word.

use super::world::{END_POINT, EXPORTER};
use crate::sasl::{BindingType, base64};

pub(super) const STREAMS: &str = "http://etherx.jabber.org/streams";
pub(super) const TLS_2002: &str = "http://www.ietf.org/rfc/rfc2595.txt";
pub(super) const SASL_2002: &str = "http://www.iana.org/assignments/sasl-mechanisms";

/// A header of RFC 6120 to `capulet.example`.
pub(super) const HEADER_1_0: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' to='capulet.example' version='1.0'>";
/// XEP-0035's first listing, but for the domain.
pub(super) const HEADER_2002: &str = "<stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' xmlns:tls='http://www.ietf.org/rfc/rfc2595.txt' \
    to='capulet.example'>";
/// XEP-0035's last listing.
pub(super) const HEADER_BARE: &str = "<stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' to='capulet.example'>";
/// XEP-0034's listing.
pub(super) const HEADER_SASL: &str = "<stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' \
    xmlns:sasl='http://www.iana.org/assignments/sasl-mechanisms' to='capulet.example'>";
pub(super) const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

/// What is answered to headers, but for the id, which [`Link::take`] writes as `ID`.
pub(super) const ANSWER_1_0: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' from='capulet.example' id='ID' version='1.0' xml:lang='en'>";
pub(super) const ANSWER_2002: &str = "<stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' xmlns:tls='http://www.ietf.org/rfc/rfc2595.txt' \
    from='capulet.example' id='ID' xml:lang='en'>";
pub(super) const ANSWER_BARE: &str = "<stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' from='capulet.example' id='ID' xml:lang='en'>";
pub(super) const ANSWER_SASL: &str = "<stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' \
    xmlns:sasl='http://www.iana.org/assignments/sasl-mechanisms' from='capulet.example' id='ID' xml:lang='en'>";
pub(super) const TLS_ONLY: &str =
    "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>";

pub(super) const MECHANISMS_2002: &str = "<sasl:mechanisms><sasl:mechanism>SCRAM-SHA-256</sasl:mechanism>\
    <sasl:mechanism>SCRAM-SHA-1</sasl:mechanism><sasl:mechanism>PLAIN</sasl:mechanism></sasl:mechanisms>";

pub(super) const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";

pub(super) fn plain() -> String {
    auth("PLAIN", b"\0juliet\0r0m30myr0m30")
}

/// `<auth/>` of RFC 6120 with an initial response.
pub(super) fn auth(mechanism: &str, data: &[u8]) -> String {
    let data = if data.is_empty() { "=".to_owned() } else { base64::encode(data) };
    format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>{data}</auth>")
}

pub(super) fn response(data: &[u8]) -> String {
    format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{}</response>", base64::encode(data))
}

/// The decoded text of the only element in `xml`.
pub(super) fn payload(xml: &str) -> Vec<u8> {
    let text = xml.split('>').nth(1).unwrap().split('<').next().unwrap();
    base64::decode_strict(text).unwrap().to_vec()
}

pub(super) fn failure(condition: &str) -> String {
    format!("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><{condition}/></failure>")
}

/// A stream error of RFC 6120 without a text, and the end.
pub(super) fn error(condition: &str) -> String {
    format!("<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
}

/// Whether `xml` is this stream error with a text, and the end.
pub(super) fn is_error_with_text(xml: &str, condition: &str, text: &str) -> bool {
    let start = format!("<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text ");
    xml.contains(&start) && xml.contains(text) && xml.ends_with("</text></stream:error></stream:stream>")
}

pub(super) fn binding(binding: BindingType) -> Vec<u8> {
    match binding {
        BindingType::TlsExporter => EXPORTER.to_vec(),
        BindingType::TlsServerEndPoint => END_POINT.to_vec(),
    }
}

pub(super) fn iq_auth_set(fields: &str) -> String {
    format!("<iq type='set' id='auth2'><query xmlns='jabber:iq:auth'>{fields}</query></iq>")
}

pub(super) fn iq_error_2002(code: u16, kind: &str, condition: &str) -> String {
    format!(
        "<iq type='error' id='auth2'><error code='{code}' type='{kind}'>\
         <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    )
}
