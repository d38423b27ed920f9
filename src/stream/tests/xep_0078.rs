//! XEP-0078: login by `jabber:iq:auth` with a password.

use super::world::*;
use super::xep_0034::{ROB, with_sasl};
use crate::sasl::{Credentials, Mechanism, ScramHash};
use crate::stream::{BindRefusal, Input};

/// Inside TLS, on a stream that did not.
pub(super) fn with_password() -> Link {
    let mut link = Link::secure(World::new());
    link.ask(HEADER_BARE);
    link
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
        assert_eq!(link.ask(&iq_auth_set(fields)), iq_error_2002(code, kind, condition), "{fields}");
        assert_eq!(link.closed, None);
        assert_eq!(
            link.ask(&iq_auth_set("<username>bill</username><password>Calli0pe</password><resource>globe</resource>")),
            "<iq type='result' id='auth2'/>"
        );
    }
    // Wrong ones are bounded like any other login.
    let mut link = with_password();
    let wrong = iq_auth_set("<username>bill</username><password>wrong</password><resource>globe</resource>");
    for _ in 0..3 {
        assert_eq!(link.ask(&wrong), iq_error_2002(401, "auth", "not-authorized"));
    }
    let answer = link.ask(&wrong);
    assert!(is_error_with_text(&answer, "policy-violation", "Too many"), "{answer}");
}

#[test]
fn xep_0078_more_answers() {
    let right = iq_auth_set("<username>bill</username><password>Calli0pe</password><resource>globe</resource>");
    let rows = [
        (BindRefusal::Conflict, iq_error_2002(409, "cancel", "conflict")),
        (BindRefusal::NotAllowed, iq_error_2002(405, "cancel", "not-allowed")),
        (
            BindRefusal::InternalServerError,
            iq_error_2002(500, "wait", "internal-server-error").replace("wait", "cancel"),
        ),
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
    assert_eq!(link.take(), iq_error_2002(500, "wait", "resource-constraint"));

    let mut world = World::new();
    world.people.accounts.get_mut("bill").unwrap().disabled = true;
    let mut link = Link::secure(world);
    link.ask(HEADER_BARE);
    assert_eq!(link.ask(&right), iq_error_2002(403, "auth", "forbidden"));
}

#[test]
fn xep_0078_fills_in_the_missing_hash() {
    let mut world = World::new();
    let keys = keys("pw", &[ScramHash::Sha256]);
    world.people.accounts.insert("new".to_owned(), Credentials { keys, disabled: false });
    let mut link = Link::secure(world);
    link.ask(HEADER_BARE);
    link.ask(&iq_auth_set("<username>new</username><password>pw</password><resource>r</resource>"));
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
    let unavailable = iq_error_2002(503, "cancel", "service-unavailable");
    assert_eq!(link.ask(&iq_auth_set("<username>bill</username>")), unavailable);
    assert_eq!(link.ask(&iq_auth_set("").replace("set", "get")), unavailable);
    // Who asks for SASL still gets in.
    let mut world = World::new();
    world.rules.capulet().mechanisms = vec![Mechanism::ScramSha256];
    let answer = Link::secure(world).ask(HEADER_SASL);
    assert!(answer.ends_with("<sasl:mechanisms><sasl:mechanism>SCRAM-SHA-256</sasl:mechanism></sasl:mechanisms>"));
}

/// XEP-0078 shows the password, so it stays inside TLS even where TLS is not required.
#[test]
fn no_passwords_in_the_clear() {
    let right = iq_auth_set("<username>bill</username><password>Calli0pe</password><resource>globe</resource>");
    for header in [HEADER_BARE, HEADER_SASL, HEADER_2002] {
        let mut world = World::new();
        world.rules.capulet().tls_required = false;
        let mut link = Link::new(world);
        assert_eq!(link.ask(header), if header == HEADER_2002 { ANSWER_2002 } else { ANSWER_BARE });
        assert!(link.ask(&right).contains("<policy-violation "));
    }
    // TLS may still be asked for.
    let mut world = World::new();
    world.rules.capulet().tls_required = false;
    let mut link = Link::new(world);
    link.ask(HEADER_2002);
    assert_eq!(link.ask("<tls:starttls/>"), "</stream:stream>");
    assert_eq!(link.closed, None);
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
    assert_eq!(answer, iq_error_2002(503, "cancel", "service-unavailable"));
    let answer = link.ask("<iq type='get' to='bill@capulet.example' id='1'><query xmlns='jabber:iq:auth'/></iq>");
    assert!(is_error_with_text(&answer, "not-authorized", ""), "{answer}");
}

#[test]
fn malformed_requests_are_told_so() {
    let mut link = with_password();
    let id = "<iq type='set'><query xmlns='jabber:iq:auth'><username>bill</username></query></iq>";
    assert_eq!(link.ask(id), iq_error_2002(400, "modify", "bad-request").replace(" id='auth2'", ""));
    assert_eq!(link.ask("<iq type='set' id='auth2'/>"), iq_error_2002(400, "modify", "bad-request"));
}
