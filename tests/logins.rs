//! Logins under unlucky circumstances: a disk that has not written yet, a hashing thread with too much to do, an account
//! that is deleted meanwhile. Through the core, whose completions are handed in by hand.

mod common;
#[path = "common/sim.rs"]
mod sim;
mod tls_common;

use sim::{Setup, Sim, settings};
use stonechat::action::Action;
use stonechat::admin::{Answer, UserRequest};
use stonechat::core::LINGER_MS;
use stonechat::ids::ConnId;
use stonechat::jid::Jid;
use stonechat::random::Random;
use stonechat::sasl::{Credentials, ScramHash, base64, derive};
use stonechat::storage::{Request, serve};

const HEADER: &str = "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams'>";
const BIND: &str = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";

fn setup() -> Setup {
    Setup { direct: true, accounts: vec![("alice@localhost".into(), "pw".into())], ..Setup::default() }
}

/// A connection inside TLS.
fn secure(sim: &mut Sim) -> ConnId {
    let id = sim.core.accept("192.0.2.1".parse().unwrap(), true, sim.now).unwrap();
    let (info, now) = (sim.info(), sim.now);
    sim.core.handshaking(id);
    sim.core.secured(id, info, now);
    id
}

fn say(sim: &mut Sim, id: ConnId, text: &str) {
    let now = sim.now;
    sim.core.receive(id, text.as_bytes(), now);
}

/// What has come out for a connection since the last time.
fn heard(sim: &mut Sim, id: ConnId) -> String {
    let bytes = sim.core.outboxes().pending(id).to_vec();
    sim.core.outboxes().consume(id, bytes.len());
    String::from_utf8(bytes).unwrap()
}

fn plain(user: &str, password: &str) -> String {
    let data = base64::encode(format!("\0{user}\0{password}").as_bytes());
    format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{data}</auth>")
}

/// The storage thread does all that it was asked for.
fn store(sim: &mut Sim) {
    loop {
        let (mut requests, now) = (Vec::new(), sim.now);
        sim.core.submit(now, &mut requests);
        if requests.is_empty() {
            return;
        }
        for request in requests {
            let completion = serve(&mut *sim.engine, request);
            sim.core.completed(completion, now);
        }
    }
}

/// The storage thread reads, but does not get to writing.
fn fetch(sim: &mut Sim) -> Vec<Request> {
    let mut commits = Vec::new();
    loop {
        let (mut requests, now) = (Vec::new(), sim.now);
        sim.core.submit(now, &mut requests);
        let (fetches, rest): (Vec<_>, _) = requests.into_iter().partition(|r| matches!(r, Request::Fetch(_)));
        commits.extend::<Vec<_>>(rest);
        if fetches.is_empty() {
            return commits;
        }
        for request in fetches {
            let completion = serve(&mut *sim.engine, request);
            sim.core.completed(completion, now);
        }
    }
}

/// The hashing thread does the next task; false if there is none.
fn hash(sim: &mut Sim) -> bool {
    let Some(task) = sim.core.next_hash() else { return false };
    let (outcome, now) = (task.job.run(), sim.now);
    sim.core.hashed(task.conn, outcome, now);
    true
}

fn administer(sim: &mut Sim, request: UserRequest) {
    let now = sim.now;
    sim.core.administer(1, request, now);
}

fn places(text: &str, parts: &[&str]) -> Vec<usize> {
    parts.iter().map(|part| text.find(part).unwrap_or_else(|| panic!("{part} is not in {text}"))).collect()
}

/// A login at an account that is not on disk yet is a promise: it leaves when the account is, and a client that does
/// not wait for answers gets them all in their order.
#[test]
fn nothing_overtakes_an_answer_that_waits_for_the_disk() {
    let mut sim = Sim::new(&setup());
    let id = secure(&mut sim);
    say(&mut sim, id, HEADER);
    store(&mut sim);
    assert!(heard(&mut sim, id).contains("PLAIN"));
    let keys = derive("pw", &ScramHash::ALL, 4096, &mut Random::seeded(1)).run().derived;
    let credentials = Credentials { keys, disabled: false };
    let add = UserRequest::Add { address: Jid::parse("new@localhost").unwrap(), credentials };
    administer(&mut sim, add.clone());
    let mut commits = fetch(&mut sim);
    say(&mut sim, id, &[&plain("new", "pw"), HEADER, BIND].concat());
    commits.append(&mut fetch(&mut sim));
    while hash(&mut sim) {}
    commits.append(&mut fetch(&mut sim));
    assert_eq!(heard(&mut sim, id), "", "the account is not on disk");
    for commit in commits {
        let (completion, now) = (serve(&mut *sim.engine, commit), sim.now);
        sim.core.completed(completion, now);
    }
    store(&mut sim);
    let said = heard(&mut sim, id);
    assert!(places(&said, &["<success", "<stream:stream", "<bind ", "<jid>new@localhost/"]).is_sorted(), "{said}");
    let mut answers = Vec::new();
    sim.core.take_answers(&mut answers);
    assert_eq!(answers, [(1, Answer::Done)]);
}

/// RFC 6120 §6.5.11: who finds the queue full is told to come back, and the others are served.
#[test]
fn a_full_hash_queue_says_so() {
    let mut sim = Sim::new(&setup());
    let places = settings().hashes_waiting_max;
    let ids: Vec<ConnId> = (0..=places).map(|_| secure(&mut sim)).collect();
    for id in &ids {
        say(&mut sim, *id, HEADER);
        store(&mut sim);
        heard(&mut sim, *id);
        say(&mut sim, *id, &plain("alice", "pw"));
        store(&mut sim);
    }
    let (last, others) = ids.split_last().unwrap();
    assert_eq!(
        heard(&mut sim, *last),
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><temporary-auth-failure/></failure>"
    );
    while hash(&mut sim) {}
    for id in others {
        assert!(heard(&mut sim, *id).starts_with("<success"));
    }
    // And so is the one that comes back.
    say(&mut sim, *last, &plain("alice", "pw"));
    store(&mut sim);
    while hash(&mut sim) {}
    assert!(heard(&mut sim, *last).starts_with("<success"));
}

/// A deleted account has no sessions, and none can come of a login that has begun.
#[test]
fn a_login_does_not_outlive_its_account() {
    let mut sim = Sim::new(&setup());
    let [hashing, known, other] = [0; 3].map(|_| {
        let id = secure(&mut sim);
        say(&mut sim, id, HEADER);
        store(&mut sim);
        heard(&mut sim, id);
        id
    });
    say(&mut sim, known, &[&plain("alice", "pw"), HEADER].concat());
    store(&mut sim);
    while hash(&mut sim) {}
    store(&mut sim);
    assert!(heard(&mut sim, known).contains("<bind"));
    say(&mut sim, hashing, &plain("alice", "PW"));
    store(&mut sim);
    administer(&mut sim, UserRequest::Del { address: Jid::parse("alice@localhost").unwrap() });
    store(&mut sim);
    while hash(&mut sim) {}
    say(&mut sim, known, BIND);
    let gone =
        "<stream:error><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>";
    assert_eq!(heard(&mut sim, known), gone);
    assert_eq!(heard(&mut sim, hashing), gone);
    assert_eq!(sim.core.sessions(), 0);
    assert_eq!(heard(&mut sim, other), "");
    say(&mut sim, other, "</stream:stream>");
    assert_eq!(heard(&mut sim, other), "</stream:stream>");
}

/// Once a new password is set, the old one opens nothing, not even for who was quick. Sessions stay.
#[test]
fn a_login_does_not_outlive_its_password() {
    let mut sim = Sim::new(&setup());
    sim.log_in("desk", "alice", "pw", "desk");
    let id = secure(&mut sim);
    say(&mut sim, id, HEADER);
    store(&mut sim);
    heard(&mut sim, id);
    say(&mut sim, id, &plain("alice", "PW"));
    store(&mut sim);
    let address = Jid::parse("alice@localhost").unwrap();
    let keys = derive("new", &ScramHash::ALL, 4096, &mut Random::seeded(1)).run().derived;
    administer(&mut sim, UserRequest::Passwd { address, credentials: Credentials { keys, disabled: false } });
    store(&mut sim);
    while hash(&mut sim) {}
    assert_eq!(
        heard(&mut sim, id),
        "<stream:error><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
    );
    assert_eq!(sim.core.sessions(), 1);
}

/// The fate of what waits for the disk is unknown: a stream that ends meanwhile says nothing of it, and its last words
/// stand in the stream that the client knows.
#[test]
fn a_stream_may_end_while_its_answer_waits_for_the_disk() {
    let mut sim = Sim::new(&setup());
    let id = secure(&mut sim);
    say(&mut sim, id, HEADER);
    store(&mut sim);
    heard(&mut sim, id);
    let address = Jid::parse("alice@localhost").unwrap();
    let keys = derive("new", &ScramHash::ALL, 4096, &mut Random::seeded(1)).run().derived;
    administer(&mut sim, UserRequest::Passwd { address, credentials: Credentials { keys, disabled: false } });
    fetch(&mut sim);
    say(&mut sim, id, &plain("alice", "new"));
    fetch(&mut sim);
    while hash(&mut sim) {}
    assert_eq!(heard(&mut sim, id), "");
    let now = sim.now;
    sim.core.shut_down(now);
    assert_eq!(
        heard(&mut sim, id),
        "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
    );
}

/// RFC 6120 §4.4: whoever does not end its side of the stream is waited for, then told that TLS and TCP end, and only then
/// dropped.
#[test]
fn a_peer_that_never_ends_its_stream_is_closed_in_steps() {
    let mut sim = Sim::new(&setup());
    let id = secure(&mut sim);
    say(&mut sim, id, &[HEADER, "<message/>"].concat());
    store(&mut sim);
    assert!(heard(&mut sim, id).ends_with("</stream:stream>"));
    let mut actions = Vec::new();
    sim.core.take_actions(&mut actions);
    for expected in [Action::Finish { conn: id }, Action::Drop { conn: id }] {
        actions.clear();
        let deadline_ms = sim.core.next_deadline_ms().unwrap();
        assert!(deadline_ms - sim.now.mono_ms <= LINGER_MS);
        sim.now.mono_ms = deadline_ms;
        let now = sim.now;
        sim.core.expire(now);
        sim.core.take_actions(&mut actions);
        actions.retain(|action| !matches!(action, Action::ReadGate { .. }));
        assert_eq!(actions, [expected]);
    }
    assert_eq!(sim.core.next_deadline_ms(), None);
}
