//! XEP-0034: SASL in the dialect of 2002, and the session start behind it.

use super::world::*;
use super::xep_0078::with_password;
use crate::sasl::client::{ClientBinding, ScramClient};
use crate::sasl::{Mechanism, ScramHash, base64};

const SUCCESS: &str = "<sasl:success/>";

const WRONG: &str = "<sasl:failure>Incorrect username or password</sasl:failure>";

/// XEP-0034's own: "rob" NUL "secret".
pub(super) const ROB: &str = "<sasl:auth mechanism='PLAIN'>cm9iAHNlY3JldA==</sasl:auth>";

/// Inside TLS, on a stream that asked for SASL.
pub(super) fn with_sasl() -> Link {
    let mut link = Link::secure(World::new());
    link.ask(HEADER_SASL);
    link
}

/// XEP-0034 §2, the listings on the stream inside TLS.
#[test]
fn xep_0034_plain() {
    let mut link = Link::secure(World::new());
    assert_eq!(link.ask(HEADER_SASL), format!("{ANSWER_SASL}{MECHANISMS_2002}"));
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
            link.ask(&iq_auth_set("<username>Rob</username><resource>laptop</resource>")),
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
        link.ask(&iq_auth_set("<username>juliet</username><resource>r</resource>")),
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
    let start = iq_auth_set("<username>rob</username><resource>laptop</resource>");
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
        iq_auth_set("<username>rob</username><password>secret</password><resource>r</resource>"),
    ] {
        let mut link = with_sasl();
        link.ask("<sasl:auth mechanism='PLAIN'>cm9iAHdyb25n</sasl:auth>");
        let answer = link.ask(&request);
        assert!(is_error_with_text(&answer, "policy-violation", "failed SASL"), "{answer}");
    }
}

#[test]
fn session_starts_that_are_refused() {
    let unauthorized = iq_error_2002(401, "auth", "not-authorized");
    let incomplete = iq_error_2002(406, "modify", "not-acceptable");
    // Before SASL, with or without a password, and only so often.
    let mut link = with_sasl();
    assert_eq!(link.ask(&iq_auth_set("<username>rob</username><resource>r</resource>")), unauthorized);
    let with_password = iq_auth_set("<username>rob</username><password>secret</password><resource>r</resource>");
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
        assert_eq!(&link.ask(&iq_auth_set(fields)), answer, "{fields}");
        let start = iq_auth_set("<username>rob</username><resource>laptop</resource>");
        assert_eq!(link.ask(&start), "<iq type='result' id='auth2'><query xmlns='jabber:iq:auth'/></iq>");
    }
}

#[test]
fn session_starts_are_bounded() {
    let mut link = with_sasl();
    link.ask(ROB);
    for _ in 0..5 {
        assert_eq!(link.ask(&iq_auth_set("<username>bill</username>")), iq_error_2002(401, "auth", "not-authorized"));
    }
    let answer = link.ask(&iq_auth_set("<username>bill</username>"));
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
        link.ask(&iq_auth_set("<resource>r</resource>")),
        "<iq type='result' id='auth2'><query xmlns='jabber:iq:auth'/></iq>"
    );
    assert!(link.asked.last().unwrap().ends_with("anonymous"));
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
