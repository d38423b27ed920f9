//! RFC 6120's dialect: headers, STARTTLS, SASL, restart, bind.

use super::world::*;
use crate::sasl::client::{ClientBinding, ScramClient};
use crate::sasl::{BindingType, Credentials, Mechanism, ScramHash};
use crate::stream::{BindRefusal, CloseHow, ConflictRule, HashSet, Input};

const MECHANISMS: &str = "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>\
    <channel-binding type='tls-server-end-point'/><channel-binding type='tls-exporter'/></sasl-channel-binding>\
    <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-256-PLUS</mechanism>\
    <mechanism>SCRAM-SHA-1-PLUS</mechanism><mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism>\
    <mechanism>PLAIN</mechanism></mechanisms>";
const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";

fn plain() -> String {
    auth("PLAIN", b"\0juliet\0r0m30myr0m30")
}

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
fn both_channel_bindings_log_in() {
    for (hash, name) in [(ScramHash::Sha256, "SCRAM-SHA-256-PLUS"), (ScramHash::Sha1, "SCRAM-SHA-1-PLUS")] {
        for kind in [BindingType::TlsExporter, BindingType::TlsServerEndPoint] {
            let mut link = Link::to_sasl(World::new());
            link.take();
            let channel = ClientBinding::Bound(kind, binding(kind));
            let mut client = ScramClient::new(hash, channel, "juliet", "r0m30myr0m30", "fyko");
            let challenge = link.ask(&auth(name, &client.first()));
            let answer = client.answer(&payload(&challenge)).unwrap();
            let success = link.ask(&response(&answer));
            assert_eq!(client.verify(&payload(&success)), Ok(()), "{name} {kind:?}");
        }
    }
}

#[test]
fn a_header_is_answered_as_it_asks() {
    let header =
        |attributes: &str| format!("<stream:stream xmlns='jabber:client' xmlns:stream='{STREAMS}' {attributes}>");
    let rows = [
        // (asked, our attributes behind the namespaces)
        ("to='capulet.example' version='1.0'", "from='capulet.example' id='ID' version='1.0' xml:lang='en'"),
        ("to='Capulet.Example.' version='1.0'", "from='capulet.example' id='ID' version='1.0' xml:lang='en'"),
        ("to='capulet.example' version='1.1'", "from='capulet.example' id='ID' version='1.0' xml:lang='en'"),
        ("to='capulet.example' version='12.3'", "from='capulet.example' id='ID' version='1.0' xml:lang='en'"),
        (
            "to='capulet.example' version='1.0' from='Juliet@capulet.example/x' id='mine' xml:lang='de-CH'",
            "from='capulet.example' id='ID' to='juliet@capulet.example' version='1.0' xml:lang='en'",
        ),
        ("to='montague.example' version='1.0' from=''", "from='montague.example' id='ID' version='1.0' xml:lang='en'"),
    ];
    for (asked, answered) in rows {
        let answer = Link::new(World::new()).ask(&header(asked));
        let start =
            format!("<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='{STREAMS}' {answered}>");
        assert!(answer.starts_with(&start), "{asked}: {answer}");
    }
}

#[test]
fn ids_are_fresh_after_each_restart() {
    let mut link = Link::new(World::new());
    let id = |answer: &str| answer.split("id='").nth(1).unwrap()[..22].to_owned();
    let mut seen = Vec::new();
    for step in [HEADER_1_0, STARTTLS, HEADER_1_0, &plain(), HEADER_1_0] {
        link.send(step);
        let answer = link.take_raw();
        if step == HEADER_1_0 {
            seen.push(id(&answer));
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3);
}

#[test]
fn what_a_header_may_not_say() {
    let rows = [
        // RFC 6120 §4.9.3.10
        (
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://wrong.example' to='capulet.example' version='1.0'>",
            "invalid-namespace",
        ),
        (
            "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' to='capulet.example' version='1.0'>",
            "invalid-namespace",
        ),
        (
            "<stream:stream xmlns='http://wrong.example' xmlns:stream='http://etherx.jabber.org/streams' to='capulet.example' version='1.0'>",
            "invalid-namespace",
        ),
        ("<stream xmlns='jabber:client' to='capulet.example' version='1.0'>", "invalid-namespace"),
        (
            "<stream:strom xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='capulet.example' version='1.0'>",
            "bad-format",
        ),
        // §4.9.3.6
        (
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='verona.example' version='1.0'>",
            "host-unknown",
        ),
        (
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
            "host-unknown",
        ),
        // §4.9.3.7
        (
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='' version='1.0'>",
            "improper-addressing",
        ),
        (
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='a@capulet.example' version='1.0'>",
            "improper-addressing",
        ),
        // §4.9.3.9
        (
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' from='@' to='capulet.example' version='1.0'>",
            "invalid-from",
        ),
        // §4.9.3.25
        (
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='capulet.example' version='one'>",
            "unsupported-version",
        ),
        (
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='capulet.example' version='1'>",
            "unsupported-version",
        ),
        // §4.9.3.22, §4.9.3.18, §4.9.3.13
        ("<?xml version='1.0' encoding='ISO-8859-1'?>", "unsupported-encoding"),
        ("<!DOCTYPE stream>", "restricted-xml"),
        ("GET / HTTP/1.1\r\n", "not-well-formed"),
    ];
    for (header, condition) in rows {
        let mut link = Link::new(World::new());
        assert_eq!(link.ask(header), format!("{ANSWER_1_0}{}", error(condition)), "{header}");
        assert_eq!(link.closed, Some(CloseHow::Linger));
    }
}

#[test]
fn other_ways_to_declare_the_namespaces() {
    let rows = [
        "<foo:stream xmlns='jabber:client' xmlns:foo='http://etherx.jabber.org/streams' to='capulet.example' version='1.0'>",
        "<stream xmlns='http://etherx.jabber.org/streams' to='capulet.example' version='1.0'>",
        "<stream:stream xmlns:stream='http://etherx.jabber.org/streams' to='capulet.example' version='1.0'>",
    ];
    for header in rows {
        let mut link = Link::new(World::new());
        assert_eq!(link.ask(header), format!("{ANSWER_1_0}{TLS_ONLY}"), "{header}");
        assert!(link.ask(STARTTLS).starts_with("<proceed"));
    }
}

/// A header without `to` means the only domain, if there is but one.
#[test]
fn no_to_is_the_only_domain() {
    let header = HEADER_1_0.replace(" to='capulet.example'", "");
    let mut world = World::new();
    world.rules.domains.pop();
    assert_eq!(Link::new(world).ask(&header), format!("{ANSWER_1_0}{TLS_ONLY}"));
    // After the login it is the account's.
    let mut link = Link::to_sasl(World::new());
    link.send(&plain());
    link.take();
    assert!(link.ask(&header).contains("<bind "));
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

/// A domain that nobody could log in at is a mistake of the operator's, and said to be one.
#[test]
fn no_way_in() {
    let clear = |change: fn(&mut crate::stream::DomainPolicy)| {
        let mut world = World::new();
        change(world.rules.capulet());
        Link::new(world)
    };
    let secure = |change: fn(&mut crate::stream::DomainPolicy)| {
        let mut world = World::new();
        change(world.rules.capulet());
        Link::secure(world)
    };
    let mut links = [
        clear(|domain| domain.tls_available = false),
        clear(|domain| {
            domain.tls_available = false;
            domain.tls_required = false;
            domain.mechanisms = vec![Mechanism::Plain];
        }),
        secure(|domain| domain.mechanisms.clear()),
    ];
    for link in &mut links {
        let answer = link.ask(HEADER_1_0);
        assert!(is_error_with_text(&answer, "internal-server-error", "nobody can log in"), "{answer}");
    }
}

#[test]
fn base64_is_strict() {
    let element =
        |text: &str| format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{text}</auth>");
    let rows = [
        (" AHJvYgBzZWNyZXQ=", "incorrect-encoding"),
        ("AHJvYgBz\nZWNyZXQ=", "incorrect-encoding"),
        ("AHJvYgBzZWNyZXQ", "incorrect-encoding"),
        ("AHJvYgBzZWNyZXR=", "incorrect-encoding"),
        ("=AHJvYgBzZWNyZXQ", "incorrect-encoding"),
        ("!", "incorrect-encoding"),
        (" ", "incorrect-encoding"),
        ("==", "incorrect-encoding"),
        ("<x xmlns='urn:x'/>", "malformed-request"),
        ("=", "malformed-request"),
        ("AAAA", "malformed-request"),
    ];
    for (text, condition) in rows {
        let mut link = Link::to_sasl(World::new());
        link.take();
        assert_eq!(link.ask(&element(text)), failure(condition), "{text:?}");
        assert_eq!(link.closed, None);
    }
    // A reference is as good as the character.
    let mut link = Link::to_sasl(World::new());
    link.take();
    assert_eq!(link.ask(&element("AHJvYgBzZWNyZXQ&#61;")), SUCCESS);
}

#[test]
fn no_initial_response_is_asked_for() {
    let mut link = Link::to_sasl(World::new());
    link.take();
    for start in ["<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>"] {
        assert_eq!(link.ask(start), "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
    }
    assert_eq!(link.ask(&response(b"\0rob\0secret")), SUCCESS);
}

#[test]
fn mechanisms_are_held_to_the_offer() {
    let rows = [
        ("EXTERNAL", "invalid-mechanism"),
        ("ANONYMOUS", "invalid-mechanism"),
        ("CRAM-MD5", "invalid-mechanism"),
        ("plain", "invalid-mechanism"),
        ("", "invalid-mechanism"),
    ];
    for (name, condition) in rows {
        let mut link = Link::to_sasl(World::new());
        link.take();
        assert_eq!(link.ask(&auth(name, b"")), failure(condition), "{name}");
    }
    let mut link = Link::to_sasl(World::new());
    link.take();
    assert_eq!(link.ask("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"), failure("invalid-mechanism"));
}

#[test]
fn attempts_are_bounded() {
    let wrong = auth("PLAIN", b"\0rob\0wrong");
    let mut link = Link::to_sasl(World::new());
    link.take();
    for _ in 0..3 {
        assert_eq!(link.ask(&wrong), failure("not-authorized"));
    }
    let answer = link.ask(&plain());
    assert!(is_error_with_text(&answer, "policy-violation", "Too many"), "{answer}");
    // A right one may be the last; exchanges that are given up count too (§6.4.2, §6.4.4).
    let mut link = Link::to_sasl(World::new());
    link.take();
    link.send(&auth("SCRAM-SHA-1", b"n,,n=rob,r=x")).send(&auth("SCRAM-SHA-1", b"n,,n=rob,r=y"));
    assert_eq!(link.take().matches("<challenge").count(), 2);
    assert_eq!(link.ask("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"), failure("aborted"));
    assert_eq!(link.ask(&plain()), SUCCESS);
}

#[test]
fn a_response_to_nothing() {
    let mut link = Link::to_sasl(World::new());
    link.take();
    assert_eq!(link.ask(&response(b"x")), failure("malformed-request"));
    assert_eq!(link.ask("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"), failure("aborted"));
    assert_eq!(link.ask(&plain()), SUCCESS);
}

/// XEP-0178 §2.
#[test]
fn external() {
    let rows: [(&[&str], &[u8], &str); 9] = [
        (&["juliet@capulet.example"], b"", SUCCESS),
        (&["juliet@capulet.example"], b"juliet@capulet.example", SUCCESS),
        (&["juliet@capulet.example"], b"rob@capulet.example", "invalid-authzid"),
        (&["juliet@capulet.example", "rob@capulet.example"], b"", "invalid-authzid"),
        (&["juliet@capulet.example", "rob@capulet.example"], b"rob@capulet.example", SUCCESS),
        (&["juliet@capulet.example", "romeo@montague.example"], b"", SUCCESS),
        (&["nobody@capulet.example"], b"", "not-authorized"),
        (&["romeo@montague.example"], b"", "not-authorized"),
        (&[], b"", "not-authorized"),
    ];
    for (addresses, authzid, answer) in rows {
        let mut link = Link::with_certificate(World::new(), addresses);
        let features = link.ask(HEADER_1_0);
        assert!(features.contains("<mechanism>EXTERNAL</mechanism><mechanism>SCRAM-SHA-256-PLUS"), "{features}");
        let expected = if answer == SUCCESS { SUCCESS.to_owned() } else { failure(answer) };
        assert_eq!(link.ask(&auth("EXTERNAL", authzid)), expected, "{addresses:?} {authzid:?}");
    }
}

#[test]
fn external_is_offered_for_good_chains_only_and_judged_again() {
    let mut link = Link::with_certificate(World::new(), &["juliet@capulet.example"]);
    link.world.rules.judged = Err(());
    assert!(!link.ask(HEADER_1_0).contains("EXTERNAL"));

    let mut link = Link::with_certificate(World::new(), &["juliet@capulet.example"]);
    link.world.rules.capulet().external = false;
    assert!(!link.ask(HEADER_1_0).contains("EXTERNAL"));

    let mut link = Link::with_certificate(World::new(), &["juliet@capulet.example"]);
    assert!(link.ask(HEADER_1_0).contains("EXTERNAL"));
    link.world.rules.judged = Err(());
    assert_eq!(link.ask(&auth("EXTERNAL", b"")), failure("not-authorized"));

    let mut world = World::new();
    world.rules.capulet().external = true;
    world.rules.judged = Ok(vec!["juliet@capulet.example".to_owned()]);
    assert!(!Link::secure(world).ask(HEADER_1_0).contains("EXTERNAL"), "no certificate came");
}

#[test]
fn hashes_are_offered_that_the_account_has() {
    let offered = |link: &mut Link, from: &str| {
        let answer = link.ask(&HEADER_1_0.replace("to=", &format!("{from} to=")));
        (answer.contains("SHA-1<"), answer.contains("SHA-256<"))
    };
    let world = || {
        let mut world = World::new();
        let keys = keys("pw", &[ScramHash::Sha1]);
        world.people.accounts.insert("old".to_owned(), Credentials { keys, disabled: false });
        world.people.accounts.insert("card".to_owned(), Credentials { keys: Vec::new(), disabled: false });
        world.people.offered = HashSet { sha1: true, sha256: false };
        world
    };
    let rows = [
        ("", (true, false)),
        ("from='old@capulet.example'", (true, false)),
        ("from='juliet@capulet.example'", (true, true)),
        ("from='nobody@capulet.example'", (true, true)),
        ("from='card@capulet.example'", (true, true)),
        ("from='juliet@montague.example'", (true, false)),
        ("from='capulet.example'", (true, false)),
    ];
    for (from, expected) in rows {
        assert_eq!(offered(&mut Link::secure(world()), from), expected, "{from}");
    }
    // A configuration that allows only what some accounts lack still lets the others in.
    let mut world = world();
    world.rules.capulet().mechanisms = vec![Mechanism::ScramSha256];
    assert_eq!(offered(&mut Link::secure(world), ""), (false, true));
}

#[test]
fn only_bindings_that_can_be_had() {
    let mut link = Link::with(World::new(), true);
    link.tls.exporter = None;
    let info = link.tls.clone();
    link.input(Input::Secured(info));
    let answer = link.ask(HEADER_1_0);
    assert!(answer.contains("tls-server-end-point") && !answer.contains("tls-exporter"), "{answer}");

    let mut link = Link::with(World::new(), true);
    (link.tls.exporter, link.tls.server_end_point) = (None, None);
    let info = link.tls.clone();
    link.input(Input::Secured(info));
    let answer = link.ask(HEADER_1_0);
    assert!(!answer.contains("PLUS") && !answer.contains("channel-binding"), "{answer}");
}

/// §6.4.6: whoever claims one address inside TLS and proves another.
#[test]
fn the_header_names_whom_the_login_must_be() {
    let header = |from: &str| HEADER_1_0.replace("to=", &format!("from='{from}' to="));
    for (from, answer) in [
        ("juliet@capulet.example", SUCCESS.to_owned()),
        ("Juliet@Capulet.example/balcony", SUCCESS.to_owned()),
        ("capulet.example", SUCCESS.to_owned()),
        ("rob@capulet.example", error("invalid-from")),
        ("juliet@montague.example", error("invalid-from")),
    ] {
        let mut link = Link::secure(World::new());
        link.send(&header(from));
        link.take();
        assert_eq!(link.ask(&plain()), answer, "{from}");
    }
    for (from, is_bound) in [("juliet@capulet.example", true), ("rob@capulet.example", false)] {
        let mut link = Link::to_sasl(World::new());
        link.send(&plain());
        link.take();
        assert_eq!(link.ask(&header(from)).contains("<bind "), is_bound, "{from}");
    }
}

#[test]
fn the_stream_after_the_login_stays_what_it_was() {
    let rows = [
        (HEADER_1_0.replace("capulet", "montague"), "not-authorized"),
        (HEADER_BARE.to_owned(), "unsupported-version"),
        (HEADER_SASL.to_owned(), "unsupported-version"),
    ];
    for (header, condition) in rows {
        let mut link = Link::to_sasl(World::new());
        link.send(&plain());
        link.take();
        let answer = link.ask(&header);
        assert!(answer.contains(&format!("<{condition} ")), "{answer}");
    }
}

#[test]
fn anonymous() {
    let mut world = World::new();
    world.rules.capulet().mechanisms = vec![Mechanism::Anonymous];
    let mut link = Link::secure(world);
    let mechanisms =
        "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>ANONYMOUS</mechanism></mechanisms>";
    assert_eq!(link.ask(HEADER_1_0), format!("{ANSWER_1_0}<stream:features>{mechanisms}</stream:features>"));
    assert_eq!(link.ask("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>"), SUCCESS);
    link.send(HEADER_1_0).send("<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    assert!(link.asked.last().unwrap().ends_with("@capulet.example \"\" Rename anonymous"), "{:?}", link.asked);
    assert!(link.negotiation.into_bound().unwrap().anonymous);
}

#[test]
fn a_password_fills_in_the_missing_hash() {
    let mut world = World::new();
    let keys = keys("pw", &[ScramHash::Sha1]);
    world.people.accounts.insert("old".to_owned(), Credentials { keys, disabled: false });
    let mut link = Link::to_sasl(world);
    link.take();
    assert_eq!(link.ask(&auth("PLAIN", b"\0old\0pw")), SUCCESS);
    let [(account, sets)] = link.filled.as_slice() else { panic!("one set is stored") };
    assert_eq!((account.as_str(), sets[0].hash), ("old@capulet.example", ScramHash::Sha256));
}

#[test]
fn a_disabled_account_is_told_so_only_with_its_password() {
    let mut world = World::new();
    world.people.accounts.get_mut("rob").unwrap().disabled = true;
    let mut link = Link::to_sasl(world);
    link.take();
    assert_eq!(link.ask(&auth("PLAIN", b"\0rob\0wrong")), failure("not-authorized"));
    assert_eq!(link.ask(&auth("PLAIN", b"\0rob\0secret")), failure("account-disabled"));
}

#[test]
fn a_full_queue_is_not_a_wrong_password() {
    let mut link = Link::to_sasl(World::new());
    link.take();
    link.auto = Auto::Nothing;
    assert_eq!(link.ask(&plain()), "");
    link.input(Input::Overloaded);
    assert_eq!(link.take(), failure("temporary-auth-failure"));
    link.auto = Auto::All;
    assert_eq!(link.ask(&plain()), SUCCESS);
}

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

#[test]
fn idle_seconds_are_advertised_if_there_are_any() {
    let mut world = World::new();
    world.rules.capulet().idle_seconds = 600;
    let mut link = Link::to_sasl(world);
    link.send(&plain());
    link.take();
    assert!(link.ask(HEADER_1_0).contains("<idle-seconds>600</idle-seconds>"));
}
