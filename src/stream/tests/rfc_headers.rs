//! RFC 6120 §4.7–§4.9: stream headers, what they are answered with, and what follows them.

use super::world::*;
use crate::sasl::{Credentials, Mechanism, ScramHash};
use crate::stream::{CloseHow, DomainPolicy, HashSet, Input};

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
    // Elements then name their own namespace (§4.8.2).
    let answers = [
        ["not-authorized", "not-authorized"],
        ["not-authorized", "unsupported-stanza-type"],
        ["not-authorized", "invalid-namespace"],
    ];
    for (header, conditions) in rows.iter().zip(answers) {
        for (element, condition) in ["<message xmlns='jabber:client'/>", "<message/>"].iter().zip(conditions) {
            let mut link = Link::new(World::new());
            link.ask(header);
            assert_eq!(link.ask(element), error(condition), "{header} {element}");
        }
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

/// A domain that nobody could log in at is a mistake of the operator's, and said to be one.
#[test]
fn no_way_in() {
    let clear = |change: fn(&mut DomainPolicy)| {
        let mut world = World::new();
        change(world.rules.capulet());
        Link::new(world)
    };
    let secure = |change: fn(&mut DomainPolicy)| {
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
fn idle_seconds_are_advertised_if_there_are_any() {
    let mut world = World::new();
    world.rules.capulet().idle_seconds = 600;
    let mut link = Link::to_sasl(world);
    link.send(&plain());
    link.take();
    assert!(link.ask(HEADER_1_0).contains("<idle-seconds>600</idle-seconds>"));
}
