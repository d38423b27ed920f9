//! Stanzas: their three kinds, their types, and the error stanza that answers a bad one.
//!
//! ```text
//! Head ──▶ StanzaKind, type ──▶ dispatch …   a refusal ──▶ StanzaError ──error_reply──▶ bytes
//! ```
//!
//! Words only: who may send what to whom is dispatch's and im's question. The original is never echoed in an
//! error (RFC 6120 §8.3.1 rule 6 allows it; it may be large or harmful).
//!
//! RFC 6120 §8; RFC 6121 §4.7.1, §5.2.2; XEP-0086 (legacy codes).

use crate::xml::{CLIENT, Head, StreamNs, Writer};

/// The namespace of defined conditions in stanza errors.
pub const STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

/// Declares an enum whose variants have a name on the wire.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every one, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the wire.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The one with this name; names are compared with case.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// The three kinds of stanza (RFC 6120 §8.2).
    StanzaKind {
        /// `<message/>`: push.
        Message = "message",
        /// `<presence/>`: publish and subscribe.
        Presence = "presence",
        /// `<iq/>`: request and response.
        Iq = "iq",
    }
}

impl StanzaKind {
    /// The kind of the frame `head`, found in `bytes`, if it is a stanza of a client stream.
    #[must_use]
    pub fn of(head: &Head, bytes: &[u8], ns: &StreamNs) -> Option<Self> {
        Self::from_name(head.local(bytes)).filter(|kind| head.is(bytes, ns, CLIENT, kind.name()))
    }

    /// Whether a stanza of this kind and type may be answered with an error. Replies to errors would loop, and an
    /// IQ result ends its exchange (RFC 6120 §8.2.3, §8.3.1 rule 8).
    #[must_use]
    pub fn may_be_refused(self, stanza_type: Option<&str>) -> bool {
        match (self, stanza_type) {
            (_, Some("error")) | (Self::Iq, Some("result")) => false,
            (Self::Message | Self::Presence | Self::Iq, _) => true,
        }
    }
}

words! {
    /// The `type` of a message (RFC 6121 §5.2.2).
    MessageType {
        /// Part of a one-to-one conversation.
        Chat = "chat",
        /// About a message sent before.
        Error = "error",
        /// In a room.
        Groupchat = "groupchat",
        /// Needs no reply.
        Headline = "headline",
        /// Outside a conversation; the default.
        Normal = "normal",
    }
}

impl MessageType {
    /// The type that the attribute means: one that is missing or not understood is `normal`.
    #[must_use]
    pub fn parse(attr: Option<&str>) -> Self {
        attr.and_then(Self::from_name).unwrap_or(Self::Normal)
    }
}

words! {
    /// The `type` of a presence stanza (RFC 6121 §4.7.1), and its absence.
    PresenceType {
        /// No `type` at all: the sender is available. Never written.
        Available = "",
        /// About a presence stanza sent before.
        Error = "error",
        /// Asks for someone's presence; servers only.
        Probe = "probe",
        /// Wants to subscribe.
        Subscribe = "subscribe",
        /// Allows the recipient to subscribe.
        Subscribed = "subscribed",
        /// No longer available.
        Unavailable = "unavailable",
        /// Gives a subscription up.
        Unsubscribe = "unsubscribe",
        /// Takes a subscription back.
        Unsubscribed = "unsubscribed",
    }
}

impl PresenceType {
    /// The type that the attribute means; `None` for one that is not defined: answer `bad-request`.
    #[must_use]
    pub fn parse(attr: Option<&str>) -> Option<Self> {
        match attr {
            None => Some(Self::Available),
            Some("") => None,
            Some(name) => Self::from_name(name),
        }
    }
}

words! {
    /// The `type` of an IQ stanza (RFC 6120 §8.2.3).
    IqType {
        /// A question.
        Get = "get",
        /// An order.
        Set = "set",
        /// The good answer.
        Result = "result",
        /// The bad answer.
        Error = "error",
    }
}

impl IqType {
    /// The type that the attribute means; `None` if it is missing or not defined: answer `bad-request`.
    #[must_use]
    pub fn parse(attr: Option<&str>) -> Option<Self> {
        attr.and_then(Self::from_name)
    }

    /// Whether it asks and must be answered.
    #[must_use]
    pub const fn is_request(self) -> bool {
        matches!(self, Self::Get | Self::Set)
    }
}

words! {
    /// What the sender of a refused stanza may do (RFC 6120 §8.3.2).
    ErrorType {
        /// Retry with credentials.
        Auth = "auth",
        /// Do not retry.
        Cancel = "cancel",
        /// Go on: it was a warning.
        Continue = "continue",
        /// Retry with other data.
        Modify = "modify",
        /// Retry later.
        Wait = "wait",
    }
}

words! {
    /// Why a stanza is refused: the defined conditions of RFC 6120 §8.3.3, in its order.
    StanzaCondition {
        /// Malformed or missing what its definition asks for.
        BadRequest = "bad-request",
        /// Something of that name exists.
        Conflict = "conflict",
        /// Understood, but not built.
        FeatureNotImplemented = "feature-not-implemented",
        /// The sender may not do this.
        Forbidden = "forbidden",
        /// The recipient has moved for good.
        Gone = "gone",
        /// A fault of ours.
        InternalServerError = "internal-server-error",
        /// There is no such thing.
        ItemNotFound = "item-not-found",
        /// An address breaks RFC 7622.
        JidMalformed = "jid-malformed",
        /// Does not meet the recipient's criteria.
        NotAcceptable = "not-acceptable",
        /// Nobody may do this.
        NotAllowed = "not-allowed",
        /// Needs credentials first.
        NotAuthorized = "not-authorized",
        /// Breaks a local policy.
        PolicyViolation = "policy-violation",
        /// The recipient is not there just now.
        RecipientUnavailable = "recipient-unavailable",
        /// The recipient is elsewhere for now.
        Redirect = "redirect",
        /// Needs a registration first.
        RegistrationRequired = "registration-required",
        /// The recipient's domain is not known or not served.
        RemoteServerNotFound = "remote-server-not-found",
        /// The recipient's domain does not answer.
        RemoteServerTimeout = "remote-server-timeout",
        /// Not enough room just now.
        ResourceConstraint = "resource-constraint",
        /// Not offered; also what hides whether something exists.
        ServiceUnavailable = "service-unavailable",
        /// Needs a subscription first.
        SubscriptionRequired = "subscription-required",
        /// None of the others.
        UndefinedCondition = "undefined-condition",
        /// Not at this time.
        UnexpectedRequest = "unexpected-request",
    }
}

impl StanzaCondition {
    /// The type that RFC 6120 recommends for it.
    #[must_use]
    pub const fn default_type(self) -> ErrorType {
        match self {
            Self::Forbidden | Self::NotAuthorized | Self::RegistrationRequired | Self::SubscriptionRequired => {
                ErrorType::Auth
            }
            Self::BadRequest | Self::JidMalformed | Self::NotAcceptable | Self::PolicyViolation | Self::Redirect => {
                ErrorType::Modify
            }
            Self::RecipientUnavailable
            | Self::RemoteServerTimeout
            | Self::ResourceConstraint
            | Self::UnexpectedRequest => ErrorType::Wait,
            Self::Conflict
            | Self::FeatureNotImplemented
            | Self::Gone
            | Self::InternalServerError
            | Self::ItemNotFound
            | Self::NotAllowed
            | Self::RemoteServerNotFound
            | Self::ServiceUnavailable
            | Self::UndefinedCondition => ErrorType::Cancel,
        }
    }

    /// The number that stood for it before there were conditions (XEP-0086). `policy-violation` is younger than
    /// the numbers; 406 is what they had for data that a policy forbids.
    #[must_use]
    pub const fn legacy_code(self) -> u16 {
        match self {
            Self::Gone | Self::Redirect => 302,
            Self::BadRequest | Self::JidMalformed | Self::UnexpectedRequest => 400,
            Self::NotAuthorized => 401,
            Self::Forbidden => 403,
            Self::ItemNotFound | Self::RecipientUnavailable | Self::RemoteServerNotFound => 404,
            Self::NotAllowed => 405,
            Self::NotAcceptable | Self::PolicyViolation => 406,
            Self::RegistrationRequired | Self::SubscriptionRequired => 407,
            Self::Conflict => 409,
            Self::InternalServerError | Self::ResourceConstraint | Self::UndefinedCondition => 500,
            Self::FeatureNotImplemented => 501,
            Self::ServiceUnavailable => 503,
            Self::RemoteServerTimeout => 504,
        }
    }
}

/// An error stanza to be written. `from` and `to` are the error's own: swapped against the refused stanza's.
#[derive(Clone, Copy, Debug)]
pub struct StanzaError<'a> {
    /// The kind of the refused stanza.
    pub kind: StanzaKind,
    /// The `id` of the refused stanza, if it had one.
    pub id: Option<&'a str>,
    /// Whom the refused stanza was for; `None` leaves it out, as after a malformed address.
    pub from: Option<&'a str>,
    /// Who sent it.
    pub to: Option<&'a str>,
    /// Why.
    pub condition: StanzaCondition,
    /// What the sender may do; the condition's own default if there is no reason for another.
    pub error_type: ErrorType,
    /// Words for a person who looks for the cause, in English.
    pub text: Option<&'a str>,
    /// Another address, for `gone` and `redirect`: the condition's content.
    pub address: Option<&'a str>,
    /// A condition of an extension, as (name, namespace).
    pub application: Option<(&'a str, &'a str)>,
    /// Whether the number of XEP-0086 is written too: for sessions of the 2002 dialect.
    pub has_code: bool,
}

impl<'a> StanzaError<'a> {
    /// The error for `condition` with its default type, and nothing else yet.
    #[must_use]
    pub const fn new(kind: StanzaKind, condition: StanzaCondition) -> Self {
        Self {
            kind,
            id: None,
            from: None,
            to: None,
            condition,
            error_type: condition.default_type(),
            text: None,
            address: None,
            application: None,
            has_code: false,
        }
    }
}

/// Appends the error stanza. The caller has asked [`StanzaKind::may_be_refused`].
pub fn error_reply(error: &StanzaError<'_>, out: &mut Vec<u8>) {
    let id = match (error.kind, error.id) {
        // An IQ error must have an id, empty if the request had none (RFC 6120 §8.3.1 rule 3).
        (StanzaKind::Iq, None) => Some(""),
        (_, id) => id,
    };
    let mut writer = Writer::new(out);
    writer.open(error.kind.name()).attr("type", "error");
    writer.attr_opt("id", id).attr_opt("from", error.from).attr_opt("to", error.to);
    writer.open("error").attr("type", error.error_type.name());
    if error.has_code {
        writer.attr("code", code_text(error.condition.legacy_code(), &mut [0; 3]));
    }
    writer.open(error.condition.name()).attr("xmlns", STANZAS).text(error.address.unwrap_or("")).close();
    if let Some(text) = error.text {
        writer.open("text").attr("xmlns", STANZAS).attr("xml:lang", "en").text(text).close();
    }
    if let Some((name, ns)) = error.application {
        writer.empty(name, ns);
    }
}

/// A code as text; all have three digits.
fn code_text(code: u16, digits: &mut [u8; 3]) -> &str {
    *digits = [code / 100, code / 10 % 10, code % 10].map(|digit| b'0' + digit as u8);
    std::str::from_utf8(digits).unwrap_or("")
}

#[cfg(test)]
mod tests;
