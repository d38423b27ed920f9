//! Stream headers: what the peer's says, and how ours answers it.
//!
//! ```text
//! head + bytes ──read──▶ Facts (with the first fault, if any) ──▶ mod: which kind of stream this is
//!                                                             └──▶ Answer::write
//! ```
//!
//! A faulty header is read to its end all the same: the error that answers it must stand inside a header of ours, and
//! that one should say as much as can be said (RFC 6120 §4.9.1.2).
//!
//! RFC 6120 §4.7, §4.8; XEP-0035 §2.2; XEP-0034 §2.2.

use super::element::{NS_CLIENT, NS_SASL_2002, NS_STREAMS, NS_TLS_2002};
use super::error::{LANG, StreamCondition};
use super::interface::{DomainPolicy, Policy};
use crate::jid::{self, Jid};
use crate::xml::{self, Head, StreamNs};

pub use crate::limits::LANG_BYTES_MAX;

/// The `version` of a header, compared as two numbers (RFC 6120 §4.7.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// No `version`: what came before RFC 3920.
    Absent,
    /// Below 1.0. Whoever sends one is answered with the same, and like one who sends none.
    Below { minor: u32 },
    /// 1.0 or above, which is answered with 1.0.
    Modern,
    /// Not two numbers.
    Malformed,
}

impl Version {
    fn parse(text: Option<&str>) -> Self {
        let Some(text) = text else { return Self::Absent };
        let Some((major, minor)) = text.split_once('.') else { return Self::Malformed };
        match (number(major), number(minor)) {
            (Some(0), Some(minor)) => Self::Below { minor },
            (Some(_), Some(_)) => Self::Modern,
            _ => Self::Malformed,
        }
    }

    /// Whether the header asks for RFC 6120's way. One that cannot be read is answered in our own version.
    pub(super) fn is_modern(self) -> bool {
        matches!(self, Self::Modern | Self::Malformed)
    }
}

/// Digits only; leading zeros mean nothing, and what is too large to count is just large.
fn number(digits: &str) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u32::MAX))
}

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) condition: StreamCondition,
    pub(super) text: Option<&'static str>,
}

/// What a stream header says.
#[derive(Debug)]
pub(super) struct Facts<'p> {
    pub(super) ns: StreamNs,
    pub(super) version: Version,
    /// The hosted domain that it is for; none only beside a fault.
    pub(super) domain: Option<&'p DomainPolicy>,
    /// The client's own bare JID.
    pub(super) from: Option<Jid>,
    pub(super) lang: Option<Box<str>>,
    /// The prefix of XEP-0035's namespace, if it is declared.
    pub(super) tls_prefix: Option<Box<str>>,
    /// The prefix of XEP-0034's namespace, if it is declared.
    pub(super) sasl_prefix: Option<Box<str>>,
    pub(super) fault: Option<Fault>,
}

/// Reads a header. `assumed` is the domain of a header without `to`, if that is known already.
pub(super) fn read<'p>(head: &Head, bytes: &[u8], policy: &'p dyn Policy, assumed: Option<&str>) -> Facts<'p> {
    let ns = StreamNs::from_header(head, bytes);
    let version = Version::parse(head.attr(bytes, "version").as_deref());
    let domain = domain(head, bytes, policy, assumed);
    let from = from(head, bytes);
    let prefix = |uri| ns.prefix_of(uri).map(Box::from);
    let (tls_prefix, sasl_prefix): (Option<Box<str>>, Option<Box<str>>) = (prefix(NS_TLS_2002), prefix(NS_SASL_2002));
    let condition = namespace_fault(head, bytes, &ns)
        .or_else(|| prefix_fault(version, [tls_prefix.as_deref(), sasl_prefix.as_deref()]))
        .or((version == Version::Malformed).then_some(StreamCondition::UnsupportedVersion))
        .or(domain.err())
        .or(from.as_ref().err().copied());
    Facts {
        version,
        domain: domain.ok(),
        from: from.ok().flatten(),
        lang: lang(head, bytes),
        tls_prefix,
        sasl_prefix,
        fault: condition.map(|condition| Fault { condition, text: None }),
        ns,
    }
}

/// RFC 6120 §4.8.1–4.8.3. The content namespace may be left out, or the stream namespace take its place, as long as
/// each element then names its own.
fn namespace_fault(head: &Head, bytes: &[u8], ns: &StreamNs) -> Option<StreamCondition> {
    if head.ns(bytes, ns) != NS_STREAMS {
        return Some(StreamCondition::InvalidNamespace);
    }
    if head.local(bytes) != "stream" {
        return Some(StreamCondition::BadFormat);
    }
    let is_served = matches!(ns.default_ns(), NS_CLIENT | NS_STREAMS | "");
    (!is_served).then_some(StreamCondition::InvalidNamespace)
}

/// The prefixes of 2002 are given back as they came, beside our own `stream`, which they must not be.
fn prefix_fault(version: Version, prefixes: [Option<&str>; 2]) -> Option<StreamCondition> {
    let clashes = !version.is_modern() && prefixes.contains(&Some("stream"));
    clashes.then_some(StreamCondition::BadNamespacePrefix)
}

/// The domain that the header is for (RFC 6120 §4.9.1.3). Without `to` it is the one that is known already, else the
/// only one hosted; several hosted and none named is `host-unknown`.
fn domain<'p>(
    head: &Head,
    bytes: &[u8],
    policy: &'p dyn Policy,
    assumed: Option<&str>,
) -> Result<&'p DomainPolicy, StreamCondition> {
    let found = match (head.attr(bytes, "to"), assumed) {
        (Some(to), _) => {
            let name = jid::prepare_domainpart(&to).map_err(|_| StreamCondition::ImproperAddressing)?;
            policy.domain(&name)
        }
        (None, Some(assumed)) => policy.domain(assumed),
        (None, None) => policy.sole_domain(),
    };
    found.ok_or(StreamCondition::HostUnknown)
}

fn from(head: &Head, bytes: &[u8]) -> Result<Option<Jid>, StreamCondition> {
    let Some(from) = head.attr(bytes, "from").filter(|from| !from.is_empty()) else { return Ok(None) };
    let from = Jid::parse(&from).map_err(|_| StreamCondition::InvalidFrom)?;
    Ok(Some(from.to_bare()))
}

/// A language tag is remembered for stamping it on stanzas; what cannot be one is as good as none.
pub(super) fn lang(head: &Head, bytes: &[u8]) -> Option<Box<str>> {
    let lang = head.xml_lang(bytes)?;
    let is_tag = !lang.is_empty()
        && lang.len() <= LANG_BYTES_MAX
        && lang.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_tag.then(|| lang.as_ref().into())
}

/// Our header.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    /// The domain that speaks.
    pub(super) from: &'a str,
    /// The client's bare JID, only if it gave one.
    pub(super) to: Option<&'a str>,
    pub(super) id: &'a str,
    pub(super) version: Version,
    /// XEP-0035's namespace, given back under the client's prefix.
    pub(super) tls_prefix: Option<&'a str>,
    /// XEP-0034's namespace, given back under the client's prefix.
    pub(super) sasl_prefix: Option<&'a str>,
}

impl Answer<'_> {
    /// Appends the header. Our prefix is always `stream`: it is declared here, so it binds nobody.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if self.version.is_modern() {
            out.extend_from_slice(b"<?xml version='1.0'?>");
        }
        out.extend_from_slice(b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'");
        self.declare(out, self.tls_prefix, NS_TLS_2002);
        self.declare(out, self.sasl_prefix, NS_SASL_2002);
        attr(out, "from", self.from);
        attr(out, "id", self.id);
        if let Some(to) = self.to {
            attr(out, "to", to);
        }
        match self.version {
            Version::Absent => {}
            Version::Below { minor } => attr(out, "version", &format!("0.{minor}")),
            Version::Modern | Version::Malformed => attr(out, "version", "1.0"),
        }
        attr(out, "xml:lang", LANG);
        out.push(b'>');
    }

    fn declare(&self, out: &mut Vec<u8>, prefix: Option<&str>, uri: &str) {
        let Some(prefix) = prefix else { return };
        out.extend_from_slice(b" xmlns:");
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(b"='");
        out.extend_from_slice(uri.as_bytes());
        out.push(b'\'');
    }
}

pub(super) fn attr(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"='");
    xml::escape_attr(value, out);
    out.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let rows = [
            (None, Version::Absent),
            (Some("1.0"), Version::Modern),
            (Some("01.00"), Version::Modern),
            (Some("1.13"), Version::Modern),
            (Some("12.3"), Version::Modern),
            (Some("99999999999999999999.0"), Version::Modern),
            (Some("0.9"), Version::Below { minor: 9 }),
            (Some("00.013"), Version::Below { minor: 13 }),
            (Some("0.99999999999"), Version::Below { minor: u32::MAX }),
            (Some(""), Version::Malformed),
            (Some("1"), Version::Malformed),
            (Some("1."), Version::Malformed),
            (Some(".9"), Version::Malformed),
            (Some("1.0.0"), Version::Malformed),
            (Some("+1.0"), Version::Malformed),
            (Some(" 1.0"), Version::Malformed),
            (Some("1,0"), Version::Malformed),
            (Some("٠.٩"), Version::Malformed),
        ];
        for (text, version) in rows {
            assert_eq!(Version::parse(text), version, "{text:?}");
        }
    }
}
