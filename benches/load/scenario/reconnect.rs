//! A reconnect storm: all sessions are cut at once and come back at once, as after a restart of a router. How long
//! until all are back, what it costs, and how those fare who were not cut.
//!
//! The untouched send at a pace, so that each message that was due while the server was busy with the storm is
//! counted; the generator serves them before its own storm, whose arithmetic is not the server's. What it should cost is the first login of all of them, in the same run.

use std::sync::Arc;

use super::Outcome;
use super::chat::DRAIN_S;
use crate::bench::{Bench, Reading};
use crate::clock::{MS_NS, SECOND_NS};
use crate::crowd::Member;
use crate::histogram::Histogram;
use crate::plan::{Dialect, Goal, Plan};
use crate::report::Row;
use crate::server::Setup;
use crate::swarm::{Driver, End, Event, Swarm};
use crate::talk::{Rhythm, Talk};

/// Pairs that are not cut, and the time between two messages of each.
const UNTOUCHED_PAIRS: u32 = 10;
const PACE_NS: u64 = 10 * MS_NS;
/// Connections that knock at the same time: a storm has no manners, but a kernel's backlog has an end.
const UNDER_WAY_MAX: u32 = 1_000;
/// Connections cut or begun in one tick: each takes the kernel some microseconds in which nothing else is looked at.
const PER_TICK: usize = 20;
/// Longest time until all are back.
const STORM_S: u64 = 300;
const SETTLE_MS: u64 = 500;

/// Each dialect, on a server started anew.
pub(super) fn run(bench: &mut Bench) -> Outcome<()> {
    for dialect in bench.options.dialects.clone() {
        let friends = bench.friends_plan(dialect).map(Arc::new);
        let users = bench.plan(dialect, bench.usual_mechanism(dialect), Goal::Bound).map(Arc::new);
        let (Some(friends), Some(users)) = (friends, users) else {
            bench.report.skip("reconnect", dialect.name(), "no port was given for it");
            continue;
        };
        bench.server.restart(&Setup::default())?;
        measure(bench, dialect, &friends, &users)?;
        bench.swarm.cut_all();
    }
    bench.report.table("reconnect");
    Ok(())
}

fn measure(bench: &mut Bench, dialect: Dialect, friends: &Arc<Plan>, users: &Arc<Plan>) -> Outcome<()> {
    let count = bench.options.sessions.last().copied().unwrap_or(1).saturating_sub(2 * UNTOUCHED_PAIRS).max(1);
    let pids = bench.server.pids().to_vec();
    let meter = bench.meter(&pids);
    let Some(crowd) = bench.raise("reconnect", friends, 0..count)? else { return Ok(()) };
    bench.rest(SETTLE_MS)?;
    let first = bench.read(&meter, &pids);
    let Some(pairs) = bench.raise("reconnect", users, count..count + 2 * UNTOUCHED_PAIRS)? else { return Ok(()) };
    pairs.iter().try_for_each(|member| bench.swarm.prefer(member.id))?;

    let mut storm = Storm::new(friends.clone(), &crowd, &pairs);
    let deadline_ns = bench.deadline_ms(bench.options.measure_ms);
    bench.swarm.run(&mut storm, deadline_ns)?;
    let calm = storm.talk.latencies.clone();

    storm.talk.measure(bench.swarm.now_ns());
    let (meter, begun_ns) = (bench.meter(&pids), bench.swarm.now_ns());
    storm.to_cut = crowd.iter().map(|member| member.id).collect();
    storm.is_cut = true;
    let deadline_ns = bench.deadline_ns(STORM_S);
    let all_back = bench.swarm.run(&mut storm, deadline_ns)? && storm.failures.is_empty();
    let seconds = (bench.swarm.now_ns() - begun_ns) as f64 / SECOND_NS as f64;
    let reading = bench.read(&meter, &pids);
    let during = storm.talk.latencies.clone();

    storm.talk.drain();
    let deadline_ns = bench.deadline_ns(DRAIN_S);
    bench.swarm.run(&mut storm, deadline_ns)?;
    if !all_back {
        let why = storm.failures.first().map_or("too slow", String::as_str);
        let text = format!("reconnect {}: {} of {count} are back: {why}", dialect.name(), storm.back);
        bench.report.fail(text);
    }
    report(bench, dialect, &mut storm, (&calm, &during), seconds, (&first, &reading));
    Ok(())
}

fn report(
    bench: &mut Bench,
    dialect: Dialect,
    storm: &mut Storm,
    (calm, during): (&Histogram, &Histogram),
    seconds: f64,
    (first, reading): (&Reading, &Reading),
) {
    let (name, count, tally) = (dialect.name(), u64::from(storm.count), storm.talk.conclude());
    let ms = |reading: &Reading| reading.server_us_per(count).map(|us| us / 1000.0);
    let limit_s = ms(first).map(|ms| ms * count as f64 / 1000.0);
    let share = |times: &Histogram, share| Some(times.percentile_us(share) / 1000.0);
    let row = Row::new("reconnect")
        .text("dialect", name)
        .whole("sessions", count)
        .whole("back", storm.back.into())
        .beside(["seconds", "limit_seconds", "seconds_to_limit"], Some(seconds), limit_s, 2)
        .number("back_per_s", f64::from(storm.back) / seconds, 0)
        .beside(["cpu_ms_each", "first_login_cpu_ms", "cpu_to_first"], ms(reading), ms(first), 3)
        .number("login_p99_ms", storm.logins.percentile_us(0.99) / 1000.0, 1)
        .beside(["storm_p50_ms", "calm_p50_ms", "p50_to_calm"], share(during, 0.5), share(calm, 0.5), 3)
        .beside(["storm_p99_ms", "calm_p99_ms", "p99_to_calm"], share(during, 0.99), share(calm, 0.99), 3);
    bench.report.cost(
        &format!("reconnect {name}, a login"),
        ms(reading).map(|ms| ms * 1000.0),
        ms(first).map(|ms| ms * 1000.0),
    );
    bench.report.latencies(&format!("reconnect {name}, the untouched before"), calm);
    bench.report.latencies(&format!("reconnect {name}, the untouched meanwhile"), during);
    bench.report.add(reading.add_to(tally.add_to(row)));
    tally.judge(&mut bench.report, &format!("reconnect {name}, the untouched"));
}

struct Storm {
    plan: Arc<Plan>,
    talk: Talk,
    count: u32,
    /// Connections begun since the cut; nothing is begun before it.
    begun: u32,
    under_way: u32,
    back: u32,
    is_cut: bool,
    /// Ids that are yet to be cut.
    to_cut: Vec<usize>,
    logins: Histogram,
    failures: Vec<String>,
}

impl Storm {
    fn new(plan: Arc<Plan>, crowd: &[Member], pairs: &[Member]) -> Self {
        Self {
            plan,
            talk: Talk::new(pairs, 2, Rhythm::Every(PACE_NS), 300),
            count: crowd.len() as u32,
            begun: 0,
            under_way: 0,
            back: 0,
            is_cut: false,
            to_cut: Vec::new(),
            logins: Histogram::default(),
            failures: Vec::new(),
        }
    }

    /// Whether it has connections to cut or to begin, now.
    fn has_work(&self) -> bool {
        let begins = self.begun < self.count && self.under_way < UNDER_WAY_MAX && self.failures.is_empty();
        self.is_cut && (begins || !self.to_cut.is_empty())
    }
}

impl Driver for Storm {
    fn event(&mut self, swarm: &mut Swarm, _id: usize, tag: u32, event: Event<'_>) {
        if tag >= self.count {
            match event {
                Event::Frame(frame) => self.talk.frame(swarm, frame),
                Event::Ended(end) => self.failures.push(format!("an untouched session ended: {end:?}")),
                Event::Ready { .. } => {}
            }
            return;
        }
        match event {
            Event::Ready { took_ns, .. } => {
                self.under_way -= 1;
                self.back += 1;
                self.logins.record(took_ns);
            }
            Event::Frame(_) => {}
            Event::Ended(End::Failed(text) | End::Unsupported(text)) => self.failures.push(text),
            Event::Ended(End::Closed) => self.failures.push("the server closed a session".to_owned()),
        }
    }

    fn tick(&mut self, swarm: &mut Swarm) {
        self.talk.tick(swarm);
        let keep = self.to_cut.len().saturating_sub(PER_TICK);
        self.to_cut.drain(keep..).for_each(|id| swarm.cut(id));
        for _ in 0..PER_TICK {
            // All are cut before the first is back.
            if !self.to_cut.is_empty() || !self.has_work() {
                break;
            }
            match swarm.spawn(&self.plan, self.begun, self.begun) {
                Ok(_) => self.under_way += 1,
                Err(error) => self.failures.push(format!("no socket: {error}")),
            }
            self.begun += 1;
        }
    }

    fn is_done(&self) -> bool {
        let is_over = self.is_cut && self.back == self.count && !self.talk.is_draining();
        is_over || self.talk.is_drained() || !self.failures.is_empty()
    }

    fn due_ns(&self) -> u64 {
        if self.has_work() { 0 } else { self.talk.due_ns() }
    }

    fn progress(&self) -> (&'static str, u64, Option<u64>) {
        if self.is_cut { ("sessions back", self.back.into(), Some(self.count.into())) } else { ("calm", 0, None) }
    }
}
