//! What an attacker, a slow peer or a busy server leads to: bounds, delays, secrets, memory.

use super::world::*;
use crate::stream::error::StreamCondition;
use crate::stream::{CloseHow, Input, Negotiation};
use crate::xml::XmlError;

/// A negotiation is boxed for each connection until it is bound: what it takes by itself, and on the heap.
#[test]
fn a_negotiation_is_small() {
    let size = size_of::<Negotiation>();
    assert!(size <= 160, "{size} bytes before the first header");
    let stream = size_of::<crate::stream::Stream>();
    assert!(size + stream <= 512, "{size} + {stream} bytes on an open stream");
    println!("stream/negotiation bytes={size} open={stream}");
}

/// The first failures cost nothing; then every answer waits, good or bad, for this account and this place.
#[test]
fn failing_logins_are_slowed() {
    let wrong = auth("PLAIN", b"\0rob\0wrong");
    let mut world = World::new();
    world.rules.capulet().sasl_attempts_max = 5;
    let mut link = Link::to_sasl(world);
    link.take();
    for _ in 0..5 {
        assert_eq!(link.ask(&wrong), failure("not-authorized"));
    }
    let delays: Vec<_> = link.asked.iter().filter(|ask| ask.starts_with("delay")).cloned().collect();
    assert!(delays.len() >= 2, "{delays:?}");
    // Another connection, the same account, the right password: slowed as well, once, then forgiven.
    let mut next = Link::to_sasl(std::mem::replace(&mut link.world, World::new()));
    next.take();
    assert!(next.ask(&auth("PLAIN", b"\0rob\0secret")).starts_with("<success"));
    assert!(next.asked.iter().any(|ask| ask.starts_with("delay")), "{:?}", next.asked);
    let mut last = Link::to_sasl(std::mem::replace(&mut next.world, World::new()));
    last.take();
    assert!(last.ask(&auth("PLAIN", b"\0rob\0secret")).starts_with("<success"));
    assert!(!last.asked.iter().any(|ask| ask.starts_with("delay")), "{:?}", last.asked);
}

#[test]
fn failing_passwords_without_sasl_are_slowed_alike() {
    let set = |password: &str| {
        format!(
            "<iq type='set' id='1'><query xmlns='jabber:iq:auth'><username>bill</username>\
             <password>{password}</password><resource>r</resource></query></iq>"
        )
    };
    let mut world = World::new();
    world.rules.capulet().sasl_attempts_max = 5;
    let mut link = Link::secure(world);
    link.ask(HEADER_BARE);
    for _ in 0..4 {
        assert!(link.ask(&set("wrong")).contains("not-authorized"));
    }
    assert!(link.asked.iter().any(|ask| ask.starts_with("delay")), "{:?}", link.asked);
}

/// What is not a guess costs nobody anything.
#[test]
fn blunders_are_not_held_against_an_account() {
    let mut world = World::new();
    world.rules.capulet().sasl_attempts_max = 200;
    let mut link = Link::to_sasl(world);
    link.take();
    for _ in 0..30 {
        link.send(&auth("X", b"")).send("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
        link.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>!</auth>");
    }
    assert!(link.ask(&auth("PLAIN", b"\0rob\0secret")).contains("<success"));
    assert_eq!(link.asked, ["hash"]);
}

/// Nothing is answered while a password is on the hashing thread: the gate is shut.
#[test]
fn what_comes_during_the_hashing_waits() {
    let mut link = Link::to_sasl(World::new());
    link.take();
    link.auto = Auto::Nothing;
    let abort = "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
    assert_eq!(link.ask(&format!("{}{abort}", auth("PLAIN", b"\0rob\0secret"))), "");
    link.input(Input::Overloaded);
    assert_eq!(link.take(), failure("temporary-auth-failure"));
    assert_eq!(link.ask(""), failure("aborted"));
}

/// A client may send everything up to its bind without waiting; each answer comes in its place.
#[test]
fn a_pipelined_login() {
    let mut link = Link::secure(World::new());
    let script = [
        HEADER_1_0,
        &auth("PLAIN", b"\0juliet\0r0m30myr0m30"),
        HEADER_1_0,
        "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
    ];
    link.send(&script.concat());
    let out = link.take_raw();
    let places: Vec<_> =
        ["<mechanisms", "<success", "<bind ", "<jid>"].iter().map(|part| out.find(part).unwrap()).collect();
    assert!(places.is_sorted(), "{out}");
}

/// Byte by byte is the same as whole.
#[test]
fn how_the_bytes_are_cut_does_not_matter() {
    let script =
        [HEADER_2002, "<tls:starttls/>", HEADER_SASL, "<sasl:auth mechanism='PLAIN'>cm9iAHNlY3JldA==</sasl:auth>"];
    let mut whole = Link::new(World::new());
    let mut cut = Link::new(World::new());
    for step in script {
        let expected = whole.ask(step);
        for at in 0..step.len() {
            cut.send(&step[at..=at]);
        }
        assert_eq!(cut.take(), expected, "{step}");
    }
}

#[test]
fn an_oversized_element_is_named() {
    let mut link = Link::to_sasl(World::new());
    link.take();
    link.input(Input::XmlFault(XmlError::TooLong { offset: 10_000 }));
    let answer = link.take();
    assert!(answer.contains("<policy-violation ") && answer.contains("<stanza-too-big xmlns='urn:xmpp:errors'/>"));
}

/// Every fault has a condition, and each is written on a stream that is open and on one that is not.
#[test]
fn faults_come_inside_a_header() {
    for header in [None, Some(HEADER_1_0)] {
        let mut link = Link::new(World::new());
        if let Some(header) = header {
            link.ask(header);
        }
        let fault = XmlError::Restricted { offset: 3 };
        link.input(Input::XmlFault(fault));
        let answer = link.take();
        assert_eq!(answer.starts_with(ANSWER_1_0), header.is_none());
        assert!(answer.ends_with(&error(StreamCondition::from(fault).name())), "{answer}");
    }
}

/// Once the end tag is out nothing more is said, whatever comes; the peer's end tag ends the wait.
#[test]
fn the_end_is_the_end() {
    let mut link = Link::to_sasl(World::new());
    link.ask("</stream:stream>");
    assert_eq!(link.closed.take(), Some(CloseHow::Linger));
    link.input(Input::Shutdown);
    link.input(Input::Timeout);
    link.input(Input::Hashed(crate::sasl::HashOutcome { verified: true, derived: Vec::new() }));
    assert_eq!((link.take().as_str(), link.closed), ("", None));
    link.input(Input::StreamEnd);
    assert_eq!((link.take().as_str(), link.closed), ("", Some(CloseHow::AfterFlush)));
}

/// Passwords and channel secrets do not show in what might be logged.
#[test]
fn nothing_secret_is_printed() {
    let mut link = Link::to_sasl(World::new());
    let secrets = ["r0m30", "7, 7, 7", "9, 9, 9"];
    let check = |link: &Link| {
        let text = format!("{:?}", link.negotiation);
        assert!(!secrets.iter().any(|secret| text.contains(secret)), "{text}");
    };
    check(&link);
    link.auto = Auto::Nothing;
    link.send(&auth("PLAIN", b"\0juliet\0r0m30myr0m30"));
    check(&link);
    let mut link = Link::secure(World::new());
    link.ask(HEADER_BARE);
    link.auto = Auto::Nothing;
    link.send(
        "<iq type='set' id='1'><query xmlns='jabber:iq:auth'><username>juliet</username>\
         <password>r0m30myr0m30</password><resource>r</resource></query></iq>",
    );
    check(&link);
}

/// A domain that a reload took away ends its streams at the next header; a login under way goes on by what was offered.
#[test]
fn a_domain_may_vanish() {
    let mut link = Link::to_sasl(World::new());
    link.take();
    link.world.rules.domains.remove(0);
    assert!(link.ask(&auth("PLAIN", b"\0rob\0secret")).starts_with("<success"));
    assert!(link.ask(HEADER_1_0).contains("<host-unknown "));
}
