//! Stream errors: the conditions, how they are written, and which one an XML fault becomes.
//!
//! ```text
//! XmlError ──▶ StreamCondition ──▶ <stream:error>…</stream:error></stream:stream> ──▶ close
//! ```
//!
//! A stream error is final (RFC 6120 §4.9.1.1): whoever writes one writes the end tag after it and
//! closes. Clients of 2002 have never heard of the conditions, so on a stream without `version` a
//! `<text/>` always goes with it.
//!
//! RFC 6120 §4.4, §4.9.

use crate::xml::{self, XmlError};

/// Our language: the texts of all errors are English.
pub(crate) const LANG: &str = "en";

macro_rules! conditions {
    ($($(#[$doc:meta])* $variant:ident, $name:literal, $text:literal;)*) => {
        /// The defined conditions of RFC 6120 §4.9.3, in its order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum StreamCondition {
            $($(#[$doc])* $variant,)*
        }

        impl StreamCondition {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The element's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it means, for a person who reads it in a client's log.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

conditions! {
    /// XML that cannot be processed, where no more specific condition fits.
    BadFormat, "bad-format", "This cannot be processed";
    /// A prefix where none is allowed, or one that cannot be used.
    BadNamespacePrefix, "bad-namespace-prefix", "This namespace prefix cannot be used here";
    /// A newer stream took this one's place.
    Conflict, "conflict", "Replaced by a newer login with the same resource";
    /// The peer does not react any more.
    ConnectionTimeout, "connection-timeout", "Nothing came in time";
    /// The domain was served here once.
    HostGone, "host-gone", "This domain is no longer served here";
    /// The domain is not served here.
    HostUnknown, "host-unknown", "This domain is not served here";
    /// A `to` or `from` that is missing or is no address.
    ImproperAddressing, "improper-addressing", "An address is missing or malformed";
    /// Our fault: a misconfiguration, or the disk.
    InternalServerError, "internal-server-error", "The server cannot go on";
    /// A `from` that is not the peer's.
    InvalidFrom, "invalid-from", "This is not your address";
    /// A stream or content namespace that is not served.
    InvalidNamespace, "invalid-namespace", "This namespace is not served here";
    /// XML that its schema forbids.
    InvalidXml, "invalid-xml", "This is not valid";
    /// Something that must wait until after the login.
    NotAuthorized, "not-authorized", "Log in first";
    /// XML that is not well-formed.
    NotWellFormed, "not-well-formed", "This is not well-formed XML";
    /// A bound or a rule of ours.
    PolicyViolation, "policy-violation", "This server's rules forbid that";
    /// Somebody needed for the login cannot be reached.
    RemoteConnectionFailed, "remote-connection-failed", "A remote host cannot be reached";
    /// The stream must be negotiated anew.
    Reset, "reset", "Connect again";
    /// No memory, disk or descriptors left for this.
    ResourceConstraint, "resource-constraint", "The server is too busy";
    /// Comment, processing instruction, DTD or entity.
    RestrictedXml, "restricted-xml", "This part of XML is not allowed here";
    /// Connect there instead; see [`write_see_other_host`].
    SeeOtherHost, "see-other-host", "Connect to the other host";
    /// The server goes down.
    SystemShutdown, "system-shutdown", "The server is going down";
    /// None of the others.
    UndefinedCondition, "undefined-condition", "Something is wrong";
    /// Not UTF-8.
    UnsupportedEncoding, "unsupported-encoding", "Only UTF-8 is understood";
    /// A feature that we cannot negotiate.
    UnsupportedFeature, "unsupported-feature", "This feature cannot be negotiated";
    /// A first-level element that has no place here.
    UnsupportedStanzaType, "unsupported-stanza-type", "This element has no place here";
    /// A version that we cannot speak.
    UnsupportedVersion, "unsupported-version", "This version of the protocol is not spoken here";
}

/// Names a fault more closely than its condition does (RFC 6120 §4.9.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppCondition {
    /// `<stanza-too-big xmlns='urn:xmpp:errors'/>` (RFC 6120 §4.9.3.14, XEP-0205 §4.5).
    StanzaTooBig,
}

impl AppCondition {
    const fn element(self) -> &'static str {
        match self {
            Self::StanzaTooBig => "<stanza-too-big xmlns='urn:xmpp:errors'/>",
        }
    }
}

/// A scanner's fault as the peer hears of it: RFC 6120 §4.9.3, §11.
impl From<XmlError> for StreamCondition {
    fn from(error: XmlError) -> Self {
        match error {
            XmlError::NotWellFormed { .. }
            | XmlError::MismatchedTag { .. }
            | XmlError::BadName { .. }
            | XmlError::DuplicateAttribute { .. }
            | XmlError::BadCharacter { .. }
            | XmlError::NamespaceFault { .. } => Self::NotWellFormed,
            XmlError::Restricted { .. } => Self::RestrictedXml,
            // §4.9.3.22 names both: another encoding, and UTF-8 that breaks its own rules.
            XmlError::UnsupportedEncoding { .. } | XmlError::BadUtf8 { .. } => Self::UnsupportedEncoding,
            XmlError::TooLong { .. }
            | XmlError::TagTooLong { .. }
            | XmlError::TooDeep { .. }
            | XmlError::TooManyAttributes { .. }
            | XmlError::TooManyNamespaces { .. }
            | XmlError::TooManyElements { .. } => Self::PolicyViolation,
            // The scanner accepted what the parser does not: our bug, not the peer's.
            XmlError::ParserDisagrees { .. } => Self::InternalServerError,
        }
    }
}

/// The application-specific condition that goes with a scanner's fault, if there is one.
#[must_use]
pub fn app_condition(error: XmlError) -> Option<AppCondition> {
    matches!(error, XmlError::TooLong { .. }).then_some(AppCondition::StanzaTooBig)
}

/// Appends `<stream:error/>`. The caller writes the end tag after it and closes.
///
/// `text` is for people and never the peer's own words; a stream without version 1.0 gets the
/// condition's own text where there is no better one.
pub fn write_stream_error(
    out: &mut Vec<u8>,
    version_1: bool,
    condition: StreamCondition,
    text: Option<&str>,
    app: Option<AppCondition>,
) {
    open(out, condition);
    out.extend_from_slice(b"/>");
    let text = if version_1 { text } else { text.or(Some(condition.text())) };
    if let Some(text) = text {
        out.extend_from_slice(b"<text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='");
        out.extend_from_slice(LANG.as_bytes());
        out.extend_from_slice(b"'>");
        xml::escape(text, out);
        out.extend_from_slice(b"</text>");
    }
    if let Some(app) = app {
        out.extend_from_slice(app.element().as_bytes());
    }
    out.extend_from_slice(b"</stream:error>");
}

/// Appends a `see-other-host` error. `host` is a domain or an address, with or without a port
/// (RFC 6120 §4.9.3.19); that it is valid is the caller's business.
pub fn write_see_other_host(out: &mut Vec<u8>, host: &str) {
    open(out, StreamCondition::SeeOtherHost);
    out.push(b'>');
    xml::escape(host, out);
    out.extend_from_slice(b"</see-other-host></stream:error>");
}

fn open(out: &mut Vec<u8>, condition: StreamCondition) {
    out.extend_from_slice(b"<stream:error><");
    out.extend_from_slice(condition.name().as_bytes());
    out.extend_from_slice(b" xmlns='urn:ietf:params:xml:ns:xmpp-streams'");
}

/// Appends the end tag of our stream (RFC 6120 §4.4).
pub fn write_stream_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"</stream:stream>");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(version_1: bool, condition: StreamCondition, text: Option<&str>, app: Option<AppCondition>) -> String {
        let mut out = Vec::new();
        write_stream_error(&mut out, version_1, condition, text, app);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn all_twenty_five_conditions_have_their_name() {
        assert_eq!(StreamCondition::ALL.len(), 25);
        for condition in StreamCondition::ALL {
            let xml = written(true, *condition, None, None);
            let name = condition.name();
            assert_eq!(
                xml,
                format!("<stream:error><{name} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")
            );
        }
    }

    #[test]
    fn without_a_version_there_is_always_a_text() {
        for condition in StreamCondition::ALL {
            assert!(written(false, *condition, None, None).contains("<text "), "{condition:?}");
        }
        assert!(written(true, StreamCondition::Reset, Some("a<b"), None).contains(">a&lt;b</text>"));
    }

    #[test]
    fn an_oversized_stanza_is_named_as_in_the_rfc() {
        let error = XmlError::TooLong { offset: 1 };
        let xml = written(true, error.into(), None, app_condition(error));
        assert_eq!(
            xml,
            "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
             <stanza-too-big xmlns='urn:xmpp:errors'/></stream:error>"
        );
    }

    #[test]
    fn see_other_host_names_it() {
        let mut out = Vec::new();
        write_see_other_host(&mut out, "[2001:db8::9]:5222");
        assert!(String::from_utf8(out).unwrap().contains(">[2001:db8::9]:5222</see-other-host>"));
    }
}
