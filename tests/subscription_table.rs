//! The tables of RFC 6121 Appendix A, every cell of both directions, through the core.
//!
//! ```text
//! state in the store ──▶ log in ──▶ a client sends ──▶ what the other hears, what is pushed, the state in the store
//! ```
//!
//! Each table below is the RFC's. The other side is always in a state in which it lets the stanza through, so that
//! what was routed or delivered is what is heard there.

mod common;
#[path = "common/sim.rs"]
mod sim;
mod tls_common;

use common::script::Peer as _;
use sim::{Setup, Sim};
use std::fmt::Write as _;
use stonechat::im::roster::{self, Change, Item};
use stonechat::im::subscription::State;
use stonechat::jid::Jid;
use stonechat::storage::offline;

/// The states in the RFC's order, as it writes them.
const STATES: [(&str, State); 9] = [
    ("None", State::None),
    ("None + Pending Out", State::NoneOut),
    ("None + Pending In", State::NoneIn),
    ("None + Pending Out+In", State::NoneOutIn),
    ("To", State::To),
    ("To + Pending In", State::ToIn),
    ("From", State::From),
    ("From + Pending Out", State::FromOut),
    ("Both", State::Both),
];

/// One table: the stanza, a state of the other side that lets it through, and for each state of ours whether it is
/// routed or delivered, and the new state.
type Table = (&'static str, State, [(bool, State); 9]);

/// A.2: the user sends. A `subscribed` that nobody has asked for is a pre-approval (§3.4).
const OUTBOUND: [Table; 4] = [
    (
        "subscribe",
        State::None,
        [
            (true, State::NoneOut),
            (true, State::NoneOut),
            (true, State::NoneOutIn),
            (true, State::NoneOutIn),
            (true, State::To),
            (true, State::ToIn),
            (true, State::FromOut),
            (true, State::FromOut),
            (true, State::Both),
        ],
    ),
    (
        "unsubscribe",
        State::From,
        [
            (true, State::None),
            (true, State::None),
            (true, State::NoneIn),
            (true, State::NoneIn),
            (true, State::None),
            (true, State::NoneIn),
            (true, State::From),
            (true, State::From),
            (true, State::From),
        ],
    ),
    (
        "subscribed",
        State::NoneOut,
        [
            (false, State::None),
            (false, State::NoneOut),
            (true, State::From),
            (true, State::FromOut),
            (false, State::To),
            (true, State::Both),
            (false, State::From),
            (false, State::FromOut),
            (false, State::Both),
        ],
    ),
    (
        "unsubscribed",
        State::To,
        [
            (false, State::None),
            (false, State::NoneOut),
            (true, State::None),
            (true, State::NoneOut),
            (false, State::To),
            (true, State::To),
            (true, State::None),
            (true, State::NoneOut),
            (true, State::To),
        ],
    ),
];

/// A.3: the contact sends.
const INBOUND: [Table; 4] = [
    (
        "subscribe",
        State::None,
        [
            (true, State::NoneIn),
            (true, State::NoneOutIn),
            (false, State::NoneIn),
            (false, State::NoneOutIn),
            (true, State::ToIn),
            (false, State::ToIn),
            (false, State::From),
            (false, State::FromOut),
            (false, State::Both),
        ],
    ),
    (
        "unsubscribe",
        State::To,
        [
            (false, State::None),
            (false, State::NoneOut),
            (true, State::None),
            (true, State::NoneOut),
            (false, State::To),
            (true, State::To),
            (true, State::None),
            (true, State::NoneOut),
            (true, State::To),
        ],
    ),
    (
        "subscribed",
        State::NoneIn,
        [
            (false, State::None),
            (true, State::To),
            (false, State::NoneIn),
            (true, State::ToIn),
            (false, State::To),
            (false, State::ToIn),
            (false, State::From),
            (true, State::Both),
            (false, State::Both),
        ],
    ),
    (
        "unsubscribed",
        State::From,
        [
            (false, State::None),
            (true, State::None),
            (false, State::NoneIn),
            (true, State::NoneIn),
            (true, State::None),
            (true, State::NoneIn),
            (false, State::From),
            (true, State::From),
            (true, State::From),
        ],
    ),
];

/// Puts a state into the roster of `user`. "None + Pending In" is not in the list, "None" is.
fn put(sim: &mut Sim, user: &str, contact: &str, state: State) {
    let user = Jid::parse(&format!("{user}@localhost")).unwrap();
    let contact = format!("{contact}@localhost");
    let written = offline::run(&mut *sim.engine, |store| {
        let mut change = Change::of(store, user.as_ref(), 1)?;
        let mut item = Item { state, listed: state != State::NoneIn, ..Item::default() };
        change.put(user.as_ref(), &contact, None, &mut item);
        if state.is_asked() {
            change.put_request(user.as_ref(), &contact, true, b"<presence type='subscribe'/>");
        }
        Ok(change.write(store, user.as_ref()))
    });
    written.unwrap().unwrap();
}

fn item(sim: &mut Sim, user: &str, contact: &str) -> Option<Item> {
    let user = Jid::parse(&format!("{user}@localhost")).unwrap();
    offline::run(&mut *sim.engine, |store| roster::get(store, user.as_ref(), &format!("{contact}@localhost"))).unwrap()
}

fn requests(sim: &mut Sim, user: &str) -> usize {
    let user = Jid::parse(&format!("{user}@localhost")).unwrap();
    let waiting = offline::run(&mut *sim.engine, |store| roster::requests(store, user.as_ref())).unwrap();
    let meta = offline::run(&mut *sim.engine, |store| roster::meta(store, user.as_ref())).unwrap();
    assert_eq!(waiting.len(), meta.requests as usize);
    waiting.len()
}

/// Both are there, available, and have asked for the roster.
fn scene(user: State, contact: State) -> Sim {
    let accounts = ["user", "contact"].map(|name| (format!("{name}@localhost"), "secret".to_owned()));
    let mut sim = Sim::new(&Setup { direct: true, accounts: accounts.to_vec(), ..Setup::default() });
    put(&mut sim, "user", "contact", user);
    put(&mut sim, "contact", "user", contact);
    for name in ["user", "contact"] {
        sim.log_in(name, name, "secret", "r");
        sim.send(b"<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>");
    }
    for name in ["user", "contact"] {
        heard(&mut sim, name);
    }
    sim
}

fn heard(sim: &mut Sim, client: &str) -> String {
    sim.select(client);
    String::from_utf8(sim.received()).unwrap()
}

/// What a roster push says of the state.
fn push(contact: &str, state: State) -> String {
    let ask = if state.asks() { " ask='subscribe'" } else { "" };
    format!("<item jid='{contact}@localhost' subscription='{}'{ask}/>", state.name())
}

fn looks(state: State) -> (&'static str, bool) {
    (state.name(), state.asks())
}

/// Notes what is not as it should be.
struct Faults(String);

impl Faults {
    fn expect<T: PartialEq + std::fmt::Debug>(&mut self, cell: &str, what: &str, is: &T, should: &T) {
        if is != should {
            writeln!(self.0, "{cell}: {what} is {is:?} instead of {should:?}").unwrap();
        }
    }
}

/// What follows from a change at the side that changed: the state in the store, the request, and the push.
fn check_side(faults: &mut Faults, cell: &str, sim: &mut Sim, sides: [&str; 2], states: [State; 2], said: &str) {
    let ([side, other], [old, new]) = (sides, states);
    let kept = item(sim, side, other);
    faults.expect(cell, "state", &kept.as_ref().map(|item| item.state).unwrap_or_default(), &new);
    faults.expect(cell, "requests", &requests(sim, side), &usize::from(new.is_asked()));
    let was_listed = old != State::NoneIn;
    let is_pushed = kept.is_some_and(|item| item.listed && !item.approved && !was_listed) || looks(old) != looks(new);
    if is_pushed {
        faults.expect(cell, "push", &said.contains(&push(other, new)), &true);
    }
    let is_approval = said.contains("approved='true'");
    faults.expect(cell, "pushes", &said.matches("<iq ").count(), &usize::from(is_pushed || is_approval));
}

#[test]
fn every_cell_of_what_the_user_sends() {
    let (mut faults, mut cells) = (Faults(String::new()), 0);
    for (stanza, receptive, rows) in OUTBOUND {
        for ((name, old), (is_routed, new)) in STATES.into_iter().zip(rows) {
            let cell = &format!("out {stanza} in {name}");
            let mut sim = scene(old, receptive);
            sim.select("user");
            sim.send(format!("<presence to='contact@localhost/r' type='{stanza}' id='s'/>").as_bytes());
            let (user, contact) = (heard(&mut sim, "user"), heard(&mut sim, "contact"));
            let routed = format!("<presence from='user@localhost' to='contact@localhost' type='{stanza}' id='s'/>");
            faults.expect(cell, "routed", &contact.contains(&routed), &is_routed);
            check_side(&mut faults, cell, &mut sim, ["user", "contact"], [old, new], &user);
            let approved = item(&mut sim, "user", "contact").is_some_and(|item| item.approved);
            let is_approval = stanza == "subscribed" && !is_routed && !old.subscribed().from;
            faults.expect(cell, "approved", &approved, &is_approval);
            faults.expect(cell, "approval pushed", &user.contains("approved='true'"), &is_approval);
            // What the contact sees of the user begins or ends with it, before an `unsubscribed` and behind a
            // `subscribed`.
            let presence = |kind: &str| format!("<presence from='user@localhost/r' to='contact@localhost'{kind}/>");
            let (was, is) = (old.subscribed().from, new.subscribed().from);
            let gone = contact.find(&presence(" type='unavailable'"));
            let there = contact.find(&presence(""));
            faults.expect(cell, "unavailable", &gone.is_some(), &(was && !is));
            faults.expect(cell, "available", &there.is_some(), &(!was && is));
            let at = contact.find(&routed);
            faults.expect(cell, "unavailable comes first", &(gone.is_none() || gone < at), &true);
            faults.expect(cell, "available comes last", &(there.is_none() || there > at), &true);
            cells += 1;
        }
    }
    assert_eq!((faults.0.as_str(), cells), ("", 36));
}

#[test]
fn every_cell_of_what_the_contact_sends() {
    let (mut faults, mut cells) = (Faults(String::new()), 0);
    for (stanza, letting, rows) in INBOUND {
        for ((name, old), (is_delivered, new)) in STATES.into_iter().zip(rows) {
            let cell = &format!("in {stanza} in {name}");
            let mut sim = scene(old, letting);
            sim.select("contact");
            sim.send(
                format!("<presence to='user@localhost' type='{stanza}' id='s'><status>x</status></presence>")
                    .as_bytes(),
            );
            let (user, contact) = (heard(&mut sim, "user"), heard(&mut sim, "contact"));
            let stamped = format!(
                "<presence from='contact@localhost' to='user@localhost' type='{stanza}' id='s'><status>x</status></presence>"
            );
            faults.expect(cell, "delivered", &user.matches(&stamped).count(), &usize::from(is_delivered));
            check_side(&mut faults, cell, &mut sim, ["user", "contact"], [old, new], &user);
            if let (Some(at), Some(push)) = (user.find(&stamped), user.find("<iq ")) {
                faults.expect(cell, "delivered before the push", &(at < push), &true);
            }
            // A subscriber that asks again is told so.
            let is_again = stanza == "subscribe" && old.subscribed().from;
            let again = contact.contains("<presence from='user@localhost' to='contact@localhost' type='subscribed'/>");
            faults.expect(cell, "auto-reply", &again, &is_again);
            let gone =
                contact.contains("<presence from='user@localhost/r' to='contact@localhost' type='unavailable'/>");
            faults.expect(cell, "unavailable", &gone, &(old.subscribed().from && !new.subscribed().from));
            cells += 1;
        }
    }
    assert_eq!((faults.0.as_str(), cells), ("", 36));
}

/// A pre-approval is used up by no number of requests, and ended by a refusal (§3.4.2), in every state that has one.
#[test]
fn an_approval_answers_and_is_taken_back() {
    for (old, new) in [(State::None, State::From), (State::NoneOut, State::FromOut), (State::To, State::Both)] {
        let mut sim = scene(old, State::None);
        sim.select("user");
        sim.send(b"<presence to='contact@localhost' type='subscribed'/>");
        heard(&mut sim, "user");
        sim.select("contact");
        sim.send(b"<presence to='user@localhost' type='subscribe'/>");
        let (user, contact) = (heard(&mut sim, "user"), heard(&mut sim, "contact"));
        assert!(!user.contains("type='subscribe'"), "{old:?}: {user}");
        assert!(
            contact.contains("from='user@localhost' to='contact@localhost' type='subscribed'"),
            "{old:?}: {contact}"
        );
        let kept = item(&mut sim, "user", "contact").unwrap();
        assert_eq!((kept.state, kept.approved), (new, true));
        sim.select("user");
        sim.send(b"<presence to='contact@localhost' type='unsubscribed'/>");
        let kept = item(&mut sim, "user", "contact").unwrap();
        assert_eq!((kept.state, kept.approved), (old, false));
    }
}
