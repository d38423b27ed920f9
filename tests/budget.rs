//! Bounds of the whole server: who gives way, who is slowed down, who is not let in, and that the others never notice.

mod common;
#[path = "common/sim.rs"]
mod sim;
mod tls_common;

use common::script::Peer as _;
use sim::{Setup, Sim};
use stonechat::core::{Core, Refused, Settings, Strain};
use stonechat::ids::ConnId;
use stonechat::limits::{GIVE_WAY_MS, RATE_BURST_S, TICK_BYTES_MAX, WORK_ERROR, WORK_RECIPIENT, WORK_WRITE};
use stonechat::purse::Rates;
use stonechat::xml::XmlLimits;

const KIB: usize = 1024;
const PEER: &str = "198.51.100.7";

/// A server with a few accounts that have direct TLS.
fn server(tune: fn(&mut Settings)) -> Sim {
    let names = ["alice", "bob", "carol", "dave"];
    let accounts = names.map(|name| (format!("{name}@localhost"), "secret".to_owned())).to_vec();
    let mut sim = Sim::new(&Setup { direct: true, accounts, tune, ..Setup::default() });
    for name in names {
        sim.log_in(name, name, "secret", "r");
        sim.received();
    }
    sim
}

fn say(sim: &mut Sim, from: &str, to: &str, bytes: usize) {
    sim.select(from);
    let body = "x".repeat(bytes);
    sim.send(format!("<message to='{to}@localhost/r'><body>{body}</body></message>").as_bytes());
}

fn heard(sim: &mut Sim, name: &str) -> String {
    sim.select(name);
    String::from_utf8(sim.received()).unwrap()
}

/// The stanza of each number.
type Words<'a> = &'a dyn Fn(usize) -> String;

/// A connection that says nothing.
fn come(sim: &mut Sim) -> Result<ConnId, Refused> {
    sim.core.accept(PEER.parse().unwrap(), false, sim.now)
}

/// Takes what has to be done and does it for connections that the simulation does not know.
fn carry_out(sim: &mut Sim, strangers: &[ConnId]) {
    for _ in 0..3 {
        let mut actions = Vec::new();
        sim.core.close_overflown(sim.now);
        sim.core.take_actions(&mut actions);
        for action in actions.iter().filter(|action| strangers.contains(&action.conn())) {
            if !matches!(action, stonechat::action::Action::ReadGate { .. }) {
                sim.core.free(action.conn(), sim.now);
            }
        }
    }
    sim.core.audit().unwrap();
}

#[test]
fn the_largest_outbox_gives_way_and_is_told() {
    let mut sim = server(|settings| settings.outbox.total_bytes_max = 100 * KIB);
    sim.stuck = Some("bob".into());
    for _ in 0..4 {
        say(&mut sim, "alice", "bob", 20 * KIB);
    }
    assert_eq!(sim.core.metrics().slow_readers, 0);
    // Carol reads: what puts all together over their bound is hers, and bob's is the largest.
    say(&mut sim, "alice", "carol", 30 * KIB);
    assert_eq!(sim.core.metrics().slow_readers, 1);
    assert!(heard(&mut sim, "carol").contains("<message"));
    sim.stuck = None;
    let told = heard(&mut sim, "bob");
    assert!(told.contains("<resource-constraint") && told.ends_with("</stream:stream>"), "{told}");
    assert_eq!(sim.core.sessions(), 3);
}

#[test]
fn the_largest_unfinished_stanza_gives_way() {
    let mut sim = server(|settings| settings.partial_bytes_max = 100 * KIB);
    for (name, bytes) in [("alice", 30 * KIB), ("bob", 60 * KIB), ("carol", 30 * KIB)] {
        sim.select(name);
        sim.send(format!("<message to='dave@localhost/r'><body>{}", "x".repeat(bytes)).as_bytes());
    }
    assert!(heard(&mut sim, "bob").contains("<resource-constraint"));
    assert_eq!((sim.core.sessions(), sim.core.metrics().shed_partial), (3, 1));
    for name in ["alice", "carol"] {
        sim.select(name);
        sim.send(b"</body></message>");
    }
    assert_eq!(heard(&mut sim, "dave").matches("<message").count(), 2);
}

/// Between two looks at the budget many may grow: it holds then too.
#[test]
fn unfinished_stanzas_stay_within_the_budget_in_the_middle_of_a_tick() {
    let mut sim = server(|settings| {
        settings.memory_max = 2_300 * KIB;
        settings.xml = XmlLimits::with_frame_bytes(256 * KIB as u32);
    });
    sim.settle();
    let piece = "x".repeat(16 * KIB);
    for name in ["alice", "bob", "carol", "dave"] {
        let (id, now) = (sim.conn(name), sim.now);
        sim.core.receive(id, b"<message to='dave@localhost/r'><body>", now);
        for _ in 0..15 {
            sim.core.receive(id, piece.as_bytes(), now);
            assert!(sim.core.memory().all() < 2_300 * KIB, "{:?}", sim.core.memory());
        }
    }
    assert!((1..4).contains(&sim.core.metrics().shed_partial), "{:?}", sim.core.metrics());
}

/// Whoever has much to say waits in turn with what is beyond its share.
#[test]
fn one_that_asks_for_much_takes_its_share_of_a_tick() {
    let mut sim = server(|_| {});
    let ask = "<iq type='get' id='q' to='localhost'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>";
    let (alice, bob, now) = (sim.conn("alice"), sim.conn("bob"), sim.now);
    let max = TICK_BYTES_MAX.min(256 * KIB / 4);
    sim.core.share_tick(8);
    sim.core.receive(alice, ask.repeat(150).as_bytes(), now);
    let first = sim.core.outboxes().tick_bytes();
    assert!((max / 8..max / 8 + 4 * KIB).contains(&first), "{first}");
    // Whoever comes behind it has a share too, in the same tick.
    sim.core.receive(bob, ask.as_bytes(), now);
    assert!(sim.core.outboxes().tick_bytes() > first && sim.core.wants_read(bob) && !sim.core.wants_read(alice));
    assert_eq!(heard(&mut sim, "bob").matches("<iq").count(), 1);
    assert_eq!(heard(&mut sim, "alice").matches("<iq").count(), 150);
}

#[test]
fn who_has_not_logged_in_goes_first_when_memory_is_short() {
    let mut sim = server(|settings| settings.memory_max = 1_900 * KIB);
    let mut strangers = Vec::new();
    while sim.core.strain() == Strain::Calm {
        strangers.push(come(&mut sim).unwrap());
        assert!(strangers.len() < 2_000, "{:?}", sim.core.memory());
        sim.core.close_overflown(sim.now);
    }
    assert!(sim.core.is_full() && come(&mut sim) == Err(Refused::Full));
    carry_out(&mut sim, &strangers);
    assert!(sim.core.metrics().shed_before_login > 0);
    assert_eq!((sim.core.strain(), sim.core.sessions()), (Strain::Calm, 4));
    // The oldest went.
    let (first, last) = (strangers[0], strangers[strangers.len() - 1]);
    assert!(!sim.core.wants_read(first) && sim.core.wants_read(last));
    assert!(come(&mut sim).is_ok());
    say(&mut sim, "alice", "bob", 10);
    assert!(heard(&mut sim, "bob").contains("<message"));
}

#[test]
fn the_slowest_readers_go_next() {
    let mut sim = server(|settings| {
        settings.memory_max = 1_900 * KIB;
        settings.outbox.bytes_max = 2_000 * KIB;
    });
    sim.stuck = Some("bob".into());
    let mut said = 0;
    while sim.core.metrics().slow_readers == 0 {
        say(&mut sim, "alice", "bob", 50 * KIB);
        said += 1;
        assert!(sim.core.memory().all() < 1_900 * KIB, "{:?}", sim.core.memory());
        assert!(said < 100);
    }
    assert!(said > 4, "{said}");
    sim.settle();
    assert_eq!((sim.core.sessions(), sim.core.strain()), (3, Strain::Calm), "{:?}", sim.core.memory());
    say(&mut sim, "alice", "carol", 10);
    assert!(heard(&mut sim, "carol").contains("<message"));
}

/// A small server of which bob takes ever more, by presence to strangers whose addresses are long.
fn filled_by_bob(is_enough: impl Fn(&Core) -> bool) -> Sim {
    let mut sim = server(|settings| {
        settings.memory_max = 1_900 * KIB;
        settings.bounds.directed_max = 1_000;
        settings.bounds.directed_bytes_max = usize::MAX;
        settings.overlay_bytes_max = 1024;
    });
    let name = "n".repeat(900);
    for number in 0..600 {
        if is_enough(&sim.core) {
            break;
        }
        sim.select("bob");
        sim.send(format!("<presence to='{name}{number}@localhost/{name}'/>").as_bytes());
    }
    sim
}

/// Below the mark where readers are ended nobody else may come in: whoever fills memory just so far, and lets it lie, must
/// not keep everybody out for as long as it likes.
#[test]
fn who_holds_much_does_not_keep_others_out() {
    let mut sim = filled_by_bob(|core| core.strain() > Strain::Calm);
    assert_eq!((sim.core.strain(), come(&mut sim)), (Strain::Tight, Err(Refused::Full)));
    sim.advance(10 * GIVE_WAY_MS);
    assert_eq!((sim.core.strain(), sim.core.sessions()), (Strain::Tight, 4), "nobody waits");
    let due = sim.core.make_place(sim.now).unwrap();
    assert_eq!(due, sim.now.mono_ms + GIVE_WAY_MS);
    sim.advance(GIVE_WAY_MS - 1);
    assert_eq!((sim.core.make_place(sim.now), sim.core.sessions()), (Some(due), 4));
    sim.advance(1);
    assert!(sim.core.make_place(sim.now).is_some_and(|next| next > sim.now.mono_ms));
    sim.settle();
    assert_eq!((sim.core.strain(), sim.core.sessions()), (Strain::Calm, 3), "{:?}", sim.core.memory());
    assert!(come(&mut sim).is_ok());
    say(&mut sim, "alice", "carol", 10);
    assert!(heard(&mut sim, "carol").contains("<message"));
}

/// A roster, block lists and presence are a session's too: where nothing else helps, the largest goes.
#[test]
fn the_largest_session_goes_last() {
    let mut sim = filled_by_bob(|core| core.metrics().shed_sessions > 0);
    assert_eq!((sim.core.metrics().shed_sessions, sim.core.sessions()), (1, 3), "{:?}", sim.core.memory());
    assert!(heard(&mut sim, "bob").contains("<resource-constraint"));
    say(&mut sim, "alice", "carol", 10);
    assert!(heard(&mut sim, "carol").contains("<message"));
}

/// What the system counts and nobody here holds is the allocator's: it may be given back in a moment, so one session goes for
/// each look at it and not all at once. It is believed to be gone bit by bit, since it soon comes again.
#[test]
fn not_everybody_goes_for_what_the_allocator_keeps() {
    let mut sim = server(|settings| settings.memory_max = 4_096 * KIB);
    let looked = |sim: &mut Sim, bytes: usize| {
        sim.core.note_resident(bytes);
        // Many ticks go by until the next look.
        (0..10).for_each(|_| sim.advance(1));
    };
    looked(&mut sim, 4_095 * KIB);
    assert_eq!((sim.core.strain(), sim.core.sessions()), (Strain::Full, 3));
    looked(&mut sim, 4_095 * KIB);
    assert_eq!((sim.core.strain(), sim.core.sessions()), (Strain::Full, 2));
    let counted = sim.core.memory().all();
    looked(&mut sim, counted);
    assert!(sim.core.strain() > Strain::Calm, "not yet");
    (0..100).for_each(|_| looked(&mut sim, KIB));
    assert_eq!((sim.core.strain(), sim.core.sessions()), (Strain::Calm, 2));
}

#[test]
fn who_sends_too_much_is_read_later_and_loses_nothing() {
    let mut sim = server(|settings| settings.rates = Rates::new(0, 20));
    let burst = 20 * RATE_BURST_S as usize;
    let many: String = (0..burst + 50).map(|n| format!("<message to='bob@localhost/r' id='{n}'/>")).collect();
    // An address that is new to it costs more than all of them; that is paid for before they count.
    sim.select("alice");
    sim.send(b"<message to='bob@localhost/r'/>");
    sim.advance(60_000);
    heard(&mut sim, "bob");
    sim.select("alice");
    sim.send(many.as_bytes());
    let count = |sim: &mut Sim| heard(sim, "bob").matches("<message").count();
    let first = count(&mut sim);
    assert!((burst..burst + 5).contains(&first), "{first}");
    assert!(!sim.core.wants_read(sim.conn("alice")));
    assert_eq!(sim.counter("slowed"), 1);
    sim.advance(1_000);
    let second = count(&mut sim);
    assert!((15..=25).contains(&second), "{second}");
    sim.advance(60_000);
    assert_eq!(first + second + count(&mut sim), burst + 50);
    // Others were never slowed, and an idle session has no timer for it.
    say(&mut sim, "carol", "dave", 10);
    assert!(heard(&mut sim, "dave").contains("<message"));
    assert!(sim.core.wants_read(sim.conn("alice")));
}

#[test]
fn bytes_have_a_rate_of_their_own() {
    let mut sim = server(|settings| settings.rates = Rates::new(10_000, 0));
    for _ in 0..3 {
        say(&mut sim, "alice", "bob", 20_000);
    }
    assert!(!sim.core.wants_read(sim.conn("alice")));
    let before = heard(&mut sim, "bob").matches("<message").count();
    assert_eq!(before, 1, "the burst is four seconds' worth");
    sim.advance(1_000);
    assert_eq!(heard(&mut sim, "bob").matches("<message").count(), 1);
    sim.advance(3_000);
    assert_eq!(heard(&mut sim, "bob").matches("<message").count(), 1);
}

/// Stanzas to strangers, errors and writes cost more than those to whom one knows; what reads much, see `hostile/work.rs`.
#[test]
fn floods_meet_the_same_bound() {
    let mut sim = server(|settings| settings.rates = Rates::new(0, 1_000));
    let handled = |sim: &mut Sim, words: &dyn Fn(usize) -> String| {
        let before = sim.now.mono_ms;
        sim.select("alice");
        for number in 0..100 {
            sim.send(words(number).as_bytes());
            sim.received();
        }
        // Until the last of them was read.
        while !sim.core.wants_read(sim.conn("alice")) {
            sim.advance(100);
        }
        let took = sim.now.mono_ms - before;
        sim.advance(30_000);
        took
    };
    let known = handled(&mut sim, &|n| format!("<message to='bob@localhost/r' id='{n}'/>"));
    let strangers = handled(&mut sim, &|n| format!("<message to='x{n}@localhost'/>"));
    assert_eq!(known, 0);
    // Nor does it help to write the address in another way.
    let disguised = handled(&mut sim, &|n| format!("<message to='y{n}&#64;localhost'/>"));
    assert!(disguised >= strangers / 2, "{disguised} {strangers}");
    let earned_ms = (100 - 8) * u64::from(WORK_RECIPIENT) - RATE_BURST_S * 1_000;
    assert!((earned_ms / 2..earned_ms * 2).contains(&strangers), "{strangers} {earned_ms}");
    // Nor to be refused, or to have something written, in whatever kind of stanza.
    let error = u64::from(WORK_ERROR);
    let write = u64::from(WORK_WRITE);
    let rows: [(&str, u64, Words<'_>); 4] = [
        ("presence to nobody", 0, &|n| format!("<presence id='{n}' to='localhost'/>")),
        ("queries that are refused", error, &|n| {
            format!("<iq type='get' id='{n}' to='localhost'><x xmlns='urn:x'/></iq>")
        }),
        ("subscriptions", write, &|n| match n % 2 {
            0 => "<presence type='subscribe' to='carol@localhost'/>".to_owned(),
            _ => "<presence type='unsubscribe' to='carol@localhost'/>".to_owned(),
        }),
        ("roster items", write, &|n| {
            format!("<iq type='set' id='{n}'><query xmlns='jabber:iq:roster'><item jid='c@h' name='{n}'/></query></iq>")
        }),
    ];
    for (what, price, words) in rows {
        let took = handled(&mut sim, words);
        let least_ms = (100 * price).saturating_sub(RATE_BURST_S * 1_000 + u64::from(WORK_RECIPIENT));
        assert!(took >= least_ms, "{what}: {took} ms, at least {least_ms}");
        assert!(price > 0 || took == 0, "{what}: {took} ms");
    }
}

#[test]
fn who_does_not_read_its_answers_is_not_read() {
    let mut sim = server(|settings| settings.outbox.bytes_max = 64 * KIB);
    sim.stuck = Some("alice".into());
    sim.select("alice");
    for number in 0..2_000 {
        sim.send(
            format!("<iq type='get' id='{number}' to='localhost'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
                .as_bytes(),
        );
    }
    assert!(!sim.core.wants_read(sim.conn("alice")));
    assert_eq!((sim.core.metrics().slow_readers, sim.core.sessions()), (0, 4));
    sim.stuck = None;
    let told = heard(&mut sim, "alice");
    assert_eq!(told.matches("<iq").count(), 2_000);
}

#[test]
fn a_place_that_nobody_uses_goes_to_somebody_new() {
    let mut sim = server(|settings| {
        settings.admission.connections_before_login_max = 3;
        settings.admission.handshakes_max = 2;
    });
    let strangers: Vec<ConnId> = (0..3).map(|_| come(&mut sim).unwrap()).collect();
    assert!(sim.core.is_full() && come(&mut sim) == Err(Refused::Full));
    let due = sim.core.make_place(sim.now).unwrap();
    assert_eq!(due, sim.now.mono_ms + GIVE_WAY_MS);
    sim.now.mono_ms = due;
    assert_eq!(sim.core.make_place(sim.now), None);
    carry_out(&mut sim, &strangers);
    assert!(!sim.core.is_full());
    let others = [(); 2].map(|()| come(&mut sim).unwrap());
    others.iter().for_each(|id| sim.core.handshaking(*id));
    // Two handshakes are under way: there are places before the login, but not for a third.
    assert!(sim.core.is_full());
    carry_out(&mut sim, &others);
    sim.core.peer_gone(others[0], sim.now);
    carry_out(&mut sim, &others);
    assert!(!sim.core.is_full() && come(&mut sim).is_ok());
}
