//! State × input × dialect: every cell of the automaton's table, against `table.txt`.
//!
//! `table.txt` is read by people: for each state, what each input leads to, inputs with the same outcome on one line.
//! `every-sasl` and its like stand for all inputs whose names begin with what [`GROUPS`] says. To change the table, run
//! with `STONECHAT_TABLE=write`, and read the difference before it is committed.

use super::world::*;
use crate::jid::Jid;
use crate::sasl::HashOutcome;
use crate::stream::{BindRefusal, CloseHow, Input, Parked};
use crate::xml::{Expect, Scan, Step, XmlError, XmlLimits};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const TABLE: &str = include_str!("table.txt");
const LOGIN: &str = "<iq type='set' id='1'><query xmlns='jabber:iq:auth'><username>rob</username>\
    <password>secret</password><resource>r</resource></query></iq>";
const LIMITS: XmlLimits = XmlLimits::with_frame_bytes(10_000);

/// Inputs that mostly go together, by the beginnings of their names; the widest group first.
const GROUPS: [(&str, &[&str]); 7] = [
    (
        "every-element",
        &["starttls", "sasl", "iq", "message", "presence", "prefixed", "server", "stream-error", "unknown"],
    ),
    ("every-header", &["header"]),
    ("every-starttls", &["starttls"]),
    ("every-sasl-2002", &["sasl-2002"]),
    ("every-sasl-6120", &["sasl-6120"]),
    ("every-iq-auth", &["iq-auth"]),
    ("every-iq", &["iq"]),
];

/// How to bring a fresh connection into a state.
enum Way {
    /// In the clear.
    Clear(Vec<String>),
    /// In the clear, where TLS is not required.
    Policy(Vec<String>),
    /// In the clear, up to the handshake.
    Flip(Vec<String>),
    /// Inside TLS.
    Secure(Vec<String>),
    /// Inside TLS, up to a session.
    Bound(Vec<String>),
    /// Otherwise.
    Other(fn() -> Link),
}

impl Way {
    /// Does what each step asks for, but for the last one's.
    fn go(&self) -> Link {
        match self {
            Self::Clear(steps) => walk(Link::new(World::new()), steps),
            Self::Policy(steps) => {
                let mut link = Link::new(World::new());
                link.world.rules.capulet().tls_required = false;
                walk(link, steps)
            }
            Self::Flip(steps) => {
                let mut link = walk(Link::new(World::new()), steps);
                link.input(Input::Drained);
                link
            }
            Self::Secure(steps) => walk(Link::secure(World::new()), steps),
            Self::Bound(steps) => {
                let mut link = walk(Link::secure(World::new()), steps);
                link.input(Input::Bound(&jid()));
                link
            }
            Self::Other(make) => make(),
        }
    }
}

fn walk(mut link: Link, steps: &[String]) -> Link {
    link.auto = Auto::Trusting;
    for (index, step) in steps.iter().enumerate() {
        if index + 1 == steps.len() {
            link.auto = Auto::Nothing;
        }
        link.send(step);
    }
    link.auto = Auto::Nothing;
    link
}

fn jid() -> Jid {
    Jid::parse("rob@capulet.example/r").unwrap()
}

fn states() -> Vec<(&'static str, Way)> {
    let steps = |steps: &[&str]| steps.iter().map(|step| (*step).to_owned()).collect::<Vec<_>>();
    let clear = |list: &[&str]| Way::Clear(steps(list));
    let secure = |list: &[&str]| Way::Secure(steps(list));
    let plain = auth("PLAIN", b"\0rob\0secret");
    let scram = auth("SCRAM-SHA-1", b"n,,n=rob,r=fyko");
    let bind = "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
    let plain_2002 = "<sasl:auth mechanism='PLAIN'>cm9iAHNlY3JldA==</sasl:auth>";
    let start = "<iq type='set' id='1'><query xmlns='jabber:iq:auth'><username>rob</username><resource>r</resource>\
        </query></iq>";
    vec![
        ("clear: opening", clear(&[])),
        ("clear, RFC 6120: TLS required", clear(&[HEADER_1_0])),
        ("clear, RFC 6120: TLS not required", Way::Policy(steps(&[HEADER_1_0]))),
        ("clear, RFC 6120: exchanging", Way::Policy(steps(&[HEADER_1_0, &scram]))),
        ("clear, RFC 6120: go-ahead in the outbox", clear(&[HEADER_1_0, STARTTLS])),
        ("clear, RFC 6120: handshake", Way::Flip(steps(&[HEADER_1_0, STARTTLS]))),
        ("clear, 2002: TLS required", clear(&[HEADER_2002])),
        ("clear, 2002: TLS required, not asked for", clear(&[HEADER_BARE])),
        ("clear, 2002: TLS not required", Way::Policy(steps(&[HEADER_2002]))),
        ("clear, 2002: TLS not required, not asked for", Way::Policy(steps(&[HEADER_BARE]))),
        ("clear, 2002: go-ahead in the outbox", clear(&[HEADER_2002, "<tls:starttls/>"])),
        ("clear, 2002: handshake", Way::Flip(steps(&[HEADER_2002, "<tls:starttls/>"]))),
        ("direct TLS: handshake", Way::Other(|| Link::with(World::new(), true))),
        ("secure: opening", secure(&[])),
        ("secure, RFC 6120: SASL", secure(&[HEADER_1_0])),
        ("secure, RFC 6120: exchanging", secure(&[HEADER_1_0, &scram])),
        ("secure, RFC 6120: hashing", secure(&[HEADER_1_0, &plain])),
        ("secure, RFC 6120: logged in, opening", secure(&[HEADER_1_0, &plain, " "])),
        ("secure, RFC 6120: logged in", secure(&[HEADER_1_0, &plain, HEADER_1_0])),
        ("secure, RFC 6120: binding", secure(&[HEADER_1_0, &plain, HEADER_1_0, bind])),
        ("secure, RFC 6120: bound", Way::Bound(steps(&[HEADER_1_0, &plain, HEADER_1_0, bind]))),
        ("secure, 2002: SASL", secure(&[HEADER_SASL])),
        ("secure, 2002: password", secure(&[HEADER_BARE])),
        ("secure, 2002: exchanging", secure(&[HEADER_SASL, "<sasl:auth mechanism='PLAIN'/>"])),
        ("secure, 2002: hashing for SASL", secure(&[HEADER_SASL, plain_2002])),
        ("secure, 2002: hashing a password", secure(&[HEADER_BARE, LOGIN])),
        ("secure, 2002: confirming", Way::Other(super::old::confirming)),
        ("secure, 2002: logged in", secure(&[HEADER_SASL, plain_2002, " "])),
        ("secure, 2002: binding behind SASL", secure(&[HEADER_SASL, plain_2002, start])),
        (
            "secure, 2002: binding behind a password",
            Way::Other(|| {
                let mut link = walk(Link::secure(World::new()), &[HEADER_BARE.to_owned()]);
                link.send(LOGIN);
                link.run_job();
                link
            }),
        ),
        ("secure, 2002: bound", Way::Bound(steps(&[HEADER_SASL, plain_2002, start]))),
        ("closing, RFC 6120", clear(&[HEADER_1_0, "<message/>"])),
        ("closing, 2002", clear(&[HEADER_2002, "<message/>"])),
    ]
}

/// Everything that can come in, by name.
#[derive(Clone, Copy)]
enum Event {
    Header(&'static str),
    Element(&'static str),
    Trailing(&'static str),
    Other(fn(&mut Link)),
}

fn events() -> Vec<(&'static str, Event)> {
    use Event::{Element, Header, Other, Trailing};
    let starttls_2002 = "<starttls xmlns='http://www.ietf.org/rfc/rfc2595.txt'/>";
    vec![
        ("header-1.0", Header(HEADER_1_0)),
        ("header-2002-tls", Header(HEADER_2002)),
        ("header-2002-sasl", Header(HEADER_SASL)),
        ("header-2002-bare", Header(HEADER_BARE)),
        (
            "header-unknown-host",
            Header(
                "<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams' to='x.example' version='1.0'>",
            ),
        ),
        ("starttls", Element(STARTTLS)),
        ("starttls+bytes", Trailing(STARTTLS)),
        ("starttls-2002", Element(starttls_2002)),
        ("starttls-2002+bytes", Trailing(starttls_2002)),
        (
            "sasl-6120-plain",
            Element("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvYgBzZWNyZXQ=</auth>"),
        ),
        ("sasl-6120-scram", Element("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'/>")),
        ("sasl-6120-unknown", Element("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='X'/>")),
        ("sasl-6120-response", Element("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")),
        ("sasl-6120-bad-response", Element("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>!</response>")),
        ("sasl-6120-abort", Element("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")),
        (
            "sasl-2002-plain",
            Element(
                "<auth xmlns='http://www.iana.org/assignments/sasl-mechanisms' mechanism='PLAIN'>cm9iAHNlY3JldA==</auth>",
            ),
        ),
        (
            "sasl-2002-scram",
            Element("<auth xmlns='http://www.iana.org/assignments/sasl-mechanisms' mechanism='SCRAM-SHA-1'/>"),
        ),
        ("sasl-2002-unknown", Element("<auth xmlns='http://www.iana.org/assignments/sasl-mechanisms' mechanism='X'/>")),
        ("sasl-2002-response", Element("<response xmlns='http://www.iana.org/assignments/sasl-mechanisms'/>")),
        (
            "sasl-2002-bad-response",
            Element("<response xmlns='http://www.iana.org/assignments/sasl-mechanisms'>!</response>"),
        ),
        ("sasl-2002-abort", Element("<abort xmlns='http://www.iana.org/assignments/sasl-mechanisms'/>")),
        ("iq-auth-get", Element("<iq xmlns='jabber:client' type='get' id='1'><query xmlns='jabber:iq:auth'/></iq>")),
        (
            "iq-auth-password",
            Element(
                "<iq xmlns='jabber:client' type='set' id='1'><query xmlns='jabber:iq:auth'><username>rob</username><password>secret</password><resource>r</resource></query></iq>",
            ),
        ),
        (
            "iq-auth-resource",
            Element(
                "<iq xmlns='jabber:client' type='set' id='1'><query xmlns='jabber:iq:auth'><username>rob</username><resource>r</resource></query></iq>",
            ),
        ),
        (
            "iq-bind",
            Element(
                "<iq xmlns='jabber:client' type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
            ),
        ),
        ("iq-other", Element("<iq xmlns='jabber:client' type='get' id='1'><x xmlns='urn:x'/></iq>")),
        (
            "iq-elsewhere",
            Element("<iq xmlns='jabber:client' type='get' id='1' to='a@b.example'><x xmlns='urn:x'/></iq>"),
        ),
        ("iq-result", Element("<iq xmlns='jabber:client' type='result' id='1'/>")),
        ("iq-malformed", Element("<iq xmlns='jabber:client'/>")),
        ("message", Element("<message xmlns='jabber:client'/>")),
        ("presence", Element("<presence xmlns='jabber:client'/>")),
        ("prefixed-stanza", Element("<c:presence xmlns:c='jabber:client'/>")),
        ("server-stanza", Element("<presence xmlns='jabber:server'/>")),
        ("stream-error", Element("<error xmlns='http://etherx.jabber.org/streams'/>")),
        ("unknown-element", Element("<x xmlns='urn:x'/>")),
        ("white-space", Other(|link| link.input(Input::Whitespace))),
        ("end-tag", Other(|link| link.input(Input::StreamEnd))),
        ("xml-fault", Other(|link| link.input(Input::XmlFault(XmlError::NotWellFormed { offset: 0 })))),
        ("drained", Other(|link| link.input(Input::Drained))),
        ("secured", Other(|link| link.input(Input::Secured(tls_info())))),
        ("hashed-right", Other(|link| link.input(Input::Hashed(HashOutcome { verified: true, derived: Vec::new() })))),
        ("hashed-wrong", Other(|link| link.input(Input::Hashed(HashOutcome::default())))),
        ("overloaded", Other(|link| link.input(Input::Overloaded))),
        ("bound", Other(|link| link.input(Input::Bound(&jid())))),
        ("bind-refused", Other(|link| link.input(Input::BindRefused(BindRefusal::ResourceConstraint)))),
        ("timeout", Other(|link| link.input(Input::Timeout))),
        ("shutdown", Other(|link| link.input(Input::Shutdown))),
        ("conflict", Other(|link| link.input(Input::Conflict))),
    ]
}

/// Hands in one event, past gates and scanner.
fn apply(link: &mut Link, event: Event) {
    let (text, expect, trailing) = match event {
        Event::Other(apply) => return apply(link),
        Event::Header(text) => (text, Expect::Header, false),
        Event::Element(text) => (text, Expect::Frames, false),
        Event::Trailing(text) => (text, Expect::Frames, true),
    };
    let (bytes, mut scan) = (text.as_bytes(), Scan::default());
    let step = scan.step(bytes, expect, link.negotiation.ns(), &LIMITS).unwrap();
    let head = scan.head();
    let input = match step {
        Step::Header { .. } => Input::Header { head, bytes },
        Step::Frame { .. } => Input::Element { head, bytes, trailing },
        step => panic!("{text}: {step:?}"),
    };
    assert_ne!(link.raw(input), Err(Parked));
}

/// What came of it, in a few words.
fn outcome(out: &str, link: &Link) -> String {
    let mut words = Vec::new();
    for (at, _) in out.match_indices('<') {
        let (tag, behind) = out[at..].split_at(out[at..].find('>').unwrap() + 1);
        let name = |tag: &str| tag.trim_start_matches('<').split([' ', '>', '/']).next().unwrap().to_owned();
        words.push(match (&*name(tag), tag) {
            ("stream:stream", _) => "header".to_owned(),
            ("stream:features", _) => "features".to_owned(),
            ("stream:error", _) => format!("error {}", name(behind)),
            ("proceed", _) => "proceed".to_owned(),
            ("failure", _) if tag.contains("xmpp-tls") => "starttls-failure".to_owned(),
            ("failure", _) => format!("failure {}", name(behind)),
            ("sasl:failure", _) => format!("failure {:?}", behind.split('<').next().unwrap()),
            ("challenge" | "sasl:challenge", _) => "challenge".to_owned(),
            ("success" | "sasl:success", _) => "success".to_owned(),
            ("iq", _) if tag.contains("'result'") => "result".to_owned(),
            ("iq", _) => format!("iq-error {}", name(behind.split("'>").nth(1).unwrap())),
            (_, "</stream:stream>") => "end".to_owned(),
            _ => continue,
        });
    }
    words.extend(link.asked.iter().map(|ask| ask.split(' ').next().unwrap().to_owned()));
    words.extend(link.closed.map(|how| match how {
        CloseHow::Linger => "close".to_owned(),
        CloseHow::AfterFlush => "close-after-flush".to_owned(),
        CloseHow::Now => "close-now".to_owned(),
    }));
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

/// Names, complete groups as one.
fn grouped(names: &[&'static str]) -> String {
    let mut left = names.to_vec();
    let mut words = Vec::new();
    for (group, beginnings) in GROUPS {
        let is_in = |name: &&str| beginnings.iter().any(|beginning| name.starts_with(beginning));
        let all = events().iter().filter(|(name, _)| is_in(name)).count();
        if left.iter().filter(|name| is_in(name)).count() == all {
            words.push(group);
            left.retain(|name| !is_in(name));
        }
    }
    words.append(&mut left);
    words.join(" ")
}

/// What must hold in every cell, whatever the table says.
fn check(cell: &str, state: &str, out: &str, link: &Link) {
    let is_silent = ["handshake", "go-ahead", "closing"].iter().any(|word| state.contains(word));
    assert!(!is_silent || out.is_empty(), "{cell}: XML where none may be: {out}");
    let has_error = out.contains("<stream:error>");
    assert!(!has_error || out.ends_with("</stream:error></stream:stream>"), "{cell}: {out}");
    assert!(!has_error || link.closed.is_some(), "{cell}: an error that does not close");
    let is_closing = link.closed.is_some() || state.contains("closing");
    assert_eq!(is_closing, link.negotiation.is_closing(), "{cell}");
    // A bare end tag without a close is XEP-0035's go-ahead, and nothing else is.
    let is_consent = out == "</stream:stream>" && link.closed.is_none();
    assert_eq!(is_consent, link.asked == ["tell-drained"] && !out.contains("proceed"), "{cell}");
    let may_log_in = ["hashing", "confirming", "logged in", "binding", "bound", "SASL"];
    let is_authenticated = link.negotiation.is_authenticated();
    assert!(!is_authenticated || may_log_in.iter().any(|word| state.contains(word)), "{cell}: logged in");
}

#[test]
fn every_state_meets_every_input() {
    let mut table = String::new();
    for (state, way) in states() {
        writeln!(table, "[{state}]").unwrap();
        let mut rows: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
        for (name, event) in events() {
            let mut link = way.go();
            link.take_raw();
            link.asked.clear();
            link.closed = None;
            apply(&mut link, event);
            let out = link.take_raw();
            check(&format!("{state} × {name}"), state, &out, &link);
            rows.entry(outcome(&out, &link)).or_default().push(name);
        }
        for (outcome, names) in rows {
            writeln!(table, "  {outcome}: {}", grouped(&names)).unwrap();
        }
    }
    if std::env::var("STONECHAT_TABLE").as_deref() == Ok("write") {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/stream/tests/table.txt"), &table).unwrap();
    }
    for (line, (found, expected)) in table.lines().zip(TABLE.lines()).enumerate() {
        assert_eq!(found, expected, "table.txt:{}", line + 1);
    }
    assert_eq!(table.lines().count(), TABLE.lines().count());
}
