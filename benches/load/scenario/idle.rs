//! Sessions that do nothing: what each costs in memory, all of them in processor time, and what stays behind.
//!
//! They have sent presence and have contacts that are online too. (resident with N sessions − resident when
//! empty) / N, where empty is after one login and logout: so the pages that any first login touches are not
//! counted as a session's. Where several N are asked for, the crowd grows from one to the next. A server that
//! was not started here is not `fresh`: what earlier sessions left behind hides in its figures, so run it once
//! for each dialect.

use std::sync::Arc;

use super::Outcome;
use crate::bench::{Bench, Reading};
use crate::crowd::{self, Member, Shortfall};
use crate::echo::{Echo, Kind};
use crate::plan::{Dialect, Goal, Plan};
use crate::process::{self, Memory};
use crate::report::Row;
use crate::server::Setup;

/// Longest ramp and longest departure.
const PHASE_S: u64 = 300;
/// Connections of the echo that shows the limit: more say nothing new.
const LIMIT_SESSIONS_MAX: u32 = 2_000;
/// From the last answer until memory is read.
const SETTLE_MS: u64 = 1_000;
/// Shortest look at the processor time of idle sessions.
const IDLE_MS_MIN: u64 = 1_000;
/// After all have left the server may give memory back when it is calm: so long is waited for it, looking now and
/// then, until less than this share is kept or nothing has changed for some time.
const GIVE_BACK_MS: u64 = 15_000;
const UNCHANGED_MS: u64 = 5_000;
const UNCHANGED_QUICK_MS: u64 = 1_000;
const LOOK_MS: u64 = 250;
const KEPT_PERCENT_SMALL: f64 = 5.0;

/// What one dialect's run showed, with the most sessions that were asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Idle {
    /// The server's memory after one login and logout.
    pub(super) empty_kib: f64,
    /// KiB for each session.
    pub(super) session_kib: f64,
    /// What stayed when all had left, of what they had added.
    pub(super) kept_percent: f64,
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
    let Some(plan) = bench.friends_plan(dialect).map(Arc::new) else {
        bench.report.skip("idle", dialect.name(), "no port was given for it");
        return Ok(None);
    };
    let limit_kib = limit(bench, dialect)?;
    bench.server.restart(&Setup::default())?;
    let (first, _) = match grow(bench, &plan, 0, 1)? {
        Ok(first) => first,
        Err(shortfall) => return Ok(give_up(bench, dialect, shortfall)),
    };
    depart(bench, &first)?;
    bench.rest(settle_ms(bench))?;
    let (empty, slab) = (bench.memory()?, process::slab_kib());

    let (mut members, mut steps) = (Vec::new(), Vec::new());
    for count in bench.options.sessions.clone() {
        let (more, ramp) = match grow(bench, &plan, members.len() as u32, count)? {
            Ok(more) => more,
            Err(shortfall) => return Ok(give_up(bench, dialect, shortfall)),
        };
        let begun = more.len() as u32;
        members.extend(more);
        steps.push(stay(bench, (begun, count), ramp, slab)?);
    }
    depart(bench, &members)?;
    let full = steps.last().and_then(|step| step.full);
    let after = leave_behind(bench, empty, full)?;
    let last = steps.len().saturating_sub(1);
    for (place, step) in steps.iter().enumerate() {
        let after = if place == last { after } else { None };
        let row = Seen { empty, after, limit_kib, step }.row(bench, &plan);
        bench.report.add(row);
    }
    let points = steps.iter().filter_map(|step| Some((step.count, step.full?.rss_kib as f64 / 1024.0)));
    let points = empty.map(|empty| (0, empty.rss_kib as f64 / 1024.0)).into_iter().chain(points).collect();
    bench.report.memory(&format!("idle {}", dialect.name()), points);
    Ok(steps.last().and_then(|step| Seen { empty, after, limit_kib, step }.summary()))
}

/// Brings up the crowd from `from` to `to` sessions; says what that cost.
fn grow(bench: &mut Bench, plan: &Arc<Plan>, from: u32, to: u32) -> Outcome<Result<(Vec<Member>, Reading), Shortfall>> {
    let (pids, deadline_ns) = (bench.server.pids().to_vec(), bench.deadline_ns(PHASE_S));
    let meter = bench.meter(&pids);
    let raised = crowd::raise(&mut bench.swarm, plan, from..to.max(from), bench.options.concurrency, deadline_ns)?;
    Ok(raised.map(|members| (members, bench.read(&meter, &pids))))
}

/// Lets them be, and reads what that costs.
fn stay(bench: &mut Bench, (begun, count): (u32, u32), ramp: Reading, slab: Option<u64>) -> Outcome<Step> {
    bench.rest(settle_ms(bench))?;
    let full = bench.memory()?;
    let pids = bench.server.pids().to_vec();
    let meter = bench.meter(&pids);
    bench.rest(bench.options.measure_ms.max(IDLE_MS_MIN))?;
    let idle = bench.read(&meter, &pids);
    Ok(Step { begun, count, full, slab, slab_full: process::slab_kib(), ramp, idle })
}

/// The server's memory when it has had time to give back what it wants to.
fn leave_behind(bench: &mut Bench, empty: Option<Memory>, full: Option<Memory>) -> Outcome<Option<Memory>> {
    let (mut after, mut unchanged_ms) = (None, 0);
    let enough_ms = if bench.options.quick { UNCHANGED_QUICK_MS } else { UNCHANGED_MS };
    for _ in 0..GIVE_BACK_MS / LOOK_MS {
        bench.rest(LOOK_MS)?;
        let now = bench.memory()?;
        let is_same = after.zip(now).is_some_and(|(then, now): (Memory, Memory)| then.rss_kib == now.rss_kib);
        unchanged_ms = if is_same { unchanged_ms + LOOK_MS } else { 0 };
        after = now;
        let is_small = kept_percent(empty, full, after).is_none_or(|kept| kept <= KEPT_PERCENT_SMALL);
        if is_small || unchanged_ms >= enough_ms {
            break;
        }
    }
    Ok(after)
}

/// The least that a connection can take: in the rustls echo, or in a slab of sockets where there is no TLS.
fn limit(bench: &mut Bench, dialect: Dialect) -> Outcome<Option<f64>> {
    let (kind, dialect) =
        if dialect.is_secure() { (Kind::Tls, Dialect::TlsEcho) } else { (Kind::Slab, Dialect::TcpEcho) };
    let known = usize::from(!dialect.is_secure());
    if let Some(limit_kib) = bench.idle_limits[known] {
        return Ok(Some(limit_kib));
    }
    let echo = Echo::start(kind)?;
    let plan = bench.plan_for(echo.address, dialect, bench.usual_mechanism(dialect), Goal::Bound);
    let Some(plan) = plan.map(Arc::new) else { return Ok(None) };
    let count = bench.options.sessions.last().copied().unwrap_or(1).min(LIMIT_SESSIONS_MAX);
    let empty = process::memory(&[echo.pid()])?;
    if bench.raise("idle limit", &plan, 0..count)?.is_none() {
        return Ok(None);
    }
    bench.rest(settle_ms(bench))?;
    let full = process::memory(&[echo.pid()])?;
    bench.swarm.cut_all();
    bench.idle_limits[known] = Some((full.rss_kib as f64 - empty.rss_kib as f64) / f64::from(count));
    Ok(bench.idle_limits[known])
}

pub(super) fn settle_ms(bench: &Bench) -> u64 {
    if bench.options.quick { SETTLE_MS / 4 } else { SETTLE_MS }
}

/// Of what the sessions added, the share that stays when they have left; nothing added is nothing kept.
fn kept_percent(empty: Option<Memory>, full: Option<Memory>, after: Option<Memory>) -> Option<f64> {
    let (empty, full, after) = (empty?.rss_kib as f64, full?.rss_kib as f64, after?.rss_kib as f64);
    (full > empty).then(|| (after - empty) / (full - empty) * 100.0)
}

/// A number of sessions that was reached, and how it was.
struct Step {
    /// Sessions that came since the last one.
    begun: u32,
    count: u32,
    full: Option<Memory>,
    /// The kernel's own objects, before anybody came and now.
    slab: Option<u64>,
    slab_full: Option<u64>,
    ramp: Reading,
    idle: Reading,
}

/// A step with what belongs to the whole run; memory is `None` when the server's pid is unknown.
struct Seen<'a> {
    empty: Option<Memory>,
    after: Option<Memory>,
    limit_kib: Option<f64>,
    step: &'a Step,
}

impl Seen<'_> {
    fn row(&self, bench: &Bench, plan: &Plan) -> Row {
        let mib = |memory: Option<Memory>| memory.map(|memory| memory.rss_kib as f64 / 1024.0);
        let Step { begun, count, full, ramp, idle, .. } = self.step;
        let login_ms = ramp.server_us_per(u64::from(*begun)).map(|us| us / 1000.0);
        Row::new("idle")
            .text("dialect", plan.dialect.name())
            .whole("sessions", u64::from(*count))
            .whole("contacts", bench.population.friends.contacts.into())
            .flag("fresh", bench.server.is_own())
            .number_if("rss_empty_mib", mib(self.empty), 2)
            .number_if("rss_full_mib", mib(*full), 2)
            .number_if("rss_per_session_kib", self.per_session_kib(|memory| memory.rss_kib), 3)
            .number_if("pss_per_session_kib", self.per_session_kib(|memory| memory.pss_kib), 3)
            .number_if("anon_per_session_kib", self.per_session_kib(|memory| memory.anon_kib), 3)
            .number_if("kernel_per_session_kib", self.kernel_kib(bench), 2)
            .number_if("limit_kib", self.limit_kib, 3)
            .number_if(
                "to_limit",
                self.limit_kib.and_then(|limit| Some(self.per_session_kib(|memory| memory.rss_kib)? / limit)),
                2,
            )
            .number_if("rss_after_mib", mib(self.after), 2)
            .number_if("kept_percent", kept_percent(self.empty, *full, self.after), 1)
            .number_if("idle_cpu_ms_per_s", idle.server_ns.map(|ns| ns / 1e6 / idle.seconds), 3)
            .number("idle_seconds", idle.seconds, 1)
            .number("logins_per_s", f64::from(*begun) / ramp.seconds, 0)
            .number_if("cpu_ms_per_login", login_ms, 3)
            .number("generator_cores", ramp.generator_cores, 2)
    }

    fn per_session_kib(&self, of: fn(Memory) -> u64) -> Option<f64> {
        Some((of(self.step.full?) as f64 - of(self.empty?) as f64) / f64::from(self.step.count))
    }

    /// What the kernel keeps for one of the server's sockets: half of what its objects grew by, since both ends of each
    /// connection are here. `None` where they are not.
    fn kernel_kib(&self, bench: &Bench) -> Option<f64> {
        let grown = self.step.slab_full? as f64 - self.step.slab? as f64;
        bench.server.is_on_loopback().then(|| grown / 2.0 / f64::from(self.step.count))
    }

    fn summary(&self) -> Option<Idle> {
        Some(Idle {
            empty_kib: self.empty?.rss_kib as f64,
            session_kib: self.per_session_kib(|memory| memory.rss_kib)?,
            kept_percent: kept_percent(self.empty, self.step.full, self.after).unwrap_or(0.0),
            cpu_ms: self.step.idle.server_ns? / 1e6,
            seconds: self.step.idle.seconds,
        })
    }
}

fn depart(bench: &mut Bench, members: &[Member]) -> Outcome<()> {
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
