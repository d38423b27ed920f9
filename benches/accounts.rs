//! Many accounts with long rosters on disk: how soon a server is there, after a good end and after a kill, what a
//! login of such an account costs, and what memory all of it takes.
//!
//! `cargo bench --bench accounts -- --accounts 100000 --contacts 50` gives the full figures. The store is made in the
//! folder for temporary files; name a disk with `TMPDIR`. Figures of memory and processor time are Linux's.
#![allow(clippy::disallowed_methods)] // A bench reads the clock.

#[path = "../tests/kill/client.rs"]
#[allow(dead_code, reason = "the kill test uses more of it")]
mod client;
#[path = "../tests/simulation/view.rs"]
#[allow(dead_code, reason = "the simulation uses more of it")]
mod view;

use client::Client;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use stonechat::port::rows::Import;
use stonechat::port::{Contact, Person};
use stonechat::random::Random;
use stonechat::sasl::{ScramHash, ScramKeys, derive};
use stonechat::storage::{Disk, DiskOptions, STORE_FILE_NAME};

const PASSWORD: &str = "secret";
/// The least that is allowed: what hashing costs the client is not what is measured.
const ITERATIONS: u32 = 4_096;
/// Pages kept in memory while the store is made; the server has its own, small.
const BUILD_CACHE_BYTES: usize = 256 * 1024 * 1024;
const LOGINS: u32 = 1_000;
/// Writes under way when the server is killed.
const WRITES: usize = 2_000;

struct Options {
    accounts: u32,
    contacts: u32,
}

fn main() {
    let options = options();
    let folder = std::env::temp_dir().join(format!("stonechat-accounts-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("data")).expect("a folder for the bench");
    build(&folder.join("data").join(STORE_FILE_NAME), &options);
    serve(&folder, &options);
    let _ = fs::remove_dir_all(&folder);
}

fn options() -> Options {
    let mut options = Options { accounts: 2_000, contacts: 50 };
    let words: Vec<String> = std::env::args().skip(1).collect();
    for pair in words.windows(2) {
        match (pair[0].as_str(), pair[1].parse()) {
            ("--accounts", Ok(count)) => options.accounts = count,
            ("--contacts", Ok(count)) => options.contacts = count,
            _ => {}
        }
    }
    options.contacts = options.contacts.min(options.accounts - 1) / 2 * 2;
    options
}

fn name(account: u32) -> String {
    format!("user{account:06}")
}

/// The accounts stand in a circle: each has half of its contacts before it and half behind, and sees them as they see it.
fn person(account: u32, options: &Options, keys: &[ScramKeys]) -> Person {
    let half = options.contacts / 2;
    let others = (1..=half).flat_map(|step| [account + step, account + options.accounts - step]);
    let contact = |other: u32| {
        let name = name(other % options.accounts);
        let words = format!("Contact {name} of old");
        Contact {
            jid: format!("{name}@localhost"),
            name: words,
            to: true,
            from: true,
            groups: vec!["Friends and colleagues".into()],
            ..Contact::default()
        }
    };
    let mut roster: Vec<Contact> = others.map(contact).collect();
    roster.sort_by(|one, other| one.jid.cmp(&other.jid));
    Person { localpart: name(account), domain: "localhost".into(), keys: keys.to_vec(), roster, ..Person::default() }
}

fn build(path: &Path, options: &Options) {
    let keys = derive(PASSWORD, &[ScramHash::Sha256], ITERATIONS, &mut Random::seeded(1)).run().derived;
    let start = Instant::now();
    let disk = DiskOptions { cache_bytes: BUILD_CACHE_BYTES, create: true, ..DiskOptions::default() };
    let mut disk = Disk::open(path, disk).expect("a store");
    let mut import = Import::new(&mut disk, false, Random::seeded(1));
    let mut skipped = |name| panic!("{name} is there already");
    for account in 0..options.accounts {
        import.add(person(account, options, &keys), &mut skipped).expect("a commit");
    }
    let counts = import.finish(&mut skipped).expect("a commit");
    assert_eq!(counts.contacts, u64::from(options.accounts) * u64::from(options.contacts));
    drop(disk);
    println!(
        "accounts/build accounts={} contacts={} s={:.1} file_bytes={}",
        options.accounts,
        options.contacts,
        start.elapsed().as_secs_f64(),
        fs::metadata(path).expect("the store").len()
    );
}

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts it and logs somebody in; says how long both took.
    fn start(folder: &Path, after: &str) -> Self {
        let began = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_stonechat"));
        command.current_dir(folder).env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the server");
        let lines = BufReader::new(child.stdout.take().expect("its words")).lines();
        let address = lines.map_while(Result::ok).find_map(|line| {
            line.strip_prefix("listening:").and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        });
        let server = Self { child, address: address.expect("the server listens") };
        let listening = began.elapsed();
        drop(Client::log_in(server.address, &name(0), PASSWORD).expect("a login"));
        println!(
            "accounts/start after={after} listening_ms={:.1} first_login_ms={:.1} file_bytes={}",
            ms(listening),
            ms(began.elapsed()),
            fs::metadata(store(folder)).expect("the store").len()
        );
        server
    }

    /// Processor time of all its threads so far.
    fn cpu(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("Linux");
        let times = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
        Duration::from_nanos(times.filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok()).sum())
    }

    fn rss_kib(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).expect("Linux");
        let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).expect("Linux");
        line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
    }

    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it has ended");
    }
}

fn store(folder: &Path) -> PathBuf {
    folder.join("data").join(STORE_FILE_NAME)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn serve(folder: &Path, options: &Options) {
    let config = "data_dir = \"data\"\ntls_required = false\n[[listener]]\nkind = \"starttls\"\n\
        addresses = [\"127.0.0.1:0\"]\n";
    fs::write(folder.join("stonechat.toml"), config).expect("a configuration");
    let server = Server::start(folder, "closed");
    println!("accounts/memory sessions=0 rss_kib={}", server.rss_kib());
    let mut clients = log_in(&server, options);
    println!("accounts/memory sessions={} rss_kib={}", clients.len(), server.rss_kib());
    fetch(&server, &mut clients);
    println!("accounts/memory sessions={} rosters_fetched=true rss_kib={}", clients.len(), server.rss_kib());
    let writer = clients.first_mut().expect("somebody is there");
    let writes: String = (0..WRITES)
        .map(|number| {
            format!(
                "<iq type='set' id='w{number}'><query xmlns='jabber:iq:roster'>\
                 <item jid='c{number}@elsewhere.example' name='new'/></query></iq>"
            )
        })
        .collect();
    writer.ask("w9", &writes);
    server.kill();
    Server::start(folder, "killed").kill();
}

/// Logs in accounts from all over the store, each read from disk; what its bind costs, with the contacts that it loads.
fn log_in(server: &Server, options: &Options) -> Vec<Client> {
    let count = LOGINS.min(options.accounts);
    // Far from each other, so that no page of one helps the next.
    let step = options.accounts / count;
    let (before, mut times, mut clients) = (server.cpu(), Vec::new(), Vec::new());
    for number in 0..count {
        let mut client = Client::authenticate(server.address, &name(number * step), PASSWORD).expect("a login");
        let began = Instant::now();
        client.bind();
        times.push(began.elapsed());
        clients.push(client);
    }
    report("accounts/login", &mut times, server.cpu() - before, "bind");
    clients
}

/// Fetches the whole roster of each.
fn fetch(server: &Server, clients: &mut [Client]) {
    let (before, mut times) = (server.cpu(), Vec::new());
    for client in clients {
        let began = Instant::now();
        let answer = client.ask("roster", "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>");
        times.push(began.elapsed());
        assert!(answer.last().is_some_and(|answer| answer.contains("Contact ")), "a roster");
    }
    report("accounts/roster", &mut times, server.cpu() - before, "fetch");
}

fn report(line: &str, times: &mut [Duration], cpu: Duration, what: &str) {
    times.sort_unstable();
    let at = |per_mille: usize| times[(times.len() - 1) * per_mille / 1000].as_secs_f64() * 1e6;
    println!(
        "{line} count={} cpu_us_each={:.0} {what}_p50_us={:.0} {what}_p99_us={:.0} {what}_max_us={:.0}",
        times.len(),
        cpu.as_secs_f64() * 1e6 / times.len() as f64,
        at(500),
        at(990),
        at(1000)
    );
}
