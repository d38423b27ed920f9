//! Sessions that do nothing: what each costs in memory, all of them in processor time, and what stays behind.
//!
//! (resident with N sessions − resident when empty) / N, where empty is after one login and logout: so the
//! pages that any first login touches are not counted as a session's. A server that was not started here
//! is not `fresh`: what earlier sessions left behind hides in its figures, so run it once for each dialect.

use std::sync::Arc;

use super::Outcome;
use crate::bench::Bench;
use crate::crowd::{self, Shortfall};
use crate::plan::{Dialect, Goal};
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

    let per_session = |of: fn(Memory) -> u64| {
        let (empty, full) = (of(empty?), of(full?));
        Some((full as f64 - empty as f64) / f64::from(count))
    };
    let kept_percent = || {
        let (empty, full, after) = (empty?.rss_kib as f64, full?.rss_kib as f64, after?.rss_kib as f64);
        (full > empty).then(|| (after - empty) / (full - empty) * 100.0)
    };
    let session_kib = per_session(|memory| memory.rss_kib);
    let idle_cpu_ms = idle.server_ns.map(|ns| ns / 1e6);
    let row = Row::new("idle")
        .text("dialect", dialect.name())
        .whole("sessions", count.into())
        .flag("presence", plan.presence)
        .flag("fresh", bench.server.is_own())
        .number_if("rss_empty_mib", empty.map(|memory| memory.rss_kib as f64 / 1024.0), 2)
        .number_if("rss_full_mib", full.map(|memory| memory.rss_kib as f64 / 1024.0), 2)
        .number_if("rss_per_session_kib", session_kib, 3)
        .number_if("pss_per_session_kib", per_session(|memory| memory.pss_kib), 3)
        .number_if("anon_per_session_kib", per_session(|memory| memory.anon_kib), 3)
        .number_if("rss_after_mib", after.map(|memory| memory.rss_kib as f64 / 1024.0), 2)
        .number_if("kept_percent", kept_percent(), 1)
        .number_if("idle_cpu_ms", idle_cpu_ms, 3)
        .number("idle_seconds", idle.seconds, 1)
        .number("logins_per_s", f64::from(count) / ramp.seconds, 0)
        .number_if("cpu_ms_per_login", ramp.server_us_per(count.into()).map(|us| us / 1000.0), 3)
        .number("generator_cores", ramp.generator_cores, 2);
    bench.report.add(row);
    let empty_kib = empty.map(|memory| memory.rss_kib as f64);
    Ok(match (empty_kib, session_kib, idle_cpu_ms) {
        (Some(empty_kib), Some(session_kib), Some(cpu_ms)) => {
            Some(Idle { empty_kib, session_kib, cpu_ms, seconds: idle.seconds })
        }
        _ => None,
    })
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
