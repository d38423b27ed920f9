//! Speaking as somebody else.

use super::{ask, log_in, server, stanzas, two};

/// RFC 6120 §8.1.2.1, §13.5: a server stamps or validates `from`. Every way of writing another one.
#[test]
fn nobody_speaks_as_anybody_else() {
    let forged = [
        "romeo@localhost",
        "romeo@localhost/r",
        "localhost",
        "juliet@localhost/other",
        "juliet@localhost/R",
        "JULIET@localhost/r",
        "juliet@elsewhere.example/r",
        "@",
        "",
        "&#x6A;uliet@localhost/r\u{200B}",
        "juliet@localhost/r\u{0}",
    ];
    for kind in ["message", "presence", "iq"] {
        for from in forged {
            let mut bare = server();
            let [juliet, romeo] = two(&mut bare);
            let inner = if kind == "iq" { "<x xmlns='urn:x'/>" } else { "" };
            let what = if kind == "iq" { "type='get' id='1'" } else { "" };
            for text in [
                format!("<{kind} {what} from='{from}' to='romeo@localhost/r'>{inner}</{kind}>"),
                format!("<{kind} {what} to='romeo@localhost/r' from=\"{from}\">{inner}</{kind}>"),
            ] {
                bare.send(juliet, text.as_bytes());
                for stanza in stanzas(&bare.heard(romeo)) {
                    // Or nothing of it, or that its session is over.
                    let from = stanza.attr("from").unwrap_or_default();
                    assert!(from == "juliet@localhost/r" || from == "juliet@localhost", "{text}: {stanza:?}");
                }
            }
        }
    }
}

/// A second `from`, behind a prefix or twice: parsers that disagree would each take another one.
#[test]
fn a_second_from_does_not_pass() {
    for text in [
        "<message from='juliet@localhost/r' from='romeo@localhost' to='romeo@localhost/r'/>",
        "<message xmlns:j='jabber:client' j:from='romeo@localhost' to='romeo@localhost/r'/>",
        "<message xmlns:from='jabber:client' to='romeo@localhost/r' from:from='localhost'/>",
        "<message to='romeo@localhost/r' FROM='localhost' From='localhost'/>",
        "<j:message xmlns:j='jabber:client' from='localhost' to='romeo@localhost/r'/>",
    ] {
        let mut bare = server();
        let [juliet, romeo] = two(&mut bare);
        bare.send(juliet, text.as_bytes());
        for stanza in stanzas(&bare.heard(romeo)).iter().filter(|stanza| stanza.name == "message") {
            assert_eq!(stanza.attr("from"), Some("juliet@localhost/r"), "{text}");
            assert_eq!(stanza.attrs.iter().filter(|(name, _)| name == "from").count(), 1, "{text}");
        }
    }
}

/// CVE-2017-5589 and its family (carbons), CVE-2019-16235 and 16237 (Dino: carbons, archives): a forwarded message
/// inside one of a stranger's. A client can tell it from one of its own server only by `from`: which must be the
/// stranger's, whatever is inside and whatever type it has.
#[test]
fn a_forwarded_message_comes_from_who_forwarded_it() {
    let forwarded = "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='localhost' \
        to='romeo@localhost/r'><body>reset your password</body></message></forwarded>";
    for (kind, to) in [("normal", "romeo@localhost"), ("chat", "romeo@localhost/r"), ("headline", "romeo@localhost")] {
        for wrapper in [
            "received xmlns='urn:xmpp:carbons:2'",
            "sent xmlns='urn:xmpp:carbons:2'",
            "result xmlns='urn:xmpp:mam:2' id='1'",
        ] {
            let name = wrapper.split(' ').next().unwrap();
            for from in ["", "from='romeo@localhost'", "from='localhost'"] {
                let mut bare = server();
                let [juliet, romeo] = two(&mut bare);
                let text = format!("<message type='{kind}' {from} to='{to}'><{wrapper}>{forwarded}</{name}></message>");
                bare.send(juliet, text.as_bytes());
                for stanza in stanzas(&bare.heard(romeo)) {
                    assert_eq!(stanza.attr("from"), Some("juliet@localhost/r"), "{text}");
                }
            }
        }
    }
}

/// CVE-2015-8688 (Gajim), CVE-2014-0364 (Smack), CVE-2019-16236 (Dino): a roster push by a stranger. A client takes one
/// without `from` or from its own account; neither may come from anybody else. What is for the account itself does not
/// even reach a session.
#[test]
fn nobody_pushes_a_roster_item_to_anybody_else() {
    let push = "<query xmlns='jabber:iq:roster'><item jid='mallory@localhost' subscription='both'/></query>";
    for to in ["romeo@localhost", "romeo@localhost/r"] {
        for from in ["", "from='romeo@localhost'", "from='romeo@localhost/r'", "from=''"] {
            let mut bare = server();
            let [juliet, romeo] = two(&mut bare);
            bare.send(juliet, format!("<iq type='set' id='push' to='{to}' {from}>{push}</iq>").as_bytes());
            for stanza in stanzas(&bare.heard(romeo)) {
                assert_eq!(stanza.attr("from"), Some("juliet@localhost/r"), "to {to} {from}");
            }
            let roster = ask(&mut bare, romeo, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
            assert!(!roster.contains("mallory"), "{roster}");
        }
    }
}

/// An answer to a question that was asked of somebody else (CVE-2013-6483, Pidgin: ids that can be guessed).
#[test]
fn nobody_answers_for_the_server() {
    let mut bare = server();
    let [juliet, romeo] = two(&mut bare);
    for from in ["", "from='localhost'", "from='romeo@localhost'"] {
        bare.send(juliet, format!("<iq type='result' id='r' to='romeo@localhost/r' {from}/>").as_bytes());
        for stanza in stanzas(&bare.heard(romeo)).iter().filter(|stanza| stanza.attr("id") == Some("r")) {
            assert_eq!(stanza.attr("from"), Some("juliet@localhost/r"));
        }
    }
}

/// RFC 6121 §3.1.6, §3.4: consent that nobody asked for changes nothing, and tells nobody's presence.
#[test]
fn consent_without_a_question_is_nothing() {
    let mut bare = server();
    let [juliet, romeo] = two(&mut bare);
    for kind in ["subscribed", "unsubscribed", "unsubscribe"] {
        bare.send(juliet, format!("<presence type='{kind}' to='romeo@localhost'/>").as_bytes());
        let heard = bare.heard(romeo);
        assert!(!heard.contains("<presence") && !heard.contains("jabber:iq:roster"), "{kind}: {heard}");
    }
    let roster = ask(&mut bare, romeo, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
    assert!(!roster.contains("juliet"), "{roster}");
    // A probe by a stranger tells nothing either.
    bare.send(juliet, b"<presence type='probe' to='romeo@localhost'/>");
    assert!(!bare.heard(juliet).contains("from='romeo@localhost/r'"));
}

/// XEP-0115 §9, "caps poisoning": what one client says of a hash must not stand for anybody else's.
#[test]
fn what_a_client_says_of_capabilities_is_its_own() {
    let mut bare = server();
    let [juliet, _] = two(&mut bare);
    let disco = "<iq type='get' id='d' to='localhost'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>";
    let before = ask(&mut bare, juliet, disco);
    let features = |bare: &mut super::Bare| {
        let id = bare.connect(true);
        bare.secure(id);
        ask(bare, id, super::STREAM).split_once("<stream:features>").map(|(_, features)| features.to_owned())
    };
    let features_before = features(&mut bare);
    for ver in ["AAAA", "q07IKJEyjvHSyhy//CH0CxmKi8w=", ""] {
        let caps = format!(
            "<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:x-stonechat:server' ver='{ver}'/>\
             </presence>"
        );
        bare.send(juliet, caps.as_bytes());
        bare.send(
            juliet,
            b"<iq type='result' id='disco' to='localhost'><query xmlns='http://jabber.org/protocol/disco#info'>\
              <feature var='urn:poison'/></query></iq>",
        );
        bare.heard(juliet);
    }
    assert_eq!(ask(&mut bare, juliet, disco), before);
    assert_eq!(features(&mut bare), features_before);
    // A hash that is not the server's is not answered as if it were.
    let poisoned =
        ask(&mut bare, juliet, &disco.replace("disco#info'/>", "disco#info' node='urn:x-stonechat:server#AAAA'/>"));
    assert!(poisoned.contains("item-not-found"), "{poisoned}");
}

/// RFC 6121 §8.5.3.2: two sessions of one account are one owner, but never one session: what is for one resource is
/// heard by it alone.
#[test]
fn a_resource_hears_what_is_for_it() {
    let mut bare = server();
    let [juliet, romeo] = two(&mut bare);
    let other = log_in(&mut bare, "romeo", "other");
    bare.send(juliet, b"<message to='romeo@localhost/r' type='chat'><body>for r</body></message>");
    assert!(bare.heard(romeo).contains("for r") && !bare.heard(other).contains("for r"));
    bare.hang_up(romeo);
    bare.send(juliet, b"<iq type='get' id='1' to='romeo@localhost/r'><x xmlns='urn:x'/></iq>");
    assert!(!bare.heard(other).contains("urn:x"), "an iq for a session that is gone reaches nobody");
}
