//! Connections that come and go: logins, or handshakes only.
//!
//! `login` makes one after the other: what a login takes when nobody else wants one. `storm` and `handshake` keep
//! many under way, each slot one connection after another, by full handshakes and by tickets. A first round, one
//! for each account, is not measured: it fills what server and client may remember of a password or a ticket, and
//! its cost is told apart as `cold`. What no server can leave out of a full handshake, a signature and a key
//! exchange (of a resumed one, the key exchange), stands beside, and the rustls echo's connections for the same.

use std::sync::Arc;

use super::Outcome;
use super::floor::{self, Cost};
use crate::bench::{Bench, Reading};
use crate::certs::Authority;
use crate::echo::{Echo, Kind};
use crate::histogram::Histogram;
use crate::plan::{Dialect, Goal, Mechanism, Plan};
use crate::report::Row;
use crate::server::Setup;
use crate::swarm::{Driver, End, Event, Swarm};
use crate::talk::SLICE_NS;
use crate::tls;

/// Longest first round, and longest wait for the last connections.
const WARM_UP_S: u64 = 30;
/// Fewest connections of a measurement, however long they take.
const DONE_MIN: u64 = 100;
/// A storm is given up when so many more failed than went well: a server that refuses some is measured with
/// those that it took, and the run fails.
const FAILURES_MAX: u64 = 100;

/// One row: what is done over and over.
#[derive(Clone, Copy, Debug)]
struct Errand {
    scenario: &'static str,
    dialect: Dialect,
    mechanism: Mechanism,
    goal: Goal,
    resumes: bool,
    concurrency: u32,
}

impl Errand {
    fn proof(&self) -> &'static str {
        if self.dialect == Dialect::Xep0035 { "jabber:iq:auth" } else { self.mechanism.name() }
    }

    /// Whether a certificate says who the client is.
    fn is_certified(&self) -> bool {
        self.mechanism == Mechanism::External && self.goal == Goal::Bound && self.dialect != Dialect::Xep0035
    }

    fn handshake(&self) -> &'static str {
        match (self.dialect.is_secure(), self.resumes) {
            (false, _) => "none",
            (true, false) => "full",
            (true, true) => "resumed",
        }
    }

    fn label(&self) -> String {
        let proof = if self.goal == Goal::Bound { format!(" {}", self.proof()) } else { String::new() };
        format!("{} {}{proof} {}", self.scenario, self.dialect.name(), self.handshake())
    }
}

/// Login and logout, one after the other, for each dialect and mechanism; by full handshakes and by tickets.
pub(super) fn logins(bench: &mut Bench) -> Outcome<()> {
    each_proof(bench, "login", 1, 2)
}

/// The same, many at the same time.
pub(super) fn storms(bench: &mut Bench) -> Outcome<()> {
    let concurrency = bench.options.concurrency;
    each_proof(bench, "storm", concurrency, 2)
}

/// Each dialect and mechanism, by the first so many `handshakes` of full and resumed.
fn each_proof(bench: &mut Bench, scenario: &'static str, concurrency: u32, handshakes: usize) -> Outcome<()> {
    for dialect in bench.options.dialects.clone() {
        for mechanism in bench.options.mechanisms.clone() {
            // The 2002 login has no mechanisms: it is run once.
            if dialect == Dialect::Xep0035 && Some(&mechanism) != bench.options.mechanisms.first() {
                continue;
            }
            for &resumes in [false, true][..handshakes].iter().filter(|resumes| dialect.is_secure() || !**resumes) {
                run(bench, Errand { scenario, dialect, mechanism, goal: Goal::Bound, resumes, concurrency })?;
            }
        }
    }
    bench.report.table(scenario);
    Ok(())
}

/// The same by full handshakes only.
pub(super) fn full_storms(bench: &mut Bench) -> Outcome<()> {
    let concurrency = bench.options.concurrency;
    each_proof(bench, "storm", concurrency, 1)
}

/// TCP, STARTTLS where the dialect has it, a TLS handshake, and cut. The limit is the rustls echo's handshake.
pub(super) fn handshakes(bench: &mut Bench) -> Outcome<()> {
    let (scenario, concurrency, mechanism) = ("handshake", bench.options.concurrency, Mechanism::Plain);
    let echo = Echo::start(Kind::Tls)?;
    let errand =
        Errand { scenario, dialect: Dialect::TlsEcho, mechanism, goal: Goal::Secured, resumes: false, concurrency };
    if let Some(mut plan) = bench.plan_for(echo.address, errand.dialect, mechanism, errand.goal) {
        plan.tls = vec![own_config(&plan, 0, None, errand)?];
        storm(bench, errand, plan, &[echo.pid()], None)?;
    }
    drop(echo);
    for dialect in bench.options.dialects.clone() {
        for resumes in [false, true].into_iter().filter(|_| dialect.is_secure()) {
            // A ticket comes behind the handshake: who wants the next one waits for the first words.
            let goal = if resumes { Goal::Greeted } else { Goal::Secured };
            run(bench, Errand { scenario, dialect, mechanism, goal, resumes, concurrency })?;
        }
    }
    bench.report.table(scenario);
    Ok(())
}

/// Makes server and plan ready.
fn run(bench: &mut Bench, errand: Errand) -> Outcome<()> {
    let Errand { scenario, dialect, mechanism, goal, .. } = errand;
    let Some(mut plan) = bench.plan(dialect, mechanism, goal) else {
        bench.report.skip(scenario, &errand.label(), "no port was given for it");
        return Ok(());
    };
    // So many that one account's logins follow each other, which its ticket waits for.
    let few = if errand.resumes { errand.concurrency * 2 } else { 1 };
    plan.accounts = bench.options.accounts.max(few);
    let mut setup = Setup::default();
    let is_certified = errand.is_certified();
    if is_certified && !bench.server.is_own() {
        bench.report.skip(scenario, &errand.label(), "only a server that was started here can be told whom to trust");
        return Ok(());
    }
    let authority = if is_certified { Some(Authority::new()?) } else { None };
    // One for all, or for each account its own tickets and certificate.
    let configs = if is_certified || errand.resumes { plan.accounts } else { 1 };
    let configs = (0..configs).map(|account| own_config(&plan, account, authority.as_ref(), errand));
    plan.tls = configs.collect::<Outcome<_>>()?;
    setup.client_roots = authority.map(|authority| authority.pem);
    // What comes and goes at an echo in the same way.
    let floor = floor::connection(bench, dialect.is_secure(), errand.concurrency)?;
    bench.server.restart(&setup)?;
    let pids = bench.server.pids().to_vec();
    storm(bench, errand, plan, &pids, floor)
}

/// What connections to an echo cost that are cut when they are there, so many under way; `None` where they fail, which
/// the report says.
pub(super) fn connections(bench: &mut Bench, mut plan: Plan, pids: &[u32], concurrency: u32) -> Outcome<Option<Cost>> {
    plan.tls = vec![Arc::new(tls::Client { hurries: concurrency > 1, ..Default::default() }.config()?)];
    let mut storm = Storm::new(Arc::new(plan), concurrency);
    let deadline_ns = bench.deadline_ms(bench.options.measure_ms / 5);
    bench.swarm.run(&mut storm, deadline_ns)?;
    storm.begin_again(bench.swarm.now_ns());
    let deadline_ns = bench.deadline_ms(bench.options.measure_ms);
    let meter = bench.meter(pids);
    bench.swarm.run(&mut storm, deadline_ns)?;
    let reading = bench.read(&meter, pids);
    bench.swarm.cut_all();
    if let Some(first) = storm.first_failure {
        bench.report.fail(format!("connections to an echo: {} failed: {first}", storm.failed));
    }
    let time = |share| storm.times.percentile_us(share);
    let cost = |cpu_us| Cost {
        cpu_us,
        p50_us: time(0.5),
        p99_us: time(0.99),
        p999_us: time(0.999),
        per_s: storm.done as f64 / reading.seconds,
    };
    Ok(reading.server_us_per(storm.done).map(cost))
}

fn own_config(
    plan: &Plan,
    account: u32,
    authority: Option<&Authority>,
    errand: Errand,
) -> Outcome<Arc<rustls::ClientConfig>> {
    let jid = format!("{}@{}", plan.localpart(account), plan.domain);
    let identity = authority.map(|authority| authority.client(&jid)).transpose()?;
    let (direct, resumes, hurries) = (plan.dialect == Dialect::Direct, errand.resumes, errand.concurrency > 1);
    Ok(Arc::new(tls::Client { direct, resumes, hurries, identity }.config()?))
}

fn storm(bench: &mut Bench, errand: Errand, plan: Plan, pids: &[u32], floor: Option<Cost>) -> Outcome<()> {
    let (label, plan) = (errand.label(), Arc::new(plan));
    let mut storm = Storm::new(plan.clone(), errand.concurrency);
    storm.end_after = Some(plan.accounts.max(errand.concurrency).into());
    let deadline_ns = bench.deadline_ns(WARM_UP_S);
    let meter = bench.meter(pids);
    let warmed = bench.swarm.run(&mut storm, deadline_ns)?;
    let cold = bench.read(&meter, pids);
    if let Some(lacks) = storm.lacks {
        bench.report.skip(errand.scenario, &label, &lacks);
        return Ok(());
    }
    if !warmed || storm.is_hopeless() {
        let first = storm.first_failure.unwrap_or_else(|| "too slow".to_owned());
        bench.report.fail(format!("{label}: {} failed before it began: {first}", storm.failed));
        bench.swarm.cut_all();
        return Ok(());
    }
    let (cold_us, cold_failed) = (cold.server_us_per(storm.done), storm.failed);

    storm.begin_again(bench.swarm.now_ns());
    let deadline_ns = bench.deadline_ms(bench.options.measure_ms);
    let meter = bench.meter(pids);
    bench.swarm.run(&mut storm, deadline_ns)?;
    if storm.done < DONE_MIN {
        // Too few to say anything: it goes on until there are enough.
        storm.end_after = Some(DONE_MIN);
        let deadline_ns = bench.deadline_ns(WARM_UP_S);
        bench.swarm.run(&mut storm, deadline_ns)?;
    }
    let reading = bench.read(&meter, pids);
    let (done, failed) = (storm.done, storm.failed);
    if errand.resumes && storm.resumed == 0 {
        bench.report.skip(errand.scenario, &label, "the server resumes no TLS session");
    } else {
        report(bench, errand, &storm, &reading, (cold_us, floor));
    }
    if failed + cold_failed > 0 {
        let first = storm.first_failure.take().unwrap_or_default();
        let text = format!("{label}: {failed} of {} failed, {cold_failed} before: {first}", done + failed);
        bench.report.fail(text);
    }
    // Connections under way end in order, so that the next scenario finds the server at rest.
    storm.end_after = Some(storm.done);
    let deadline_ns = bench.deadline_ns(WARM_UP_S);
    bench.swarm.run(&mut storm, deadline_ns)?;
    bench.swarm.cut_all();
    Ok(())
}

/// A row: processor time beside arithmetic or, where there is no TLS, beside an echo's connection; times and rate beside
/// an echo's connections, where those do the same handshake.
fn report(
    bench: &mut Bench,
    errand: Errand,
    storm: &Storm,
    reading: &Reading,
    (cold_us, floor): (Option<f64>, Option<Cost>),
) {
    let mut row = Row::new(errand.scenario).text("dialect", errand.dialect.name());
    if errand.goal == Goal::Bound {
        row = row.text("mechanism", errand.proof());
    }
    let ms = |us: f64| us / 1000.0;
    let each_us = reading.server_us_per(storm.done);
    // Whoever keeps no passwords has to hash the one that is sent.
    let sends_password = errand.dialect == Dialect::Xep0035 || errand.mechanism == Mechanism::Plain;
    let hashes = errand.goal == Goal::Bound && sends_password;
    let limit_us = if errand.dialect.is_secure() {
        Some(bench.arithmetic.handshake_us(errand.is_certified(), errand.resumes))
    } else {
        floor.map(|floor| floor.cpu_us)
    };
    let cold_limit_us = limit_us.map(|us| us + if hashes { bench.arithmetic.hash_us } else { 0.0 });
    let echo = floor.filter(|_| !errand.resumes);
    let (time, per_s) = (|share| Some(ms(storm.times.percentile_us(share))), storm.done as f64 / reading.seconds);
    row = row
        .text("handshake", errand.handshake())
        .number("resumed", storm.resumed as f64 / storm.times.total().max(1) as f64, 3)
        .whole("done", storm.done)
        .whole("failed", storm.failed)
        .beside(["per_s", "limit_per_s", "per_s_to_limit"], Some(per_s), echo.map(|echo| echo.per_s), 0)
        .beside(["cpu_ms_each", "limit_cpu_ms", "cpu_to_limit"], each_us.map(ms), limit_us.map(ms), 4)
        .beside(
            ["cold_cpu_ms_each", "limit_cold_cpu_ms", "cold_cpu_to_limit"],
            cold_us.map(ms),
            cold_limit_us.map(ms),
            4,
        )
        .beside(["p50_ms", "limit_p50_ms", "p50_to_limit"], time(0.5), echo.map(|echo| ms(echo.p50_us)), 2)
        .beside(["p99_ms", "limit_p99_ms", "p99_to_limit"], time(0.99), echo.map(|echo| ms(echo.p99_us)), 2);
    let label = errand.label();
    bench.report.latencies(&label, &storm.times);
    bench.report.throughput(&label, &storm.slices, SLICE_NS);
    bench.report.cost(&label, each_us, limit_us);
    bench.report.add(reading.add_to(row));
}

struct Storm {
    plan: Arc<Plan>,
    concurrency: u32,
    /// Serial number of the next connection, which picks its account.
    serial: u32,
    under_way: u32,
    done: u64,
    resumed: u64,
    failed: u64,
    first_failure: Option<String>,
    lacks: Option<String>,
    /// From connect to ready.
    times: Histogram,
    /// Done in each slice since the measurement began.
    slices: Vec<u64>,
    measured_from_ns: u64,
    /// Begins nothing more after so many, and is done when those under way have ended.
    end_after: Option<u64>,
}

impl Storm {
    fn new(plan: Arc<Plan>, concurrency: u32) -> Self {
        Self {
            plan,
            concurrency,
            serial: 0,
            under_way: 0,
            done: 0,
            resumed: 0,
            failed: 0,
            first_failure: None,
            lacks: None,
            times: Histogram::default(),
            slices: Vec::new(),
            measured_from_ns: 0,
            end_after: None,
        }
    }

    /// Forgets the warm-up's figures.
    fn begin_again(&mut self, now_ns: u64) {
        (self.done, self.resumed, self.failed, self.measured_from_ns) = (0, 0, 0, now_ns);
        self.times.clear();
        self.slices.clear();
        self.end_after = None;
    }

    fn done(&mut self, now_ns: u64) {
        self.under_way -= 1;
        self.done += 1;
        let slice = (now_ns.saturating_sub(self.measured_from_ns) / SLICE_NS) as usize;
        if self.slices.len() <= slice {
            self.slices.resize(slice + 1, 0);
        }
        self.slices[slice] += 1;
    }

    fn begins_more(&self) -> bool {
        let enough = self.end_after.is_some_and(|end| self.done + u64::from(self.under_way) >= end);
        !enough && self.under_way < self.concurrency && !self.is_hopeless() && self.lacks.is_none()
    }

    fn is_hopeless(&self) -> bool {
        self.failed >= self.done + FAILURES_MAX
    }

    fn fail(&mut self, text: String) {
        self.failed += 1;
        self.first_failure.get_or_insert(text);
    }
}

impl Driver for Storm {
    fn event(&mut self, swarm: &mut Swarm, id: usize, _tag: u32, event: Event<'_>) {
        match event {
            Event::Ready { took_ns, resumed, .. } => {
                self.times.record(took_ns);
                self.resumed += u64::from(resumed);
                if self.plan.goal != Goal::Bound {
                    swarm.cut(id);
                    self.done(swarm.now_ns());
                } else {
                    swarm.logout(id);
                }
            }
            Event::Frame(_) => {}
            Event::Ended(end) => {
                match end {
                    End::Closed => return self.done(swarm.now_ns()),
                    End::Unsupported(text) => self.lacks = Some(text),
                    End::Failed(text) => self.fail(text),
                }
                self.under_way -= 1;
            }
        }
    }

    fn tick(&mut self, swarm: &mut Swarm) {
        while self.begins_more() {
            match swarm.spawn(&self.plan, self.serial, 0) {
                Ok(_) => self.under_way += 1,
                Err(error) => self.fail(format!("no socket: {error}")),
            }
            self.serial = self.serial.wrapping_add(1);
        }
    }

    fn is_done(&self) -> bool {
        let ended = self.end_after.is_some_and(|end| self.done + self.failed >= end) || self.is_hopeless();
        (ended || self.lacks.is_some()) && self.under_way == 0
    }

    fn progress(&self) -> (&'static str, u64, Option<u64>) {
        (self.plan.dialect.name(), self.done, self.end_after)
    }
}
