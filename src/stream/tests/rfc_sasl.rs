//! RFC 6120 §6, XEP-0178: SASL with elements of its own, and a new stream behind it.

use super::world::*;
use crate::sasl::client::{ClientBinding, ScramClient};
use crate::sasl::{BindingType, Credentials, Mechanism, ScramHash};
use crate::stream::Input;

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
    for end in ["/>", "></auth>"] {
        let mut link = Link::to_sasl(World::new());
        link.take();
        let start = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'{end}");
        assert_eq!(link.ask(&start), "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
        assert_eq!(link.ask(&response(b"\0rob\0secret")), SUCCESS);
    }
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
