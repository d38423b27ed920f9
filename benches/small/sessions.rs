//! Cases of whole sessions: what the server does for a message, a presence, a login, without sockets and TLS.

use crate::driver::{Driver, Proof};
use crate::frames::MESSAGE;
use crate::meter::Meter;
use stonechat::ids::ConnId;

/// Contacts of the account that broadcasts, all online.
const CONTACTS: usize = 20;

/// A message from one session to another: scanned, stamped, routed, in the other's outbox.
pub(crate) fn route(ops: u32, meter: &mut Meter) {
    let quiet = &mut Meter::quiet();
    let mut driver = Driver::new(&["juliet".to_owned(), "romeo".to_owned()], &[], None);
    let juliet = driver.log_in(quiet, "juliet", Proof::ScramSha256);
    driver.log_in(quiet, "romeo", Proof::ScramSha256);
    repeat(&mut driver, ops, meter, juliet, &[MESSAGE], MESSAGE.len());
}

/// A change of presence, to twenty contacts and the own session.
pub(crate) fn presence(ops: u32, meter: &mut Meter) {
    let (mut driver, hub) = crowd(true);
    let away: &[u8] = b"<presence><show>away</show><status>At the friar's</status><priority>5</priority>\
        <c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://client.example' \
        ver='QgayPKawpkPSDYmwT/WM94uAlu0='/></presence>";
    let back: &[u8] = b"<presence><priority>5</priority><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' \
        node='https://client.example' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/></presence>";
    let hub = hub.expect("it has come");
    repeat(&mut driver, ops, meter, hub, &[away, back], CONTACTS * back.len());
}

/// The same stanzas over and over, which need no row; each must write at least so many bytes.
fn repeat(driver: &mut Driver, ops: u32, meter: &mut Meter, from: ConnId, stanzas: &[&[u8]], written_min: usize) {
    let run = |ops: usize, driver: &mut Driver| (0..ops).for_each(|op| driver.tick(from, stanzas[op % stanzas.len()]));
    run(10, driver);
    driver.take_written();
    meter.run(|| run(ops as usize, driver));
    assert!(driver.take_written() >= ops as usize * written_min, "everything has arrived");
}

/// Twenty contacts with presence, and the account that they see, online too or not.
fn crowd(is_hub_online: bool) -> (Driver, Option<ConnId>) {
    let quiet = &mut Meter::quiet();
    let contacts: Vec<String> = (0..CONTACTS).map(|n| format!("contact{n:02}")).collect();
    let friends: Vec<_> = contacts.iter().map(|contact| ("hub".to_owned(), contact.clone())).collect();
    let accounts: Vec<_> = contacts.iter().cloned().chain(["hub".to_owned()]).collect();
    let mut driver = Driver::new(&accounts, &friends, None);
    for contact in &contacts {
        let id = driver.log_in(quiet, contact, Proof::ScramSha256);
        driver.talk(quiet, id, b"<presence/>");
    }
    let hub = is_hub_online.then(|| {
        let hub = driver.log_in(quiet, "hub", Proof::ScramSha256);
        driver.talk(quiet, hub, b"<presence/>");
        hub
    });
    (driver, hub)
}

/// From a connection to a session and away again, with SCRAM-SHA-256.
pub(crate) fn login_scram(ops: u32, meter: &mut Meter) {
    logins(ops, meter, Proof::ScramSha256);
}

/// The same with PLAIN, whose password the server has hashed before.
pub(crate) fn login_plain(ops: u32, meter: &mut Meter) {
    logins(ops, meter, Proof::Plain);
}

fn logins(ops: u32, meter: &mut Meter, proof: Proof) {
    let mut driver = Driver::new(&["juliet".to_owned()], &[], None);
    let mut run = |ops: u32, meter: &mut Meter| {
        for _ in 0..ops {
            let id = driver.log_in(meter, "juliet", proof);
            driver.log_out(meter, id);
        }
    };
    run(2, &mut Meter::quiet());
    run(ops, meter);
}

/// What a session begins with and ends with: the contact list, presence to and from twenty contacts, goodbye.
pub(crate) fn arrival(ops: u32, meter: &mut Meter) {
    let (mut driver, _) = crowd(false);
    let mut run = |ops: u32, meter: &mut Meter| {
        for _ in 0..ops {
            let hub = driver.log_in(&mut Meter::quiet(), "hub", Proof::ScramSha256);
            let roster = driver.talk(meter, hub, ROSTER_GET);
            assert_eq!(roster.matches("<item ").count(), CONTACTS);
            let heard = driver.talk(meter, hub, b"<presence/>");
            assert_eq!(heard.matches("<presence ").count(), CONTACTS + 1, "{heard}");
            driver.log_out(meter, hub);
        }
    };
    run(2, &mut Meter::quiet());
    run(ops, meter);
}

const ROSTER_GET: &[u8] = b"<iq type='get' id='r1'><query xmlns='jabber:iq:roster'/></iq>";

/// The contact list of twenty, fetched whole.
pub(crate) fn roster(ops: u32, meter: &mut Meter) {
    let (mut driver, hub) = crowd(true);
    let hub = hub.expect("it has come");
    let mut run = |ops: u32, meter: &mut Meter| {
        for _ in 0..ops {
            let roster = driver.talk(meter, hub, ROSTER_GET);
            assert_eq!(roster.matches("<item ").count(), CONTACTS);
        }
    };
    run(2, &mut Meter::quiet());
    run(ops, meter);
}

/// A message for somebody who is away: kept, and replayed when he comes.
pub(crate) fn offline(ops: u32, meter: &mut Meter) {
    const TOGETHER: u32 = 10;
    let quiet = &mut Meter::quiet();
    let mut driver = Driver::new(&["juliet".to_owned(), "romeo".to_owned()], &[], None);
    let juliet = driver.log_in(quiet, "juliet", Proof::ScramSha256);
    let mut run = |ops: u32, meter: &mut Meter| {
        for _ in 0..ops / TOGETHER {
            for _ in 0..TOGETHER {
                assert_eq!(driver.talk(meter, juliet, MESSAGE), "");
            }
            let romeo = driver.log_in(&mut Meter::quiet(), "romeo", Proof::ScramSha256);
            let heard = driver.talk(meter, romeo, b"<presence/>");
            assert_eq!(heard.matches("<message ").count(), TOGETHER as usize, "{heard}");
            driver.log_out(&mut Meter::quiet(), romeo);
        }
    };
    run(TOGETHER, quiet);
    run(ops, meter);
}
