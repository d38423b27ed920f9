//! Words on the wire, and error stanzas read back.

use super::*;
use crate::xml::{Expect, Scan, Step, Tree, XmlLimits};

/// RFC 6120 §8.3.3 and XEP-0086: condition, type, code.
const CONDITIONS: [(&str, &str, u16); 22] = [
    ("bad-request", "modify", 400),
    ("conflict", "cancel", 409),
    ("feature-not-implemented", "cancel", 501),
    ("forbidden", "auth", 403),
    ("gone", "cancel", 302),
    ("internal-server-error", "cancel", 500),
    ("item-not-found", "cancel", 404),
    ("jid-malformed", "modify", 400),
    ("not-acceptable", "modify", 406),
    ("not-allowed", "cancel", 405),
    ("not-authorized", "auth", 401),
    ("policy-violation", "modify", 406),
    ("recipient-unavailable", "wait", 404),
    ("redirect", "modify", 302),
    ("registration-required", "auth", 407),
    ("remote-server-not-found", "cancel", 404),
    ("remote-server-timeout", "wait", 504),
    ("resource-constraint", "wait", 500),
    ("service-unavailable", "cancel", 503),
    ("subscription-required", "auth", 407),
    ("undefined-condition", "cancel", 500),
    ("unexpected-request", "wait", 400),
];

fn written(error: &StanzaError<'_>) -> String {
    let mut out = Vec::new();
    error_reply(error, &mut out);
    String::from_utf8(out).unwrap()
}

fn parsed(xml: &str) -> Tree {
    let (mut scan, ns) = (Scan::default(), StreamNs::standard());
    let step = scan.step(xml.as_bytes(), Expect::Frames, ns, &XmlLimits::with_frame_bytes(10_000));
    assert_eq!(step, Ok(Step::Frame { len: xml.len() }), "{xml}");
    Tree::parse(xml.as_bytes(), scan.head(), ns).unwrap()
}

#[test]
fn conditions() {
    let built: Vec<_> = StanzaCondition::ALL
        .iter()
        .map(|condition| (condition.name(), condition.default_type().name(), condition.legacy_code()))
        .collect();
    assert_eq!(built, CONDITIONS);
    for &condition in StanzaCondition::ALL {
        assert_eq!(StanzaCondition::from_name(condition.name()), Some(condition));
    }
    assert_eq!(StanzaCondition::from_name("Conflict"), None);
}

#[test]
fn every_condition_makes_a_good_error_stanza_of_every_kind() {
    for (&condition, &kind) in StanzaCondition::ALL.iter().flat_map(|c| StanzaKind::ALL.iter().map(move |k| (c, k))) {
        let mut error = StanzaError::new(kind, condition);
        (error.id, error.from, error.to) = (Some("a<b"), Some("x@y/'z'"), Some("v@w"));
        error.has_code = true;
        let tree = parsed(&written(&error));
        let root = tree.root();
        assert!(root.is(CLIENT, kind.name()));
        let attrs = ["type", "id", "from", "to"].map(|name| root.attr(name).unwrap_or("none"));
        assert_eq!(attrs, ["error", "a<b", "x@y/'z'", "v@w"]);
        let child = root.child(CLIENT, "error").unwrap();
        assert_eq!(child.attr("type"), Some(condition.default_type().name()));
        assert_eq!(child.attr("code"), Some(&*condition.legacy_code().to_string()));
        assert!(child.child(STANZAS, condition.name()).is_some());
        assert_eq!((root.children().count(), child.children().count()), (1, 1));
    }
}

#[test]
fn the_whole_syntax() {
    let mut error = StanzaError::new(StanzaKind::Message, StanzaCondition::Gone);
    error.error_type = ErrorType::Modify;
    error.text = Some("moved & gone");
    error.address = Some("xmpp:romeo@afterlife.example.net");
    error.application = Some(("too-many-parameters", "http://example.org/ns"));
    assert_eq!(
        written(&error),
        "<message type='error'><error type='modify'>\
         <gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>xmpp:romeo@afterlife.example.net</gone>\
         <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>moved &amp; gone</text>\
         <too-many-parameters xmlns='http://example.org/ns'/></error></message>"
    );
}

#[test]
fn an_iq_error_always_has_an_id() {
    let error = StanzaError::new(StanzaKind::Iq, StanzaCondition::BadRequest);
    assert_eq!(parsed(&written(&error)).root().attr("id"), Some(""));
    let error = StanzaError::new(StanzaKind::Presence, StanzaCondition::BadRequest);
    assert_eq!(parsed(&written(&error)).root().attr("id"), None);
}

#[test]
fn types() {
    assert_eq!(MessageType::parse(None), MessageType::Normal);
    assert_eq!(MessageType::parse(Some("shout")), MessageType::Normal);
    assert_eq!(MessageType::parse(Some("groupchat")), MessageType::Groupchat);
    assert_eq!(PresenceType::parse(None), Some(PresenceType::Available));
    assert_eq!(PresenceType::parse(Some("")), None);
    assert_eq!(PresenceType::parse(Some("available")), None);
    assert_eq!(PresenceType::parse(Some("unsubscribed")), Some(PresenceType::Unsubscribed));
    assert_eq!(IqType::parse(None), None);
    assert_eq!(IqType::parse(Some("Get")), None);
    assert_eq!(IqType::parse(Some("get")).map(IqType::is_request), Some(true));
    assert_eq!(IqType::parse(Some("result")).map(IqType::is_request), Some(false));
}

#[test]
fn what_is_never_refused() {
    for &kind in StanzaKind::ALL {
        assert!(!kind.may_be_refused(Some("error")));
        assert!(kind.may_be_refused(None));
    }
    assert!(!StanzaKind::Iq.may_be_refused(Some("result")));
    assert!(StanzaKind::Message.may_be_refused(Some("result")));
}

#[test]
fn kinds() {
    let cases = [
        ("<message/>", Some(StanzaKind::Message)),
        ("<presence xmlns='jabber:client'/>", Some(StanzaKind::Presence)),
        ("<c:iq xmlns:c='jabber:client'/>", Some(StanzaKind::Iq)),
        ("<iq xmlns='jabber:server'/>", None),
        ("<stream:message/>", None),
        ("<IQ/>", None),
    ];
    for (xml, kind) in cases {
        let (mut scan, ns) = (Scan::default(), StreamNs::standard());
        scan.step(xml.as_bytes(), Expect::Frames, ns, &XmlLimits::with_frame_bytes(10_000)).unwrap();
        assert_eq!(StanzaKind::of(scan.head(), xml.as_bytes(), ns), kind, "{xml}");
    }
}
