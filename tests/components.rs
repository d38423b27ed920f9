//! Components beside slow disks, full outboxes and shutdowns, over TCP and a Unix socket, and hostile ones.
//!
//! What they say and hear is in the transcripts `component_*.txt`.

mod common;
#[path = "common/sim.rs"]
mod sim;
#[path = "common/socket_peer.rs"]
mod socket_peer;
mod tls_common;

use common::script::Peer as _;
use sim::{Setup, Sim};
use socket_peer::Running;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use stonechat::crypto::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

const HEADER: &str = "<stream:stream xmlns='jabber:component:accept' \
    xmlns:stream='http://etherx.jabber.org/streams' to='gateway.localhost'>";
const CLIENT_HEADER: &str = "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams'>";
const SECRET: &str = "words that nobody guesses";
const PATIENCE: Duration = Duration::from_secs(10);

fn setup() -> Setup {
    Setup {
        accounts: vec![("alice@localhost".into(), "secret".into()), ("bob@localhost".into(), "other".into())],
        components: vec![
            ("gateway.localhost".into(), SECRET.into()),
            ("other.localhost".into(), "another secret".into()),
        ],
        ..Setup::default()
    }
}

/// What a component says to the header that it was answered with.
fn handshake(header: &str) -> String {
    let id = header.split_once("id='").unwrap().1.split_once('\'').unwrap().0;
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{id}{SECRET}").as_bytes());
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("<handshake>{hex}</handshake>")
}

// --- without sockets

fn said(sim: &mut Sim, client: &str) -> String {
    sim.select(client);
    String::from_utf8(sim.received()).unwrap()
}

fn say(sim: &mut Sim, client: &str, words: &str) {
    sim.select(client);
    sim.send(words.as_bytes());
}

fn join(sim: &mut Sim, client: &str) {
    say(sim, client, HEADER);
    let header = said(sim, client);
    say(sim, client, &handshake(&header));
    assert_eq!(said(sim, client), "<handshake/>");
}

/// A request that needs a row waits for it, and nobody else does; what it promises waits for the disk.
#[test]
fn a_subscription_waits_for_rows_and_for_the_disk() {
    let mut sim = Sim::new(&setup());
    sim.log_in("alice", "alice", "secret", "phone");
    say(&mut sim, "alice", "<presence/>");
    said(&mut sim, "alice");
    join(&mut sim, "component");
    (sim.reads_go_on, sim.commits_go_on) = (false, false);
    say(&mut sim, "component", "<presence from='a@gateway.localhost' to='alice@localhost' type='subscribe'/>");
    say(
        &mut sim,
        "component",
        "<message from='a@gateway.localhost' to='alice@localhost/phone'><body>1</body></message>",
    );
    assert_eq!(said(&mut sim, "alice"), "", "parked, and what came behind it keeps its place");
    say(&mut sim, "alice", "<message to='b@gateway.localhost'><body>2</body></message>");
    assert!(said(&mut sim, "component").contains("<body>2</body>"), "others go on");
    sim.reads_go_on = true;
    sim.settle();
    let now = said(&mut sim, "alice");
    assert!(now.contains("<body>1</body>") && !now.contains("subscribe"), "a message passes what is held: {now}");
    sim.commits_go_on = true;
    assert!(said(&mut sim, "alice").contains("type='subscribe'"));
}

/// A gateway approves and shows its contact in one breath: the presence must not overtake the approval.
#[test]
fn presence_does_not_overtake_the_subscription_that_it_belongs_to() {
    let mut sim = Sim::new(&setup());
    sim.log_in("alice", "alice", "secret", "phone");
    join(&mut sim, "component");
    for words in [
        "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>",
        "<presence/>",
        "<presence to='a@gateway.localhost' type='subscribe'/>",
    ] {
        say(&mut sim, "alice", words);
    }
    said(&mut sim, "alice");
    sim.commits_go_on = false;
    let words = "<presence from='a@gateway.localhost' to='alice@localhost' type='subscribed'/>\
        <presence from='a@gateway.localhost/here' to='alice@localhost'/>\
        <message from='a@gateway.localhost' to='alice@localhost'><body>hello</body></message>\
        <presence from='a@gateway.localhost/here' to='alice@localhost' type='unavailable'/>";
    say(&mut sim, "component", words);
    let now = said(&mut sim, "alice");
    assert!(now.starts_with("<message") && !now.contains("<presence"), "{now}");
    sim.commits_go_on = true;
    let then = said(&mut sim, "alice");
    let places: Vec<_> =
        ["'subscribed'", "a@gateway.localhost/here", "'unavailable'"].iter().map(|word| then.find(word)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{then}");
}

/// What waits for a slow disk is bounded like what waits for a slow reader.
#[test]
fn presence_that_waits_for_the_disk_has_a_bound() {
    let mut sim = Sim::new(&setup());
    sim.log_in("alice", "alice", "secret", "phone");
    join(&mut sim, "component");
    say(&mut sim, "alice", "<presence/>");
    said(&mut sim, "alice");
    sim.commits_go_on = false;
    say(&mut sim, "component", "<presence from='a@gateway.localhost' to='alice@localhost' type='subscribe'/>");
    let status = "s".repeat(10_000);
    for at in 0..40 {
        let presence = format!(
            "<presence from='a@gateway.localhost/{at}' to='alice@localhost'><status>{status}</status></presence>"
        );
        say(&mut sim, "component", &presence);
        assert!(sim.core.outboxes().total_bytes() <= 280 * 1024, "{}", sim.core.outboxes().total_bytes());
    }
    assert!(said(&mut sim, "alice").contains("resource-constraint"));
}

#[test]
fn a_component_that_goes_while_its_request_waits_leaves_nothing_behind() {
    let mut sim = Sim::new(&setup());
    for words in ["type='subscribe'", "type='probe'"] {
        join(&mut sim, "component");
        sim.reads_go_on = false;
        say(&mut sim, "component", &format!("<presence from='a@gateway.localhost' to='bob@localhost' {words}/>"));
        assert_eq!(sim.counter("frames_parked"), 1);
        sim.drop_connection();
        assert_eq!((sim.counter("frames_parked"), sim.counter("components")), (0, 0));
        sim.reads_go_on = true;
        sim.settle();
        sim.forget("component");
    }
    assert_eq!(sim.core.connections(), 0);
}

/// Its outbox has a bound of its own, larger than a client's; past it the stream ends, and who wrote is told.
#[test]
fn a_component_that_does_not_read_is_ended_and_nobody_else_notices() {
    let mut sim = Sim::new(&setup());
    sim.log_in("alice", "alice", "secret", "phone");
    join(&mut sim, "component");
    say(&mut sim, "component", "<presence from='a@gateway.localhost' to='alice@localhost/phone'/>");
    assert!(said(&mut sim, "alice").contains("a@gateway.localhost"));
    sim.stuck = Some("component".into());
    let message = format!("<message to='a@gateway.localhost'><body>{}</body></message>", "x".repeat(50_000));
    let mut sent = 0;
    let told = loop {
        say(&mut sim, "alice", &message);
        sent += message.len();
        let told = said(&mut sim, "alice");
        if !told.is_empty() {
            break told;
        }
        assert!(sent < 1024 * 1024, "twice its bound, and nothing happened");
    };
    assert!(sent > 512 * 1024, "its own bound, not a client's 256 KiB: {sent}");
    assert!(told.contains("<presence from='a@gateway.localhost'") && told.contains("type='unavailable'"), "{told}");
    assert_eq!((sim.counter("components"), sim.counter("slow_readers")), (0, 1));
    sim.stuck = None;
    assert!(said(&mut sim, "component").ends_with("</stream:error></stream:stream>"));
    say(&mut sim, "alice", "<message to='a@gateway.localhost' id='after'/>");
    assert!(said(&mut sim, "alice").contains("remote-server-timeout"));
}

#[test]
fn a_shutdown_is_told_to_components_at_every_step() {
    let mut sim = Sim::new(&setup());
    join(&mut sim, "component-in");
    say(&mut sim, "component-greeted", &HEADER.replace("gateway", "other"));
    said(&mut sim, "component-greeted");
    sim.select("component-silent");
    let now = sim.now;
    sim.core.shut_down(now);
    for client in ["component-in", "component-greeted", "component-silent"] {
        let last = said(&mut sim, client);
        assert!(last.contains("<system-shutdown ") && last.ends_with("</stream:stream>"), "{client}: {last}");
    }
    assert!(sim.core.accept_component("127.0.0.1".parse().unwrap(), now).is_err());
}

/// What a component has to hear of everybody who is online stops at half of its outbox, so that it does not end for it.
#[test]
fn a_component_that_comes_to_a_crowd_is_not_drowned() {
    let mut setup = setup();
    setup.resources_max = 1;
    let names: Vec<String> = (0..60).map(|at| format!("user{at}")).collect();
    for name in &names {
        setup.accounts.push((format!("{name}@localhost"), "same".into()));
        setup.friends.push((format!("{name}@localhost"), "a@gateway.localhost".into()));
    }
    let mut sim = Sim::new(&setup);
    let status = "s".repeat(15_000);
    for name in &names {
        sim.log_in(name, name, "same", "r");
        say(&mut sim, name, &format!("<presence><status>{status}</status></presence>"));
    }
    join_quietly(&mut sim, "component");
    let told = said(&mut sim, "component");
    let heard = told.matches("<status>").count();
    assert!((15..30).contains(&heard), "{heard} of {} in {} bytes", names.len(), told.len());
    say(
        &mut sim,
        "component",
        "<iq from='gateway.localhost' to='localhost' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>",
    );
    assert!(said(&mut sim, "component").contains("id='p'"));
}

fn join_quietly(sim: &mut Sim, client: &str) {
    say(sim, client, HEADER);
    let header = said(sim, client);
    say(sim, client, &handshake(&header));
    assert_eq!(sim.counter("components"), 1);
}

/// A frame of the component that is cut anywhere by the end of its connection.
#[test]
fn a_component_that_breaks_off_in_a_frame_is_gone() {
    let frame = "<message from='a@gateway.localhost' to='alice@localhost/phone'><body>x</body></message>";
    let mut sim = Sim::new(&setup());
    sim.log_in("alice", "alice", "secret", "phone");
    for cut in 0..frame.len() {
        join(&mut sim, "component");
        say(&mut sim, "component", &frame[..cut]);
        sim.drop_connection();
        sim.forget("component");
        assert_eq!((sim.counter("components"), sim.counter("partial_bytes")), (0, 0));
    }
    assert_eq!(said(&mut sim, "alice"), "");
}

// --- over sockets

/// TCP or a Unix socket.
trait Stream: Read + Write {}
impl Stream for TcpStream {}
impl Stream for UnixStream {}

fn tcp(running: &Running) -> TcpStream {
    let socket = TcpStream::connect(running.component.unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

fn read_until(socket: &mut impl Stream, end: &str) -> String {
    let mut all = Vec::new();
    let mut chunk = [0; 4096];
    while !String::from_utf8_lossy(&all).contains(end) {
        let count = socket.read(&mut chunk).unwrap_or_else(|error| panic!("{error} before {end}"));
        assert!(count > 0, "closed before {end}: {}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8(all).unwrap()
}

fn read_to_close(socket: &mut impl Stream) -> String {
    let mut all = Vec::new();
    match socket.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("not closed: {error} after {}", String::from_utf8_lossy(&all)),
    }
    String::from_utf8_lossy(&all).into_owned()
}

fn plug_in<S: Stream>(mut socket: S) -> S {
    socket.write_all(HEADER.as_bytes()).unwrap();
    let header = read_until(&mut socket, ">");
    let header = if header.contains("id=") { header } else { header + &read_until(&mut socket, "id=") };
    socket.write_all(handshake(&header).as_bytes()).unwrap();
    read_until(&mut socket, "<handshake/>");
    socket
}

fn is_served(component: &mut impl Stream) {
    let ping = "<iq from='gateway.localhost' to='localhost' type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>";
    component.write_all(ping.as_bytes()).unwrap();
    read_until(component, "id='ping'");
}

/// An anonymous user in the clear, and its address.
fn user(running: &Running) -> (TcpStream, String) {
    let mut socket = TcpStream::connect(running.starttls).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let steps = [
        (CLIENT_HEADER, "</stream:features>"),
        ("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>", "<success"),
        (CLIENT_HEADER, "</stream:features>"),
        ("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "</iq>"),
    ];
    let mut answer = String::new();
    for (words, end) in steps {
        socket.write_all(words.as_bytes()).unwrap();
        answer = read_until(&mut socket, end);
    }
    let address = answer.split_once("<jid>").unwrap().1.split_once("</jid>").unwrap().0.to_owned();
    (socket, address)
}

fn running() -> Running {
    Running::start(&Setup { tls_required: false, anonymous: true, ..setup() })
}

/// A message there and back, presence, and the end of it when the component goes.
fn talk<S: Stream>(component: S, running: &Running) {
    let mut component = plug_in(component);
    let (mut user, address) = user(running);
    user.write_all(b"<message to='a@gateway.localhost'><body>ask</body></message>").unwrap();
    let asked = read_until(&mut component, "</message>");
    assert!(asked.contains(&format!("from='{address}'")), "{asked}");
    let answer = format!(
        "<presence from='a@gateway.localhost' to='{address}'/>\
         <message from='a@gateway.localhost' to='{address}'><body>answer</body></message>"
    );
    component.write_all(answer.as_bytes()).unwrap();
    let answered = read_until(&mut user, "</message>");
    assert!(answered.contains("<presence") && answered.contains("<body>answer</body>"), "{answered}");
    drop(component);
    read_until(&mut user, "type='unavailable'");
}

#[test]
fn a_component_talks_over_tcp() {
    let running = running();
    // Its place is free again at once.
    for _ in 0..3 {
        talk(tcp(&running), &running);
    }
}

#[test]
fn a_component_talks_over_a_unix_socket() {
    let folder = std::env::temp_dir().join(format!("stonechat-components-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("components.sock");
    let setup = Setup { tls_required: false, anonymous: true, component_socket: Some(path.clone()), ..setup() };
    // A server that was killed has left its socket.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let running = Running::start(&setup);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    for _ in 0..2 {
        let socket = UnixStream::connect(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        talk(socket, &running);
    }
    drop(running);
    assert!(!path.exists(), "the socket goes with the server");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Connections that never get through their handshake, each stuck at another byte, cost nobody else anything.
#[test]
fn slow_handshakes_cost_nobody_else_anything() {
    let running = running();
    let mut witness = plug_in(tcp(&running));
    let other = HEADER.replace("gateway", "other");
    let mut slow: Vec<TcpStream> = (0..200).map(|_| tcp(&running)).collect();
    for (at, socket) in slow.iter_mut().enumerate() {
        socket.write_all(&other.as_bytes()[..at % other.len()]).unwrap();
        if at % 20 == 0 {
            is_served(&mut witness);
        }
    }
    let mut greeted = tcp(&running);
    greeted.write_all(other.as_bytes()).unwrap();
    read_until(&mut greeted, "id=");
    for byte in b"<handshake>0123456789" {
        greeted.write_all(&[*byte]).unwrap();
    }
    is_served(&mut witness);
    let (mut user, _) = user(&running);
    user.write_all(b"<message to='gateway.localhost'><body>still</body></message>").unwrap();
    read_until(&mut witness, "<body>still</body>");
}

#[test]
fn garbage_and_what_is_too_large_ends_its_own_stream_alone() {
    let running = running();
    let mut witness = plug_in(tcp(&running));
    let other = HEADER.replace("gateway", "other");
    let before = [
        (
            format!(
                "{}{}",
                &HEADER[..HEADER.len() - 1],
                (0..5_000).map(|at| format!(" a{at}='x'")).collect::<String>()
            ),
            "policy-violation",
        ),
        (format!("<stream:stream to='{}", "x".repeat(20_000)), "policy-violation"),
        ("\u{16}\u{3}\u{1}".to_owned(), "not-well-formed"),
        ("<!DOCTYPE stream [<!ENTITY a 'b'>]>".to_owned(), "restricted-xml"),
        (format!("{other}<handshake>{}</handshake>", "0".repeat(20_000)), "policy-violation"),
        (format!("{other}<handshake>{}</handshake>", "<a/>".repeat(100)), "policy-violation"),
        (format!("{other}<handshake><a>0</a></handshake>"), "not-authorized"),
    ];
    for (words, condition) in before {
        let mut socket = tcp(&running);
        // The server may close in the middle.
        let _cut = socket.write_all(words.as_bytes());
        let answer = read_to_close(&mut socket);
        assert!(answer.contains(condition), "{condition} to {}: {answer}", &words[..words.len().min(100)]);
        is_served(&mut witness);
    }
    drop(witness);
    let behind = [
        (format!("<message from='gateway.localhost' to='a@localhost'>{}", "x".repeat(300_000)), "policy-violation"),
        (format!("<message from='{}@gateway.localhost' to='a@localhost'/>", "x".repeat(5_000)), "improper-addressing"),
        ("<message from='gateway.localhost' to='a@localhost'>&unknown;</message>".to_owned(), "restricted-xml"),
        (format!("<message from='gateway.localhost' to='a@localhost'>{}", "<a>".repeat(100)), "policy-violation"),
    ];
    for (words, condition) in behind {
        let mut socket = plug_in(tcp(&running));
        let _cut = socket.write_all(words.as_bytes());
        let answer = read_to_close(&mut socket);
        assert!(answer.contains(condition), "{condition} to {}: {answer}", &words[..words.len().min(100)]);
    }
    is_served(&mut plug_in(tcp(&running)));
}

/// A user may write to a component that has stopped reading until its bound is met, and no further.
#[test]
fn a_component_that_stops_reading_is_closed() {
    let running = running();
    let mut stuck = plug_in(tcp(&running));
    let (mut flood, _) = user(&running);
    let message = format!("<message to='gateway.localhost'><body>{}</body></message>", "z".repeat(100_000));
    let mut sent = 0;
    flood.set_nonblocking(true).unwrap();
    let mut bounced = [0; 4096];
    while flood.read(&mut bounced).is_err() {
        assert!(sent < 1_000, "100 megabytes wait for a component that reads none");
        flood.set_nonblocking(false).unwrap();
        flood.write_all(message.as_bytes()).unwrap();
        flood.set_nonblocking(true).unwrap();
        sent += 1;
    }
    let last_words = read_to_close(&mut stuck);
    assert!(last_words.contains("resource-constraint"), "after {sent} messages: {} bytes", last_words.len());
    is_served(&mut plug_in(tcp(&running)));
}
