//! What every scenario works with: the options, the clients, the server and the report.

use std::error::Error;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustls::pki_types::ServerName;

use crate::args::Options;
use crate::clock::{MS_NS, SECOND_NS};
use crate::crowd::{self, Member, Shortfall};
use crate::limits::Arithmetic;
use crate::plan::{Dialect, Goal, Mechanism, Plan};
use crate::population::{Circle, Population};
use crate::process::{self, Memory};
use crate::report::{Report, Row};
use crate::scenario::floor::Floors;
use crate::server::{self, Server};
use crate::sources::Sources;
use crate::swarm::{Driver, Event, Stop, Swarm};
use crate::tls;

/// Longest ramp and longest departure.
const PHASE_S: u64 = 300;
/// Above this share of one core the generator, not the server, may set the pace.
const GENERATOR_BUSY: f64 = 0.9;

/// Descriptors that server and generator need for other things than the sessions that are counted: files, and the
/// pairs that talk beside them.
const SPARE_DESCRIPTORS: u32 = 200;

/// Descriptors that the sessions of these options need.
pub(crate) fn descriptors_wanted(options: &Options) -> u64 {
    let sessions = options.sessions.iter().chain(&options.growth).max().copied().unwrap_or(0);
    u64::from(sessions) + u64::from(SPARE_DESCRIPTORS)
}

/// The state of a load test.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) options: Options,
    pub(crate) swarm: Swarm,
    pub(crate) server: Server,
    pub(crate) population: Population,
    pub(crate) report: Report,
    /// What a full handshake cannot do without.
    pub(crate) arithmetic: Arithmetic,
    /// What is known so far of the least that things cost.
    pub(crate) floors: Floors,
}

/// Readings at the start of a measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    begun_ns: u64,
    server_ns: u64,
    waited_ns: u64,
    own_ns: u64,
}

/// What passed since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) seconds: f64,
    /// Processor time of the server; `None` when its pid is unknown.
    pub(crate) server_ns: Option<f64>,
    /// Processor time of the generator, in cores.
    pub(crate) generator_cores: f64,
    /// How long threads of the server and of the generator had work and no core, in parts of the time.
    pub(crate) waited: f64,
    /// Addresses that connections have come from so far.
    pub(crate) sources: u32,
}

impl Reading {
    /// Both together, what was between them left out.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let seconds = self.seconds + other.seconds;
        let share = |one: f64, two: f64| (one * self.seconds + two * other.seconds) / seconds;
        Self {
            seconds,
            server_ns: self.server_ns.zip(other.server_ns).map(|(one, two)| one + two),
            generator_cores: share(self.generator_cores, other.generator_cores),
            waited: share(self.waited, other.waited),
            sources: other.sources,
        }
    }

    /// Cores that the server used.
    pub(crate) fn server_cores(&self) -> Option<f64> {
        self.server_ns.map(|ns| ns / SECOND_NS as f64 / self.seconds)
    }

    /// The server's processor time for each of `count` operations, in microseconds; `None` for none of them.
    pub(crate) fn server_us_per(&self, count: u64) -> Option<f64> {
        self.server_ns.filter(|_| count > 0).map(|ns| ns / 1000.0 / count as f64)
    }

    /// Appends who was how busy, and whether the generator set the pace.
    pub(crate) fn add_to(&self, row: Row) -> Row {
        let bound = self.generator_cores > GENERATOR_BUSY;
        if bound {
            eprintln!("the generator was the bottleneck ({:.2} cores): more is possible", self.generator_cores);
        }
        let row = row.number_if("server_cores", self.server_cores(), 2);
        let row = row.number("generator_cores", self.generator_cores, 2).flag("generator_bound", bound);
        row.number("waited", self.waited, 2).whole("source_addresses", self.sources.into())
    }
}

impl Bench {
    /// Makes the server and its accounts ready and prints what is measured where.
    pub(crate) fn new(mut options: Options, stop: Arc<AtomicBool>) -> Result<Self, Box<dyn Error>> {
        let mut report = Report::default();
        let subject = match options.target {
            Some(target) => target.to_string(),
            None => server::describe(&options.server),
        };
        let cores = process::processors();
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        let machine = Row::new("machine").text("server", &subject).text("build", build).whole("cores", cores);
        let machine = machine.text("processor", &process::processor()).text("kernel", &process::kernel_release());
        let machine = machine.whole("descriptors", process::descriptor_limit());
        report.add(machine.whole("ports_per_address", Sources::default().ports.into()));
        report.table("machine");
        let room = u32::try_from(process::descriptor_limit()).unwrap_or(u32::MAX).saturating_sub(SPARE_DESCRIPTORS);
        for sessions in options.sessions.iter_mut().chain(&mut options.growth).filter(|sessions| **sessions > room) {
            eprintln!("the descriptor limit leaves room for {room} of {sessions} sessions");
            *sessions = room;
        }
        let population = Population::of(&options);
        let server = Server::new(&options, &population, stop.clone())?;
        let mut bench = Self {
            swarm: Swarm::new(stop)?,
            options,
            server,
            population,
            report,
            arithmetic: Arithmetic::default(),
            floors: Floors::default(),
        };
        bench.measure_limits()?;
        Ok(bench)
    }

    /// Measures the arithmetic anew and forgets what was measured of other limits.
    pub(crate) fn measure_limits(&mut self) -> Result<(), Box<dyn Error>> {
        self.floors = Floors::default();
        self.arithmetic = Arithmetic::measure()?;
        let Arithmetic { sign_us, verify_us, exchange_us, hash_us } = self.arithmetic;
        self.report.limit("a signature, P-256", sign_us, "µs");
        self.report.limit("a signature verified", verify_us, "µs");
        self.report.limit("a key exchange, X25519", exchange_us, "µs");
        self.report.limit("a password hashed, PBKDF2", hash_us, "µs");
        Ok(())
    }

    /// What connections of a run have in common; `None` where the server has no port for the dialect.
    pub(crate) fn plan(&self, dialect: Dialect, mechanism: Mechanism, goal: Goal) -> Option<Plan> {
        self.plan_for(self.server.target(dialect)?, dialect, mechanism, goal)
    }

    /// The same, towards any address.
    pub(crate) fn plan_for(
        &self,
        target: SocketAddr,
        dialect: Dialect,
        mechanism: Mechanism,
        goal: Goal,
    ) -> Option<Plan> {
        let options = &self.options;
        Some(Plan {
            target,
            domain: options.domain.clone(),
            dialect,
            mechanism,
            goal,
            patient: !self.server.is_own(),
            presence: false,
            users: options.users.clone(),
            accounts: self.population.users,
            password: options.password.clone(),
            tls: vec![Arc::new(
                tls::Client { direct: dialect == Dialect::Direct, ..Default::default() }.config().ok()?,
            )],
            server_name: ServerName::try_from(options.domain.clone()).ok()?,
        })
    }

    /// Who is looked at where the number of contacts matters.
    pub(crate) fn circles(&self) -> Vec<Circle> {
        let mut circles = vec![self.population.friends.clone(), self.population.hubs.clone()];
        circles.truncate(if self.options.hubs { 2 } else { 1 });
        circles
    }

    /// The plan of sessions with presence, of accounts that have contacts.
    pub(crate) fn circle_plan(&self, dialect: Dialect, circle: &Circle) -> Option<Plan> {
        let plan = self.plan(dialect, self.usual_mechanism(dialect), Goal::Bound)?;
        Some(Plan { presence: true, users: circle.prefix.clone(), accounts: circle.count, ..plan })
    }

    /// The same, of the large circle.
    pub(crate) fn friends_plan(&self, dialect: Dialect) -> Option<Plan> {
        self.circle_plan(dialect, &self.population.friends)
    }

    /// The mechanism of scenarios that are not about mechanisms. SCRAM: the server hashes no password for it,
    /// and the client one for all accounts that were made here.
    pub(crate) fn usual_mechanism(&self, dialect: Dialect) -> Mechanism {
        let is_plain_cheap = !self.server.is_own() && dialect.is_secure();
        let preferred = if is_plain_cheap { Mechanism::Plain } else { Mechanism::ScramSha256 };
        let named = &self.options.mechanisms;
        if named.contains(&preferred) { preferred } else { named.first().copied().unwrap_or(preferred) }
    }

    /// A deadline so many seconds from now.
    pub(crate) fn deadline_ns(&self, seconds: u64) -> u64 {
        self.swarm.now_ns() + seconds * SECOND_NS
    }

    /// A deadline so many milliseconds from now.
    pub(crate) fn deadline_ms(&self, ms: u64) -> u64 {
        self.swarm.now_ns() + ms * MS_NS
    }

    /// Starts a measurement of the processes `pids`.
    pub(crate) fn meter(&self, pids: &[u32]) -> Meter {
        let (begun_ns, server_ns) = (self.swarm.now_ns(), process::cpu_ns(pids));
        Meter { begun_ns, server_ns, waited_ns: waited_ns(pids), own_ns: process::own_cpu_ns() }
    }

    /// Reads it.
    pub(crate) fn read(&self, meter: &Meter, pids: &[u32]) -> Reading {
        let seconds = (self.swarm.now_ns() - meter.begun_ns) as f64 / SECOND_NS as f64;
        let server_ns = (!pids.is_empty()).then(|| process::cpu_ns(pids).saturating_sub(meter.server_ns) as f64);
        let own_ns = process::own_cpu_ns().saturating_sub(meter.own_ns);
        let waited_ns = waited_ns(pids).saturating_sub(meter.waited_ns);
        let share = |ns: u64| ns as f64 / SECOND_NS as f64 / seconds;
        let sources = self.swarm.sources().used;
        Reading { seconds, server_ns, generator_cores: share(own_ns), waited: share(waited_ns), sources }
    }

    /// The server's memory; `None` when its pid is unknown.
    pub(crate) fn memory(&self) -> Result<Option<Memory>, Box<dyn Error>> {
        let pids = self.server.pids();
        Ok(if pids.is_empty() { None } else { Some(process::memory(pids)?) })
    }

    /// Raises a crowd as [`crowd::raise`] does; says in the report why not.
    pub(crate) fn raise(
        &mut self,
        what: &str,
        plan: &Arc<Plan>,
        tags: Range<u32>,
    ) -> Result<Option<Vec<Member>>, Stop> {
        // Neighbours at a relay are those who came one after the other.
        let concurrency = if plan.dialect == Dialect::TlsRelay { 1 } else { self.options.concurrency };
        let (scenario, name, deadline_ns) = (what, plan.dialect.name(), self.deadline_ns(PHASE_S));
        match crowd::raise(&mut self.swarm, plan, tags, concurrency, deadline_ns)? {
            Ok(members) => return Ok(Some(members)),
            Err(Shortfall::Unsupported(why)) => self.report.skip(scenario, name, &why),
            Err(Shortfall::Failed(why)) => self.report.fail(format!("{scenario} {name}: {why}")),
        }
        Ok(None)
    }

    /// Logs them out; what does not end in order fails the run.
    pub(crate) fn dismiss(&mut self, what: &str, members: &[Member]) -> Result<(), Stop> {
        let deadline_ns = self.deadline_ns(PHASE_S);
        let failures = crowd::dismiss(&mut self.swarm, members, self.options.concurrency, deadline_ns)?;
        if let Some(first) = failures.first() {
            self.report.fail(format!("{what}: {} sessions did not leave in order: {first}", failures.len()));
        }
        Ok(())
    }

    /// Lets the connections be for a while: what the server sends is read, nothing is sent.
    pub(crate) fn rest(&mut self, ms: u64) -> Result<(), Stop> {
        let deadline_ns = self.deadline_ms(ms);
        let mut quiet = Quiet { ended: 0 };
        self.swarm.run(&mut quiet, deadline_ns)?;
        if quiet.ended > 0 {
            self.report.fail(format!("{} idle connections ended by themselves", quiet.ended));
        }
        Ok(())
    }
}

fn waited_ns(pids: &[u32]) -> u64 {
    process::waited_ns(pids) + process::waited_ns(&[std::process::id()])
}

/// A scenario that does nothing.
struct Quiet {
    ended: u32,
}

impl Driver for Quiet {
    fn event(&mut self, _swarm: &mut Swarm, _id: usize, _tag: u32, event: Event<'_>) {
        if let Event::Ended(_) = event {
            self.ended += 1;
        }
    }

    fn tick(&mut self, _swarm: &mut Swarm) {}

    fn is_done(&self) -> bool {
        false
    }

    fn progress(&self) -> (&'static str, u64, Option<u64>) {
        ("idle; ended by themselves", self.ended.into(), None)
    }
}
