//! Connections that come and go as fast as the server lets them: logins, or handshakes only.
//!
//! Every slot makes one connection after another. A first round, one for each account, is not measured: it
//! fills what server and generator may remember of a password, and its cost is told apart as `cold`.

use std::sync::Arc;

use super::Outcome;
use crate::bench::{Bench, Reading};
use crate::histogram::Histogram;
use crate::plan::{Dialect, Goal, Mechanism, Plan};
use crate::progress::Progress;
use crate::report::Row;
use crate::swarm::{Driver, End, Event, Swarm};

/// Longest first round, and longest wait for the last connections.
const WARM_UP_S: u64 = 60;
/// Failures after which a storm is given up.
const FAILURES_MAX: u64 = 100;

/// Login and logout, for each dialect and mechanism.
pub(super) fn logins(bench: &mut Bench) -> Outcome<()> {
    for dialect in bench.options.dialects.clone() {
        for mechanism in bench.options.mechanisms.clone() {
            // The 2002 login has no mechanisms: it is run once.
            if dialect == Dialect::Xep0035 && Some(&mechanism) != bench.options.mechanisms.first() {
                continue;
            }
            storm(bench, "login", dialect, mechanism, Goal::Bound)?;
        }
    }
    bench.report.table("login");
    Ok(())
}

/// TCP, STARTTLS where the dialect has it, a full TLS handshake, and cut.
pub(super) fn handshakes(bench: &mut Bench) -> Outcome<()> {
    for dialect in bench.options.dialects.clone() {
        if dialect.is_secure() {
            storm(bench, "handshake", dialect, Mechanism::Plain, Goal::Secured)?;
        }
    }
    bench.report.table("handshake");
    Ok(())
}

fn storm(bench: &mut Bench, scenario: &'static str, dialect: Dialect, mechanism: Mechanism, goal: Goal) -> Outcome<()> {
    let proof = if dialect == Dialect::Xep0035 { "jabber:iq:auth" } else { mechanism.name() };
    let what = if goal == Goal::Bound { format!("{} {proof}", dialect.name()) } else { dialect.name().to_owned() };
    let Some(plan) = bench.plan(dialect, mechanism, goal).map(Arc::new) else {
        bench.report.skip(scenario, &what, "no port was given for it");
        return Ok(());
    };
    bench.server.restart(None)?;
    let pids = bench.server.pids().to_vec();
    let mut storm = Storm::new(plan, bench.options.concurrency, bench.swarm.now_ns());
    let warm_up = bench.options.accounts.max(bench.options.concurrency);
    storm.end_after = Some(warm_up.into());
    let deadline_ns = bench.deadline_ns(WARM_UP_S);
    let meter = bench.meter(&pids);
    let warmed = bench.swarm.run(&mut storm, deadline_ns)?;
    let cold = bench.read(&meter, &pids);
    if let Some(lacks) = storm.lacks {
        bench.report.skip(scenario, &what, &lacks);
        return Ok(());
    }
    if !warmed || storm.failed > 0 {
        let first = storm.first_failure.unwrap_or_else(|| "too slow".to_owned());
        bench.report.fail(format!("{scenario} {what}: {} failed before it began: {first}", storm.failed));
        bench.swarm.cut_all();
        return Ok(());
    }
    let cold_us = cold.server_us_per(storm.done);

    storm.begin_again();
    let deadline_ns = bench.deadline_ms(bench.options.measure_ms);
    let meter = bench.meter(&pids);
    bench.swarm.run(&mut storm, deadline_ns)?;
    let reading = bench.read(&meter, &pids);
    let (done, failed) = (storm.done, storm.failed);
    report(bench, scenario, &storm, proof, &reading, cold_us);
    if failed > 0 {
        let first = storm.first_failure.take().unwrap_or_default();
        bench.report.fail(format!("{scenario} {what}: {failed} of {} failed: {first}", done + failed));
    }
    // Connections under way end in order, so that the next scenario finds the server at rest.
    storm.end_after = Some(storm.done);
    let deadline_ns = bench.deadline_ns(WARM_UP_S);
    bench.swarm.run(&mut storm, deadline_ns)?;
    bench.swarm.cut_all();
    Ok(())
}

fn report(
    bench: &mut Bench,
    scenario: &'static str,
    storm: &Storm,
    proof: &str,
    reading: &Reading,
    cold_us: Option<f64>,
) {
    let mut row = Row::new(scenario).text("dialect", storm.plan.dialect.name());
    if scenario == "login" {
        row = row.text("mechanism", proof);
    }
    row = row
        .whole("done", storm.done)
        .whole("failed", storm.failed)
        .number("per_s", storm.done as f64 / reading.seconds, 0)
        .number_if("cpu_ms_each", reading.server_us_per(storm.done).map(|us| us / 1000.0), 4)
        .number_if("cold_cpu_ms_each", cold_us.map(|us| us / 1000.0), 4)
        .number("p50_ms", storm.times.percentile_us(0.5) / 1000.0, 2)
        .number("p99_ms", storm.times.percentile_us(0.99) / 1000.0, 2);
    bench.report.add(reading.add_to(row));
}

struct Storm {
    plan: Arc<Plan>,
    concurrency: u32,
    /// Serial number of the next connection, which picks its account.
    serial: u32,
    under_way: u32,
    done: u64,
    failed: u64,
    first_failure: Option<String>,
    lacks: Option<String>,
    /// From connect to ready.
    times: Histogram,
    /// Begins nothing more after so many, and is done when those under way have ended.
    end_after: Option<u64>,
    progress: Progress,
}

impl Storm {
    fn new(plan: Arc<Plan>, concurrency: u32, now_ns: u64) -> Self {
        Self {
            plan,
            concurrency,
            serial: 0,
            under_way: 0,
            done: 0,
            failed: 0,
            first_failure: None,
            lacks: None,
            times: Histogram::default(),
            end_after: None,
            progress: Progress::new(now_ns),
        }
    }

    /// Forgets the warm-up's figures.
    fn begin_again(&mut self) {
        self.done = 0;
        self.times.clear();
        self.end_after = None;
    }

    fn begins_more(&self) -> bool {
        let enough = self.end_after.is_some_and(|end| self.done + u64::from(self.under_way) >= end);
        !enough && self.under_way < self.concurrency && self.failed < FAILURES_MAX && self.lacks.is_none()
    }

    fn fail(&mut self, text: String) {
        self.failed += 1;
        self.first_failure.get_or_insert(text);
    }
}

impl Driver for Storm {
    fn event(&mut self, swarm: &mut Swarm, id: usize, _tag: u32, event: Event<'_>) {
        match event {
            Event::Ready { took_ns, .. } => {
                self.times.record(took_ns);
                if self.plan.goal == Goal::Secured {
                    swarm.cut(id);
                    self.under_way -= 1;
                    self.done += 1;
                } else {
                    swarm.logout(id);
                }
            }
            Event::Frame(_) => {}
            Event::Ended(end) => {
                self.under_way -= 1;
                match end {
                    End::Closed => self.done += 1,
                    End::Unsupported(text) => self.lacks = Some(text),
                    End::Failed(text) => self.fail(text),
                }
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
        self.progress.show(swarm.now_ns(), self.plan.dialect.name(), self.done, 0);
    }

    fn is_done(&self) -> bool {
        let ended = self.end_after.is_some_and(|end| self.done + self.failed >= end) || self.failed >= FAILURES_MAX;
        (ended || self.lacks.is_some()) && self.under_way == 0
    }
}
