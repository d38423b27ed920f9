//! The automaton of a component's stream: every state with every input, and the handshake's arithmetic.

use super::*;
use crate::xml::{Expect, Scan, Step, XmlError, XmlLimits};

const HEADER: &str = "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' \
    to='c.example'>";

/// How a state is reached, and what an input is.
type Begin = fn() -> Played;
type Make = fn() -> Input<'static>;

/// One component, there or not.
struct Known {
    secret: Secret,
    is_connected: bool,
}

impl Components for Known {
    fn known(&self, name: &str) -> Option<KnownComponent<'_>> {
        (name == "c.example").then_some(KnownComponent { secret: &self.secret, is_connected: self.is_connected })
    }

    fn speaker(&self) -> &'static str {
        "h.example"
    }
}

/// A stream in play.
struct Played {
    stream: ComponentStream,
    known: Known,
    random: Random,
    said: String,
}

impl Played {
    fn new() -> Self {
        let known = Known { secret: Secret::new("words".into()), is_connected: false };
        Self { stream: ComponentStream::new(), known, random: Random::seeded(5347), said: String::new() }
    }

    /// With a header behind it.
    fn greeted() -> Self {
        let mut played = Self::new();
        assert_eq!(played.hears(HEADER, Expect::Header), Outcome::GoOn);
        played
    }

    fn joined() -> Self {
        let mut played = Self::greeted();
        let proof = played.proof();
        assert_eq!(played.hears(&format!("<handshake>{proof}</handshake>"), Expect::Frames), Outcome::Joined);
        played
    }

    fn closing() -> Self {
        let mut played = Self::greeted();
        assert!(matches!(played.input(Input::Timeout), Outcome::Refused { .. }));
        played
    }

    /// What a component that knows the secret would say now.
    fn proof(&self) -> String {
        let (_, rest) = self.said.split_once("id='").unwrap();
        self.known.secret.handshake(rest.split_once('\'').unwrap().0)
    }

    fn input(&mut self, input: Input<'_>) -> Outcome {
        let mut out = Vec::new();
        let mut cx = ComponentContext { components: &self.known, random: &mut self.random, out: &mut out };
        let outcome = self.stream.handle(input, &mut cx);
        self.said = String::from_utf8(out).unwrap();
        outcome
    }

    fn hears(&mut self, words: &str, expect: Expect) -> Outcome {
        let mut scan = Scan::default();
        let ns = self.stream.ns().clone();
        let step = scan.step(words.as_bytes(), expect, &ns, &XmlLimits::with_frame_bytes(10_000));
        let (head, bytes) = (scan.head(), words.as_bytes());
        match step {
            Ok(Step::Header { .. }) => self.input(Input::Header { head, bytes }),
            Ok(Step::Frame { .. }) => self.input(Input::Element { head, bytes, trailing: false }),
            other => panic!("{words}: {other:?}"),
        }
    }
}

/// XEP-0114 §3 gives the stream id and the result; its secret is not told, so the sum is checked against one that is
/// known: `printf '3BF96D32secret' | sha1sum`.
#[test]
fn a_handshake_is_the_sha_1_of_id_and_secret() {
    let handshake = Secret::new("secret".into()).handshake("3BF96D32");
    assert_eq!(handshake, "b09ea9b3b7f586be8a08d0a3dd7466f110aeb136");
    assert_eq!(format!("{:?}", Secret::new("secret".into())), "Secret");
}

#[test]
fn every_state_answers_every_input() {
    let states: [(&str, Begin); 4] = [
        ("opening", Played::new),
        ("greeted", Played::greeted),
        ("joined", Played::joined),
        ("closing", Played::closing),
    ];
    let inputs: [(&str, Make); 9] = [
        ("whitespace", || Input::Whitespace),
        ("end", || Input::StreamEnd),
        ("fault", || Input::XmlFault(XmlError::TooLong { offset: 1 })),
        ("timeout", || Input::Timeout),
        ("shutdown", || Input::Shutdown),
        ("conflict", || Input::Conflict),
        ("other", || Input::Fault(StreamCondition::ResourceConstraint)),
        ("drained", || Input::Drained),
        ("overloaded", || Input::Overloaded),
    ];
    for (state, begin) in states {
        for (name, input) in inputs {
            let mut played = begin();
            let outcome = played.input(input());
            let said = &played.said;
            let condition = match name {
                "fault" => "policy-violation",
                "timeout" => "connection-timeout",
                "shutdown" => "system-shutdown",
                "conflict" => "conflict",
                "other" => "resource-constraint",
                _ => "internal-server-error",
            };
            match (state, name) {
                (_, "whitespace") => assert_eq!((outcome, said.as_str()), (Outcome::GoOn, ""), "{state}"),
                ("closing", "end" | "fault") => {
                    assert_eq!((outcome, said.as_str()), (Outcome::Close(CloseHow::AfterFlush), ""), "{name}");
                }
                ("closing", _) => assert_eq!((outcome, said.as_str()), (Outcome::GoOn, ""), "{name}"),
                (_, "end") => {
                    let expected = if state == "opening" { "" } else { "</stream:stream>" };
                    assert_eq!((outcome, said.as_str()), (Outcome::Close(CloseHow::Linger), expected), "{state}");
                }
                _ => {
                    let has_header =
                        said.starts_with("<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept'");
                    assert_eq!(has_header, state == "opening", "{state} × {name}: {said}");
                    assert!(said.contains(&format!("<stream:error><{condition} ")), "{state} × {name}: {said}");
                    assert!(said.contains("</text>") && said.ends_with("</stream:error></stream:stream>"), "{said}");
                    assert!(matches!(outcome, Outcome::Refused { how: CloseHow::Linger, .. }), "{state} × {name}");
                }
            }
        }
    }
}

#[test]
fn a_joined_stream_says_what_its_header_said() {
    let joined = Played::joined().stream.into_joined().unwrap();
    assert_eq!((&*joined.name, joined.ns.is_none(), joined.lang), ("c.example", true, None));
    assert!(Played::greeted().stream.into_joined().is_none() && Played::closing().stream.into_joined().is_none());
    let mut played = Played::new();
    let header = HEADER.replace("to=", "xmlns:x='urn:x' xml:lang='de' to=");
    assert_eq!(played.hears(&header, Expect::Header), Outcome::GoOn);
    let proof = played.proof();
    assert_eq!(played.hears(&format!("<handshake>{proof}</handshake>"), Expect::Frames), Outcome::Joined);
    let joined = played.stream.into_joined().unwrap();
    assert_eq!((joined.ns().default_ns(), joined.ns().lookup("x")), (CLIENT, Some("urn:x")));
    assert_eq!(joined.lang.as_deref(), Some("de"));
}

#[test]
fn two_streams_never_have_one_id() {
    let mut played = Played::new();
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..100 {
        played.stream = ComponentStream::new();
        played.hears(HEADER, Expect::Header);
        assert!(ids.insert(played.proof()));
    }
}

/// Nobody came between header and handshake, or somebody did.
#[test]
fn a_name_that_was_taken_meanwhile_is_a_conflict_only_to_who_knows_the_secret() {
    for (words, condition) in [("right", "conflict"), ("wrong", "not-authorized")] {
        let mut played = Played::greeted();
        played.known.is_connected = true;
        let proof = if words == "right" { played.proof() } else { "0".repeat(40) };
        let outcome = played.hears(&format!("<handshake>{proof}</handshake>"), Expect::Frames);
        assert!(matches!(outcome, Outcome::Refused { .. }));
        assert!(played.said.contains(&format!("<{condition} ")), "{words}: {}", played.said);
    }
}
