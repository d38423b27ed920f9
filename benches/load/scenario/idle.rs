//! Sessions that do nothing: what each costs in memory, all of them in processor time, and what stays behind.
//!
//! They have sent presence and have contacts that are online too. (resident with N sessions − resident when
//! empty) / N, where empty is after one login and logout: so the pages that any first login touches are not
//! counted as a session's. Where several N are asked for, the crowd grows from one to the next. A server that
//! was not started here is not `fresh`: what earlier sessions left behind hides in its figures, so run it once
//! for each dialect.

use std::sync::Arc;

use super::Outcome;
use super::floor::{self, Held};
use crate::bench::{Bench, Reading};
use crate::clock::MS_NS;
use crate::crowd::{self, Member, Shortfall};
use crate::echo::Kind;
use crate::plan::{Dialect, Plan};
use crate::process::{self, Memory};
use crate::report::Row;
use crate::server::Setup;
use crate::swarm::{Driver, Event, Swarm};

/// Longest ramp and longest departure.
const PHASE_S: u64 = 300;
/// From the last answer until memory is read: a server that gives back what logins have left behind does so by then.
const SETTLE_MS: u64 = 1_000;
const SETTLE_QUICK_MS: u64 = 750;
/// Looks at memory while a crowd comes, for the picture.
const LOOKS: u32 = 4;
/// Shortest look at the processor time of idle sessions.
const IDLE_MS_MIN: u64 = 1_000;
const IDLE_QUICK_MS_MIN: u64 = 500;
/// After all have left the server may give memory back when it is calm: so long is waited for it, looking now and
/// then, until less than this share is kept or nothing has changed for some time.
const GIVE_BACK_MS: u64 = 15_000;
const UNCHANGED_MS: u64 = 5_000;
const UNCHANGED_QUICK_MS: u64 = 750;
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
    let slab = floor::held(bench, Kind::Slab)?;
    let limit = if dialect.is_secure() { floor::held(bench, Kind::Tls)? } else { slab };
    let least = Least { limit, slab_kib: slab.map(|slab| slab.rss_kib) };
    bench.server.restart(&Setup::default())?;
    let first = match grow(bench, &plan, 0, 1)? {
        Ok(first) => first,
        Err(shortfall) => return Ok(give_up(bench, dialect, shortfall)),
    };
    depart(bench, &first.members)?;
    bench.rest(settle_ms(bench))?;
    let (empty, slab) = (bench.memory()?, process::slab_kib());

    let (mut members, mut steps) = (Vec::new(), Vec::new());
    let mut points: Vec<(u32, f64)> = empty.map(|empty| (0, mib(empty))).into_iter().collect();
    for count in bench.options.sessions.clone() {
        let more = match grow(bench, &plan, members.len() as u32, count)? {
            Ok(more) => more,
            Err(shortfall) => return Ok(give_up(bench, dialect, shortfall)),
        };
        let begun = more.members.len() as u32;
        members.extend(more.members);
        points.extend(more.points);
        let step = stay(bench, (begun, count), more.ramp, slab)?;
        points.extend(step.full.map(|full| (count, mib(full))));
        steps.push(step);
    }
    depart(bench, &members)?;
    let full = steps.last().and_then(|step| step.full);
    let after = leave_behind(bench, empty, full)?;
    let last = steps.len().saturating_sub(1);
    for (place, step) in steps.iter().enumerate() {
        let after = if place == last { after } else { None };
        let row = Seen { empty, after, least, step }.row(bench, &plan);
        bench.report.add(row);
    }
    bench.report.memory(&format!("idle {}", dialect.name()), points);
    Ok(steps.last().and_then(|step| Seen { empty, after, least, step }.summary()))
}

/// A crowd that came.
struct Grown {
    members: Vec<Member>,
    /// What its coming cost.
    ramp: Reading,
    /// Memory in MiB on the way, at so many sessions.
    points: Vec<(u32, f64)>,
}

/// Brings up the crowd from `from` to `to` sessions, and looks at memory on the way.
fn grow(bench: &mut Bench, plan: &Arc<Plan>, from: u32, to: u32) -> Outcome<Result<Grown, Shortfall>> {
    let (pids, deadline_ns) = (bench.server.pids().to_vec(), bench.deadline_ns(PHASE_S));
    let concurrency = bench.options.concurrency;
    let (mut members, mut points, mut at) = (Vec::new(), Vec::new(), from);
    let mut ramp: Option<Reading> = None;
    let looks = if bench.options.quick { 1 } else { LOOKS };
    for part in 1..=looks {
        let next = from + (u64::from(to.saturating_sub(from)) * u64::from(part) / u64::from(looks)) as u32;
        if next == at && part < looks {
            continue;
        }
        let meter = bench.meter(&pids);
        match crowd::raise(&mut bench.swarm, plan, at..next, concurrency, deadline_ns)? {
            Ok(more) => members.extend(more),
            Err(shortfall) => return Ok(Err(shortfall)),
        }
        at = next;
        let more = bench.read(&meter, &pids);
        ramp = Some(ramp.map_or(more, |ramp| ramp.and(&more)));
        if at < to {
            bench.rest(settle_ms(bench))?;
            points.extend(bench.memory()?.map(|memory| (at, mib(memory))));
        }
    }
    let ramp = ramp.unwrap_or_else(|| bench.read(&bench.meter(&pids), &pids));
    Ok(Ok(Grown { members, ramp, points }))
}

/// Lets them be, and reads what that costs.
fn stay(bench: &mut Bench, (begun, count): (u32, u32), ramp: Reading, slab: Option<u64>) -> Outcome<Step> {
    bench.rest(settle_ms(bench))?;
    let full = bench.memory()?;
    let pids = bench.server.pids().to_vec();
    let meter = bench.meter(&pids);
    let least_ms = if bench.options.quick { IDLE_QUICK_MS_MIN } else { IDLE_MS_MIN };
    bench.rest(bench.options.measure_ms.max(least_ms))?;
    let idle = bench.read(&meter, &pids);
    Ok(Step { begun, count, full, slab, slab_full: process::slab_kib(), ramp, idle })
}

/// The server's memory when it has had time to give back what it wants to.
fn leave_behind(bench: &mut Bench, empty: Option<Memory>, full: Option<Memory>) -> Outcome<Option<Memory>> {
    let enough_ms = if bench.options.quick { UNCHANGED_QUICK_MS } else { UNCHANGED_MS };
    let (pids, looked_ns) = (bench.server.pids().to_vec(), bench.swarm.now_ns());
    if pids.is_empty() {
        return Ok(None);
    }
    let mut giving = Giving { pids, empty, full, after: None, looked_ns, looks: 0, unchanged_ms: 0, enough_ms };
    let deadline_ns = bench.deadline_ms(GIVE_BACK_MS);
    bench.swarm.run(&mut giving, deadline_ns)?;
    Ok(giving.after)
}

/// Looks now and then at what the server still has.
struct Giving {
    pids: Vec<u32>,
    empty: Option<Memory>,
    full: Option<Memory>,
    after: Option<Memory>,
    looked_ns: u64,
    looks: u64,
    unchanged_ms: u64,
    enough_ms: u64,
}

impl Driver for Giving {
    fn event(&mut self, _swarm: &mut Swarm, _id: usize, _tag: u32, _event: Event<'_>) {}

    fn tick(&mut self, swarm: &mut Swarm) {
        let now_ns = swarm.now_ns();
        if now_ns < self.due_ns() {
            return;
        }
        (self.looked_ns, self.looks) = (now_ns, self.looks + 1);
        // A server that has ended is told of elsewhere.
        let now = process::memory(&self.pids).ok();
        let is_same = self.after.zip(now).is_some_and(|(then, now)| then.rss_kib == now.rss_kib);
        self.unchanged_ms = if is_same { self.unchanged_ms + LOOK_MS } else { 0 };
        self.after = now;
    }

    fn is_done(&self) -> bool {
        let is_small = kept_percent(self.empty, self.full, self.after).is_none_or(|kept| kept <= KEPT_PERCENT_SMALL);
        self.looks > 0 && (is_small || self.unchanged_ms >= self.enough_ms)
    }

    fn due_ns(&self) -> u64 {
        self.looked_ns + LOOK_MS * MS_NS
    }

    fn progress(&self) -> (&'static str, u64, Option<u64>) {
        ("looks at what stays", self.looks, None)
    }
}

pub(super) fn settle_ms(bench: &Bench) -> u64 {
    if bench.options.quick { SETTLE_QUICK_MS } else { SETTLE_MS }
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
    least: Least,
    step: &'a Step,
}

/// The least that a connection can take: in the rustls echo, or in a slab of sockets where there is no TLS; what the
/// slab takes is told for all.
#[derive(Clone, Copy)]
struct Least {
    limit: Option<Held>,
    slab_kib: Option<f64>,
}

impl Seen<'_> {
    fn row(&self, bench: &Bench, plan: &Plan) -> Row {
        let Step { begun, count, full, ramp, idle, .. } = self.step;
        let login_ms = ramp.server_us_per(u64::from(*begun)).map(|us| us / 1000.0);
        let of = |figure: fn(Held) -> f64| self.least.limit.map(figure);
        let rss_kib = self.per_session_kib(|memory| memory.rss_kib);
        let pss_kib = self.per_session_kib(|memory| memory.pss_kib);
        let is_secure = plan.dialect.is_secure();
        let arithmetic_ms = is_secure.then(|| bench.arithmetic.handshake_us(false, false) / 1000.0);
        Row::new("idle")
            .text("dialect", plan.dialect.name())
            .whole("sessions", u64::from(*count))
            .whole("contacts", bench.population.friends.contacts.into())
            .flag("fresh", bench.server.is_own())
            .beside(
                ["rss_empty_mib", "limit_empty_mib", "empty_to_limit"],
                self.empty.map(mib),
                of(|least| least.empty_mib),
                2,
            )
            .number_if("rss_full_mib", full.map(mib), 2)
            .beside(["rss_per_session_kib", "limit_kib", "to_limit"], rss_kib, of(|least| least.rss_kib), 3)
            .beside(["pss_per_session_kib", "limit_pss_kib", "pss_to_limit"], pss_kib, of(|least| least.pss_kib), 3)
            .number_if("anon_per_session_kib", self.per_session_kib(|memory| memory.anon_kib), 3)
            .number_if("slab_kib", self.least.slab_kib, 3)
            .beside(
                ["kernel_per_session_kib", "limit_kernel_kib", "kernel_to_limit"],
                self.kernel_kib(bench),
                self.least.limit.and_then(|least| least.kernel_kib),
                2,
            )
            .number_if("rss_after_mib", self.after.map(mib), 2)
            .number_if("kept_percent", kept_percent(self.empty, *full, self.after), 1)
            .number_if("idle_cpu_ms_per_s", idle.server_ns.map(|ns| ns / 1e6 / idle.seconds), 3)
            .number("idle_seconds", idle.seconds, 1)
            .number("logins_per_s", f64::from(*begun) / ramp.seconds, 0)
            .beside(["cpu_ms_per_login", "limit_login_ms", "login_to_limit"], login_ms, arithmetic_ms, 3)
            .number("generator_cores", ramp.generator_cores, 2)
            .whole("source_addresses", ramp.sources.into())
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

fn mib(memory: Memory) -> f64 {
    memory.rss_kib as f64 / 1024.0
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
