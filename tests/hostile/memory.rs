//! Memory that strangers can make grow.

use super::counting::{counted, live_bytes};
use super::{STREAM, auth, is_served, log_in, server};
use crate::bare::{Bare, policy, settings};
use stonechat::core::Settings;
use stonechat::stream::DomainPolicy;

/// Connections of one attack.
const STRANGERS: usize = 400;
/// What one stranger may make the core keep: its unfinished element, at most 10,000 bytes in a buffer that grows by
/// doubling, its row, and the scanner's marks.
const STRANGER_BYTES_MAX: usize = 32 * 1024;
/// What all that are gone may leave behind: columns and pooled buffers, not connections.
const LEFT_BYTES_MAX: usize = 256 * 1024;

/// Everything in the core that is counted, and everything that is not: the allocator's word.
fn grown(bare: &mut Bare, attack: impl FnOnce(&mut Bare)) -> usize {
    let before = live_bytes();
    counted(|| attack(bare));
    usize::try_from(live_bytes() - before).unwrap_or(0)
}

/// CVE-2026-43506 (Prosody): connections that come and go without a login leave memory behind.
#[test]
fn strangers_that_come_and_go_leave_nothing() {
    let mut bare = Bare::new(DomainPolicy { tls_required: false, ..policy() }, settings(), 1);
    let storm = |bare: &mut Bare| {
        for number in 0..STRANGERS {
            let id = bare.connect(number % 4 == 0);
            match number % 4 {
                0 => bare.secure(id),
                1 => {}
                2 => bare.send(id, &STREAM.as_bytes()[..number % STREAM.len()]),
                _ => {
                    bare.send(id, STREAM.as_bytes());
                    bare.send(id, b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>biwsbj1hLHI9Yg==</auth>");
                }
            }
            bare.hang_up(id);
            bare.forget(id);
        }
    };
    storm(&mut bare);
    let left = grown(&mut bare, storm);
    // The second storm finds the room that the first one made.
    assert!(left < LEFT_BYTES_MAX / 8, "{left} bytes of {STRANGERS} connections are left");
    assert_eq!((bare.core.connections(), bare.core.counters()["timers"]), (0, 0));
}

/// CVE-2026-43507 (Prosody), held open: each stranger gives as much as it may, in whatever costs most.
#[test]
fn strangers_that_stay_are_small() {
    let attacks = [
        ("an unfinished text", format!("<a>{}", "x".repeat(9_900))),
        ("a tag that does not end", format!("<a b='{}", "x".repeat(8_000))),
        ("attributes", format!("<a{}", (0..60).map(|n| format!(" b{n}='{}'", "v".repeat(90))).collect::<String>())),
        (
            "declarations",
            format!("<a{}>", (0..30).map(|n| format!(" xmlns:b{n}='{}'", "u".repeat(200))).collect::<String>()),
        ),
        ("depth", "<a>".repeat(31)),
        ("elements", format!("<a>{}", "<b c='1'/>".repeat(30))),
        ("references", format!("<a>{}", "&#x41;".repeat(1_600))),
        ("white space", " ".repeat(9_900)),
        ("a header that does not end", format!("<stream:stream to='{}", "x".repeat(8_000))),
        (
            "a header full of declarations",
            format!(
                "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams'{}>",
                (0..29).map(|n| format!(" xmlns:b{n}='{}'", "u".repeat(200))).collect::<String>()
            ),
        ),
        (
            "many elements",
            "<iq xmlns='jabber:client' type='get' id='a'><query xmlns='jabber:iq:auth'/></iq>".repeat(200),
        ),
    ];
    for (what, attack) in attacks {
        let mut bare = server();
        let has_header = attack.starts_with("<stream");
        let grown = grown(&mut bare, |bare| {
            for _ in 0..STRANGERS {
                let id = bare.connect(false);
                if !has_header {
                    bare.send(id, STREAM.as_bytes());
                    bare.heard(id);
                }
                bare.send(id, attack.as_bytes());
                drop(bare.heard(id));
            }
        });
        let each = grown / STRANGERS;
        assert!(each < STRANGER_BYTES_MAX, "{what}: {each} bytes each, for {} bytes", attack.len());
        // What is told is what is kept, but for the driver's own books.
        let told = bare.core.heap_bytes();
        assert!(told <= grown, "{what}: {told} bytes are told, {grown} are kept");
        bare.core.audit().unwrap();
    }
}

/// CVE-2026-43507 by many: past the bound of unfinished stanzas the newest ends, and who has a session
/// goes on.
#[test]
fn unfinished_stanzas_have_a_bound_in_all() {
    let settings = Settings { partial_bytes_max: 1024 * 1024, ..settings() };
    let mut bare = Bare::new(policy(), settings, 1);
    let juliet = log_in(&mut bare, "juliet", "r");
    for _ in 0..STRANGERS {
        let id = bare.connect(false);
        bare.send(id, STREAM.as_bytes());
        bare.send(id, format!("<a>{}", "x".repeat(9_900)).as_bytes());
        assert!(bare.core.counters()["partial_bytes"] <= 1024 * 1024);
    }
    assert!(is_served(&mut bare, juliet));
}

/// CVE-2026-43506 by failing logins: a connection that only ever fails to log in: attempts, then the end; nothing is
/// kept of it but the throttle's row.
#[test]
fn failed_logins_are_forgotten() {
    let mut bare = server();
    let guesses = |bare: &mut Bare| {
        for number in 0..200 {
            let id = bare.connect(true);
            bare.secure(id);
            bare.send(id, STREAM.as_bytes());
            bare.send(id, auth(&format!("nobody{}", number % 50)).as_bytes());
            while bare.hashing() > 0 {
                bare.hash(false);
            }
            bare.advance(10_000);
            bare.hang_up(id);
            bare.forget(id);
        }
    };
    guesses(&mut bare);
    let left = grown(&mut bare, guesses);
    assert!(left < LEFT_BYTES_MAX / 8, "{left} bytes are left");
}
