//! Much of what is allowed once.

use super::{STREAM, ask, auth, is_served, log_in, server, try_log_in, two};
use crate::bare::{Bare, policy, settings};
use stonechat::config::Registration;
use stonechat::core::Settings;
use stonechat::im::{offline as messages, roster};
use stonechat::jid::Jid;
use stonechat::limits::REGISTRATION_REQUESTS_MAX;
use stonechat::storage::offline;
use stonechat::stream::DomainPolicy;

/// RFC 6120 §7.6.2.1, XEP-0205 §4.4: sessions of one account, each of which costs a fan-out of every presence. Ten
/// thousand are asked for; the bound stands, and who is in is served.
#[test]
fn ten_thousand_resources() {
    const ASKED: usize = 10_000;
    let mut settings = settings();
    settings.admission.connects_per_address_per_minute_max = u32::MAX;
    settings.admission.connections_per_address_max = 1_000;
    settings.ping_after_ms = 0;
    let max = settings.resources_per_account_max;
    let mut bare = Bare::new(policy(), settings, 1);
    let first = log_in(&mut bare, "juliet", "first");
    let (mut bound, mut refused) = (1, 0);
    for number in 1..ASKED {
        let (id, heard) = try_log_in(&mut bare, "juliet", &format!("r{number}"));
        if heard.contains("<jid>") {
            bound += 1;
        } else {
            assert!(heard.contains("<resource-constraint"), "{heard}");
            refused += 1;
            bare.hang_up(id);
            bare.forget(id);
        }
        assert!(bare.core.sessions() <= max);
    }
    assert_eq!((bound, refused), (max, ASKED - max));
    assert!(is_served(&mut bare, first));
    bare.core.audit().unwrap();
}

/// RFC 6120 §7.7.2.2: the same resource again and again: each time the old session ends, and nothing of it stays.
#[test]
fn one_resource_again_and_again() {
    let mut bare = server();
    let mut before = None;
    for _ in 0..200 {
        let id = log_in(&mut bare, "juliet", "r");
        if let Some(before) = before.replace(id) {
            assert!(bare.heard(before).contains("<conflict"));
            bare.hang_up(before);
            bare.forget(before);
        }
        assert_eq!(bare.core.sessions(), 1);
    }
    bare.core.audit().unwrap();
}

/// XEP-0160 §2: messages for somebody who is away: a bound in number and bytes, and the sender is told.
#[test]
fn an_offline_flood() {
    let mut bare = server();
    let juliet = log_in(&mut bare, "juliet", "r");
    let limits = stonechat::im::columns::Bounds::default();
    let (mut taken, mut refused) = (0u32, 0u32);
    for (number, size) in (0..3_000).zip([10, 100, 2_000].into_iter().cycle()) {
        let text = format!(
            "<message to='romeo@localhost' type='chat' id='{number}'><body>{}</body></message>",
            "x".repeat(size)
        );
        let heard = ask(&mut bare, juliet, &text);
        match heard.contains("<service-unavailable") {
            true => refused += 1,
            false => taken += 1,
        }
    }
    let romeo = Jid::parse("romeo@localhost").unwrap();
    let meta = offline::run(&mut bare.engine, |store| messages::meta(store, romeo.as_ref())).unwrap();
    assert!(meta.messages <= limits.offline_messages_max && meta.bytes <= limits.offline_bytes_max, "{meta:?}");
    assert_eq!(meta.messages, taken);
    assert!(refused > 0);
    // All of it fits one outbox when its owner comes.
    let romeo = log_in(&mut bare, "romeo", "r");
    bare.send(romeo, b"<presence/>");
    assert_eq!(bare.heard(romeo).matches("<message ").count(), taken as usize);
    assert!(is_served(&mut bare, romeo) && is_served(&mut bare, juliet));
}

/// RFC 6121 §11, XEP-0205: requests to somebody who does not answer, and to thousands who are not there: the asker's
/// roster and the asked one's list have bounds.
#[test]
fn a_subscription_flood() {
    let mut bare = server();
    let [juliet, romeo] = two(&mut bare);
    let bounds = stonechat::im::columns::Bounds::default();
    for number in 0..bounds.roster_items_max * 2 {
        bare.send(juliet, format!("<presence type='subscribe' to='n{number}@localhost'/>").as_bytes());
        bare.send(juliet, format!("<presence type='subscribe' to='n{number}@elsewhere.example'/>").as_bytes());
        bare.heard(juliet);
    }
    let jid = Jid::parse("juliet@localhost").unwrap();
    let items = offline::run(&mut bare.engine, |store| roster::list(store, jid.as_ref())).unwrap();
    assert!(items.len() <= bounds.roster_items_max as usize, "{} contacts", items.len());
    // Asking one person ten thousand times is asking once.
    bare.heard(romeo);
    let other = log_in(&mut bare, "romeo", "away");
    bare.hang_up(other);
    for _ in 0..500 {
        bare.send(juliet, b"<presence type='subscribe' to='romeo@localhost'><status>please</status></presence>");
    }
    let jid = Jid::parse("romeo@localhost").unwrap();
    let requests = offline::run(&mut bare.engine, |store| roster::requests(store, jid.as_ref())).unwrap();
    assert!(requests.len() <= 1, "{} requests of one asker", requests.len());
    assert!(is_served(&mut bare, romeo) && is_served(&mut bare, juliet));
    bare.core.audit().unwrap();
}

/// RFC 6120 §13.12, slow readers (the reverse of Slowloris): one who talks without end to one who does not read: closed
/// alone, with `resource-constraint`; its sender goes on.
#[test]
fn who_does_not_read_is_closed_alone() {
    let mut settings: Settings = settings();
    settings.outbox.bytes_max = 64 * 1024;
    let mut bare = Bare::new(policy(), settings, 1);
    let [juliet, romeo] = two(&mut bare);
    bare.stall(romeo);
    let text = format!("<message to='romeo@localhost/r'><body>{}</body></message>", "x".repeat(1_000));
    for _ in 0..200 {
        bare.send(juliet, text.as_bytes());
    }
    assert_eq!(bare.core.sessions(), 1, "the reader is gone");
    assert!(bare.core.counters()["outbox_bytes"] <= 2 * 64 * 1024);
    assert!(is_served(&mut bare, juliet));
}

/// RFC 6120 §8.3.1, XEP-0205: questions without end to the server itself: every answer has its question, and none is
/// larger than it must be.
#[test]
fn answers_do_not_amplify() {
    let questions = [
        "<iq type='get' id='1' to='localhost'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
        "<iq type='get' id='1' to='localhost'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>",
        "<iq type='get' id='1' to='localhost'><x xmlns='urn:x'/></iq>",
        "<iq type='get' id='1' to='nobody@localhost'><vCard xmlns='vcard-temp'/></iq>",
        "<iq type='error' id='1' to='localhost'><x xmlns='urn:x'/></iq>",
        "<iq type='result' id='1' to='localhost'/>",
        "<message to='nobody@localhost' type='error'/>",
        "<presence to='nobody@localhost' type='error'/>",
        "<message to='localhost' type='error'><error type='cancel'/></message>",
    ];
    for question in questions {
        let mut bare = server();
        let juliet = log_in(&mut bare, "juliet", "r");
        let heard = ask(&mut bare, juliet, &question.repeat(50));
        let answers = heard.matches("id='1'").count();
        let is_answered = question.contains("'get'");
        assert_eq!(answers, if is_answered { 50 } else { 0 }, "{question}: {heard}");
        assert!(heard.len() < 50 * 4_096, "{question}: {} bytes", heard.len());
    }
}

/// RFC 6120 §13.9.4, RFC 4616 §5, guessing: a storm of logins at one account from one address: slowed, bounded, and who
/// is in notices nothing.
#[test]
fn guessing_is_slow() {
    let mut bare = server();
    let romeo = log_in(&mut bare, "romeo", "r");
    let mut delays = Vec::new();
    for _ in 0..12 {
        let id = bare.connect(true);
        bare.secure(id);
        bare.send(id, STREAM.as_bytes());
        bare.heard(id);
        bare.send(id, auth("juliet").as_bytes());
        while bare.hashing() > 0 {
            bare.hash(false);
        }
        let began = bare.now.mono_ms;
        while bare.heard(id).is_empty() {
            bare.advance(50);
            assert!(bare.now.mono_ms - began < 20_000, "an answer at last");
        }
        delays.push(bare.now.mono_ms - began);
        bare.hang_up(id);
    }
    assert!(delays.is_sorted() && *delays.last().unwrap() >= 4_000, "{delays:?}");
    assert!(is_served(&mut bare, romeo));
}

/// XEP-0077 §1, XEP-0205: accounts without end. So many from one address in an hour, so many requests on a stream; names
/// are not tried out without end either, and nobody becomes an admin by being the first to take the name.
#[test]
fn a_registration_flood() {
    let mut settings: Settings = settings();
    settings.about.admins = vec!["root@localhost".to_owned()];
    settings.ping_after_ms = 0;
    let most = settings.registrations_per_hour;
    let mut bare = Bare::new(DomainPolicy { registration: Registration::Open, ..policy() }, settings, 1);
    let romeo = log_in(&mut bare, "romeo", "r");
    let stranger = |bare: &mut Bare| {
        let id = bare.connect(true);
        bare.secure(id);
        ask(bare, id, STREAM);
        id
    };
    let register = |bare: &mut Bare, id, name: &str| {
        let query = format!("<username>{name}</username><password>secret</password>");
        bare.send(
            id,
            format!("<iq type='set' id='r'><query xmlns='jabber:iq:register'>{query}</query></iq>").as_bytes(),
        );
        bare.hash_honestly();
        bare.heard(id)
    };
    let (mut made, mut refused) = (0, 0);
    for number in 0..most * 2 {
        let id = stranger(&mut bare);
        let heard = register(&mut bare, id, &format!("n{number}"));
        made += u32::from(heard.contains("type='result'"));
        refused += u32::from(heard.contains("<resource-constraint"));
        bare.hang_up(id);
    }
    assert_eq!((made, refused), (most, most));
    assert_eq!(bare.core.metrics().registrations, u64::from(most));
    // An hour later; a stream that asks and asks is ended.
    bare.advance(3_600_000);
    let id = stranger(&mut bare);
    for name in ["root", "ROOT", "romeo"] {
        assert!(register(&mut bare, id, name).contains("<conflict"), "{name}");
    }
    let get = "<iq type='get' id='f'><query xmlns='jabber:iq:register'/></iq>";
    let heard: String = (0..REGISTRATION_REQUESTS_MAX).map(|_| ask(&mut bare, id, get)).collect();
    assert!(heard.contains("<policy-violation") && heard.ends_with("</stream:stream>"), "{heard}");
    let id = stranger(&mut bare);
    for number in 3..most {
        assert!(register(&mut bare, id, "romeo").contains("<conflict"), "{number}");
    }
    assert!(register(&mut bare, id, "new").contains("<resource-constraint"));
    assert!(is_served(&mut bare, romeo));
    bare.core.audit().unwrap();
}
