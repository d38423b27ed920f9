//! The dialect of 2002: XEP-0035, XEP-0034 and XEP-0078, listing by listing, and what they leave open.

use super::world::*;
use crate::sasl::client::{ClientBinding, ScramClient};
use crate::sasl::{Credentials, Mechanism, ScramHash, base64};
use crate::stream::{BindRefusal, CloseHow, Input};

const SUCCESS: &str = "<sasl:success/>";
const MECHANISMS: &str = "<sasl:mechanisms><sasl:mechanism>SCRAM-SHA-256</sasl:mechanism>\
    <sasl:mechanism>SCRAM-SHA-1</sasl:mechanism><sasl:mechanism>PLAIN</sasl:mechanism></sasl:mechanisms>";
const WRONG: &str = "<sasl:failure>Incorrect username or password</sasl:failure>";
/// XEP-0034's own: "rob" NUL "secret".
const ROB: &str = "<sasl:auth mechanism='PLAIN'>cm9iAHNlY3JldA==</sasl:auth>";

/// Inside TLS, on a stream that asked for SASL.
fn with_sasl() -> Link {
    let mut link = Link::secure(World::new());
    link.ask(HEADER_SASL);
    link
}

/// Inside TLS, on a stream that did not.
fn with_password() -> Link {
    let mut link = Link::secure(World::new());
    link.ask(HEADER_BARE);
    link
}

fn set(fields: &str) -> String {
    format!("<iq type='set' id='auth2'><query xmlns='jabber:iq:auth'>{fields}</query></iq>")
}

fn iq_error(code: u16, kind: &str, condition: &str) -> String {
    format!(
        "<iq type='error' id='auth2'><error code='{code}' type='{kind}'>\
         <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    )
}

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
        link.ask(&set("<username>bill</username><password>Calli0pe</password><resource>globe</resource>")),
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
    assert_eq!(link.ask(&header), format!("{answer}{}", MECHANISMS.replace("sasl:", "s:")));
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

/// The design's second table, before TLS.
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

/// Flip in one dialect, speak the other inside (design, second table, last column).
#[test]
fn each_stream_chooses_anew() {
    let ways = [(HEADER_1_0, STARTTLS), (HEADER_2002, "<tls:starttls/>")];
    let inside = [
        (HEADER_1_0, "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"),
        (HEADER_2002, ANSWER_BARE),
        (HEADER_BARE, ANSWER_BARE),
        (HEADER_SASL, MECHANISMS),
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

/// XEP-0034 §2, the listings on the stream inside TLS.
#[test]
fn xep_0034_plain() {
    let mut link = Link::secure(World::new());
    assert_eq!(link.ask(HEADER_SASL), format!("{ANSWER_SASL}{MECHANISMS}"));
    assert_eq!(link.ask("<sasl:auth mechanism='PLAIN'/>"), "<sasl:challenge/>");
    assert_eq!(link.ask("<sasl:response>cm9iAHNlY3JldA==</sasl:response>"), SUCCESS);
    assert!(link.negotiation.is_authenticated());
    // No restart: the same stream goes on.
    assert_eq!(
        link.ask(r#"<iq id="a1" type="get"><query xmlns="jabber:iq:auth"><username>rob</username></query></iq>"#),
        "<iq type='result' id='a1'><query xmlns='jabber:iq:auth'><username>rob</username><resource/></query></iq>"
    );
    assert_eq!(
        link.ask(
            r#"<iq id="a2" type="set"><query xmlns="jabber:iq:auth"><username>rob</username><resource>laptop</resource></query></iq>"#
        ),
        "<iq type='result' id='a2'><query xmlns='jabber:iq:auth'/></iq>"
    );
    assert_eq!(link.asked, ["hash", "bind rob@capulet.example \"laptop\" Replace"]);
    assert_eq!(link.negotiation.into_bound().unwrap().jid.as_str(), "rob@capulet.example/laptop");
}

#[test]
fn xep_0034_initial_response_and_folded_base64() {
    for text in ["cm9iAHNlY3JldA==", "\n     cm9iAHNl\r\n     Y3JldA==\n   ", "AHJvYgBzZWNyZXQ="] {
        let mut link = with_sasl();
        assert_eq!(link.ask(&format!("<sasl:auth mechanism='PLAIN'>{text}</sasl:auth>")), SUCCESS, "{text:?}");
    }
    let mut link = with_sasl();
    let answer = link.ask("<sasl:auth mechanism='PLAIN'>cm9iAHNlY3JldA</sasl:auth>");
    assert_eq!(answer, "<sasl:failure>This is not base64</sasl:failure>");
}

/// The server's last word is a challenge; the client sends an empty response; success carries nothing.
#[test]
fn xep_0034_scram() {
    for end in ["<sasl:response/>", "<sasl:response></sasl:response>", "<sasl:response> \n</sasl:response>"] {
        let (mut link, last) = scram_to_its_last_word();
        assert!(last.starts_with("<sasl:challenge>"), "{last}");
        assert!(!link.negotiation.is_authenticated());
        assert_eq!(link.ask(end), SUCCESS);
        assert!(link.negotiation.is_authenticated());
        assert_eq!(
            link.ask(&set("<username>Rob</username><resource>laptop</resource>")),
            "<iq type='result' id='auth2'><query xmlns='jabber:iq:auth'/></iq>"
        );
    }
    let rows = [
        ("<sasl:response>AA==</sasl:response>", "<sasl:failure>The mechanism does not understand this</sasl:failure>"),
        ("<sasl:response>!</sasl:response>", "<sasl:failure>This is not base64</sasl:failure>"),
        ("<sasl:abort/>", "<sasl:failure>Aborted</sasl:failure>"),
    ];
    for (end, answer) in rows {
        let (mut link, _) = scram_to_its_last_word();
        assert_eq!(link.ask(end), answer);
        assert!(!link.negotiation.is_authenticated());
        assert_eq!(link.ask(ROB), SUCCESS);
    }
}

fn scram_to_its_last_word() -> (Link, String) {
    let mut link = with_sasl();
    let mut client = ScramClient::new(ScramHash::Sha256, ClientBinding::Unoffered, "rob", "secret", "fyko")
        .expecting(&["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"], &[]);
    let first = base64::encode(client.first());
    let challenge = link.ask(&format!("<sasl:auth mechanism='SCRAM-SHA-256'>{first}</sasl:auth>"));
    let answer = base64::encode(client.answer(&payload(&challenge)).unwrap());
    let last = link.ask(&format!("<sasl:response>{answer}</sasl:response>"));
    assert_eq!(client.verify(&payload(&last)), Ok(()));
    (link, last)
}

/// SCRAM's last word is out.
pub(super) fn confirming() -> Link {
    let (mut link, _) = scram_to_its_last_word();
    link.auto = Auto::Nothing;
    link
}

/// XEP-0035 §3: a certificate, and no challenge.
#[test]
fn xep_0034_external() {
    let mut link = Link::with_certificate(World::new(), &["juliet@capulet.example"]);
    let answer = link.ask(HEADER_SASL);
    assert!(answer.contains("<sasl:mechanisms><sasl:mechanism>EXTERNAL</sasl:mechanism>"), "{answer}");
    assert_eq!(link.ask("<sasl:auth mechanism='EXTERNAL'/>"), SUCCESS);
    assert_eq!(
        link.ask(&set("<username>juliet</username><resource>r</resource>")),
        "<iq type='result' id='auth2'><query xmlns='jabber:iq:auth'/></iq>"
    );
    // Judged again when it is used.
    let mut link = Link::with_certificate(World::new(), &["juliet@capulet.example"]);
    link.ask(HEADER_SASL);
    link.world.rules.judged = Err(());
    assert_eq!(link.ask("<sasl:auth mechanism='EXTERNAL'/>"), WRONG);
    // Several addresses: one must be named.
    let mut link = Link::with_certificate(World::new(), &["juliet@capulet.example", "rob@capulet.example"]);
    link.ask(HEADER_SASL);
    let answer = link.ask("<sasl:auth mechanism='EXTERNAL'/>");
    assert_eq!(answer, "<sasl:failure>These credentials are not for that address</sasl:failure>");
    let rob = base64::encode("rob@capulet.example");
    assert_eq!(link.ask(&format!("<sasl:auth mechanism='EXTERNAL'>{rob}</sasl:auth>")), SUCCESS);
}

/// XEP-0034 §2.4.
#[test]
fn after_success_auth_fails_and_the_stream_goes_on() {
    let mut link = with_sasl();
    assert_eq!(link.ask(ROB), SUCCESS);
    for _ in 0..5 {
        assert_eq!(link.ask(ROB), "<sasl:failure>You are logged in already</sasl:failure>");
    }
    assert_eq!(link.closed, None);
    let start = set("<username>rob</username><resource>laptop</resource>");
    assert_eq!(link.ask(&start), "<iq type='result' id='auth2'><query xmlns='jabber:iq:auth'/></iq>");
}

#[test]
fn after_failure_or_abort_a_new_one_may_start() {
    let mut link = with_sasl();
    assert_eq!(link.ask("<sasl:auth mechanism='PLAIN'>cm9iAHdyb25n</sasl:auth>"), WRONG);
    assert_eq!(link.ask("<sasl:auth mechanism='PLAIN'/>"), "<sasl:challenge/>");
    assert_eq!(link.ask("<sasl:abort/>"), "<sasl:failure>Aborted</sasl:failure>");
    assert_eq!(link.ask(ROB), SUCCESS);
    // The bound.
    let mut link = with_sasl();
    for _ in 0..3 {
        assert_eq!(link.ask("<sasl:auth mechanism='PLAIN'>cm9iAHdyb25n</sasl:auth>"), WRONG);
    }
    let answer = link.ask(ROB);
    assert!(is_error_with_text(&answer, "policy-violation", "Too many"), "{answer}");
}

#[test]
fn no_way_around_a_failed_login() {
    for request in [
        "<iq type='get' id='auth1'><query xmlns='jabber:iq:auth'/></iq>".to_owned(),
        set("<username>rob</username><password>secret</password><resource>r</resource>"),
    ] {
        let mut link = with_sasl();
        link.ask("<sasl:auth mechanism='PLAIN'>cm9iAHdyb25n</sasl:auth>");
        let answer = link.ask(&request);
        assert!(is_error_with_text(&answer, "policy-violation", "failed SASL"), "{answer}");
    }
}

#[test]
fn session_starts_that_are_refused() {
    let unauthorized = iq_error(401, "auth", "not-authorized");
    let incomplete = iq_error(406, "modify", "not-acceptable");
    // Before SASL, with or without a password, and only so often.
    let mut link = with_sasl();
    assert_eq!(link.ask(&set("<username>rob</username><resource>r</resource>")), unauthorized);
    let with_password = set("<username>rob</username><password>secret</password><resource>r</resource>");
    assert_eq!(link.ask(&with_password), unauthorized);
    assert_eq!(link.ask(&with_password), unauthorized);
    let answer = link.ask(&with_password);
    assert!(is_error_with_text(&answer, "policy-violation", "Too many"), "{answer}");
    // After it: for somebody else, or without all that is needed.
    let rows = [
        ("<username>bill</username><resource>r</resource>", &unauthorized),
        ("<username>b@d</username><resource>r</resource>", &unauthorized),
        ("<resource>r</resource>", &incomplete),
        ("<username>rob</username>", &incomplete),
        ("<username>rob</username><resource/>", &incomplete),
        ("<username>rob</username><resource>a&#9;b</resource>", &incomplete),
    ];
    for (fields, answer) in rows {
        let mut link = with_sasl();
        assert_eq!(link.ask(ROB), SUCCESS);
        assert_eq!(&link.ask(&set(fields)), answer, "{fields}");
        let start = set("<username>rob</username><resource>laptop</resource>");
        assert_eq!(link.ask(&start), "<iq type='result' id='auth2'><query xmlns='jabber:iq:auth'/></iq>");
    }
}

#[test]
fn session_starts_are_bounded() {
    let mut link = with_sasl();
    link.ask(ROB);
    for _ in 0..5 {
        assert_eq!(link.ask(&set("<username>bill</username>")), iq_error(401, "auth", "not-authorized"));
    }
    let answer = link.ask(&set("<username>bill</username>"));
    assert!(is_error_with_text(&answer, "policy-violation", "Too many"), "{answer}");
}

#[test]
fn anonymous_learns_its_name() {
    let mut world = World::new();
    world.rules.capulet().mechanisms = vec![Mechanism::Anonymous];
    let mut link = Link::secure(world);
    link.ask(HEADER_SASL);
    assert_eq!(link.ask("<sasl:auth mechanism='ANONYMOUS'/>"), SUCCESS);
    let answer = link.ask("<iq type='get' id='1'><query xmlns='jabber:iq:auth'/></iq>");
    assert!(answer.contains("<username>") && answer.contains("</username><resource/>"), "{answer}");
    assert_eq!(
        link.ask(&set("<resource>r</resource>")),
        "<iq type='result' id='auth2'><query xmlns='jabber:iq:auth'/></iq>"
    );
    assert!(link.asked.last().unwrap().ends_with("anonymous"));
}

/// XEP-0078 §3.1: the same for every username.
#[test]
fn xep_0078_get() {
    let mut link = with_password();
    assert_eq!(
        link.ask("<iq type='get' to='capulet.example' id='auth1'><query xmlns='jabber:iq:auth'/></iq>"),
        "<iq type='result' id='auth1'><query xmlns='jabber:iq:auth'><username/><password/><resource/></query></iq>"
    );
    for user in ["bill", "nobody", "a&lt;b"] {
        assert_eq!(
            link.ask(&format!(
                "<iq type='get' id='auth1'><query xmlns='jabber:iq:auth'><username>{user}</username></query></iq>"
            )),
            format!(
                "<iq type='result' id='auth1'><query xmlns='jabber:iq:auth'><username>{user}</username>\
                 <password/><resource/></query></iq>"
            )
        );
    }
}

#[test]
fn xep_0078_failures() {
    let rows = [
        (
            "<username>bill</username><password>wrong</password><resource>globe</resource>",
            401,
            "auth",
            "not-authorized",
        ),
        (
            "<username>nobody</username><password>wrong</password><resource>globe</resource>",
            401,
            "auth",
            "not-authorized",
        ),
        ("<username>a@b</username><password>wrong</password><resource>globe</resource>", 401, "auth", "not-authorized"),
        ("<username>bill</username><password>Calli0pe</password>", 406, "modify", "not-acceptable"),
        ("<password>Calli0pe</password><resource>globe</resource>", 406, "modify", "not-acceptable"),
        ("<username>bill</username><resource>globe</resource>", 406, "modify", "not-acceptable"),
        ("", 406, "modify", "not-acceptable"),
        // No digest: it would need the password on the disk.
        (
            "<username>bill</username><digest>48fc78be9ec8f86d8ce1c39c320c97c21d62334d</digest><resource>globe</resource>",
            406,
            "modify",
            "not-acceptable",
        ),
    ];
    for (fields, code, kind, condition) in rows {
        let mut link = with_password();
        assert_eq!(link.ask(&set(fields)), iq_error(code, kind, condition), "{fields}");
        assert_eq!(link.closed, None);
        assert_eq!(
            link.ask(&set("<username>bill</username><password>Calli0pe</password><resource>globe</resource>")),
            "<iq type='result' id='auth2'/>"
        );
    }
    // Wrong ones are bounded like any other login.
    let mut link = with_password();
    let wrong = set("<username>bill</username><password>wrong</password><resource>globe</resource>");
    for _ in 0..3 {
        assert_eq!(link.ask(&wrong), iq_error(401, "auth", "not-authorized"));
    }
    let answer = link.ask(&wrong);
    assert!(is_error_with_text(&answer, "policy-violation", "Too many"), "{answer}");
}

#[test]
fn xep_0078_more_answers() {
    let right = set("<username>bill</username><password>Calli0pe</password><resource>globe</resource>");
    let rows = [
        (BindRefusal::Conflict, iq_error(409, "cancel", "conflict")),
        (BindRefusal::NotAllowed, iq_error(405, "cancel", "not-allowed")),
        (BindRefusal::InternalServerError, iq_error(500, "wait", "internal-server-error").replace("wait", "cancel")),
    ];
    for (refusal, answer) in rows {
        let mut link = with_password();
        link.auto = Auto::Nothing;
        assert_eq!(link.ask(&right), "");
        link.run_job();
        assert_eq!(link.asked.last().unwrap(), "bind bill@capulet.example \"globe\" Replace");
        link.input(Input::BindRefused(refusal));
        assert_eq!(link.take(), answer);
        assert!(!link.negotiation.is_authenticated());
        link.auto = Auto::All;
        assert_eq!(link.ask(&right), "<iq type='result' id='auth2'/>");
        assert!(link.negotiation.is_authenticated());
    }
    let mut link = with_password();
    link.auto = Auto::Nothing;
    link.ask(&right);
    link.input(Input::Overloaded);
    assert_eq!(link.take(), iq_error(500, "wait", "resource-constraint"));

    let mut world = World::new();
    world.people.accounts.get_mut("bill").unwrap().disabled = true;
    let mut link = Link::secure(world);
    link.ask(HEADER_BARE);
    assert_eq!(link.ask(&right), iq_error(403, "auth", "forbidden"));
}

#[test]
fn xep_0078_fills_in_the_missing_hash() {
    let mut world = World::new();
    let keys = keys("pw", &[ScramHash::Sha256]);
    world.people.accounts.insert("new".to_owned(), Credentials { keys, disabled: false });
    let mut link = Link::secure(world);
    link.ask(HEADER_BARE);
    link.ask(&set("<username>new</username><password>pw</password><resource>r</resource>"));
    let [(account, sets)] = link.filled.as_slice() else { panic!("one set is stored") };
    assert_eq!((account.as_str(), sets[0].hash), ("new@capulet.example", ScramHash::Sha1));
}

/// "If off, service-unavailable": PLAIN is not configured, so no password is taken in any form.
#[test]
fn no_passwords_where_plain_is_not_allowed() {
    let mut world = World::new();
    world.rules.capulet().mechanisms = vec![Mechanism::ScramSha256];
    let mut link = Link::secure(world);
    assert_eq!(link.ask(HEADER_BARE), ANSWER_BARE);
    let unavailable = iq_error(503, "cancel", "service-unavailable");
    assert_eq!(link.ask(&set("<username>bill</username>")), unavailable);
    assert_eq!(link.ask(&set("").replace("set", "get")), unavailable);
    // Who asks for SASL still gets in.
    let mut world = World::new();
    world.rules.capulet().mechanisms = vec![Mechanism::ScramSha256];
    let answer = Link::secure(world).ask(HEADER_SASL);
    assert!(answer.ends_with("<sasl:mechanisms><sasl:mechanism>SCRAM-SHA-256</sasl:mechanism></sasl:mechanisms>"));
}

/// The design's second table, row 3: XEP-0078 before TLS, by policy only.
#[test]
fn passwords_in_the_clear_by_policy() {
    let right = set("<username>bill</username><password>Calli0pe</password><resource>globe</resource>");
    for header in [HEADER_BARE, HEADER_SASL, HEADER_2002] {
        let mut world = World::new();
        world.rules.capulet().tls_required = false;
        let mut link = Link::new(world);
        assert_eq!(link.ask(header), if header == HEADER_2002 { ANSWER_2002 } else { ANSWER_BARE });
        assert_eq!(link.ask(&right), "<iq type='result' id='auth2'/>");
    }
    // TLS may still be asked for.
    let mut world = World::new();
    world.rules.capulet().tls_required = false;
    let mut link = Link::new(world);
    link.ask(HEADER_2002);
    assert_eq!(link.ask("<tls:starttls/>"), "</stream:stream>");
    assert_eq!(link.closed, None);
    // Not allowed where PLAIN is not.
    let mut world = World::new();
    world.rules.capulet().tls_required = false;
    world.rules.capulet().mechanisms = vec![Mechanism::ScramSha256];
    let mut link = Link::new(world);
    link.ask(HEADER_BARE);
    assert!(link.ask(&right).contains("<policy-violation "));
}

#[test]
fn sasl_must_be_asked_for_in_its_own_namespace() {
    let mut link = with_password();
    let answer = link.ask(&format!("<auth xmlns='{SASL_2002}' mechanism='PLAIN'/>"));
    assert!(is_error_with_text(&answer, "unsupported-stanza-type", ""), "{answer}");
    let mut link = with_sasl();
    let answer = link.ask(&auth("PLAIN", b"\0rob\0secret"));
    assert!(is_error_with_text(&answer, "unsupported-stanza-type", ""), "{answer}");
}

#[test]
fn stanzas_before_there_is_a_session() {
    let mut rows = Vec::new();
    for sent in ["<message/>", "<presence/>", "<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>"] {
        rows.push((with_password(), sent));
        rows.push((with_sasl(), sent));
    }
    for (mut link, sent) in rows {
        let answer = link.ask(sent);
        assert!(is_error_with_text(&answer, "not-authorized", ""), "{answer}");
    }
    // Logged in, requests to the server are answered.
    let mut link = with_sasl();
    link.ask(ROB);
    let answer = link.ask("<iq type='set' id='auth2'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    assert_eq!(answer, iq_error(503, "cancel", "service-unavailable"));
    let answer = link.ask("<iq type='get' to='bill@capulet.example' id='1'><query xmlns='jabber:iq:auth'/></iq>");
    assert!(is_error_with_text(&answer, "not-authorized", ""), "{answer}");
}

#[test]
fn malformed_requests_are_told_so() {
    let mut link = with_password();
    let id = "<iq type='set'><query xmlns='jabber:iq:auth'><username>bill</username></query></iq>";
    assert_eq!(link.ask(id), iq_error(400, "modify", "bad-request").replace(" id='auth2'", ""));
    assert_eq!(link.ask("<iq type='set' id='auth2'/>"), iq_error(400, "modify", "bad-request"));
}
