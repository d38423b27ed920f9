//! Messages between pairs of sessions: how long they take, what they cost, and that all arrive once, in order.
//!
//! Beside each figure stands its limit from the same run: the same frames, sizes and windows through a plain TCP
//! echo and a rustls echo, where each connection is its own partner. A message goes to somebody else, though: what
//! that takes at the very least is the rustls relay's figure, `relay_cpu_us`.

use std::sync::Arc;

use super::Outcome;
use super::floor::Cost;
use crate::bench::{Bench, Reading};
use crate::crowd::Member;
use crate::echo::{Echo, Kind};
use crate::numbers::Tally;
use crate::plan::{Dialect, Goal, Plan};
use crate::report::Row;
use crate::server::Setup;
use crate::swarm::{Driver, Event, Swarm};
use crate::talk::{Rhythm, SLICE_NS, Talk};

/// Longest wait for what is under way at the end.
pub(super) const DRAIN_S: u64 = 10;
/// The unmeasured start of a run is this part of it: buffers reach their steady state.
const WARM_UP_SHARE: u64 = 5;

/// One combination of pairs, window and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) pairs: u32,
    pub(super) window: u32,
    pub(super) size: usize,
}

/// What the least costs: the echo, and the relay where there is TLS.
#[derive(Clone, Copy, Debug)]
struct Limit {
    echo: Cost,
    relay_cpu_us: Option<f64>,
}

/// Each shape in each dialect, and the limits before and behind each, so that a machine that grows slower or faster
/// meanwhile does so to both.
pub(super) fn run(bench: &mut Bench) -> Outcome<()> {
    let shapes = shapes(bench);
    if !bench.options.dialects.contains(&Dialect::Plain) {
        // It is told all the same: it shows what TLS costs where there is nothing else.
        for &shape in &shapes {
            bare(bench, Dialect::TcpEcho, Kind::Tcp, shape)?;
        }
    }
    run_shapes(bench, &shapes)
}

/// The same for these shapes.
pub(super) fn run_shapes(bench: &mut Bench, shapes: &[Shape]) -> Outcome<()> {
    bench.server.restart(&Setup::default())?;
    for &shape in shapes {
        for secure in [true, false] {
            let mut dialects = bench.options.dialects.clone();
            dialects.retain(|dialect| dialect.is_secure() == secure);
            if dialects.is_empty() {
                continue;
            }
            let mut before = limit(bench, secure, shape)?;
            let last = dialects.len() - 1;
            for (place, dialect) in dialects.into_iter().enumerate() {
                let mechanism = bench.usual_mechanism(dialect);
                let Some(plan) = bench.plan(dialect, mechanism, Goal::Bound).map(Arc::new) else {
                    bench.report.skip("chat", dialect.name(), "no port was given for it");
                    continue;
                };
                let pids = bench.server.pids().to_vec();
                let Some(seen) = measure(bench, &plan, &pids, shape)? else { continue };
                // A quick run has no time for more than one before and one behind all of them.
                let is_between = bench.options.quick && place < last;
                let behind = if is_between { before } else { limit(bench, secure, shape)? };
                let between = before.zip(behind).map(|(before, behind)| before.middle(&behind));
                report(bench, dialect, seen, between);
                before = behind;
            }
        }
    }
    bench.report.table("chat");
    Ok(())
}

fn shapes(bench: &Bench) -> Vec<Shape> {
    let options = &bench.options;
    let mut shapes = Vec::new();
    for &size in &options.sizes {
        for &pairs in &options.pairs {
            for &window in &options.windows {
                shapes.push(Shape { pairs, window, size });
            }
        }
    }
    if options.quick && shapes.len() > 2 {
        // The smallest and the largest say most.
        shapes.drain(1..shapes.len() - 1);
    }
    shapes
}

impl Limit {
    fn middle(&self, other: &Self) -> Self {
        let relays = self.relay_cpu_us.zip(other.relay_cpu_us);
        Self { echo: self.echo.middle(&other.echo), relay_cpu_us: relays.map(|(one, two)| (one + two) / 2.0) }
    }
}

/// One shape through the echo and the relay.
fn limit(bench: &mut Bench, secure: bool, shape: Shape) -> Outcome<Option<Limit>> {
    if !secure {
        let echo = bare(bench, Dialect::TcpEcho, Kind::Tcp, shape)?;
        return Ok(echo.map(|echo| Limit { echo, relay_cpu_us: None }));
    }
    let echo = bare(bench, Dialect::TlsEcho, Kind::Tls, shape)?;
    let relay = bare(bench, Dialect::TlsRelay, Kind::Relay, shape)?;
    Ok(echo.map(|echo| Limit { echo, relay_cpu_us: relay.map(|relay| relay.cpu_us) }))
}

/// One shape through a server that is no XMPP server.
fn bare(bench: &mut Bench, dialect: Dialect, kind: Kind, shape: Shape) -> Outcome<Option<Cost>> {
    let seen = seen_through(bench, dialect, kind, shape)?;
    Ok(seen.and_then(|seen| report(bench, dialect, seen, None)))
}

/// The same, which is no row of its own.
pub(super) fn through(bench: &mut Bench, dialect: Dialect, kind: Kind, shape: Shape) -> Outcome<Option<Cost>> {
    let Some(mut seen) = seen_through(bench, dialect, kind, shape)? else { return Ok(None) };
    seen.judge(bench, &format!("{} {shape:?}", dialect.name()));
    Ok(seen.cost())
}

fn seen_through(bench: &mut Bench, dialect: Dialect, kind: Kind, shape: Shape) -> Outcome<Option<Seen>> {
    let echo = Echo::start(kind)?;
    let plan = bench.plan_for(echo.address, dialect, bench.usual_mechanism(dialect), Goal::Bound);
    let Some(plan) = plan.map(Arc::new) else { return Ok(None) };
    measure(bench, &plan, &[echo.pid()], shape)
}

/// What a run left behind.
struct Seen {
    chat: Chat,
    reading: Reading,
}

/// One shape in one dialect.
fn measure(bench: &mut Bench, plan: &Arc<Plan>, pids: &[u32], shape: Shape) -> Outcome<Option<Seen>> {
    let sides = plan.dialect.sides();
    let Some(members) = bench.raise("chat", plan, 0..shape.pairs * sides)? else { return Ok(None) };
    let seen = talk(bench, &members, pids, sides, shape)?;
    if plan.dialect.is_echo() {
        bench.swarm.cut_all();
    } else {
        bench.dismiss("chat", &members)?;
    }
    Ok(Some(seen))
}

/// Lets them talk: at first to warm up, then as long as a measurement takes, then until all has arrived.
fn talk(bench: &mut Bench, members: &[Member], pids: &[u32], sides: u32, shape: Shape) -> Outcome<Seen> {
    let mut chat = Chat::new(members, sides as usize, shape);
    let deadline_ns = bench.deadline_ms(bench.options.measure_ms / WARM_UP_SHARE);
    bench.swarm.run(&mut chat, deadline_ns)?;
    chat.talk.measure(bench.swarm.now_ns());
    let deadline_ns = bench.deadline_ms(bench.options.measure_ms);
    let meter = bench.meter(pids);
    bench.swarm.run(&mut chat, deadline_ns)?;
    let reading = bench.read(&meter, pids);
    chat.talk.drain();
    let deadline_ns = bench.deadline_ns(DRAIN_S);
    bench.swarm.run(&mut chat, deadline_ns)?;
    Ok(Seen { chat, reading })
}

/// Processor microseconds of a message between pairs that are there already, among others who are idle.
pub(super) fn cpu_us(bench: &mut Bench, members: &[Member], shape: Shape) -> Outcome<Option<f64>> {
    let pids = bench.server.pids().to_vec();
    let mut seen = talk(bench, members, &pids, 2, shape)?;
    seen.judge(bench, &format!("chat {shape:?} among others"));
    Ok(seen.reading.server_us_per(seen.chat.talk.latencies.total()))
}

impl Seen {
    /// What a message cost; `None` where nothing arrived or the server's pid is unknown.
    fn cost(&self) -> Option<Cost> {
        let (times, reading) = (&self.chat.talk.latencies, &self.reading);
        Some(Cost {
            cpu_us: reading.server_us_per(times.total())?,
            p50_us: times.percentile_us(0.5),
            p99_us: times.percentile_us(0.99),
            p999_us: times.percentile_us(0.999),
            per_s: times.total() as f64 / reading.seconds,
        })
    }

    /// Fails the run when something was lost or somebody left; gives the counts.
    fn judge(&mut self, bench: &mut Bench, what: &str) -> Tally {
        let tally = self.chat.talk.conclude();
        tally.judge(&mut bench.report, what);
        if let Some(end) = self.chat.ends.first() {
            bench.report.fail(format!("{what}: {} sessions ended: {end}", self.chat.ends.len()));
        }
        tally
    }
}

/// Adds the row; gives what it says.
fn report(bench: &mut Bench, dialect: Dialect, mut seen: Seen, limit: Option<Limit>) -> Option<Cost> {
    let (name, shape) = (dialect.name(), seen.chat.shape);
    let tally = seen.judge(bench, &format!("chat {name} {shape:?}"));
    let (times, reading) = (&seen.chat.talk.latencies, &seen.reading);
    let (cost, cpu_us) = (seen.cost(), reading.server_us_per(times.total()));
    let (echo, relay_us) = (limit.map(|limit| limit.echo), limit.and_then(|limit| limit.relay_cpu_us));
    let time = |share| Some(times.percentile_us(share));
    let per_s = Some(times.total() as f64 / reading.seconds);
    let row = Row::new("chat")
        .text("dialect", name)
        .whole("pairs", shape.pairs.into())
        .whole("window", shape.window.into())
        .whole("size", shape.size as u64)
        .beside(["messages_per_s", "limit_per_s", "per_s_to_limit"], per_s, echo.map(|echo| echo.per_s), 0)
        .beside(["p50_us", "limit_p50_us", "p50_to_limit"], time(0.5), echo.map(|echo| echo.p50_us), 1)
        .beside(["p99_us", "limit_p99_us", "p99_to_limit"], time(0.99), echo.map(|echo| echo.p99_us), 1)
        .beside(["p999_us", "limit_p999_us", "p999_to_limit"], time(0.999), echo.map(|echo| echo.p999_us), 1)
        .beside(["cpu_us_per_message", "limit_cpu_us", "cpu_to_limit"], cpu_us, echo.map(|echo| echo.cpu_us), 2)
        .number_if("relay_cpu_us", relay_us, 2);
    let label = format!("chat {name} {}×{}", shape.pairs, shape.window);
    bench.report.latencies(&label, times);
    bench.report.throughput(&label, &seen.chat.talk.slices, SLICE_NS);
    bench.report.cost(&label, cpu_us, echo.map(|echo| echo.cpu_us));
    bench.report.add(reading.add_to(tally.add_to(row)));
    cost
}

struct Chat {
    shape: Shape,
    talk: Talk,
    ends: Vec<String>,
}

impl Chat {
    fn new(members: &[Member], sides: usize, shape: Shape) -> Self {
        let talk = Talk::new(members, sides, Rhythm::Window(shape.window), shape.size);
        Self { shape, talk, ends: Vec::new() }
    }
}

impl Driver for Chat {
    fn event(&mut self, swarm: &mut Swarm, _id: usize, _tag: u32, event: Event<'_>) {
        match event {
            Event::Frame(frame) => self.talk.frame(swarm, frame),
            Event::Ended(end) => self.ends.push(format!("{end:?}")),
            Event::Ready { .. } => {}
        }
    }

    fn tick(&mut self, swarm: &mut Swarm) {
        self.talk.tick(swarm);
    }

    fn is_done(&self) -> bool {
        !self.ends.is_empty() || self.talk.is_drained()
    }

    fn progress(&self) -> (&'static str, u64, Option<u64>) {
        ("messages", self.talk.latencies.total(), None)
    }
}
