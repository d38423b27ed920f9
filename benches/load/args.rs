//! The command line.

use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use lexopt::prelude::{Long, Short, Value, ValueExt};

use crate::echo::Kind;
use crate::launch::Wish;
use crate::plan::{Dialect, Mechanism};
use crate::scenario::targets;

/// `--help`.
pub(crate) const HELP: &str = "\
The bundled load test: many XMPP clients in one cheap event loop, against a server in a process of its own.

    cargo bench --bench load -- [SCENARIO…] [OPTION…]

Scenarios (all of them when none is named):
    idle         memory and processor time of sessions that do nothing, with presence and contacts
    login        login and logout, one after the other, for each SASL mechanism
    storm        the same, many at the same time, by full handshakes and by tickets
    handshake    STARTTLS and TLS, then cut, over and over; beside a rustls echo
    chat         messages between pairs: latency, throughput, nothing lost, doubled or reordered;
                 beside a plain TCP echo and a rustls echo
    presence     broadcasts to 20 and 200 contacts who are online; beside one TLS write of that size
    roster       contact lists of 20 and 200 fetched whole, and with the version that the client has
    offline      messages kept for who is away, and replayed
    mixed        a day of a chat service in a minute: logins, away, chat, presence, lost connections
    slow         sessions that do not read, among others that talk
    reconnect    all sessions cut at once: time until all are back, latency of the untouched
    growth       memory, a message and a presence among few sessions and among many
    exhaust      more connections than the server has descriptors (only with a server started here)

What is measured:
    --quick                  everything small: under a minute
    --budgets                the budgets only, as a table; exit code 1 when one is missed
    --targets                what is aimed at, as a table: medians of several rounds, each beside its
                             limit of the same round; with scenarios named, only their figures
    --rounds N               rounds of --targets (default: 5)
    --dialect NAME           rfc6120, xep0035, direct or plain; may be repeated (default: all;
                             quick: rfc6120 and xep0035)
    --mechanism NAME         PLAIN, SCRAM-SHA-1, SCRAM-SHA-256 or EXTERNAL; may be
                             repeated (default: all, where it matters; quick: PLAIN and SCRAM-SHA-256)
    --sessions N             sessions of idle and of the budgets (default: 10000; quick: 300); repeated, idle
                             looks at each number while they become more, and growth at the least and
                             the most (default: a tenth of N, and nearly twice N)
    --contacts N             mutual contacts of each of these sessions' accounts, all of them in the crowd
                             (default: 20)
    --no-hubs                presence and rosters only of those with so many contacts, none with 200
    --concurrency N          connections that log in at the same time (default: 50)
    --seconds N              length of each measurement (default: 5; targets: 2; quick: 0.2)
    --pairs N                pairs of chat; may be repeated (default: 1 and 100; quick runs only the
                             first and the last combination)
    --window N               messages under way for each pair; may be repeated (default: 1 and 10)
    --size N                 bytes of a message's frame; may be repeated (default: 300)
    --report FILE            where the tables and plots go, as one HTML file (default: load-report.html in
                             cargo's target folder)
    --no-report              no such file
    --accounts N             accounts to spread sessions over (default: 200; quick: 20)

Which server (without --target: the release build of Stonechat, with a fresh data folder, killed at the end):
    --server PATH            another binary of Stonechat
    --target HOST:PORT       any XMPP server that runs already: its STARTTLS (and plain) port
    --direct-target HOST:PORT  its port for direct TLS
    --domain NAME            its domain (default: bench.local)
    --server-pid PID         its process, to measure it; may be repeated
    --users PREFIX           its accounts without contacts are PREFIX0, PREFIX1, … (default: user)
    --friends PREFIX         its accounts with contacts (default: friend)
    --write-accounts FILE    writes both kinds as XML (XEP-0227) for its import, and does nothing else;
    --clear-passwords        with passwords in it and not SCRAM keys, for servers that know no others
    --password TEXT          the password of every account (default: secret)

Of several servers:
    --picture FILE           draws bars from lines `figure TAB server TAB number` on standard input, as SVG,
                             and does nothing else
";

/// What there is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    Idle,
    Login,
    Storm,
    Handshake,
    Chat,
    Presence,
    Roster,
    Offline,
    Mixed,
    Slow,
    Reconnect,
    Growth,
    Exhaust,
}

impl Scenario {
    const ALL: [(&'static str, Self); 13] = [
        ("idle", Self::Idle),
        ("login", Self::Login),
        ("storm", Self::Storm),
        ("handshake", Self::Handshake),
        ("chat", Self::Chat),
        ("presence", Self::Presence),
        ("roster", Self::Roster),
        ("offline", Self::Offline),
        ("mixed", Self::Mixed),
        ("slow", Self::Slow),
        ("reconnect", Self::Reconnect),
        ("growth", Self::Growth),
        ("exhaust", Self::Exhaust),
    ];
}

/// Everything that the command line says.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) quick: bool,
    pub(crate) clear_passwords: bool,
    pub(crate) budgets: bool,
    pub(crate) targets: bool,
    pub(crate) rounds: u32,
    pub(crate) dialects: Vec<Dialect>,
    pub(crate) mechanisms: Vec<Mechanism>,
    /// Ascending.
    pub(crate) sessions: Vec<u32>,
    /// Few and many.
    pub(crate) growth: [u32; 2],
    pub(crate) contacts: u32,
    pub(crate) hubs: bool,
    pub(crate) concurrency: u32,
    /// Length of each measurement.
    pub(crate) measure_ms: u64,
    pub(crate) pairs: Vec<u32>,
    pub(crate) windows: Vec<u32>,
    pub(crate) sizes: Vec<usize>,
    pub(crate) accounts: u32,
    pub(crate) server: PathBuf,
    pub(crate) report: Option<PathBuf>,
    pub(crate) target: Option<SocketAddr>,
    pub(crate) direct_target: Option<SocketAddr>,
    pub(crate) domain: String,
    pub(crate) pids: Vec<u32>,
    pub(crate) users: String,
    pub(crate) friends: String,
    pub(crate) password: String,
}

/// What to do at all.
#[derive(Debug)]
pub(crate) enum Command {
    Run(Box<Options>),
    /// Only writes the accounts.
    WriteAccounts(Box<Options>, PathBuf),
    /// Only draws what standard input says.
    Picture(PathBuf),
    /// This process is an echo server.
    Echo(Kind),
    /// This process becomes another program.
    Become(Wish),
    Help,
}

/// Reads the command line, without the program's name.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut options, mut seconds, mut accounts, mut accounts_file) = (empty(), None, None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Value(name) => options.scenarios.push(pick(&name.string()?, &Scenario::ALL)?),
            Short('h') | Long("help") => return Ok(Command::Help),
            Long("bench") => {} // `cargo bench` says so.
            Long("become") => {
                let wish = Wish::read(parser.raw_args()?);
                return wish.map(Command::Become).ok_or_else(|| "--become is for this program alone".into());
            }
            Long("echo-server") => {
                let name = parser.value()?.string()?;
                return Kind::named(&name).map(Command::Echo).ok_or_else(|| format!("no echo {name:?}").into());
            }
            Long("picture") => return Ok(Command::Picture(parser.value()?.into())),
            Long("quick") => options.quick = true,
            Long("budgets") => options.budgets = true,
            Long("targets") => options.targets = true,
            Long("rounds") => options.rounds = parser.value()?.parse::<u32>()?.clamp(1, 1000),
            Long("dialect") => {
                let names = Dialect::XMPP.map(|dialect| (dialect.name(), dialect));
                options.dialects.push(pick(&parser.value()?.string()?, &names)?);
            }
            Long("mechanism") => {
                let names = Mechanism::ALL.map(|mechanism| (mechanism.name(), mechanism));
                options.mechanisms.push(pick(&parser.value()?.string()?, &names)?);
            }
            Long("sessions") => options.sessions.push(parser.value()?.parse::<u32>()?.max(1)),
            Long("contacts") => options.contacts = parser.value()?.parse()?,
            Long("no-hubs") => options.hubs = false,
            Long("concurrency") => options.concurrency = parser.value()?.parse::<u32>()?.max(1),
            Long("seconds") => seconds = Some(parser.value()?.parse::<f64>()?.clamp(0.1, 3600.0)),
            Long("accounts") => accounts = Some(parser.value()?.parse::<u32>()?.max(1)),
            Long("pairs") => options.pairs.push(parser.value()?.parse::<u32>()?.max(1)),
            Long("window") => options.windows.push(parser.value()?.parse::<u32>()?.max(1)),
            Long("size") => options.sizes.push(parser.value()?.parse()?),
            Long("server") => options.server = parser.value()?.into(),
            Long("target") => options.target = Some(address(&parser.value()?.string()?)?),
            Long("report") => options.report = Some(parser.value()?.into()),
            Long("no-report") => options.report = None,
            Long("direct-target") => options.direct_target = Some(address(&parser.value()?.string()?)?),
            Long("domain") => options.domain = parser.value()?.string()?,
            Long("server-pid") => options.pids.push(parser.value()?.parse()?),
            Long("users") => options.users = parser.value()?.string()?,
            Long("friends") => options.friends = parser.value()?.string()?,
            Long("clear-passwords") => options.clear_passwords = true,
            Long("write-accounts") => accounts_file = Some(PathBuf::from(parser.value()?)),
            Long("password") => options.password = parser.value()?.string()?,
            other => return Err(other.unexpected()),
        }
    }
    let quick = options.quick;
    if options.sessions.is_empty() {
        options.sessions.push(if quick { 300 } else { 10_000 });
    }
    options.sessions.sort_unstable();
    options.growth = match options.sessions[..] {
        [least, .., most] => [least, most],
        // 1,000 and 19,000 of 10,000.
        [count] => [(count / 10).max(1), count.saturating_mul(19) / 10],
        [] => [1, 1],
    };
    options.measure_ms = (seconds.unwrap_or(default_seconds(&options)) * 1000.0) as u64;
    options.accounts = accounts.unwrap_or(if quick { 20 } else { 200 });
    fill(&mut options);
    let options = Box::new(options);
    Ok(match accounts_file {
        Some(file) => Command::WriteAccounts(options, file),
        None => Command::Run(options),
    })
}

/// Length of a measurement when nobody says it.
fn default_seconds(options: &Options) -> f64 {
    match (options.quick, options.targets) {
        (true, _) => 0.2,
        (false, true) => 2.0,
        (false, false) => 5.0,
    }
}

fn empty() -> Options {
    Options {
        scenarios: Vec::new(),
        quick: false,
        clear_passwords: false,
        budgets: false,
        targets: false,
        rounds: 5,
        dialects: Vec::new(),
        mechanisms: Vec::new(),
        sessions: Vec::new(),
        growth: [0; 2],
        contacts: 20,
        hubs: true,
        concurrency: 50,
        measure_ms: 0,
        pairs: Vec::new(),
        windows: Vec::new(),
        sizes: Vec::new(),
        accounts: 0,
        server: env!("CARGO_BIN_EXE_stonechat").into(),
        report: default_report(),
        target: None,
        direct_target: None,
        domain: "bench.local".to_owned(),
        pids: Vec::new(),
        users: "user".to_owned(),
        friends: "friend".to_owned(),
        password: "secret".to_owned(),
    }
}

/// Beside what cargo builds; nowhere if this program was taken somewhere else.
fn default_report() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().filter(|folder| folder.is_dir())?;
    Some(folder.join("load-report.html"))
}

/// Fills the lists that nobody named.
fn fill(options: &mut Options) {
    fn or<T: Clone>(list: &mut Vec<T>, all: &[T]) {
        if list.is_empty() {
            list.extend_from_slice(all);
        }
    }
    let all = Scenario::ALL.map(|(_, scenario)| scenario);
    or(&mut options.scenarios, if options.targets { &targets::SCENARIOS } else { &all });
    let quick = options.quick && !options.budgets;
    or(&mut options.dialects, if quick { &Dialect::XMPP[..2] } else { &Dialect::XMPP });
    let two = [Mechanism::Plain, Mechanism::ScramSha256];
    or(&mut options.mechanisms, if quick { &two } else { &Mechanism::ALL });
    or(&mut options.pairs, &[1, 100]);
    or(&mut options.windows, &[1, 10]);
    or(&mut options.sizes, &[300]);
}

fn pick<T: Copy>(name: &str, among: &[(&'static str, T)]) -> Result<T, lexopt::Error> {
    let found = among.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let names = || among.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
    found.map(|(_, value)| *value).ok_or_else(|| format!("{name:?} is none of {}", names()).into())
}

fn address(text: &str) -> Result<SocketAddr, lexopt::Error> {
    let found = text.to_socket_addrs().ok().and_then(|mut all| all.next());
    found.ok_or_else(|| format!("{text:?} is no HOST:PORT that can be reached").into())
}
