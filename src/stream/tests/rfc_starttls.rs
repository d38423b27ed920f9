//! RFC 6120 §5 and §9.1: a stream from its first byte to its session, and STARTTLS on the way.

use super::world::*;
use crate::sasl::ScramHash;
use crate::sasl::client::{ClientBinding, ScramClient};
use crate::stream::CloseHow;

const MECHANISMS: &str = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
    <mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>SCRAM-SHA-1-PLUS</mechanism>\
    <mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism></mechanisms>\
    <sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-server-end-point'/>\
    <channel-binding type='tls-exporter'/></sasl-channel-binding>";

/// RFC 6120 §9.1, with the mechanisms of our time.
#[test]
fn from_the_first_byte_to_a_session() {
    let mut link = Link::new(World::new());
    assert_eq!(link.ask(HEADER_1_0), format!("{ANSWER_1_0}{TLS_ONLY}"));
    assert_eq!(link.ask(STARTTLS), "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    assert_eq!(link.asked, ["tell-drained", "flip capulet.example"]);
    assert_eq!(link.ask(HEADER_1_0), format!("{ANSWER_1_0}<stream:features>{MECHANISMS}</stream:features>"));

    let mut client =
        ScramClient::new(ScramHash::Sha1, ClientBinding::Unsupported, "juliet", "r0m30myr0m30", "oMsTAAwAAAAMAAAANP0")
            .expecting(
                &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"],
                &["tls-exporter", "tls-server-end-point"],
            );
    let challenge = link.ask(&auth("SCRAM-SHA-1", &client.first()));
    assert!(challenge.starts_with("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"), "{challenge}");
    let answer = client.answer(&payload(&challenge)).unwrap();
    let success = link.ask(&response(&answer));
    assert!(success.starts_with("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"), "{success}");
    assert_eq!(client.verify(&payload(&success)), Ok(()));
    assert!(link.negotiation.is_authenticated());

    assert_eq!(
        link.ask(HEADER_1_0),
        format!(
            "{ANSWER_1_0}<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>\
             <session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>\
             <ver xmlns='urn:xmpp:features:rosterver'/><sub xmlns='urn:xmpp:features:pre-approval'/>\
             <limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>262144</max-bytes></limits></stream:features>"
        )
    );
    assert_eq!(
        link.ask(
            "<iq id='yhc13a95' type='set'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <resource>balcony</resource></bind></iq>"
        ),
        "<iq type='result' id='yhc13a95'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
         <jid>juliet@capulet.example/balcony</jid></bind></iq>"
    );
    assert_eq!(link.closed, None);
    let bound = link.negotiation.into_bound().unwrap();
    assert_eq!(bound.jid.as_str(), "juliet@capulet.example/balcony");
    assert!(bound.version_1 && bound.ns.is_none() && bound.lang.is_none() && !bound.anonymous);
}

#[test]
fn starttls_is_refused_by_failure() {
    let failure = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>";
    // §5.4.2.2 (1), the injection rule, and white space (§5.3.3).
    let rows = [
        format!("{STARTTLS}<iq type='get' id='1'><query xmlns='jabber:iq:auth'/></iq>"),
        format!("{STARTTLS}<message>hal"),
        format!("{STARTTLS}{STARTTLS}"),
        format!("{STARTTLS}\u{16}\u{3}\u{1}"),
        format!("{STARTTLS} "),
        format!("{STARTTLS}\n"),
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>".to_owned(),
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'>now</starttls>".to_owned(),
    ];
    for row in rows {
        let mut link = Link::new(World::new());
        link.ask(HEADER_1_0);
        assert_eq!(link.ask(&row), failure, "{row:?}");
        assert_eq!((link.closed, link.asked.len()), (Some(CloseHow::AfterFlush), 0));
    }
    // (2): not offered.
    let mut world = World::new();
    world.rules.capulet().tls_available = false;
    world.rules.capulet().tls_required = false;
    let mut link = Link::new(world);
    assert!(!link.ask(HEADER_1_0).contains("starttls"));
    assert_eq!(link.ask(STARTTLS), failure);
}

#[test]
fn nothing_learnt_in_the_clear_survives() {
    let header = HEADER_1_0.replace("to=", "from='juliet@capulet.example' xml:lang='fr' xmlns:x='urn:x' to=");
    let mut link = Link::new(World::new());
    link.send(&header).send(STARTTLS);
    link.take();
    assert_eq!(link.negotiation.domain(), None);
    assert!(link.negotiation.ns().lookup("x").is_none());
    let answer = link.ask(&HEADER_1_0.replace("capulet", "montague"));
    assert!(answer.contains("from='montague.example'") && !answer.contains("to="), "{answer}");
    assert!(!answer.contains("starttls"));
    // A second request inside TLS is not a way to anything.
    assert_eq!(link.ask(STARTTLS), error("unsupported-stanza-type"));
}

#[test]
fn nothing_but_starttls_before_tls() {
    let rows = [
        (plain(), failure("encryption-required")),
        ("<message to='a@b.example'><body>hi</body></message>".to_owned(), error("not-authorized")),
        ("<presence/>".to_owned(), error("not-authorized")),
        ("<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>".to_owned(), error("not-authorized")),
        (format!("<starttls xmlns='{TLS_2002}'/>"), error("unsupported-stanza-type")),
        (format!("<auth xmlns='{SASL_2002}' mechanism='PLAIN'/>"), error("unsupported-stanza-type")),
        ("<x xmlns='urn:x'/>".to_owned(), error("unsupported-stanza-type")),
        ("<message xmlns='jabber:server'/>".to_owned(), error("invalid-namespace")),
        ("<c:message xmlns:c='jabber:client'/>".to_owned(), error("bad-namespace-prefix")),
        ("<stream:error/>".to_owned(), "</stream:stream>".to_owned()),
        ("</stream:stream>".to_owned(), "</stream:stream>".to_owned()),
        ("text".to_owned(), error("not-well-formed")),
        ("<!-- -->".to_owned(), error("restricted-xml")),
        (" \r\n\t".to_owned(), String::new()),
    ];
    for (sent, answer) in rows {
        let mut link = Link::new(World::new());
        link.ask(HEADER_1_0);
        assert_eq!(link.ask(&sent), answer, "{sent}");
        let is_open = answer.is_empty() || answer.starts_with("<failure");
        assert_eq!(link.closed, (!is_open).then_some(CloseHow::Linger), "{sent}");
    }
}

#[test]
fn the_namespaces_of_2002_mean_nothing_here() {
    let header = HEADER_1_0.replace("to=", "xmlns:tls='http://www.ietf.org/rfc/rfc2595.txt' to=");
    let mut link = Link::new(World::new());
    assert_eq!(link.ask(&header), format!("{ANSWER_1_0}{TLS_ONLY}"));
    assert_eq!(link.ask("<tls:starttls/>"), error("unsupported-stanza-type"));
    // Even under the prefix that is ours.
    let header = "<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams' \
        xmlns:stream='http://www.ietf.org/rfc/rfc2595.txt' to='capulet.example' version='1.0'>";
    assert_eq!(Link::new(World::new()).ask(header), format!("{ANSWER_1_0}{TLS_ONLY}"));
}

#[test]
fn without_tls_where_policy_lets() {
    let mut world = World::new();
    world.rules.capulet().tls_required = false;
    let mut link = Link::new(world);
    assert_eq!(
        link.ask(HEADER_1_0),
        format!(
            "{ANSWER_1_0}<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\
             <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-256</mechanism>\
             <mechanism>SCRAM-SHA-1</mechanism></mechanisms></stream:features>"
        )
    );
    assert_eq!(link.ask(&plain()), failure("encryption-required"));
    let mut client = ScramClient::new(ScramHash::Sha256, ClientBinding::Unsupported, "rob", "secret", "fyko");
    let challenge = link.ask(&auth("SCRAM-SHA-256", &client.first()));
    let answer = client.answer(&payload(&challenge)).unwrap();
    assert!(link.ask(&response(&answer)).starts_with("<success"));
    assert!(link.ask(HEADER_1_0).contains("<bind "));
}
