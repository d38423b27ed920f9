//! The promises of storage, as clients and the operator see them (`docs/architecture.md`, "Storage").
//!
//! The whole core with simulated clients, on the in-memory and on the real store; reads, commits and
//! hashes can be stopped and can fail. What the storage layer promises by itself is in `storage_rules.rs`.

mod common;
#[path = "common/sim.rs"]
mod sim;
mod storage_scratch;
mod tls_common;

use common::script::Peer as _;
use sim::{Setup, Sim, add_account, add_account_with, credentials};
use stonechat::admin::{Answer, Refusal, UserRequest};
use stonechat::core::HELD_TIMEOUT_MS;
use stonechat::ids::ConnId;
use stonechat::im::accounts;
use stonechat::jid::Jid;
use stonechat::sasl::client::{ClientBinding, ScramClient, plain};
use stonechat::sasl::{ScramHash, base64};
use stonechat::storage::{Engine, Faults, Faulty, offline};
use storage_scratch::on_both;

const HEADER: &str = "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams'>";
const HEADER_2002: &str = "<stream:stream to='localhost' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams'>";
const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const BIND: &str = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
/// One that leaves time for the disk to give up first.
const PATIENT_MS: u64 = 10 * HELD_TIMEOUT_MS;

/// A server whose disk has alice and bob, and can fail.
fn server_with(engine: Box<dyn Engine>, setup: &Setup) -> (Sim, Faults) {
    let mut sim = Sim::new(setup);
    let faults = Faults::none();
    sim.engine = Box::new(Faulty::new(engine, faults.clone()));
    for user in ["alice", "bob"] {
        add_account(&mut *sim.engine, &format!("{user}@localhost"), "secret");
    }
    (sim, faults)
}

fn server(engine: Box<dyn Engine>) -> (Sim, Faults) {
    server_with(engine, &Setup { direct: true, negotiation_timeout_ms: PATIENT_MS, ..Setup::default() })
}

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

fn add(user: &str, hashes: &[ScramHash]) -> UserRequest {
    UserRequest::Add { address: jid(&format!("{user}@localhost")), credentials: credentials("secret", hashes) }
}

fn del(user: &str) -> UserRequest {
    UserRequest::Del { address: jid(&format!("{user}@localhost")) }
}

fn auth(user: &str, password: &str) -> String {
    let message = base64::encode(plain("", user, password));
    format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{message}</auth>")
}

fn ask(sim: &mut Sim, request: UserRequest) -> Vec<Answer> {
    sim.core.administer(1, request, sim.now);
    sim.settle();
    answers(sim)
}

fn answers(sim: &mut Sim) -> Vec<Answer> {
    let mut answers = Vec::new();
    sim.core.take_answers(&mut answers);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// The client says something, and this is what it has heard since it last listened.
fn say(sim: &mut Sim, client: &str, text: &str) -> String {
    sim.select(client);
    sim.send(text.as_bytes());
    heard(sim, client)
}

fn heard(sim: &mut Sim, client: &str) -> String {
    sim.select(client);
    String::from_utf8(sim.received()).unwrap()
}

fn is_closed(sim: &mut Sim, client: &str) -> bool {
    sim.select(client);
    sim.closed()
}

/// Where each of `parts` is, which must be once and in this order.
fn assert_in_order(text: &str, parts: &[&str]) {
    let places: Vec<Vec<usize>> =
        parts.iter().map(|part| text.match_indices(part).map(|(at, _)| at).collect()).collect();
    assert!(places.iter().all(|places| places.len() == 1), "{parts:?} are at {places:?} of {text}");
    assert!(places.is_sorted(), "{parts:?} are at {places:?} of {text}");
}

/// alice says something to bob, who hears it at once.
fn assert_chat_goes_on(sim: &mut Sim) {
    say(sim, "alice", "<message to='bob@localhost/desk' type='chat'><body>still here</body></message>");
    let bob = heard(sim, "bob");
    assert!(bob.ends_with("<body>still here</body></message>"), "{bob}");
}

fn two_chatting(engine: Box<dyn Engine>) -> (Sim, Faults) {
    let (mut sim, faults) = server(engine);
    sim.log_in("alice", "alice", "secret", "phone");
    sim.log_in("bob", "bob", "secret", "desk");
    sim.core.expire(sim.now);
    (sim, faults)
}

/// A server on which the operator's new account carol is not on disk yet.
fn carol_is_not_durable(engine: Box<dyn Engine>) -> (Sim, Faults) {
    let (mut sim, faults) = two_chatting(engine);
    sim.commits_go_on = false;
    assert_eq!(ask(&mut sim, add("carol", &ScramHash::ALL)), [], "an answer before it is on disk");
    (sim, faults)
}

#[test]
fn what_is_read_from_the_overlay_is_told_when_it_is_on_disk() {
    on_both(|_, engine| {
        let (mut sim, _) = carol_is_not_durable(engine);
        // Everything at once, as no polite client would.
        let all = [HEADER, &auth("carol", "secret"), HEADER, BIND].concat();
        assert_eq!(say(&mut sim, "carol", &all), "");
        assert_chat_goes_on(&mut sim);
        assert_eq!(sim.core.sessions(), 2, "nobody is bound by a login that may not have been");
        sim.commits_go_on = true;
        let carol = heard(&mut sim, "carol");
        assert_eq!(carol.matches("<stream:features").count(), 2, "{carol}");
        assert_in_order(&carol, &["<mechanisms", "<success", "<jid>carol@localhost/"]);
        assert_eq!(answers(&mut sim), [Answer::Done]);
        assert_eq!(sim.core.sessions(), 3);
    });
}

#[test]
fn a_flip_does_not_overtake_what_waits() {
    on_both(|_, engine| {
        let setup = Setup { tls_required: false, ..Setup::default() };
        let (mut sim, _) = server_with(engine, &setup);
        sim.commits_go_on = false;
        assert_eq!(ask(&mut sim, add("carol", &ScramHash::ALL)), []);
        assert_eq!(say(&mut sim, "carol", HEADER), "");
        assert_eq!(say(&mut sim, "carol", STARTTLS), "");
        sim.commits_go_on = true;
        assert_in_order(&heard(&mut sim, "carol"), &["<stream:features", "<proceed"]);
        sim.flip();
        assert!(say(&mut sim, "carol", HEADER).contains("<mechanisms"));
    });
}

#[test]
fn a_failed_commit_is_tried_again_and_its_answers_wait() {
    on_both(|_, engine| {
        let (mut sim, faults) = two_chatting(engine);
        faults.fill_disk(u32::MAX);
        assert_eq!(ask(&mut sim, add("carol", &ScramHash::ALL)), []);
        assert_eq!(say(&mut sim, "carol", HEADER), "");
        sim.advance(HELD_TIMEOUT_MS / 2);
        let tries = sim.core.counters()["commits_failed"];
        assert!((4..=10).contains(&tries), "{tries} tries in {} ms", HELD_TIMEOUT_MS / 2);
        assert_chat_goes_on(&mut sim);
        faults.fill_disk(0);
        sim.advance(HELD_TIMEOUT_MS / 2 - 1);
        assert_in_order(&heard(&mut sim, "carol"), &["<stream:stream", "<stream:features"]);
        assert_eq!(answers(&mut sim), [Answer::Done]);
    });
}

#[test]
fn an_answer_whose_fate_is_unknown_is_never_sent() {
    on_both(|_, engine| {
        let (mut sim, faults) = two_chatting(engine);
        faults.fill_disk(u32::MAX);
        assert_eq!(ask(&mut sim, add("carol", &ScramHash::ALL)), []);
        assert_eq!(say(&mut sim, "carol", HEADER), "");
        sim.advance(HELD_TIMEOUT_MS);
        let carol = heard(&mut sim, "carol");
        assert_in_order(&carol, &["<stream:stream", "<internal-server-error", "</stream:stream>"]);
        assert!(!carol.contains("<stream:features"), "{carol}");
        assert!(matches!(&*answers(&mut sim), [Answer::Refused(Refusal::Failed { .. })]));
        let next = sim.core.next_deadline_ms().unwrap();
        assert!(next > sim.now.mono_ms, "the loop would spin");
        // Nothing is rolled back: it may still come to pass, and then it is so.
        faults.fill_disk(0);
        sim.advance(HELD_TIMEOUT_MS);
        assert_eq!(answers(&mut sim), []);
        assert!(is_closed(&mut sim, "carol"));
        sim.log_in("carol again", "carol", "secret", "new");
    });
}

#[test]
fn a_lost_answer_of_the_disk_is_asked_for_again() {
    on_both(|_, engine| {
        let (mut sim, faults) = two_chatting(engine);
        faults.lose_answers(1);
        assert_eq!(ask(&mut sim, add("carol", &ScramHash::ALL)), []);
        sim.advance(1_000);
        assert_eq!(answers(&mut sim), [Answer::Done]);
        assert_eq!(sim.core.counters()["commits_failed"], 1);
        let counters = offline::run(&mut *sim.engine, |store| accounts::offered(store, "localhost")).unwrap();
        assert_eq!(counters.accounts, 3);
    });
}

/// A handler of a bound session writes a row and answers; as rosters will.
fn write_and_answer(sim: &mut Sim, conn: ConnId, key: &str, answer: &str) {
    let store = sim.core.store();
    store.begin();
    store.put(key.as_bytes(), b"value").unwrap();
    let ticket = store.finish();
    hold(sim, conn, ticket.number(), answer);
}

fn hold(sim: &mut Sim, conn: ConnId, ticket: u64, answer: &str) {
    let deadline_ms = sim.now.mono_ms + HELD_TIMEOUT_MS;
    let outboxes = sim.core.outboxes();
    outboxes.begin();
    outboxes.append(conn, |out| out.extend_from_slice(answer.as_bytes()));
    outboxes.hold(ticket, deadline_ms);
}

#[test]
fn held_answers_of_a_session_wait_in_order_and_chat_flows_past() {
    on_both(|_, engine| {
        let (mut sim, _) = two_chatting(engine);
        sim.commits_go_on = false;
        let bob = sim.conn("bob");
        write_and_answer(&mut sim, bob, "one", "<iq id='1'/>");
        write_and_answer(&mut sim, bob, "two", "<iq id='2'/>");
        sim.settle();
        // In flight now: the next one waits for a later generation, the one after it for the earlier.
        write_and_answer(&mut sim, bob, "three", "<iq id='3'/>");
        let first = sim.core.store().durable().number() + 1;
        hold(&mut sim, bob, first, "<iq id='4'/>");
        assert_chat_goes_on(&mut sim);
        sim.commits_go_on = true;
        assert_eq!(heard(&mut sim, "bob"), "<iq id='1'/><iq id='2'/><iq id='3'/><iq id='4'/>");
    });
}

#[test]
fn a_session_whose_answer_waits_too_long_ends() {
    on_both(|_, engine| {
        let (mut sim, faults) = two_chatting(engine);
        faults.fill_disk(u32::MAX);
        let bob = sim.conn("bob");
        write_and_answer(&mut sim, bob, "one", "<iq id='1'/>");
        sim.advance(HELD_TIMEOUT_MS - 1);
        assert_eq!(heard(&mut sim, "bob"), "");
        sim.advance(1);
        let said = heard(&mut sim, "bob");
        assert!(said.starts_with("<stream:error><internal-server-error"), "{said}");
        assert!(said.ends_with("</stream:stream>"), "{said}");
        assert_eq!(sim.core.sessions(), 1);
        let next = sim.core.next_deadline_ms().unwrap();
        assert!(next > sim.now.mono_ms, "the loop would spin");
        faults.fill_disk(0);
        sim.advance(HELD_TIMEOUT_MS);
        assert_eq!(heard(&mut sim, "bob"), "", "what was held left after the end");
        assert!(is_closed(&mut sim, "bob"));
    });
}

#[test]
fn a_parked_frame_stops_its_own_connection_only() {
    on_both(|_, engine| {
        let (mut sim, _) = two_chatting(engine);
        sim.reads_go_on = false;
        assert_eq!(say(&mut sim, "carol", HEADER), "");
        assert_eq!(say(&mut sim, "carol", &[&auth("alice", "secret"), HEADER].concat()), "");
        assert_eq!(say(&mut sim, "carol", BIND), "");
        assert_eq!(sim.core.counters()["frames_parked"], 1);
        assert_chat_goes_on(&mut sim);
        sim.reads_go_on = true;
        let carol = heard(&mut sim, "carol");
        assert_in_order(&carol, &["<mechanisms", "<success", "<jid>alice@localhost/"]);
        assert_eq!(sim.core.counters()["frames_parked"], 0);
        assert_eq!(sim.core.sessions(), 3);
    });
}

#[test]
fn a_connection_that_dies_while_it_is_parked_leaves_nothing() {
    on_both(|_, engine| {
        let (mut sim, _) = two_chatting(engine);
        sim.reads_go_on = false;
        assert_eq!(say(&mut sim, "carol", HEADER), "");
        assert_eq!(sim.core.store().parked(), 1);
        sim.select("carol");
        sim.drop_connection();
        assert_eq!(sim.core.store().parked(), 0);
        assert_eq!(say(&mut sim, "dave", HEADER), "");
        sim.reads_go_on = true;
        assert!(heard(&mut sim, "dave").contains("<mechanisms"));
        assert_eq!((sim.core.store().parked(), sim.core.store().fetched_bytes()), (0, 0));
        assert_chat_goes_on(&mut sim);
    });
}

#[test]
fn a_stream_ends_while_it_is_parked() {
    on_both(|_, engine| {
        let (mut sim, _) = two_chatting(engine);
        sim.reads_go_on = false;
        assert_eq!(say(&mut sim, "carol", HEADER), "");
        sim.core.shut_down(sim.now);
        let carol = heard(&mut sim, "carol");
        assert_in_order(&carol, &["<stream:stream", "<system-shutdown", "</stream:stream>"]);
        sim.reads_go_on = true;
        sim.advance(10_000);
        assert_eq!(heard(&mut sim, "carol"), "");
        assert_eq!((sim.core.connections(), sim.core.store().parked()), (0, 0));
    });
}

#[test]
fn an_account_that_cannot_be_read_fails_the_login_for_now() {
    on_both(|_, engine| {
        let (mut sim, faults) = server(engine);
        assert!(say(&mut sim, "alice", HEADER).contains("<mechanisms"));
        faults.fail_fetches(1);
        let failure = say(&mut sim, "alice", &auth("alice", "secret"));
        assert!(failure.contains("<temporary-auth-failure/></failure>"), "{failure}");
        faults.fail_fetches(1);
        let scram = ScramClient::new(ScramHash::Sha256, ClientBinding::Unsupported, "alice", "secret", "nonce");
        let first = base64::encode(scram.first());
        let first = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>{first}</auth>");
        let failure = say(&mut sim, "alice", &first);
        assert!(failure.contains("<temporary-auth-failure/></failure>"), "{failure}");
        assert!(say(&mut sim, "alice", &auth("alice", "secret")).contains("<success"));
    });
}

#[test]
fn a_password_of_2002_that_cannot_be_compared_is_told_to_come_back() {
    on_both(|_, engine| {
        let (mut sim, faults) = server(engine);
        assert!(say(&mut sim, "alice", HEADER_2002).contains("<stream:stream"));
        let login = "<iq type='set' id='a'><query xmlns='jabber:iq:auth'><username>alice</username>\
            <password>secret</password><resource>phone</resource></query></iq>";
        faults.fail_fetches(1);
        let refused = say(&mut sim, "alice", login);
        assert!(refused.contains("<resource-constraint "), "{refused}");
        assert!(say(&mut sim, "alice", login).contains("type='result'"));
    });
}

#[test]
fn a_stream_that_cannot_be_opened_ends() {
    on_both(|_, engine| {
        let (mut sim, faults) = server(engine);
        faults.fail_fetches(1);
        let said = say(&mut sim, "alice", &[HEADER, &auth("alice", "secret")].concat());
        assert_in_order(&said, &["<stream:stream", "<internal-server-error", "</stream:stream>"]);
        assert!(!said.contains("<success"), "{said}");
        sim.log_in("alice again", "alice", "secret", "phone");
    });
}

#[test]
fn the_operator_hears_of_a_change_when_it_is_on_disk() {
    on_both(|_, engine| {
        let (mut sim, faults) = server(engine);
        sim.reads_go_on = false;
        assert_eq!(ask(&mut sim, add("carol", &ScramHash::ALL)), []);
        sim.commits_go_on = false;
        sim.reads_go_on = true;
        sim.settle();
        assert_eq!(answers(&mut sim), []);
        // What comes behind it reads it from the overlay, and waits for it too.
        let list = UserRequest::List { domain: "localhost".into(), after: None };
        assert_eq!(ask(&mut sim, list.clone()), []);
        assert_eq!(ask(&mut sim, add("carol", &ScramHash::ALL)), []);
        sim.commits_go_on = true;
        sim.settle();
        let told = answers(&mut sim);
        assert!(matches!(&*told, [Answer::Done, Answer::Users { .. }, Answer::Refused(Refusal::AccountExists { .. })]));
        faults.fail_fetches(1);
        assert!(matches!(&*ask(&mut sim, list), [Answer::Refused(Refusal::Failed { .. })]));
    });
}

#[test]
fn a_deleted_account_has_no_sessions_and_no_logins() {
    on_both(|_, engine| {
        let (mut sim, _) = two_chatting(engine);
        // One has proven its password and is not bound, one is having its password hashed, one is half through SCRAM.
        say(&mut sim, "unbound", &[HEADER, &auth("bob", "secret")].concat());
        let mut scram = ScramClient::new(ScramHash::Sha1, ClientBinding::Unsupported, "bob", "secret", "nonce");
        let first = base64::encode(scram.first());
        let first = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>{first}</auth>");
        let challenge = say(&mut sim, "scram", &[HEADER, &first].concat());
        let challenge = challenge.split("'urn:ietf:params:xml:ns:xmpp-sasl'>").last().unwrap();
        let challenge = base64::decode_strict(challenge.split('<').next().unwrap()).unwrap();
        let last = base64::encode(scram.answer(&challenge).unwrap());
        sim.hashes_go_on = false;
        say(&mut sim, "hashed", &[HEADER, &auth("bob", "wrong")].concat());
        assert_eq!(ask(&mut sim, del("bob")), [Answer::Done]);
        sim.hashes_go_on = true;
        for client in ["bob", "unbound", "hashed"] {
            let said = heard(&mut sim, client);
            assert!(said.contains("<not-authorized") && said.ends_with("</stream:stream>"), "{client}: {said}");
        }
        let response = format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{last}</response>");
        assert!(!say(&mut sim, "scram", &response).contains("<success"));
        assert_eq!(sim.core.sessions(), 1);
        let refused = say(&mut sim, "after", &[HEADER, &auth("bob", "secret")].concat());
        assert!(refused.contains("<not-authorized/></failure>"), "{refused}");
    });
}

#[test]
fn a_changed_password_is_not_known_by_its_verifier() {
    on_both(|_, engine| {
        let (mut sim, _) = server(engine);
        sim.log_in("one", "alice", "secret", "one");
        sim.log_in("two", "alice", "secret", "two");
        assert_eq!(sim.hashed, 1, "the second time it is recognised");
        let other = credentials("other", &ScramHash::ALL);
        let passwd = UserRequest::Passwd { address: jid("alice@localhost"), credentials: other };
        assert_eq!(ask(&mut sim, passwd), [Answer::Done]);
        let refused = say(&mut sim, "three", &[HEADER, &auth("alice", "secret")].concat());
        assert!(refused.contains("<not-authorized/></failure>"), "{refused}");
        assert_eq!(sim.hashed, 2, "a guess costs a hash");
        sim.log_in("four", "alice", "other", "four");
        assert_eq!(sim.core.sessions(), 3, "who is in stays in");
    });
}

/// A login by SCRAM, whole.
fn scram(sim: &mut Sim, client: &str, hash: ScramHash, user: &str) -> bool {
    let mut scram = ScramClient::new(hash, ClientBinding::Unsupported, user, "secret", "nonce");
    let first = base64::encode(scram.first());
    let name = hash.name();
    let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-{name}'>{first}</auth>");
    let header = HEADER.replace("to=", &format!("from='{user}@localhost' to="));
    let said = say(sim, client, &[&header, &auth as &str].concat());
    let Some((_, challenge)) = said.split_once("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>") else {
        return false;
    };
    let challenge = base64::decode_strict(challenge.split('<').next().unwrap()).unwrap();
    let last = base64::encode(scram.answer(&challenge).unwrap());
    say(sim, client, &format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{last}</response>"))
        .contains("<success")
}

fn offered(sim: &mut Sim, client: &str) -> (bool, bool) {
    let said = say(sim, client, HEADER);
    assert!(said.contains("<mechanism>PLAIN<"), "{said}");
    (said.contains("<mechanism>SCRAM-SHA-1<"), said.contains("<mechanism>SCRAM-SHA-256<"))
}

#[test]
fn a_good_password_fills_in_what_the_account_lacks() {
    on_both(|_, engine| {
        let (mut sim, _) = server(engine);
        add_account_with(&mut *sim.engine, "old@localhost", "secret", &[ScramHash::Sha1]);
        assert_eq!(offered(&mut sim, "before"), (true, false));
        assert!(scram(&mut sim, "sha-1", ScramHash::Sha1, "old"));
        assert!(!scram(&mut sim, "sha-256", ScramHash::Sha256, "old"));
        sim.log_in("plain", "old", "secret", "phone");
        let row = offline::run(&mut *sim.engine, |store| accounts::get(store, "localhost", "old")).unwrap().unwrap();
        assert!(row.summary.has_sha1 && row.summary.has_sha256, "{:?}", row.summary);
        assert_eq!(offered(&mut sim, "after"), (true, true));
        assert!(scram(&mut sim, "sha-256 now", ScramHash::Sha256, "old"));
        assert!(scram(&mut sim, "sha-1 still", ScramHash::Sha1, "old"));
    });
}

#[test]
fn keys_of_a_password_that_was_changed_meanwhile_are_not_filled_in() {
    on_both(|_, engine| {
        let (mut sim, _) = server(engine);
        add_account_with(&mut *sim.engine, "old@localhost", "secret", &[ScramHash::Sha1]);
        say(&mut sim, "old", HEADER);
        sim.hashes_go_on = false;
        say(&mut sim, "old", &auth("old", "secret"));
        let passwd = UserRequest::Passwd {
            address: jid("old@localhost"),
            credentials: credentials("other", &[ScramHash::Sha1]),
        };
        assert_eq!(ask(&mut sim, passwd), [Answer::Done]);
        sim.hashes_go_on = true;
        sim.settle();
        let row = offline::run(&mut *sim.engine, |store| accounts::get(store, "localhost", "old")).unwrap().unwrap();
        assert!(!row.summary.has_sha256, "keys of the old password were stored beside the new one's");
    });
}

#[test]
fn what_is_offered_follows_the_accounts() {
    on_both(|_, engine| {
        let (mut sim, _) = server(engine);
        assert_eq!(offered(&mut sim, "one"), (true, true));
        assert_eq!(ask(&mut sim, add("carol", &[ScramHash::Sha1])), [Answer::Done]);
        assert_eq!(offered(&mut sim, "two"), (true, false));
        assert_eq!(ask(&mut sim, add("dave", &[ScramHash::Sha256])), [Answer::Done]);
        assert_eq!(offered(&mut sim, "three"), (false, false));
        assert_eq!(ask(&mut sim, del("carol")), [Answer::Done]);
        assert_eq!(offered(&mut sim, "four"), (false, true));
        assert_eq!(ask(&mut sim, del("dave")), [Answer::Done]);
        assert_eq!(offered(&mut sim, "five"), (true, true));
    });
}

#[test]
fn a_full_overlay_refuses_writes_and_nothing_else() {
    on_both(|_, engine| {
        let (mut sim, _) = two_chatting(engine);
        sim.commits_go_on = false;
        let mut made = 0;
        let refused = loop {
            match ask(&mut sim, add(&format!("user{made}"), &ScramHash::ALL)).pop() {
                Some(answer) => break answer,
                None => made += 1,
            }
            assert!(made < 10_000, "the overlay has no bound");
        };
        assert!(made > 100, "only {made} accounts fit");
        assert_eq!(refused, Answer::Refused(Refusal::Busy));
        assert_chat_goes_on(&mut sim);
        sim.commits_go_on = true;
        sim.settle();
        assert_eq!(answers(&mut sim), vec![Answer::Done; made]);
        assert_eq!(ask(&mut sim, add("late", &ScramHash::ALL)), [Answer::Done]);
        sim.log_in("late", "late", "secret", "phone");
    });
}
