//! XEP-0035: every listing, and which header chooses what (docs/architecture.md §1).

use super::world::*;
use crate::stream::CloseHow;

/// XEP-0035 §2, all listings, then Listing 5's stream to its session.
#[test]
fn xep_0035() {
    let mut link = Link::new(World::new());
    assert_eq!(link.ask(HEADER_2002), ANSWER_2002);
    assert_eq!(link.ask("<tls:starttls/>"), "</stream:stream>");
    assert_eq!(link.asked, ["tell-drained", "flip capulet.example"]);
    assert_eq!(link.closed, None);
    assert_eq!(link.ask(HEADER_BARE), ANSWER_BARE);
    assert_eq!(
        link.ask(&iq_auth_set("<username>bill</username><password>Calli0pe</password><resource>globe</resource>")),
        "<iq type='result' id='auth2'/>"
    );
    let bound = link.negotiation.into_bound().unwrap();
    assert_eq!(bound.jid.as_str(), "bill@capulet.example/globe");
    assert!(!bound.version_1);
}

/// XEP-0035 §2.2: "server not supporting STARTTLS".
#[test]
fn no_certificate_no_declaration() {
    let mut world = World::new();
    world.rules.capulet().tls_available = false;
    let mut link = Link::new(world);
    assert_eq!(link.ask(HEADER_2002), ANSWER_BARE);
    let answer = link.ask("<tls:starttls/>");
    assert!(is_error_with_text(&answer, "policy-violation", "no certificate"), "{answer}");
    // A bare end tag would be consent; so is a connection that stays open.
    assert_eq!(link.closed, Some(CloseHow::AfterFlush));
}

#[test]
fn any_prefix_carries_the_namespaces() {
    let mut link = Link::new(World::new());
    let header = HEADER_2002.replace("xmlns:tls", "xmlns:t.1-x");
    assert_eq!(link.ask(&header), ANSWER_2002.replace("xmlns:tls", "xmlns:t.1-x"));
    assert_eq!(link.ask("<t.1-x:starttls></t.1-x:starttls>"), "</stream:stream>");
    let header = HEADER_SASL.replace("xmlns:sasl", "xmlns:s");
    let answer = ANSWER_SASL.replace("xmlns:sasl", "xmlns:s");
    assert_eq!(link.ask(&header), format!("{answer}{}", MECHANISMS_2002.replace("sasl:", "s:")));
    assert_eq!(link.ask("<s:auth mechanism='PLAIN'/>"), "<s:challenge/>");
    assert_eq!(link.ask("<s:response>cm9iAHNlY3JldA==</s:response>"), "<s:success/>");
    // XML says the same without a prefix.
    let mut link = Link::new(World::new());
    link.ask(HEADER_2002);
    assert_eq!(link.ask(&format!("<starttls xmlns='{TLS_2002}'/>")), "</stream:stream>");
    // Ours is `stream`: we could not declare it twice.
    let header = "<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams' \
        xmlns:stream='http://www.ietf.org/rfc/rfc2595.txt' to='capulet.example'>";
    let answer = Link::new(World::new()).ask(header);
    assert!(answer.starts_with(ANSWER_BARE) && is_error_with_text(&answer, "bad-namespace-prefix", ""), "{answer}");
}

/// The injection rule: an error, the end tag, and TCP closed at once.
#[test]
fn bytes_behind_starttls_end_the_connection() {
    for behind in ["<iq/>", "<message>hal", "<tls:starttls/>", "\u{16}\u{3}\u{1}", " ", "\n", "</stream:stream>"] {
        let mut link = Link::new(World::new());
        link.ask(HEADER_2002);
        let answer = link.ask(&format!("<tls:starttls/>{behind}"));
        assert!(answer.starts_with("<stream:error>"), "{answer}");
        assert!(is_error_with_text(&answer, "policy-violation", "behind starttls"), "{answer}");
        assert_eq!(link.closed, Some(CloseHow::AfterFlush));
        assert!(link.asked.is_empty());
    }
    let mut link = Link::new(World::new());
    link.ask(HEADER_2002);
    let answer = link.ask("<tls:starttls>now</tls:starttls>");
    assert!(is_error_with_text(&answer, "policy-violation", ""), "{answer}");
}

/// Which header chooses what, before TLS.
#[test]
fn before_tls() {
    let rfc = STARTTLS;
    let auth = "<iq type='get' id='1'><query xmlns='jabber:iq:auth'/></iq>";
    let sasl = format!("<auth xmlns='{SASL_2002}' mechanism='PLAIN'/>");
    let own = format!("<starttls xmlns='{TLS_2002}'/>");
    let rows = [
        (HEADER_2002, rfc, "unsupported-stanza-type", ""),
        (HEADER_2002, auth, "policy-violation", "send <starttls/>"),
        (HEADER_2002, &sasl, "policy-violation", "send <starttls/>"),
        (HEADER_2002, "<message/>", "policy-violation", "send <starttls/>"),
        (HEADER_BARE, rfc, "policy-violation", "declare xmlns:tls="),
        (HEADER_BARE, auth, "policy-violation", "declare xmlns:tls="),
        (HEADER_BARE, &sasl, "policy-violation", "declare xmlns:tls="),
        (HEADER_BARE, &own, "policy-violation", "declare xmlns:tls="),
        (HEADER_BARE, "<presence/>", "policy-violation", "declare xmlns:tls="),
        (HEADER_BARE, "<x xmlns='urn:x'/>", "policy-violation", "declare xmlns:tls="),
        // Before TLS no SASL is given back, whoever asks.
        (HEADER_SASL, auth, "policy-violation", "declare xmlns:tls="),
    ];
    for (header, sent, condition, text) in rows {
        let mut link = Link::new(World::new());
        let answer = link.ask(header);
        assert_eq!(answer, if header == HEADER_2002 { ANSWER_2002 } else { ANSWER_BARE });
        let text = text.replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&apos;");
        let answer = link.ask(sent);
        assert!(is_error_with_text(&answer, condition, &text), "{sent}: {answer}");
    }
}

#[test]
fn versions_below_1_0_are_of_2002_and_given_back() {
    let header = HEADER_2002.replace("to=", "version='00.09' to=");
    let answer = ANSWER_2002.replace("xml:lang", "version='0.9' xml:lang");
    assert_eq!(Link::new(World::new()).ask(&header), answer);
}

#[test]
fn the_dialect_can_be_off() {
    for header in [HEADER_2002, HEADER_BARE] {
        let mut world = World::new();
        world.rules.capulet().legacy = false;
        let answer = Link::new(world).ask(header);
        assert!(answer.starts_with(ANSWER_BARE), "{answer}");
        assert!(is_error_with_text(&answer, "unsupported-version", "1.0"), "{answer}");
    }
}

/// A header's faults stand in a header without version, with a text.
#[test]
fn what_a_header_may_not_say() {
    let rows = [
        (HEADER_BARE.replace("jabber:client", "jabber:server"), "invalid-namespace"),
        (HEADER_BARE.replace("capulet", "verona"), "host-unknown"),
        (HEADER_BARE.replace("to='capulet.example'", ""), "host-unknown"),
    ];
    for (header, condition) in rows {
        let answer = Link::new(World::new()).ask(&header);
        assert!(answer.starts_with(ANSWER_BARE) && is_error_with_text(&answer, condition, ""), "{answer}");
    }
}

/// Flip in one dialect, speak the other inside.
#[test]
fn each_stream_chooses_anew() {
    let ways = [(HEADER_1_0, STARTTLS), (HEADER_2002, "<tls:starttls/>")];
    let inside = [
        (HEADER_1_0, "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"),
        (HEADER_2002, ANSWER_BARE),
        (HEADER_BARE, ANSWER_BARE),
        (HEADER_SASL, MECHANISMS_2002),
    ];
    for (header, starttls) in ways {
        for (inner, answer) in inside {
            let mut link = Link::new(World::new());
            link.send(header).send(starttls);
            link.take();
            let answered = link.ask(inner);
            assert!(answered.contains(answer), "{answered}");
            assert!(!answered.contains("rfc2595") && !answered.contains("starttls"));
            // Never again, in no dialect.
            for again in [STARTTLS.to_owned(), format!("<starttls xmlns='{TLS_2002}'/>")] {
                let mut link = Link::new(World::new());
                link.send(header).send(starttls).send(inner);
                link.take();
                assert!(link.ask(&again).contains("<unsupported-stanza-type "));
                assert_eq!(link.closed, Some(CloseHow::Linger));
            }
        }
    }
}
