//! A disk that does not come to an end with a commit, under the whole server with real sockets: the loop never waits
//! for it. Chat goes on, what was written is answered in order when the disk has it, and what cannot be kept in memory
//! meanwhile is not read.

#[path = "kill/client.rs"]
#[allow(dead_code, reason = "the kill test uses more of it")]
mod client;
mod common;
#[path = "common/sim.rs"]
mod sim;
mod tls_common;
#[path = "simulation/view.rs"]
#[allow(dead_code, reason = "the simulation uses more of it")]
mod view;

use client::{Client, attr};
use sim::{Setup, fill};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use stonechat::config::{Config, ListenerConfig, ListenerKind};
use stonechat::server::{Handle, Parts, start};
use stonechat::storage::{Batch, Engine, KeyRange, Memory, Rows, StoreError};

/// Longest that a chat message may take there and back while the disk stands still. The server needs a fraction of a
/// millisecond; the rest is for a machine that does much else. A loop that waits for the disk would never answer.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(2);
const ROUND_TRIPS: usize = 200;
/// Roster sets that a client sends at once, of a few hundred bytes each: more than may wait in memory.
const FLOOD: usize = 400;
const OVERLAY_BYTES: u64 = 64 * 1024;

/// Whether commits come to an end.
#[derive(Clone, Default)]
struct Valve(Arc<(Mutex<bool>, Condvar)>);

impl Valve {
    fn set(&self, shut: bool) {
        *self.0.0.lock().unwrap() = shut;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let shut = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(shut, |shut| *shut).unwrap());
    }
}

struct Slow(Memory, Valve);

impl Engine for Slow {
    fn fetch(&mut self, ranges: &[KeyRange]) -> Result<Vec<Rows>, StoreError> {
        self.0.fetch(ranges)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.1.pass();
        self.0.commit(batch)
    }

    fn count(&mut self) -> Result<u64, StoreError> {
        self.0.count()
    }
}

struct Running {
    address: SocketAddr,
    valve: Valve,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start() -> Self {
        let accounts = ["alice", "bob", "carol", "dora"].map(|name| (format!("{name}@localhost"), "secret".to_owned()));
        let mut memory = Memory::new();
        fill(&mut memory, &Setup { accounts: accounts.to_vec(), ..Setup::default() });
        let mut config = Config { scram_iterations: 4_096, ..Config::default() };
        config.domains[0].tls_required = false;
        let addresses = vec!["127.0.0.1:0".parse().unwrap()];
        config.listeners = vec![ListenerConfig { kind: ListenerKind::StartTls, addresses, all_must_open: true }];
        config.limits.overlay_bytes = OVERLAY_BYTES;
        let valve = Valve::default();
        let engine = Box::new(Slow(memory, valve.clone()));
        let reload = Box::new(|_: Option<&_>| Err("not in this test".into()));
        let mut server =
            start(&config, Parts { tls: None, reload, engine, control: None, components: Vec::new(), signals: false })
                .unwrap();
        let address = server.listeners().next().unwrap().0;
        let handle = server.handle();
        let thread = Some(std::thread::spawn(move || server.run().unwrap()));
        Self { address, valve, handle, thread }
    }

    fn log_in(&self, user: &str) -> Client {
        let mut client = Client::log_in(self.address, user, "secret").unwrap();
        client.ask("ping", "<presence/><iq type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>");
        client
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.valve.set(false);
        self.handle.stop();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the server panicked");
    }
}

fn roster_set(number: usize, name: &str) -> String {
    format!(
        "<iq type='set' id='r{number}'><query xmlns='jabber:iq:roster'>\
         <item jid='c{number}@elsewhere.example' name='{name}'/></query></iq>"
    )
}

/// A question through the other client and back: the longest of many.
#[allow(clippy::disallowed_methods, reason = "what is measured is time")]
fn longest_round_trip((one_name, one): (&str, &mut Client), (other_name, other): (&str, &mut Client)) -> Duration {
    let mut longest = Duration::ZERO;
    for number in 0..ROUND_TRIPS {
        let began = Instant::now();
        one.send(&format!("<message to='{other_name}@localhost/r' type='chat'><body>there {number}</body></message>"));
        assert!(other.message().contains(&format!("there {number}<")));
        other.send(&format!("<message to='{one_name}@localhost/r' type='chat'><body>back {number}</body></message>"));
        assert!(one.message().contains(&format!("back {number}<")));
        longest = longest.max(began.elapsed());
    }
    longest
}

#[test]
fn chat_goes_on_while_a_commit_does_not_end() {
    let running = Running::start();
    let [mut alice, mut bob, mut dora] = ["alice", "bob", "dora"].map(|name| running.log_in(name));
    running.valve.set(true);
    for number in 0..3 {
        alice.send(&roster_set(number, "friend"));
    }
    // The second of them wants rows that the disk has to read: its stream waits behind the commit, and no other does.
    let longest = longest_round_trip(("bob", &mut bob), ("dora", &mut dora));
    println!("slow_disk/chat longest_round_trip_us={} round_trips={ROUND_TRIPS}", longest.as_micros());
    assert!(longest < ROUND_TRIP_MAX, "{longest:?}");
    // A message for somebody who is away has no answer; the next answer on the same stream vouches for it.
    alice.send("<message to='carol@localhost' type='chat'><body>later</body></message>");
    alice.send("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>");
    bob.send("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert_eq!(attr(&bob.ask("q", "<iq type='get' id='q'><ping xmlns='urn:xmpp:ping'/></iq>")[0], "id"), Some("p"));
    longest_round_trip(("bob", &mut bob), ("dora", &mut dora));
    assert_eq!(alice.take(), Vec::<String>::new(), "an answer before the disk has it");
    running.valve.set(false);
    let answers = alice.ask("p", "");
    let ids: Vec<_> =
        answers.iter().filter(|frame| attr(frame, "type") == Some("result")).map(|frame| attr(frame, "id")).collect();
    assert_eq!(ids, [Some("r0"), Some("r1"), Some("r2"), Some("p")]);
    let waited = running.log_in("carol").ask("q", "<iq type='get' id='q'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert_eq!(attr(waited.last().unwrap(), "id"), Some("q"));
}

#[test]
fn who_writes_more_than_may_wait_is_not_read_and_loses_nothing() {
    let running = Running::start();
    let [mut alice, mut bob, mut carol] = ["alice", "bob", "carol"].map(|name| running.log_in(name));
    running.valve.set(true);
    let name = "n".repeat(300);
    for number in 0..FLOOD {
        carol.send(&roster_set(number, &name));
    }
    let longest = longest_round_trip(("alice", &mut alice), ("bob", &mut bob));
    assert!(longest < ROUND_TRIP_MAX, "{longest:?}");
    running.valve.set(false);
    let answers = carol.ask(&format!("r{}", FLOOD - 1), "");
    let results = answers.iter().filter(|frame| attr(frame, "type") == Some("result"));
    let ids: Vec<_> = results.filter_map(|frame| attr(frame, "id")?.strip_prefix('r')?.parse::<usize>().ok()).collect();
    assert_eq!(ids, (0..FLOOD).collect::<Vec<_>>());
}
