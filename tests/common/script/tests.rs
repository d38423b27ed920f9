//! The harness itself: a harness that cannot fail proves nothing.

#![allow(unused_imports, reason = "a bench that includes this folder has no tests")]

use super::scram::Scram;
use super::{Cut, Login, Mismatch, Peer, Script, ScriptError, play};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A peer that answers from a list once it has been sent enough, and closes at its end if told to.
#[derive(Default)]
struct Toy {
    /// (what must have been sent in all, what is said then)
    answers: Vec<(&'static str, &'static str)>,
    sent: String,
    reads: Vec<usize>,
    out: Vec<u8>,
    flips: usize,
    closes_after_ms: Option<u64>,
    passed_ms: u64,
    closed: bool,
}

impl Toy {
    fn new(answers: &[(&'static str, &'static str)]) -> Self {
        Self { answers: answers.to_vec(), ..Self::default() }
    }
}

impl Peer for Toy {
    fn select(&mut self, _client: &str) {}

    fn send(&mut self, bytes: &[u8]) {
        self.reads.push(bytes.len());
        self.sent.push_str(std::str::from_utf8(bytes).unwrap_or("?"));
        if let Some(at) = self.answers.iter().position(|(sent, _)| *sent == self.sent) {
            self.out.extend_from_slice(self.answers.remove(at).1.as_bytes());
        }
    }

    fn received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn flip(&mut self) {
        self.flips += 1;
    }

    fn closed(&self) -> bool {
        self.closed
    }

    fn advance(&mut self, ms: u64) {
        self.passed_ms += ms;
        self.closed |= self.closes_after_ms.is_some_and(|limit| self.passed_ms >= limit);
    }

    fn drop_connection(&mut self) {}
}

fn run(text: &str, answers: &[(&'static str, &'static str)]) -> Result<(), Mismatch> {
    play(&parsed(text), Cut::Whole, &mut Toy::new(answers))
}

fn parsed(text: &str) -> Script {
    match Script::parse("test", text) {
        Ok(script) => script,
        Err(error) => panic!("{error}"),
    }
}

fn reason(outcome: Result<(), Mismatch>) -> String {
    outcome.map_or_else(|mismatch| mismatch.reason, |()| "all fits".to_owned())
}

#[test]
fn what_is_the_same_as_xml_is_the_same() {
    let text = "C: <a/>\nS: <b x='1'\n      y=\"it's\">\n     <c/>\n   </b>";
    assert_eq!(run(text, &[("<a/>", "<b y='it&apos;s' x='1'><c></c></b>")]), Ok(()));
    assert_eq!(run("C: a\nS: <t> two words </t>", &[("a", "<t>two words</t>")]), Ok(()));
}

#[test]
fn every_difference_is_named() {
    for (came, expected) in [
        ("<b x='2'/>", "<b> has x='2', expected '1'"),
        ("<b/>", "<b> lacks the attribute `x`"),
        ("<b x='1' y='2'/>", "<b> has y='2', which is not expected"),
        ("<c x='1'/>", "expected <b x='1'>, came <c x='1'>"),
        ("<b x='1'>text</b>", "expected </b>, came the text `text`"),
        ("<b x='1'>", "expected </b>, but no more came"),
        ("", "expected <b x='1'>, but no more came"),
        ("<b x='1'/><d/>", "the server said what no step expects"),
    ] {
        let mut toy = Toy::new(&[]);
        toy.out = came.as_bytes().to_vec();
        assert_eq!(reason(play(&parsed("S: <b x='1'/>"), Cut::Whole, &mut toy)), expected, "{came}");
    }
}

#[test]
fn a_mismatch_says_where() {
    let mismatch = run("# a comment\nC: a\n\nS: <b/>", &[]).err();
    let place = mismatch.map(|mismatch| mismatch.to_string());
    let expected = "test:4 (client): expected <b>, but no more came\n  expected: <b/>";
    assert_eq!(place.as_deref(), Some(expected));
}

#[test]
fn wildcards_match_and_captures_compare() {
    for (script, came, fits) in [
        ("S: <b id='{id}' {...}/>", "<b id='7' more='x'/>", true),
        ("S: <b id='{id}' {...}/>", "<b id='' more='x'/>", false),
        ("S: <b id='{id}' !version {...}/>", "<b id='7' version='1.0'/>", false),
        ("S: <b>{...}</b>", "<b/>", true),
        ("S: <b>{...}</b>", "<b>text<c><d/></c></b>", true),
        ("S: <b>{...}<c/>{...}</b>", "<b><a/><c/><d/></b>", true),
        ("S: <b>{...}<c/>{...}</b>", "<b><a/><d/></b>", false),
        ("S: <b x='{...}/{r}'/>", "<b x='a@b/r'/>", true),
        ("S: <a x='{v}'/><b x='{v}'/>", "<a x='1'/><b x='1'/>", true),
        ("S: <a x='{v}'/><b x='{v}'/>", "<a x='1'/><b x='2'/>", false),
        ("S: <a x='{v}'/><b x='{w not v}'/>", "<a x='1'/><b x='2'/>", true),
        ("S: <a x='{v}'/><b x='{w not v}'/>", "<a x='1'/><b x='1'/>", false),
        ("S: <a x='{w not v}'/>", "<a x='1'/>", false),
        ("S: <a>{{}</a>", "<a>{}</a>", true),
        ("S?: <a/>\nS: <b/>", "<a/><b/>", true),
        ("S?: <a/>\nS: <b/>", "<b/>", true),
        ("S?: <a/>\nS: <b/>", "<c/><b/>", false),
        ("S=: <a x='1'/>", "<a x='1'/>", true),
        ("S=: <a x='1'/>", "<a x=\"1\"/>", false),
    ] {
        let mut toy = Toy::new(&[]);
        toy.out = came.as_bytes().to_vec();
        let outcome = play(&parsed(script), Cut::Whole, &mut toy);
        assert_eq!(outcome.is_ok(), fits, "{script} against {came}: {outcome:?}");
    }
}

#[test]
fn what_was_captured_can_be_sent() {
    let text = "S: <a x='{v}'/>\nC: <b y='{v}'/>\nS: <ok/>";
    let mut toy = Toy::new(&[("<b y='7'/>", "<ok/>")]);
    toy.out = b"<a x='7'/>".to_vec();
    assert_eq!(play(&parsed(text), Cut::Whole, &mut toy), Ok(()));
}

#[test]
fn lines_of_a_block_join_as_a_client_would_send_them() {
    let text = "C: <a b='1'\n      c='2'>\n     <d/>\n   </a>\nS: <ok/>";
    assert_eq!(run(text, &[("<a b='1' c='2'><d/></a>", "<ok/>")]), Ok(()));
}

#[test]
fn directives_expand() {
    for (text, sent) in [
        ("C: {base64 \\0alice\\0secret}", "AGFsaWNlAHNlY3JldA=="),
        ("C: {hex 41 0a 42}", "A\nB"),
        ("C: {repeat 3 <a#>}", "<a0><a1><a2>"),
        ("C: {{x}", "{x}"),
    ] {
        let mut toy = Toy::new(&[]);
        assert_eq!(play(&parsed(text), Cut::Whole, &mut toy), Ok(()), "{text}");
        assert_eq!(toy.sent, sent);
    }
}

#[test]
fn cuts_fall_where_they_should() {
    let script = parsed("C: abc\nC: defg\n\n--one-segment--\nC: hi\nC: jk");
    let reads = |cut| {
        let mut toy = Toy::new(&[]);
        assert_eq!(play(&script, cut, &mut toy), Ok(()));
        assert_eq!(toy.sent, "abcdefghijk");
        toy.reads
    };
    assert_eq!(reads(Cut::Whole), [3, 4, 4]);
    assert_eq!(reads(Cut::EveryByte), [1, 1, 1, 1, 1, 1, 1, 4]);
    assert_eq!(reads(Cut::Seeded(1)), reads(Cut::Seeded(1)));
    let long = parsed(&format!("C: {}", "x".repeat(1000)));
    let mut toy = Toy::new(&[]);
    assert_eq!(play(&long, Cut::Seeded(2), &mut toy), Ok(()));
    assert!(toy.reads.len() > 10 && toy.reads.iter().all(|read| *read <= 48));
}

#[test]
fn closing_is_part_of_the_script() {
    let mut toy = Toy { closed: true, ..Toy::default() };
    assert_eq!(
        reason(play(&parsed("C: a"), Cut::Whole, &mut toy)),
        "the server has closed the connection before this was sent"
    );
    let mut toy = Toy { closed: true, ..Toy::default() };
    assert_eq!(reason(play(&parsed("--nothing--"), Cut::Whole, &mut toy)), "the server has closed the connection");
    let late = || Toy { closes_after_ms: Some(5_000), ..Toy::default() };
    assert_eq!(play(&parsed("C: a\n--close--"), Cut::Whole, &mut late()), Ok(()));
    assert_eq!(
        reason(play(&parsed("C: a\n--close at once--"), Cut::Whole, &mut late())),
        "the server has not closed the connection"
    );
    assert_eq!(reason(run("C: a\n--close--", &[])), "the server has not closed the connection");
}

#[test]
fn a_flip_needs_a_silent_server() {
    let mut toy = Toy::new(&[("a", "<proceed/>")]);
    assert_eq!(play(&parsed("C: a\nS: <proceed/>\n--tls--"), Cut::Whole, &mut toy), Ok(()));
    assert_eq!(toy.flips, 1);
    let answers = [("a", "<proceed/><features/>")];
    assert_eq!(reason(run("C: a\nS: <proceed/>\n--tls--", &answers)), "the server said what no step expects");
}

#[test]
fn settings_are_read() {
    let script = parsed("@listener direct\n@account a@b secret\n@account c@b other\nC: x");
    assert_eq!(script.setting("listener"), Some(&["direct".to_owned()][..]));
    assert_eq!(script.settings("account").count(), 2);
    assert_eq!(script.setting("legacy"), None);
}

#[test]
fn faults_in_a_script_name_their_line() {
    for (text, line, message) in [
        ("", 1, "a script needs at least one C: or S: line"),
        ("C: a\n@listener direct", 2, "settings stand above the first step, and not in a part"),
        ("  more", 1, "nothing stands above this line"),
        ("C: {id", 1, "a `{` has no `}` (write `{{` for a brace)"),
        ("C: {...}", 1, "`{...}` belongs into an S: line"),
        ("C: {a b}", 1, "`{a b}` is no directive"),
        ("C:", 1, "nothing stands behind the colon"),
        ("S: text", 1, "`text` is not made of whole tags (use S=: for bytes)"),
        ("S: <a b>", 1, "`b` is no attribute"),
        ("C: {plain alice}", 1, "`{plain user password}` is expected"),
        ("C: {plain alice secret x=y}", 1, "`x=y` is not prefix=, binding=, fails= or flag="),
        ("--play nothing--", 1, "there is no part `nothing`"),
        ("--wait soon ms--", 1, "`soon` is no number"),
        ("--tsl--", 1, "`--tsl--` is neither C:, S:, S=:, @setting nor a --mark--"),
    ] {
        let error = Script::parse("test", text).map(|_| ()).err();
        let found = error.as_ref().map(|ScriptError { place, message }| (place.line, message.as_str()));
        assert_eq!(found, Some((line, message)), "{text}");
    }
}

#[test]
fn parts_are_played_by_a_client_with_values() {
    let part = |name: &str| (name == "hello").then(|| "C: <hello name='$name'/>\nS: <hi id='{id}'/>".to_owned());
    let text = "A --play hello name=alice--\nB --play hello name=bob--\nA C: <bye to='{B.id}'/>";
    let script = super::parse::parse("test", text, &part);
    let script = script.map_err(|error| error.to_string());
    let clients =
        script.as_ref().map(|script| script.steps.iter().map(|step| step.client.as_str()).collect::<Vec<_>>());
    assert_eq!(clients, Ok(vec!["A", "A", "B", "B", "A"]));
    let second = script.as_ref().map(|script| script.steps[3].place.to_string());
    assert_eq!(second.as_deref(), Ok("test:2 → parts/hello.txt:2"));
    for (text, message) in [
        ("--play hello--", "test:1: the part needs a value for `$name`"),
        ("--play hello name=a more=b--", "test:1: the part has no `$more`"),
    ] {
        let error = super::parse::parse("test", text, &part).map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(error, Err(message.to_owned()));
    }
}

/// The examples of RFC 5802 §5 and RFC 7677 §3.
#[test]
fn scram_computes_what_the_rfcs_show() {
    for (mechanism, nonce, server_first, client_last, server_last) in [
        (
            "SCRAM-SHA-1",
            "fyko+d2lbbFgONRv9qkxdawL",
            "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ),
        (
            "SCRAM-SHA-256",
            "rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ),
    ] {
        let login = Login {
            mechanism: mechanism.to_owned(),
            user: "user".to_owned(),
            password: "pencil".to_owned(),
            prefix: None,
            binding: None,
            fails: None,
            flag: None,
        };
        let mut scram = Scram::new(&login, None, nonce).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(scram.first(), STANDARD.encode(format!("n,,n=user,r={nonce}")));
        assert_eq!(scram.last(&STANDARD.encode(server_first), ""), Ok(STANDARD.encode(client_last)));
        assert_eq!(scram.verify(&STANDARD.encode(server_last)), Ok(()));
        assert!(scram.verify(&STANDARD.encode("v=AAAA")).is_err());
    }
}

#[test]
fn a_login_is_played_and_checked() {
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGFsaWNlAHNlY3JldA==</auth>";
    let success = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
    assert_eq!(run("C: {plain alice secret}", &[(auth, success)]), Ok(()));
    let failure = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>";
    assert_eq!(run("C: {plain alice secret fails=not-authorized}", &[(auth, failure)]), Ok(()));
    assert!(run("C: {plain alice secret}", &[(auth, failure)]).is_err());
    assert!(run("C: {plain alice secret fails=not-authorized}", &[(auth, success)]).is_err());
    let old = "<sasl:auth mechanism='PLAIN'>AGFsaWNlAHNlY3JldA==</sasl:auth>";
    assert_eq!(run("C: {plain alice secret prefix=sasl}", &[(old, "<sasl:success/>")]), Ok(()));
}

#[test]
fn scram_refuses_a_bad_server() {
    for (server_first, expected) in [
        ("r=other,s=QSXCR+Q6sek8bf92,i=4096", "the nonce `other` does not go on from `transcript0`"),
        ("r=transcript0,s=QSXCR+Q6sek8bf92,i=4096", "the nonce `transcript0` does not go on from `transcript0`"),
        ("r=transcript0x,s=QSXCR+Q6sek8bf92,i=4095", "fewer than 4096 iterations"),
        ("r=transcript0x,i=4096", "`r=transcript0x,i=4096` has no `s=`"),
        ("r=transcript0x,s=QSXCR+Q6sek8bf92,i=4096,h=AAAA", "XEP-0474: the hash is not that of what was offered"),
    ] {
        let auth = format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>{}</auth>",
            STANDARD.encode("n,,n=user,r=transcript0")
        );
        let challenge = format!(
            "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{}</challenge>",
            STANDARD.encode(server_first)
        );
        let answers = [(&*auth.leak(), &*challenge.leak())];
        assert_eq!(reason(run("C: {scram-sha-256 user pencil}", &answers)), expected);
    }
}
