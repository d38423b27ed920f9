//! A row that is not in memory parks the input and changes nothing: every script says the same with and without misses.
//!
//! That a parked input changes nothing is asserted by [`Link::send`], on every input of every script.

use super::world::*;
use crate::sasl::client::{ClientBinding, ScramClient};
use crate::sasl::{Credentials, ScramHash, base64};

/// Plays a script twice, the second time with every look-up missing once an input; gives back what was said, and how
/// often a row was missing.
fn play(script: fn(&mut Link) -> String) -> (String, usize) {
    let plain = script(&mut Link::secure(world(false)));
    let mut link = Link::secure(world(true));
    let missing = script(&mut link);
    assert_eq!(plain, missing);
    (plain, link.world.people.missed)
}

fn world(misses: bool) -> World {
    let mut world = World::new();
    let sha1 = Credentials { keys: keys("pw", &[ScramHash::Sha1]), disabled: false };
    world.people.accounts.insert("old".to_owned(), sha1);
    world.people.misses = misses;
    world
}

#[test]
fn plain() {
    let (said, missed) = play(|link| {
        let mut said = link.ask(HEADER_1_0);
        for data in [&b"\0old\0wrong"[..], b"\0nobody\0pw", b"\0old\0pw"] {
            said += &link.ask(&auth("PLAIN", data));
        }
        said += &link.ask(HEADER_1_0);
        said + &link.ask("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
    });
    assert!(said.ends_with("old@capulet.example/made-here</jid></bind></iq>"), "{said}");
    // The header, and each attempt.
    assert_eq!(missed, 4);
}

#[test]
fn plain_asked_for() {
    let (said, missed) = play(|link| {
        link.ask(HEADER_1_0);
        let said = link.ask("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>");
        said + &link.ask(&response(b"\0rob\0secret"))
    });
    assert!(said.contains("<challenge") && said.contains("<success"), "{said}");
    assert_eq!(missed, 2);
}

#[test]
fn scram() {
    let (said, missed) = play(|link| {
        let mut said = link.ask(&HEADER_1_0.replace("to=", "from='rob@capulet.example' to="));
        let mut client = ScramClient::new(ScramHash::Sha256, ClientBinding::Unsupported, "rob", "secret", "fyko");
        let challenge = link.ask(&auth("SCRAM-SHA-256", &client.first()));
        let answer = client.answer(&payload(&challenge)).unwrap();
        said += &challenge;
        said += &link.ask(&response(&answer));
        said
    });
    assert!(said.contains("<success"), "{said}");
    assert!(missed >= 2);
}

#[test]
fn external() {
    for misses in [false, true] {
        let mut link = Link::with_certificate(world(misses), &["juliet@capulet.example"]);
        link.ask(HEADER_1_0);
        assert!(link.ask(&auth("EXTERNAL", b"")).starts_with("<success"));
        assert_eq!(link.world.people.missed, if misses { 2 } else { 0 });
    }
}

#[test]
fn old_dialect() {
    let (said, missed) = play(|link| {
        let mut said = link.ask(HEADER_SASL);
        let wrong = base64::encode("rob\0wrong");
        said += &link.ask(&format!("<sasl:auth mechanism='PLAIN'>{wrong}</sasl:auth>"));
        said += &link.ask("<sasl:auth mechanism='PLAIN'>cm9iAHNlY3JldA==</sasl:auth>");
        said + &link.ask(
            "<iq type='set' id='1'><query xmlns='jabber:iq:auth'><username>rob</username><resource>r</resource>\
             </query></iq>",
        )
    });
    assert!(said.ends_with("<query xmlns='jabber:iq:auth'/></iq>"), "{said}");
    assert_eq!(missed, 3);
}

#[test]
fn a_password_without_sasl() {
    let (said, missed) = play(|link| {
        let mut said = link.ask(HEADER_BARE);
        for password in ["wrong", "Calli0pe"] {
            said += &link.ask(&format!(
                "<iq type='set' id='1'><query xmlns='jabber:iq:auth'><username>bill</username>\
                 <password>{password}</password><resource>r</resource></query></iq>"
            ));
        }
        said
    });
    assert!(said.ends_with("<iq type='result' id='1'/>"), "{said}");
    assert_eq!(missed, 2);
}

#[test]
fn without_tls() {
    for misses in [false, true] {
        let mut world = world(misses);
        world.rules.capulet().tls_required = false;
        let mut link = Link::new(world);
        assert!(link.ask(HEADER_1_0).contains("<mechanism>SCRAM-SHA-256</mechanism>"));
        assert_eq!(link.world.people.missed, usize::from(misses));
    }
}
