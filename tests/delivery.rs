//! The delivery of messages: RFC 6121 §8.5.4, every state of the recipient × kind of address × type, through the core.
//!
//! ```text
//! table: what the RFC allows, what we do ──▶ alice sends ──▶ who got it, or the error, or neither
//! ```
//!
//! Where the RFC says "store or error" the message waits. For a missing account that is silence, so that nobody learns
//! which accounts there are.

mod common;
#[path = "common/sim.rs"]
mod sim;
mod tls_common;

use common::script::Peer;
use sim::{Setup, Sim};
use std::fmt::Write as _;

/// The types as columns: what a missing and an unknown one mean stands under `normal`.
const COLUMNS: [&[Option<&str>]; 5] = [
    &[Some("normal"), None, Some(""), Some("shout"), Some("Chat")],
    &[Some("chat")],
    &[Some("groupchat")],
    &[Some("headline")],
    &[Some("error")],
];

/// E error, S silent, O offline store, D the one resource addressed or left, M most available ones, A all non-negative.
/// Type `error`: silent unless the very resource is there (RFC 6121 §§8.5.2.1.1, 8.5.3).
struct Row {
    address: &'static str,
    allowed: [&'static str; 5],
    ours: [&'static str; 5],
}

/// A name, bob's resources with their priorities, and what holds then.
type State = (&'static str, &'static [(&'static str, i8)], &'static [Row]);

/// How bob's resources come up, and what holds in each state. `mute` is connected without presence all the time.
const STATES: [State; 4] = [
    (
        "nobody active",
        &[],
        &[
            Row {
                address: "nobody@localhost",
                allowed: ["S/E", "S/E", "E", "S", "S"],
                ours: ["S", "S", "E", "S", "S"],
            },
            Row {
                address: "nobody@localhost/x",
                allowed: ["S/E", "S/E", "S/E", "S/E", "S"],
                ours: ["E", "S", "E", "S", "S"],
            },
            Row { address: "carol@localhost", allowed: ["O/E", "O/E", "E", "S", "S"], ours: ["O", "O", "E", "S", "S"] },
            Row {
                address: "carol@localhost/x",
                allowed: ["S/E", "O/E", "S/E", "S/E", "S"],
                ours: ["E", "O", "E", "S", "S"],
            },
            Row { address: "bob@localhost", allowed: ["O/E", "O/E", "E", "S", "S"], ours: ["O", "O", "E", "S", "S"] },
            Row { address: "bob@localhost/mute", allowed: ["mute", "mute", "mute", "mute", "mute"], ours: ["mute"; 5] },
            Row {
                address: "bob@localhost/gone",
                allowed: ["S/E", "O/E", "S/E", "S/E", "S"],
                ours: ["E", "O", "E", "S", "S"],
            },
        ],
    ),
    (
        "only a negative priority",
        &[("low", -1)],
        &[
            Row { address: "bob@localhost", allowed: ["O/E", "O/E", "E", "S", "S"], ours: ["O", "O", "E", "S", "S"] },
            Row { address: "bob@localhost/low", allowed: ["low"; 5], ours: ["low"; 5] },
            Row {
                address: "bob@localhost/gone",
                allowed: ["S/E", "O/E", "S/E", "S/E", "S"],
                ours: ["E", "O", "E", "S", "S"],
            },
        ],
    ),
    (
        "one non-negative",
        &[("desk", 0)],
        &[
            Row {
                address: "bob@localhost",
                allowed: ["desk", "desk", "E", "desk", "S"],
                ours: ["desk", "desk", "E", "desk", "S"],
            },
            Row { address: "bob@localhost/desk", allowed: ["desk"; 5], ours: ["desk"; 5] },
            Row { address: "bob@localhost/low", allowed: ["low"; 5], ours: ["low"; 5] },
            Row {
                address: "bob@localhost/gone",
                allowed: ["S/E", "desk", "S/E", "S/E", "S"],
                ours: ["E", "desk", "E", "S", "S"],
            },
        ],
    ),
    (
        "several non-negative",
        &[("phone", 7)],
        &[
            Row {
                address: "bob@localhost",
                allowed: ["phone/desk phone", "phone/desk phone", "E", "desk phone", "S"],
                ours: ["desk phone", "desk phone", "E", "desk phone", "S"],
            },
            Row {
                address: "bob@localhost/desk",
                allowed: ["desk", "desk/desk phone", "desk", "desk", "desk"],
                ours: ["desk"; 5],
            },
            Row {
                address: "bob@localhost/phone",
                allowed: ["phone", "phone/desk phone", "phone", "phone", "phone"],
                ours: ["phone"; 5],
            },
            Row {
                address: "bob@localhost/gone",
                allowed: ["S/E", "phone/desk phone", "S/E", "S/E", "S"],
                ours: ["E", "desk phone", "E", "S", "S"],
            },
        ],
    ),
];

const RESOURCES: [&str; 4] = ["desk", "low", "mute", "phone"];

fn heard(sim: &mut Sim, client: &str) -> String {
    sim.select(client);
    String::from_utf8(sim.received()).unwrap()
}

/// Sends one message and says what became of it, in the table's words.
fn outcome(sim: &mut Sim, to: &str, kind: Option<&str>) -> String {
    let attr = kind.map_or(String::new(), |kind| format!(" type='{kind}'"));
    let rest = format!(" to='{to}' id='m'{attr}><body>x</body></message>");
    sim.select("alice");
    let kept = sim.counter("messages_kept");
    sim.send(format!("<message{rest}").as_bytes());
    let delivered = format!("<message from='alice@localhost/r'{rest}");
    let error = format!(
        "<message type='error' id='m' from='{to}' to='alice@localhost/r'><error type='cancel'>\
         <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
    );
    let mut outcome = String::new();
    for client in RESOURCES {
        match heard(sim, client) {
            text if text.is_empty() => {}
            text if text == delivered => write!(outcome, "{client} ").unwrap(),
            text => panic!("{client} got {text}"),
        }
    }
    match heard(sim, "alice") {
        text if text.is_empty() && outcome.is_empty() => match sim.counter("messages_kept") - kept {
            0 => "S".to_owned(),
            _ => "O".to_owned(),
        },
        text if text.is_empty() => outcome.trim_end().to_owned(),
        text if text == error && outcome.is_empty() => "E".to_owned(),
        text => panic!("alice got {text}, the others {outcome}"),
    }
}

#[test]
fn messages_go_where_the_table_says() {
    let accounts = ["alice", "bob", "carol"].map(|name| (format!("{name}@localhost"), "pw".to_owned()));
    let mut sim = Sim::new(&Setup { direct: true, accounts: accounts.into(), ..Setup::default() });
    sim.log_in("alice", "alice", "pw", "r");
    for resource in RESOURCES {
        sim.log_in(resource, "bob", "pw", resource);
    }
    for (state, presences, rows) in STATES {
        for (resource, priority) in presences {
            sim.select(resource);
            sim.send(format!("<presence><priority>{priority}</priority></presence>").as_bytes());
        }
        for client in RESOURCES {
            heard(&mut sim, client);
        }
        for Row { address, allowed, ours } in rows {
            for ((kinds, allowed), ours) in COLUMNS.iter().zip(allowed).zip(ours) {
                assert!(allowed.split('/').any(|one| one == *ours), "{state}: {address} {kinds:?}: {ours}");
                for kind in *kinds {
                    assert_eq!(outcome(&mut sim, address, *kind), *ours, "{state}: {address} {kind:?}");
                }
            }
        }
    }
}
