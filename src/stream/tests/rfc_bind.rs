//! RFC 6120 §7: resource binding, and what may not be said before it.

use super::world::*;
use crate::stream::{BindRefusal, ConflictRule, Input};

const BIND: &str = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";

fn bind(resource: &str) -> String {
    format!(
        "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{resource}</resource></bind></iq>"
    )
}

fn bound(jid: &str) -> String {
    format!("<iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>{jid}</jid></bind></iq>")
}

fn iq_error(kind: &str, condition: &str) -> String {
    format!(
        "<iq type='error' id='b'><error type='{kind}'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
         </error></iq>"
    )
}

#[test]
fn resources() {
    let rows = [
        (BIND.to_owned(), bound("juliet@capulet.example/made-here")),
        (bind(""), bound("juliet@capulet.example/made-here")),
        (bind("balcony"), bound("juliet@capulet.example/balcony")),
        (bind("the &lt;balcony&gt;"), bound("juliet@capulet.example/the &lt;balcony&gt;")),
        (bind(&"x".repeat(1024)), iq_error("modify", "bad-request")),
        (bind("a&#9;b"), iq_error("modify", "bad-request")),
        (bind("x").replace("set", "get"), iq_error("modify", "bad-request")),
        (bind("x").replace("id='b'", "id='b' to='capulet.example'"), bound("juliet@capulet.example/x")),
        (bind("x").replace("id='b'", "id='b' to='Juliet@capulet.example'"), bound("juliet@capulet.example/x")),
        (bind("x").replace("id='b'", "id='b' to='rob@capulet.example'"), error("not-authorized")),
        (bind("x").replace("id='b'", "id='b' to='@'"), error("not-authorized")),
        (bind("x").replace(" id='b'", ""), iq_error("modify", "bad-request").replace(" id='b'", "")),
        (bind("x").replace("'set'", "'sot'"), iq_error("modify", "bad-request")),
        ("<iq type='set' id='b'/>".to_owned(), iq_error("modify", "bad-request")),
    ];
    for (asked, answer) in rows {
        let mut link = Link::to_bind(World::new());
        assert_eq!(link.ask(&asked), answer, "{asked}");
    }
}

#[test]
fn a_resource_in_use() {
    let rows = [
        (ConflictRule::Rename, bound("juliet@capulet.example/made-here")),
        (ConflictRule::Refuse, iq_error("cancel", "conflict")),
        (ConflictRule::Replace, bound("juliet@capulet.example/balcony")),
    ];
    for (rule, answer) in rows {
        let mut world = World::new();
        world.rules.capulet().conflict = rule;
        let mut link = Link::to_bind(world);
        link.in_use.push("balcony".to_owned());
        assert_eq!(link.ask(&bind("balcony")), answer, "{rule:?}");
    }
}

#[test]
fn attempts_to_bind_are_bounded() {
    let mut link = Link::to_bind(World::new());
    for _ in 0..5 {
        assert_eq!(link.ask(&bind("a&#9;b")), iq_error("modify", "bad-request"));
    }
    let answer = link.ask(BIND);
    assert!(is_error_with_text(&answer, "policy-violation", "Too many"), "{answer}");
}

#[test]
fn a_refused_session_may_be_asked_for_again() {
    let limit = "<error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
        <resource-limit-exceeded xmlns='urn:xmpp:errors'/></error></iq>";
    let rows = [
        (BindRefusal::Conflict, iq_error("cancel", "conflict")),
        (BindRefusal::NotAllowed, iq_error("cancel", "not-allowed")),
        (BindRefusal::ResourceConstraint, format!("<iq type='error' id='b'>{limit}")),
    ];
    for (refusal, answer) in rows {
        let mut link = Link::to_bind(World::new());
        link.auto = Auto::Nothing;
        assert_eq!(link.ask(BIND), "");
        link.input(Input::BindRefused(refusal));
        assert_eq!(link.take(), answer);
        link.auto = Auto::All;
        assert_eq!(link.ask(BIND), bound("juliet@capulet.example/made-here"));
    }
}

#[test]
fn stanzas_before_there_is_a_session() {
    let unavailable = iq_error("cancel", "service-unavailable");
    let rows = [
        ("<iq type='get' id='b'><ping xmlns='urn:xmpp:ping'/></iq>", unavailable.clone()),
        ("<iq type='set' id='b'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>", unavailable),
        (
            "<iq type='get' id='b'><query xmlns='jabber:iq:auth'/></iq>",
            iq_error("cancel", "service-unavailable").replace("<error ", "<error code='503' "),
        ),
        ("<iq type='result' id='b'/>", String::new()),
        ("<iq type='error' id='b'/>", String::new()),
        ("<iq type='get' id='b' to='capulet.example/x'><ping xmlns='urn:xmpp:ping'/></iq>", error("not-authorized")),
        ("<iq type='get' id='b' to='rob@capulet.example'><ping xmlns='urn:xmpp:ping'/></iq>", error("not-authorized")),
        ("<message/>", error("not-authorized")),
        ("<presence to='juliet@capulet.example'/>", error("not-authorized")),
        ("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>", error("not-authorized")),
        ("<x xmlns='urn:x'/>", error("unsupported-stanza-type")),
    ];
    for (asked, answer) in rows {
        let mut link = Link::to_bind(World::new());
        assert_eq!(link.ask(asked), answer, "{asked}");
    }
}

/// XEP-0078 §3.1: a 1.0 stream has SASL, and nothing beside it.
#[test]
fn iq_auth_is_not_there() {
    let get = "<iq type='get' id='b'><query xmlns='jabber:iq:auth'><username>rob</username></query></iq>";
    let set = "<iq type='set' id='b'><query xmlns='jabber:iq:auth'><username>rob</username>\
        <password>secret</password><resource>r</resource></query></iq>";
    let unavailable = iq_error("cancel", "service-unavailable").replace("<error ", "<error code='503' ");
    for request in [get, set] {
        let mut link = Link::to_sasl(World::new());
        link.take();
        assert_eq!(link.ask(request), unavailable);
        assert_eq!(link.ask(&auth("PLAIN", b"\0rob\0wrong")), failure("not-authorized"));
        let answer = link.ask(request);
        assert!(is_error_with_text(&answer, "policy-violation", "failed SASL"), "{answer}");
    }
}

#[test]
fn the_header_is_kept_for_the_session() {
    let header = HEADER_1_0.replace("to=", "xml:lang='de-CH' xmlns:x='urn:x' to=");
    let mut link = Link::to_sasl(World::new());
    link.send(&plain()).send(&header).send(BIND);
    let bound = link.negotiation.into_bound().unwrap();
    assert_eq!(bound.lang.as_deref(), Some("de-CH"));
    assert_eq!(bound.ns.unwrap().lookup("x"), Some("urn:x"));
}
