//! Everything that may be large, too large.

use super::{STREAM, ask, auth, is_served, log_in, server, two};

/// As long as a stanza of a session may be, about.
const HUGE: usize = 200_000;

/// RFC 6120 §13.12 (4), XEP-0205 §4.5: each field that a client can fill, filled: refused with an error, or the stream
/// ends; the server and everybody else go on, and nothing is kept.
#[test]
fn oversized_everything() {
    let long = "x".repeat(HUGE);
    let tag = "x".repeat(7_000);
    let items: String = (0..3_000).map(|n| format!("<item jid='n{n}@localhost'/>")).collect();
    let groups: String = (0..1_000).map(|n| format!("<group>g{n}</group>")).collect();
    let attacks = [
        ("an id", format!("<iq type='get' id='{tag}' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")),
        ("a to", format!("<message to='{tag}@localhost'><body/></message>")),
        ("a resource", format!("<message to='romeo@localhost/{tag}'><body/></message>")),
        ("a domain", format!("<message to='romeo@{tag}'><body/></message>")),
        ("a label", format!("<message to='romeo@{}.example'><body/></message>", "x".repeat(64))),
        ("a type", format!("<presence type='{tag}'/>")),
        ("a language", format!("<message xml:lang='{tag}' to='romeo@localhost/r'><body/></message>")),
        ("a status", format!("<presence><status>{long}</status></presence>")),
        ("a goodbye", format!("<presence type='unavailable'><status>{long}</status></presence>")),
        (
            "a roster name",
            format!(
                "<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='a@localhost' name='{tag}'/></query></iq>"
            ),
        ),
        (
            "groups",
            format!(
                "<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='a@localhost'>{groups}</item></query></iq>"
            ),
        ),
        (
            "a group",
            format!(
                "<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='a@localhost'><group>{long}</group></item>\
             </query></iq>"
            ),
        ),
        ("a vCard", format!("<iq type='set' id='1'><vCard xmlns='vcard-temp'><DESC>{long}</DESC></vCard></iq>")),
        (
            "private XML",
            format!(
                "<iq type='set' id='1'><query xmlns='jabber:iq:private'><x xmlns='urn:x'>{long}{long}</x></query></iq>"
            ),
        ),
        ("a block list", format!("<iq type='set' id='1'><block xmlns='urn:xmpp:blocking'>{items}</block></iq>")),
        (
            "a password",
            format!(
                "<iq type='set' id='1' to='localhost'><query xmlns='jabber:iq:register'><username>juliet</username>\
             <password>{long}</password></query></iq>"
            ),
        ),
        (
            "a subscription",
            format!("<presence type='subscribe' to='romeo@localhost'><status>{long}</status></presence>"),
        ),
        ("an offline message", format!("<message to='nobody@localhost' type='chat'><body>{long}</body></message>")),
        ("a stanza", format!("<message to='romeo@localhost/r'><body>{long}{long}</body></message>")),
        ("a version of a roster", format!("<iq type='get' id='1'><query xmlns='jabber:iq:roster' ver='{tag}'/></iq>")),
        (
            "a node",
            format!(
                "<iq type='get' id='1' to='localhost'><query xmlns='http://jabber.org/protocol/disco#info' node='{tag}'/></iq>"
            ),
        ),
    ];
    for (what, attack) in attacks {
        let mut bare = server();
        let [juliet, romeo] = two(&mut bare);
        let before = bare.core.heap_bytes();
        ask(&mut bare, juliet, &attack);
        bare.heard(romeo);
        bare.core.audit().unwrap_or_else(|fault| panic!("{what}: {fault}"));
        assert!(is_served(&mut bare, romeo), "{what}");
        assert!(
            bare.core.heap_bytes() < before + 128 * 1024,
            "{what}: {} bytes are kept",
            bare.core.heap_bytes() - before
        );
        // The account is still good.
        bare.hang_up(juliet);
        let again = log_in(&mut bare, "juliet", "again");
        bare.send(again, b"<presence/>");
        ask(&mut bare, again, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
        assert!(is_served(&mut bare, again), "{what}");
    }
}

/// RFC 6120 §13.12, RFC 4422 §6: the same before a login.
#[test]
fn oversized_logins() {
    let long = "x".repeat(6_000);
    let name = "x".repeat(2_000);
    let attacks = [
        ("a username", auth(&name)),
        ("a mechanism", format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{long}'/>")),
        (
            "a message",
            format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{}</auth>", "AAAA".repeat(2_000)),
        ),
        (
            "a nonce",
            format!(
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>{}</auth>",
                stonechat::sasl::base64::encode(format!("n,,n=juliet,r={name}"))
            ),
        ),
        (
            "a resource",
            format!(
                "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{long}</resource></bind></iq>"
            ),
        ),
    ];
    for (what, attack) in attacks {
        let mut bare = server();
        let id = bare.connect(true);
        bare.secure(id);
        ask(&mut bare, id, STREAM);
        let heard = ask(&mut bare, id, &attack);
        bare.advance(10_000);
        let heard = heard + &bare.heard(id);
        assert!(!heard.contains("<success") && !heard.is_empty(), "{what}: {heard}");
        assert!(bare.core.heap_bytes() < 128 * 1024, "{what}: {} bytes", bare.core.heap_bytes());
    }
    // A header.
    for attr in ["from", "id", "xml:lang", "version"] {
        let mut bare = server();
        let id = bare.connect(true);
        bare.secure(id);
        let heard = ask(&mut bare, id, &STREAM.replace("to=", &format!("{attr}='{long}' to=")));
        assert!(!heard.contains(&long), "{attr} is not given back");
    }
}
