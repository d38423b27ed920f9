//! Sessions that do nothing: what each costs in memory, all of them in processor time, and what stays behind.
//!
//! (resident with N sessions − resident when empty) / N, where empty is after one login and logout: so the
//! pages that any first login touches are not counted as a session's. A server that was not started here
//! is not `fresh`: what earlier sessions left behind hides in its figures, so run it once for each dialect.

use std::sync::Arc;

use super::Outcome;
use crate::bench::{Bench, Reading};
use crate::crowd::{self, Shortfall};
use crate::plan::{Dialect, Goal, Plan};
use crate::process::Memory;
use crate::report::Row;

/// Longest ramp and longest departure.
const PHASE_S: u64 = 300;
/// From the last answer until memory is read.
const SETTLE_MS: u64 = 1_000;
/// Shortest look at the processor time of idle sessions.
const IDLE_MS_MIN: u64 = 1_000;

/// What one dialect's run showed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Idle {
    /// The server's memory after one login and logout.
    pub(super) empty_kib: f64,
    /// KiB for each session.
    pub(super) session_kib: f64,
    /// Processor time while all sessions were idle.
    pub(super) cpu_ms: f64,
    /// Over so many seconds.
    pub(super) seconds: f64,
}

/// The scenario: each dialect on a server started anew.
pub(super) fn run(bench: &mut Bench) -> Outcome<()> {
    for dialect in bench.options.dialects.clone() {
        measure(bench, dialect)?;
    }
    bench.report.table("idle");
    Ok(())
}

/// One dialect; `None` when the server lacks it or it failed, which the report says.
pub(super) fn measure(bench: &mut Bench, dialect: Dialect) -> Outcome<Option<Idle>> {
    let (count, concurrency) = (bench.options.sessions, bench.options.concurrency);
    let settle_ms = if bench.options.quick { SETTLE_MS / 4 } else { SETTLE_MS };
    let Some(plan) = bench.plan(dialect, bench.usual_mechanism(dialect), Goal::Bound).map(Arc::new) else {
        bench.report.skip("idle", dialect.name(), "no port was given for it");
        return Ok(None);
    };
    bench.server.restart(None)?;
    let deadline_ns = bench.deadline_ns(PHASE_S);
    let first = match crowd::raise(&mut bench.swarm, &plan, 1, 1, deadline_ns)? {
        Ok(first) => first,
        Err(shortfall) => return Ok(give_up(bench, dialect, shortfall)),
    };
    depart(bench, &first)?;
    bench.rest(settle_ms)?;
    let empty = bench.memory()?;

    let (pids, deadline_ns) = (bench.server.pids().to_vec(), bench.deadline_ns(PHASE_S));
    let meter = bench.meter(&pids);
    let members = match crowd::raise(&mut bench.swarm, &plan, count, concurrency, deadline_ns)? {
        Ok(members) => members,
        Err(shortfall) => return Ok(give_up(bench, dialect, shortfall)),
    };
    let ramp = bench.read(&meter, &pids);
    bench.rest(settle_ms)?;
    let full = bench.memory()?;

    let meter = bench.meter(&pids);
    bench.rest(bench.options.measure_ms.max(IDLE_MS_MIN))?;
    let idle = bench.read(&meter, &pids);
    depart(bench, &members)?;
    bench.rest(settle_ms)?;
    let after = bench.memory()?;

    let seen = Seen { count, empty, full, after, ramp, idle };
    bench.report.add(seen.row(&plan, bench.server.is_own()));
    Ok(seen.summary())
}

/// All readings of one run; memory is `None` when the server's pid is unknown.
struct Seen {
    count: u32,
    empty: Option<Memory>,
    full: Option<Memory>,
    after: Option<Memory>,
    ramp: Reading,
    idle: Reading,
}

impl Seen {
    fn row(&self, plan: &Plan, fresh: bool) -> Row {
        let mib = |memory: Option<Memory>| memory.map(|memory| memory.rss_kib as f64 / 1024.0);
        let login_ms = self.ramp.server_us_per(self.count.into()).map(|us| us / 1000.0);
        Row::new("idle")
            .text("dialect", plan.dialect.name())
            .whole("sessions", self.count.into())
            .flag("presence", plan.presence)
            .flag("fresh", fresh)
            .number_if("rss_empty_mib", mib(self.empty), 2)
            .number_if("rss_full_mib", mib(self.full), 2)
            .number_if("rss_per_session_kib", self.per_session_kib(|memory| memory.rss_kib), 3)
            .number_if("pss_per_session_kib", self.per_session_kib(|memory| memory.pss_kib), 3)
            .number_if("anon_per_session_kib", self.per_session_kib(|memory| memory.anon_kib), 3)
            .number_if("rss_after_mib", mib(self.after), 2)
            .number_if("kept_percent", self.kept_percent(), 1)
            .number_if("idle_cpu_ms", self.idle.server_ns.map(|ns| ns / 1e6), 3)
            .number("idle_seconds", self.idle.seconds, 1)
            .number("logins_per_s", f64::from(self.count) / self.ramp.seconds, 0)
            .number_if("cpu_ms_per_login", login_ms, 3)
            .number("generator_cores", self.ramp.generator_cores, 2)
    }

    fn per_session_kib(&self, of: fn(Memory) -> u64) -> Option<f64> {
        Some((of(self.full?) as f64 - of(self.empty?) as f64) / f64::from(self.count))
    }

    /// Of what the sessions added, the share that stays when they have left.
    fn kept_percent(&self) -> Option<f64> {
        let (empty, full) = (self.empty?.rss_kib as f64, self.full?.rss_kib as f64);
        let after = self.after?.rss_kib as f64;
        (full > empty).then(|| (after - empty) / (full - empty) * 100.0)
    }

    fn summary(&self) -> Option<Idle> {
        Some(Idle {
            empty_kib: self.empty?.rss_kib as f64,
            session_kib: self.per_session_kib(|memory| memory.rss_kib)?,
            cpu_ms: self.idle.server_ns? / 1e6,
            seconds: self.idle.seconds,
        })
    }
}

fn depart(bench: &mut Bench, members: &[crowd::Member]) -> Outcome<()> {
    let deadline_ns = bench.deadline_ns(PHASE_S);
    let failures = crowd::dismiss(&mut bench.swarm, members, bench.options.concurrency, deadline_ns)?;
    if let Some(first) = failures.first() {
        bench.report.fail(format!("idle: {} sessions did not leave in order: {first}", failures.len()));
    }
    Ok(())
}

fn give_up(bench: &mut Bench, dialect: Dialect, shortfall: Shortfall) -> Option<Idle> {
    match shortfall {
        Shortfall::Unsupported(why) => bench.report.skip("idle", dialect.name(), &why),
        Shortfall::Failed(why) => bench.report.fail(format!("idle {}: {why}", dialect.name())),
    }
    None
}
