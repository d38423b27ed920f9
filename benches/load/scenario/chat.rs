//! Messages between pairs of sessions: how long they take, what they cost, and that all arrive once, in order.
//!
//! Beside each figure stands its limit from the same run: the same frames, sizes and windows through a plain TCP
//! echo and a rustls echo, where each connection is its own partner.

use std::sync::Arc;

use super::Outcome;
use crate::bench::{Bench, Reading};
use crate::crowd::Member;
use crate::echo::{Echo, Kind};
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
struct Shape {
    pairs: u32,
    window: u32,
    size: usize,
}

/// What the echoes cost in one shape: processor microseconds a message and latencies.
#[derive(Clone, Copy, Debug)]
struct Limit {
    cpu_us: f64,
    p50_us: f64,
    p99_us: f64,
}

/// Each shape: the limits first, then each dialect.
pub(super) fn run(bench: &mut Bench) -> Outcome<()> {
    bench.server.restart(&Setup::default())?;
    for shape in shapes(bench) {
        let tcp = limit(bench, Dialect::TcpEcho, Kind::Tcp, shape)?;
        let tls = limit(bench, Dialect::TlsEcho, Kind::Tls, shape)?;
        for dialect in bench.options.dialects.clone() {
            let mechanism = bench.usual_mechanism(dialect);
            let Some(plan) = bench.plan(dialect, mechanism, Goal::Bound).map(Arc::new) else {
                bench.report.skip("chat", dialect.name(), "no port was given for it");
                continue;
            };
            let pids = bench.server.pids().to_vec();
            measure(bench, &plan, &pids, shape, if dialect.is_secure() { tls } else { tcp })?;
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

/// One shape through an echo.
fn limit(bench: &mut Bench, dialect: Dialect, kind: Kind, shape: Shape) -> Outcome<Option<Limit>> {
    let echo = Echo::start(kind)?;
    let plan = bench.plan_for(echo.address, dialect, bench.usual_mechanism(dialect), Goal::Bound);
    let Some(plan) = plan.map(Arc::new) else { return Ok(None) };
    measure(bench, &plan, &[echo.pid()], shape, None)
}

/// One shape in one dialect; gives what it cost.
fn measure(
    bench: &mut Bench,
    plan: &Arc<Plan>,
    pids: &[u32],
    shape: Shape,
    limit: Option<Limit>,
) -> Outcome<Option<Limit>> {
    let sides = if plan.dialect.is_echo() { 1 } else { 2 };
    let Some(members) = bench.raise("chat", plan, 0..shape.pairs * sides)? else { return Ok(None) };
    let mut chat = Chat::new(&members, sides as usize, shape);
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
    let measured = report(bench, plan.dialect, &mut chat, &reading, limit);
    if plan.dialect.is_echo() {
        bench.swarm.cut_all();
        return Ok(measured);
    }
    bench.dismiss("chat", &members)?;
    Ok(measured)
}

fn report(
    bench: &mut Bench,
    dialect: Dialect,
    chat: &mut Chat,
    reading: &Reading,
    limit: Option<Limit>,
) -> Option<Limit> {
    let (name, shape, tally) = (dialect.name(), chat.shape, chat.talk.conclude());
    let times = &chat.talk.latencies;
    let cpu_us = reading.server_us_per(times.total());
    let (p50_us, p99_us) = (times.percentile_us(0.5), times.percentile_us(0.99));
    let row = Row::new("chat")
        .text("dialect", name)
        .whole("pairs", shape.pairs.into())
        .whole("window", shape.window.into())
        .whole("size", shape.size as u64)
        .number("messages_per_s", times.total() as f64 / reading.seconds, 0)
        .number("p50_us", p50_us, 1)
        .number("p99_us", p99_us, 1)
        .number("p999_us", times.percentile_us(0.999), 1)
        .number_if("cpu_us_per_message", cpu_us, 2)
        .number_if("limit_cpu_us", limit.map(|limit| limit.cpu_us), 2)
        .number_if("cpu_to_limit", limit.and_then(|limit| Some(cpu_us? / limit.cpu_us)), 2)
        .number_if("p50_to_limit", limit.map(|limit| p50_us / limit.p50_us), 2)
        .number_if("p99_to_limit", limit.map(|limit| p99_us / limit.p99_us), 2);
    let label = format!("chat {name} {}×{}", shape.pairs, shape.window);
    bench.report.latencies(&label, times);
    bench.report.throughput(&label, &chat.talk.slices, SLICE_NS);
    bench.report.cost(&label, cpu_us, limit.map(|limit| limit.cpu_us));
    bench.report.add(reading.add_to(tally.add_to(row)));
    tally.judge(&mut bench.report, &format!("chat {name} {shape:?}"));
    if let Some(end) = chat.ends.first() {
        bench.report.fail(format!("chat {name}: {} sessions ended: {end}", chat.ends.len()));
    }
    Some(Limit { cpu_us: cpu_us?, p50_us, p99_us })
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
