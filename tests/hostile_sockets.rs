//! What only real sockets can do to a server: ends that come with the last bytes, readers that stop, resets, silence.
//!
//! Sessions are anonymous and in the clear, so that a test costs no handshake and no hash; TLS has `tls_hostile.rs`.

mod common;
#[path = "common/sim.rs"]
mod sim;
#[path = "common/socket_peer.rs"]
mod socket_peer;
mod tls_common;

use sim::Setup;
use socket_peer::Running;
use socket2::SockRef;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

const HEADER: &str = "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams'>";
const PING: &str = "<iq type='get' id='ping' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>";
/// Longer than any answer takes, shorter than any deadline of the server that would end a connection in its stead.
const PATIENCE: Duration = Duration::from_secs(10);

fn server() -> Running {
    Running::start(&Setup { tls_required: false, anonymous: true, ..Setup::default() })
}

fn connect(running: &Running) -> TcpStream {
    let socket = TcpStream::connect(running.starttls).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// A client with a session, and its address.
fn login(running: &Running, resource: &str) -> (TcpStream, String) {
    log_in(connect(running), resource, TcpStream::write_all)
}

fn log_in(
    mut socket: TcpStream,
    resource: &str,
    write: impl Fn(&mut TcpStream, &[u8]) -> std::io::Result<()>,
) -> (TcpStream, String) {
    let bind = format!(
        "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
        <resource>{resource}</resource></bind></iq>"
    );
    let steps = [
        (HEADER, "</stream:features>"),
        ("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>", "<success"),
        (HEADER, "</stream:features>"),
        (&bind, "</iq>"),
    ];
    let mut answer = String::new();
    for (words, end) in steps {
        write(&mut socket, words.as_bytes()).unwrap();
        answer = read_until(&mut socket, end);
    }
    let address = answer.split_once("<jid>").unwrap().1.split_once("</jid>").unwrap().0.to_owned();
    (socket, address)
}

/// Reads until `end` has come.
fn read_until(socket: &mut TcpStream, end: &str) -> String {
    let mut all = Vec::new();
    let mut chunk = [0; 4096];
    while !String::from_utf8_lossy(&all).contains(end) {
        let count = socket.read(&mut chunk).unwrap_or_else(|error| panic!("{error} before {end}"));
        assert!(count > 0, "closed before {end}: {}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8(all).unwrap()
}

/// Reads until the server has closed, in whatever way.
fn read_to_close(socket: &mut TcpStream) -> String {
    let mut all = Vec::new();
    match socket.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("not closed: {error} after {}", String::from_utf8_lossy(&all)),
    }
    String::from_utf8_lossy(&all).into_owned()
}

fn is_served(socket: &mut TcpStream) {
    socket.write_all(PING.as_bytes()).unwrap();
    read_until(socket, "id='ping'");
}

fn reset(socket: TcpStream) {
    SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    drop(socket);
}

/// Connections that are never given back, for edge-triggered loops (epoll(7), "Q9"). The bytes and the end may reach
/// the loop as one edge; no other comes for the end.
#[test]
fn an_end_that_comes_with_the_last_bytes_is_seen() {
    let running = server();
    for size in 0..HEADER.len() {
        let mut socket = connect(&running);
        socket.write_all(&HEADER.as_bytes()[..size]).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        read_to_close(&mut socket);
    }
    for _ in 0..20 {
        let (mut socket, _) = login(&running, "ends");
        socket.write_all(PING.as_bytes()).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        read_to_close(&mut socket);
    }
}
/// RFC 6120 §4.4: what comes behind the end of a stream is nobody's.
#[test]
fn what_was_said_before_the_end_is_answered_and_what_comes_behind_is_not_looked_at() {
    let running = server();
    let pings = PING.repeat(50);
    for behind in ["", "<message><<<", "</stream:stream></stream:stream>"] {
        let (mut socket, _) = login(&running, "leaves");
        socket.write_all(format!("{pings}</stream:stream>{behind}").as_bytes()).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let answers = read_to_close(&mut socket);
        assert_eq!(answers.matches("id='ping'").count(), 50);
        assert!(answers.ends_with("</stream:stream>") && !answers.contains("stream:error"), "{answers}");
    }
}
/// RFC 6120 §13.12, over sockets: a reader that stops reading is closed, and nobody else notices.
#[test]
fn who_stops_reading_is_closed_and_nobody_else_notices() {
    let running = server();
    let (mut slow, slow_address) = login(&running, "slow");
    let (mut flood, _) = login(&running, "flood");
    let (mut witness, _) = login(&running, "witness");
    let message = format!("<message to='{slow_address}'><body>{}</body></message>", "z".repeat(30_000));
    let mut sent = 0;
    // Once the session has ended, what was for it comes back.
    flood.set_nonblocking(true).unwrap();
    let mut bounced = [0; 4096];
    while flood.read(&mut bounced).is_err() {
        assert!(sent < 10_000, "300 megabytes wait for a reader that reads none");
        flood.set_nonblocking(false).unwrap();
        flood.write_all(message.as_bytes()).unwrap();
        flood.set_nonblocking(true).unwrap();
        sent += 1;
        is_served(&mut witness);
    }
    let last_words = read_to_close(&mut slow);
    assert!(last_words.contains("resource-constraint"), "after {sent} messages: {} bytes", last_words.len());
    is_served(&mut witness);
}

/// Amplification (XEP-0205): few bytes in, many out: each short stanza is stamped with an address of six thousand
/// bytes.
#[test]
fn who_keeps_reading_is_never_overtaken_by_short_stanzas_of_a_long_address() {
    const MESSAGES: usize = 1_000;
    let running = server();
    let (mut reader, address) = login(&running, "reads");
    let (mut sender, _) = login(&running, &"&apos;".repeat(1_000));
    let reading = std::thread::spawn(move || {
        let mut received = Vec::new();
        let mut chunk = vec![0; 256 * 1024];
        while received.windows(4).rev().take(chunk.len()).all(|window| window != b"last") {
            let count = reader.read(&mut chunk).expect("served");
            assert!(count > 0, "closed after {} bytes", received.len());
            received.extend_from_slice(&chunk[..count]);
        }
        received
    });
    let short = format!("<message to='{address}'/>").repeat(MESSAGES);
    sender.write_all(short.as_bytes()).unwrap();
    sender.write_all(format!("<message to='{address}' id='last'/>").as_bytes()).unwrap();
    let received = String::from_utf8(reading.join().unwrap()).unwrap();
    assert_eq!(received.matches("<message").count(), MESSAGES + 1);
    assert!(received.len() > MESSAGES * 6_000 && !received.contains("stream:error"));
}
/// Half-open connections and storms of resets (RFC 4987, XEP-0205).
#[test]
fn silence_and_resets_cost_nobody_else_anything() {
    let running = server();
    let (mut witness, _) = login(&running, "witness");
    let mut silent: Vec<TcpStream> = (0..300).map(|_| connect(&running)).collect();
    is_served(&mut witness);
    for (at, socket) in silent.iter_mut().enumerate() {
        socket.write_all(&HEADER.as_bytes()[..at % HEADER.len()]).unwrap();
    }
    for (at, socket) in silent.into_iter().enumerate() {
        if at % 2 == 0 { reset(socket) } else { drop(socket) }
    }
    is_served(&mut witness);
    for _ in 0..10 {
        let (session, _) = login(&running, "short");
        reset(session);
    }
    is_served(&mut witness);
}
/// RFC 6120 §13.12 (4): a stanza without an end.
#[test]
fn a_stanza_without_end_is_ended() {
    let running = server();
    let (mut witness, address) = login(&running, "witness");
    for begin in ["<message a='", "<message><body>", "<message><body xmlns='", "<m"] {
        let (mut socket, _) = login(&running, "endless");
        // The server may close in the middle.
        let _cut = socket.write_all(format!("{begin}{}", "x".repeat(300_000)).as_bytes());
        let answer = read_to_close(&mut socket);
        assert!(answer.contains("policy-violation"), "{begin}: {answer}");
    }
    let (mut socket, _) = login(&running, "deep");
    let deep = format!("<message to='{address}'>{}", "<a>".repeat(100));
    socket.write_all(deep.as_bytes()).unwrap();
    assert!(read_to_close(&mut socket).contains("policy-violation"));
    is_served(&mut witness);
}
/// Slowloris (2009) behind the login: a byte at a time is served like any other.
#[test]
fn a_byte_at_a_time_is_served_like_any_other() {
    let running = server();
    let bytewise = |socket: &mut TcpStream, bytes: &[u8]| {
        bytes.iter().try_for_each(|byte| {
            socket.write_all(&[*byte])?;
            // Lets the loop take it alone, more often than not.
            std::thread::yield_now();
            Ok(())
        })
    };
    let (mut socket, address) = log_in(connect(&running), "drop-by-drop", bytewise);
    bytewise(&mut socket, format!("<message to='{address}' id='me'><body>&#x2014;</body></message>").as_bytes())
        .unwrap();
    assert!(read_until(&mut socket, "</message>").contains("<body>&#x2014;</body>"));
}

/// RFC 6120 §13.12, many at one: more than one read, more than one outbox may hold: all of it, in order, to whoever
/// reads.
#[test]
fn many_senders_and_one_reader() {
    const SENDERS: usize = 10;
    const EACH: usize = 200;
    let running = server();
    let (mut reader, address) = login(&running, "reads");
    let senders: Vec<TcpStream> = (0..SENDERS).map(|at| login(&running, &format!("sends-{at}")).0).collect();
    let sending: Vec<_> = senders
        .into_iter()
        .enumerate()
        .map(|(sender, mut socket)| {
            let one =
                |at| format!("<message to='{address}' id='{sender}.{at}.'><body>{}</body></message>", "y".repeat(500));
            let all: String = (0..EACH).map(one).collect();
            std::thread::spawn(move || socket.write_all(all.as_bytes()).map(|()| socket))
        })
        .collect();
    let mut received = String::new();
    let mut chunk = vec![0; 256 * 1024];
    while received.matches("</message>").count() < SENDERS * EACH {
        let size = reader.read(&mut chunk).unwrap();
        assert!(size > 0, "closed after {} bytes", received.len());
        received.push_str(std::str::from_utf8(&chunk[..size]).unwrap());
    }
    for sending in sending {
        sending.join().unwrap().unwrap();
    }
    for sender in 0..SENDERS {
        let places = (0..EACH).map(|at| received.find(&format!("id='{sender}.{at}.'")).expect("none is lost"));
        assert!(places.is_sorted(), "the order of sender {sender}");
    }
}
