//! The binary on a disk without room, and on one that cannot be written: what is refused, what goes on, what is kept.
//!
//! What each layer does on the way is in `core_promises` and `storage/disk/tests.rs`; here it is all of it at once.

mod tls_common;

#[path = "common/process.rs"]
mod process;

#[path = "common/small_disk.rs"]
mod small_disk;

#[path = "common/wire.rs"]
mod wire;

use process::{Folder, Server};
use small_disk::SmallDisk;
use stonechat::clock::Clock;
use wire::{Wire, configure};

/// Far less than anything waits for a disk, and far more than two clients need.
const AT_ONCE_MS: u64 = 10_000;
const DISK_BYTES: u64 = 12 * 1024 * 1024;
const CONFIG: &str = "data_dir = \"small/data\"\nregistration = \"open\"\n[storage]\nreserve_bytes = 1048576\n";

fn add_users(folder: &Folder) {
    for user in ["alice", "bob", "carol"] {
        let (code, _, err) = folder.run(&["user", "add", &format!("{user}@localhost")], "secret\n");
        assert_eq!(code, 0, "{err}");
    }
}

fn chat(from: &mut Wire, to: &mut Wire, whom: &str, text: &str) {
    let clock = Clock::new();
    let began_ms = clock.now().mono_ms;
    from.say(&format!("<message to='{whom}@localhost' type='chat'><body>{text}</body></message>"));
    to.hear(&format!("<body>{text}</body>"));
    assert!(clock.now().mono_ms - began_ms < AT_ONCE_MS, "{text}");
}

/// Answers wait for room and no longer than their deadline; chat goes on; nothing that was acknowledged is lost, and
/// nothing is corrupt.
#[test]
fn on_a_full_disk_chat_goes_on_and_writes_wait_or_fail() {
    let folder = Folder::new("full");
    let Some(disk) = SmallDisk::mount(&folder.0.join("small"), DISK_BYTES) else { return };
    let world = configure(&folder, CONFIG);
    let mut server = Server::start(&folder);
    let direct = server.address("(direct TLS)").to_owned();
    add_users(&folder);
    let mut alice = Wire::log_in(&direct, &world, "alice", "secret");
    let mut bob = Wire::log_in(&direct, &world, "bob", "secret");
    for wire in [&mut alice, &mut bob] {
        wire.say("<presence/>");
        wire.hear("<presence");
    }
    let mut newcomer = Wire::open(&direct, &world);

    // For a while: what was asked is answered when there is room.
    disk.fill();
    alice.say("<iq type='set' id='waits'><query xmlns='jabber:iq:roster'><item jid='bob@localhost'/></query></iq>");
    alice.say("<message to='carol@localhost' type='chat'><body>For later.</body></message>");
    newcomer.say(
        "<iq type='set' id='reg'><query xmlns='jabber:iq:register'><username>dave</username>\
         <password>x1</password></query></iq>",
    );
    chat(&mut bob, &mut alice, "alice", "The disk is full, and we talk.");
    chat(&mut alice, &mut bob, "bob", "So we do.");
    disk.make_room();
    alice.hear("<iq type='result' id='waits'");
    newcomer.hear("<iq type='result' id='reg'");
    let mut carol = Wire::log_in(&direct, &world, "carol", "secret");
    carol.say("<presence/>");
    carol.hear("<body>For later.</body>");

    // For good: whoever waits is told that nobody knows.
    disk.fill();
    alice.say("<iq type='set' id='fails'><query xmlns='jabber:iq:roster'><item jid='carol@localhost'/></query></iq>");
    chat(&mut bob, &mut carol, "carol", "Still talking.");
    let (code, _, err) = folder.run(&["user", "add", "erin@localhost"], "secret\n");
    assert!(
        code == 1 && err.contains("the disk has not taken it within 30 s; whether it was done is unknown"),
        "{err}"
    );
    assert!(alice.hear("</stream:stream>").contains("<internal-server-error"));
    chat(&mut bob, &mut carol, "carol", "And still.");
    disk.make_room();
    assert_eq!(folder.run(&["stop"], "").0, 0);
    assert_eq!(server.ended().1, Some(0));

    // All of it is there, whole.
    let listed = folder.run(&["user", "list"], "").1;
    for user in ["alice", "bob", "carol", "dave"] {
        assert!(listed.contains(&format!("{user}@localhost\n")), "{listed}");
    }
    let mut server = Server::start(&folder);
    let mut alice = Wire::log_in(server.address("(direct TLS)"), &world, "alice", "secret");
    let roster = alice.ask("get", "roster", "<query xmlns='jabber:iq:roster'/>");
    assert!(roster.contains("jid='bob@localhost'"), "{roster}");
    assert_eq!(folder.run(&["backup", "copy.redb"], "").0, 0);
    assert_eq!(folder.run(&["stop"], "").0, 0);
    assert_eq!(server.ended().1, Some(0));
}

#[test]
fn a_disk_that_cannot_be_written_is_named() {
    let folder = Folder::new("read-only");
    let Some(disk) = SmallDisk::mount(&folder.0.join("small"), DISK_BYTES) else { return };
    let _world = configure(&folder, CONFIG);
    let mut server = Server::start(&folder);
    add_users(&folder);
    assert_eq!(folder.run(&["stop"], "").0, 0);
    assert_eq!(server.ended().1, Some(0));
    disk.make_read_only();
    for words in [&[][..], &["user", "list"], &["user", "add", "dave@localhost"], &["backup", "copy.redb"]] {
        let (code, out, err) = folder.run(words, "secret\n");
        assert!(code == 1 && err.contains("Read-only file system"), "{words:?}: {out}{err}");
    }
}
