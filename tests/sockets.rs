//! The server over real sockets and real TLS: the transcripts once more, and what only sockets show.

mod common;
#[path = "common/sim.rs"]
mod sim;
#[path = "common/socket_peer.rs"]
mod socket_peer;
mod tls_common;

use common::script::{Act, Cut, Peer as _, Script, play};
use sim::Setup;
use socket_peer::{Running, SocketPeer};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

fn scripts() -> Vec<Script> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    paths.sort();
    paths.iter().map(|path| Script::load(path).unwrap_or_else(|error| panic!("{error}"))).collect()
}

/// Scripts that need a clock of their own are the simulation's.
fn needs_a_clock(script: &Script) -> bool {
    script.steps.iter().any(|step| matches!(step.act, Act::Wait { .. }))
}

#[test]
fn transcripts_hold_over_sockets_and_tls() {
    let scripts: Vec<Script> = scripts().into_iter().filter(|script| !needs_a_clock(script)).collect();
    assert!(scripts.len() > 50, "only {} scripts", scripts.len());
    let faults = std::sync::Mutex::new(Vec::new());
    let next = std::sync::atomic::AtomicUsize::new(0);
    // Mostly waiting for silence: several at a time.
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                while let Some(script) = scripts.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    let running = Running::start(&Setup::of(script));
                    let mut peer = SocketPeer::new(&running);
                    if let Err(mismatch) = play(script, Cut::Whole, &mut peer) {
                        faults.lock().unwrap().push(mismatch.to_string());
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{} transcripts:\n\n{}", faults.len(), faults.join("\n\n"));
}

const HEADER: &[u8] = b"<stream:stream to='localhost' version='1.0' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams'>";

/// RFC 6120 §5.4.3.2: no XML, an alert, and the connection is gone.
#[test]
fn garbage_instead_of_a_client_hello_ends_with_an_alert_and_no_xml() {
    let running = Running::start(&Setup::default());
    let mut socket = TcpStream::connect(running.starttls).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.write_all(HEADER).unwrap();
    read_until(&mut socket, b"</stream:features>");
    socket.write_all(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").unwrap();
    read_until(&mut socket, b"xmpp-tls'/>");
    socket.write_all(b"<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>").unwrap();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.first(), Some(&21), "a TLS alert record, not {:?}", String::from_utf8_lossy(&rest));
    assert!(!rest.contains(&b'<'));
}

/// A client that goes away at any step leaves a server that serves the next one.
#[test]
fn a_drop_at_each_step_leaves_nothing_behind() {
    let running =
        Running::start(&Setup { accounts: vec![("alice@localhost".into(), "secret".into())], ..Setup::default() });
    for step in 0..4 {
        let mut socket = TcpStream::connect(running.starttls).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        if step > 0 {
            socket.write_all(HEADER).unwrap();
        }
        if step > 1 {
            read_until(&mut socket, b"</stream:features>");
            socket.write_all(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").unwrap();
        }
        if step > 2 {
            read_until(&mut socket, b"xmpp-tls'/>");
            socket.write_all(&[22, 3, 1, 2]).unwrap();
        }
    }
    let mut peer = SocketPeer::new(&running);
    peer.select("after");
    peer.send(HEADER);
    peer.wait();
    assert!(String::from_utf8_lossy(&peer.received()).contains("<starttls"));
}

fn read_until(socket: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    let mut byte = [0];
    while !all.ends_with(end) {
        socket.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {}", String::from_utf8_lossy(&all)));
        all.push(byte[0]);
    }
    all
}
