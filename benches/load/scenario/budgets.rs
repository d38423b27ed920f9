//! The budgets: what was promised beside what is measured, and a failure for each that is missed.

use super::{Outcome, exhaust, idle};
use crate::bench::Bench;
use crate::plan::Dialect;
use crate::report::Row;

/// An empty server, after one login and logout.
const EMPTY_KIB_MAX: f64 = 4.0 * 1024.0;
/// A bound session inside TLS that has sent presence, with its account and the account's contacts.
const TLS_SESSION_KIB_MAX: f64 = 4.5;
/// The same without TLS.
const PLAIN_SESSION_KIB_MAX: f64 = 1.0;
/// What stays of that when all have left: aimed at, not reached yet. What stays is of a fixed size, so that more
/// sessions are a smaller part of it.
const KEPT_PERCENT_GOAL: f64 = 10.0;
/// Processor time of a second in which all sessions are idle. The promise is none; one wake-up for anything
/// that is not a session's costs less than this.
const IDLE_CPU_MS_PER_S_MAX: f64 = 0.1;

/// Measures and compares.
pub(super) fn run(bench: &mut Bench) -> Outcome<()> {
    let secure = idle::measure(bench, Dialect::Rfc6120)?;
    let plain = idle::measure(bench, Dialect::Plain)?;
    let stood = exhaust::run(bench)?;
    bench.report.table("idle");

    let empty_kib = [secure, plain].iter().flatten().map(|idle| idle.empty_kib).reduce(f64::max);
    let cpu = [secure, plain].iter().flatten().map(|idle| idle.cpu_ms / idle.seconds).reduce(f64::max);
    let kept = [secure, plain].iter().flatten().map(|idle| idle.kept_percent).reduce(f64::max);
    compare(bench, "empty server, KiB", empty_kib, EMPTY_KIB_MAX);
    compare(bench, "idle TLS session, KiB", secure.map(|idle| idle.session_kib), TLS_SESSION_KIB_MAX);
    compare(bench, "idle plain session, KiB", plain.map(|idle| idle.session_kib), PLAIN_SESSION_KIB_MAX);
    aim(bench, "kept when all have left, %", kept, KEPT_PERCENT_GOAL);
    compare(bench, "all idle, CPU ms a second", cpu, IDLE_CPU_MS_PER_S_MAX);
    if bench.server.is_own() {
        let failures = stood.map(|stood| f64::from(u8::from(!stood)));
        compare(bench, "descriptors exhausted, failures", failures, 0.0);
    }
    bench.report.table("budget");
    bench.report.table("goal");
    Ok(())
}

/// What is aimed at is said, and fails nothing.
fn aim(bench: &mut Bench, what: &str, measured: Option<f64>, most: f64) {
    let reached = measured.is_some_and(|measured| measured <= most);
    let row = Row::new("goal").text("what", what).number("at_most", most, 2);
    bench.report.add(row.number_if("measured", measured, 3).flag("reached", reached));
}

/// A budget that could not be measured is missed too.
fn compare(bench: &mut Bench, what: &str, measured: Option<f64>, most: f64) {
    let kept = measured.is_some_and(|measured| measured <= most);
    let row = Row::new("budget").text("what", what).number("at_most", most, 2);
    bench.report.add(row.number_if("measured", measured, 3).flag("kept", kept));
    if !kept {
        let measured = measured.map_or("nothing was measured".to_owned(), |measured| format!("{measured:.3}"));
        bench.report.fail(format!("budget: {what}: at most {most}, but {measured}"));
    }
}
