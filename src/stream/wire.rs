//! SASL's elements as bytes: base64 and names in, base64 and conditions out, in the way of either dialect.
//!
//! RFC 6120 §6.3.5, §6.4, §6.5, §13.9.1; XEP-0034; RFC 4616 and RFC 5802 for where a name stands.

use super::element::NS_SASL;
use super::{Dialect, Stream};
use crate::jid;
use crate::sasl::{Mechanism, SaslCondition, base64};
use crate::xml::{Head, StreamNs, Tree};
use zeroize::Zeroizing;

/// Base64 as the dialect has it; none if there is no data at all. A lone `=` is data of zero length (§6.4.2).
pub(super) fn data(
    head: &Head,
    bytes: &[u8],
    ns: &StreamNs,
    dialect: Dialect,
) -> Result<Option<Zeroizing<Vec<u8>>>, SaslCondition> {
    if head.child_count() > 0 {
        return Err(SaslCondition::MalformedRequest);
    }
    if head.is_empty_element() {
        return Ok(None);
    }
    if let Some(text) = head.plain_text(bytes) {
        return data_of(text, dialect);
    }
    let tree = Tree::parse(bytes, head, ns).map_err(|_| SaslCondition::MalformedRequest)?;
    data_of(&tree.root().text(), dialect)
}

fn data_of(text: &str, dialect: Dialect) -> Result<Option<Zeroizing<Vec<u8>>>, SaslCondition> {
    let text = match dialect {
        Dialect::Rfc6120 => text,
        Dialect::Xep0035 => text.trim_ascii(),
    };
    match (text, dialect) {
        ("", _) => Ok(None),
        ("=", _) => Ok(Some(Zeroizing::default())),
        (text, Dialect::Rfc6120) => decoded(base64::decode_strict(text)),
        (text, Dialect::Xep0035) => decoded(base64::decode_2045(text)),
    }
}

fn decoded(data: Option<Zeroizing<Vec<u8>>>) -> Result<Option<Zeroizing<Vec<u8>>>, SaslCondition> {
    data.map(Some).ok_or(SaslCondition::IncorrectEncoding)
}

/// The localpart that a mechanism's first message tries to log in at: for the throttle, which slows whoever guesses at
/// one account. Whether the message is right in all else is the mechanism's business.
pub(super) fn named(mechanism: Mechanism, data: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(data).ok()?;
    let name = match mechanism {
        Mechanism::ScramSha256Plus | Mechanism::ScramSha1Plus | Mechanism::ScramSha256 | Mechanism::ScramSha1 => {
            let name = text.split(',').skip(2).find_map(|field| field.strip_prefix("n="))?;
            name.replace("=2C", ",").replace("=3D", "=")
        }
        Mechanism::Plain => match text.split('\0').collect::<Vec<_>>()[..] {
            [_, name, _] | [name, _] => name.to_owned(),
            _ => return None,
        },
        Mechanism::External | Mechanism::Anonymous => return None,
    };
    jid::prepare_localpart(&name).ok().map(std::borrow::Cow::into_owned)
}

/// Opens a SASL element in the stream's way of naming.
pub(super) fn write_open(stream: &Stream, name: &str, out: &mut Vec<u8>) {
    write_tag(stream, name, out);
    out.push(b'>');
}

fn write_tag(stream: &Stream, name: &str, out: &mut Vec<u8>) {
    out.push(b'<');
    write_name(stream, name, out);
    if stream.dialect == Dialect::Rfc6120 {
        out.extend_from_slice(b" xmlns='");
        out.extend_from_slice(NS_SASL.as_bytes());
        out.push(b'\'');
    }
}

/// Closes it.
pub(super) fn write_close(stream: &Stream, name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"</");
    write_name(stream, name, out);
    out.push(b'>');
}

fn write_name(stream: &Stream, name: &str, out: &mut Vec<u8>) {
    if stream.dialect == Dialect::Xep0035 {
        out.extend_from_slice(stream.sasl_prefix.as_bytes());
        out.push(b':');
    }
    out.extend_from_slice(name.as_bytes());
}

fn write_element(stream: &Stream, name: &str, text: &str, out: &mut Vec<u8>) {
    write_tag(stream, name, out);
    if text.is_empty() {
        out.extend_from_slice(b"/>");
        return;
    }
    out.push(b'>');
    out.extend_from_slice(text.as_bytes());
    write_close(stream, name, out);
}

/// An element with data, in base64.
pub(super) fn write_data(stream: &Stream, name: &str, data: &[u8], out: &mut Vec<u8>) {
    write_element(stream, name, &base64::encode(data), out);
}

/// §6.4.6: data of zero length are a lone `=`, no data are nothing.
pub(super) fn write_success(stream: &Stream, data: Option<&[u8]>, out: &mut Vec<u8>) {
    match data {
        Some([]) => write_element(stream, "success", "=", out),
        data => write_data(stream, "success", data.unwrap_or_default(), out),
    }
}

/// XEP-0034 §2.4 has a text where RFC 6120 §6.5 has a condition.
pub(super) fn write_failure(stream: &Stream, condition: SaslCondition, out: &mut Vec<u8>) {
    match stream.dialect {
        Dialect::Xep0035 => write_element(stream, "failure", text(condition), out),
        Dialect::Rfc6120 => {
            write_open(stream, "failure", out);
            out.push(b'<');
            out.extend_from_slice(condition.name().as_bytes());
            out.extend_from_slice(b"/>");
            write_close(stream, "failure", out);
        }
    }
}

/// XEP-0034 §2.4: the answer to SASL after its success.
pub(super) fn write_second_failure(stream: &Stream, out: &mut Vec<u8>) {
    write_element(stream, "failure", "You are logged in already", out);
}

fn text(condition: SaslCondition) -> &'static str {
    match condition {
        SaslCondition::Aborted => "Aborted",
        SaslCondition::AccountDisabled => "This account is disabled",
        SaslCondition::CredentialsExpired => "These credentials have expired",
        SaslCondition::EncryptionRequired => "This mechanism needs TLS",
        SaslCondition::IncorrectEncoding => "This is not base64",
        SaslCondition::InvalidAuthzid => "These credentials are not for that address",
        SaslCondition::InvalidMechanism => "This mechanism was not offered",
        SaslCondition::MalformedRequest => "The mechanism does not understand this",
        SaslCondition::MechanismTooWeak => "This mechanism is too weak for that account",
        SaslCondition::NotAuthorized => "Incorrect username or password",
        SaslCondition::TemporaryAuthFailure => "Try again later",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_where_the_mechanisms_have_them() {
        use Mechanism::{Anonymous, External, Plain, ScramSha1, ScramSha256Plus};
        let rows: [(Mechanism, &[u8], Option<&str>); 10] = [
            (Plain, b"\0juliet\0pw", Some("juliet")),
            (Plain, b"a@b\0Juliet\0pw", Some("juliet")),
            (Plain, b"rob\0secret", Some("rob")),
            (Plain, b"rob", None),
            (Plain, b"\0a@b\0pw", None),
            (Plain, b"\0\xFF\0pw", None),
            (ScramSha1, b"n,,n=user,r=fyko", Some("user")),
            (ScramSha256Plus, b"p=tls-exporter,a=x,n=a=3Db,r=fyko", Some("a=b")),
            (External, b"juliet@example.com", None),
            (Anonymous, b"trace", None),
        ];
        for (mechanism, data, name) in rows {
            assert_eq!(named(mechanism, data).as_deref(), name, "{mechanism} {data:?}");
        }
    }
}
