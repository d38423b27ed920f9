//! Slow readers among fast ones: some sessions stop reading and are sent more than any server can keep for them,
//! while others talk. The talk must go on as if they were not there, and memory stay within bounds.

use std::sync::Arc;

use super::chat::{DRAIN_S, Shape};
use super::{Outcome, floor};
use crate::bench::{Bench, Reading};
use crate::clock::MS_NS;
use crate::crowd::Member;
use crate::histogram::Histogram;
use crate::numbers::{self, Mark};
use crate::plan::{Goal, Plan};
use crate::report::Row;
use crate::server::Setup;
use crate::swarm::{Driver, Event, Swarm};
use crate::talk::{Rhythm, Talk};

/// Pairs that talk, and pairs whose receiver does not read.
const FAST_PAIRS: u32 = 20;
const SLOW_PAIRS: u32 = 10;
/// The fast ones send at a pace, so that what is compared is latency under the same load.
const PACE_NS: u64 = 5 * MS_NS;
/// Size of a message to a slow reader, and how much one is sent altogether: beyond what the sockets and a
/// server's own bound of a megabyte take.
const SLOW_BYTES: usize = 4_000;
const SLOW_BYTES_EACH: usize = 8 * 1024 * 1024;
/// What a server may keep for a reader that does not read: Stonechat's own bound.
const KEPT_MIB: f64 = 1.0;
/// The echo's load that latency stands beside: hardly any, as the fast ones'.
const QUIET: Shape = Shape { pairs: 1, window: 1, size: 300 };
/// Longest flood; a server that slows the senders down makes it long.
const FLOOD_S: u64 = 20;
/// Messages to slow readers go out in portions of this many each tick.
const PORTION: usize = 16;

/// Each dialect: the fast ones alone, then beside the slow ones.
pub(super) fn run(bench: &mut Bench) -> Outcome<()> {
    for dialect in bench.options.dialects.clone() {
        let Some(plan) = bench.plan(dialect, bench.usual_mechanism(dialect), Goal::Bound).map(Arc::new) else {
            bench.report.skip("slow", dialect.name(), "no port was given for it");
            continue;
        };
        bench.server.restart(&Setup::default())?;
        measure(bench, &plan)?;
        bench.swarm.cut_all();
    }
    bench.report.table("slow");
    Ok(())
}

fn measure(bench: &mut Bench, plan: &Arc<Plan>) -> Outcome<()> {
    let Some(members) = bench.raise("slow", plan, 0..2 * (FAST_PAIRS + SLOW_PAIRS))? else { return Ok(()) };
    let (fast, slow) = members.split_at(2 * FAST_PAIRS as usize);
    let mut crowd = Crowd::new(fast, slow);
    let pids = bench.server.pids().to_vec();
    let deadline_ns = bench.deadline_ms(bench.options.measure_ms);
    bench.swarm.run(&mut crowd, deadline_ns)?;
    let alone = crowd.talk.latencies.clone();
    let before = bench.memory()?;

    crowd.talk.measure(bench.swarm.now_ns());
    crowd.begin_flood(&mut bench.swarm);
    let deadline_ns = bench.deadline_ns(FLOOD_S);
    let meter = bench.meter(&pids);
    bench.swarm.run(&mut crowd, deadline_ns)?;
    let reading = bench.read(&meter, &pids);
    let beside = crowd.talk.latencies.clone();
    let full = bench.memory()?;

    crowd.end_flood();
    crowd.talk.drain();
    let deadline_ns = bench.deadline_ns(DRAIN_S);
    bench.swarm.run(&mut crowd, deadline_ns)?;
    let added_mib = before.zip(full).map(|(before, full)| (full.rss_kib as f64 - before.rss_kib as f64) / 1024.0);
    bench.swarm.cut_all();
    report(bench, plan, &mut crowd, (&alone, &beside), added_mib, &reading)
}

/// Latency alone stands beside that of an echo which has nothing else to do; beside the slow ones, beside that alone;
/// memory beside what a server may keep for each slow reader.
fn report(
    bench: &mut Bench,
    plan: &Plan,
    crowd: &mut Crowd,
    (alone, beside): (&Histogram, &Histogram),
    added_mib: Option<f64>,
    reading: &Reading,
) -> Outcome<()> {
    let tally = crowd.talk.conclude();
    let name = plan.dialect.name();
    let echo = floor::message(bench, plan.dialect.is_secure(), QUIET)?;
    let share = |times: &Histogram, share| Some(times.percentile_us(share));
    let row = Row::new("slow")
        .text("dialect", name)
        .whole("fast_pairs", FAST_PAIRS.into())
        .whole("slow_readers", SLOW_PAIRS.into())
        .beside(["alone_p50_us", "limit_p50_us", "p50_to_limit"], share(alone, 0.5), echo.map(|echo| echo.p50_us), 1)
        .beside(["alone_p99_us", "limit_p99_us", "p99_to_limit"], share(alone, 0.99), echo.map(|echo| echo.p99_us), 1)
        .beside(["beside_p50_us", "calm_p50_us", "p50_to_alone"], share(beside, 0.5), share(alone, 0.5), 1)
        .beside(["beside_p99_us", "calm_p99_us", "p99_to_alone"], share(beside, 0.99), share(alone, 0.99), 1)
        .number("flood_mib", crowd.flooded as f64 / 1024.0 / 1024.0, 1)
        .beside(["rss_added_mib", "limit_mib", "rss_to_limit"], added_mib, Some(KEPT_MIB * f64::from(SLOW_PAIRS)), 1)
        .whole("slow_ended", crowd.slow_ended);
    bench.report.latencies(&format!("slow {name}, alone"), alone);
    bench.report.latencies(&format!("slow {name}, beside slow readers"), beside);
    bench.report.add(reading.add_to(tally.add_to(row)));
    tally.judge(&mut bench.report, &format!("slow {name}, among the fast ones"));
    if let Some(end) = crowd.fast_ends.first() {
        bench.report.fail(format!("slow {name}: {} fast sessions ended: {end}", crowd.fast_ends.len()));
    }
    Ok(())
}

struct Crowd {
    talk: Talk,
    /// Senders to slow readers with the head of their messages, and the slow readers.
    flooders: Vec<(usize, Vec<u8>)>,
    readers: Vec<usize>,
    is_flooding: bool,
    flooded: usize,
    frame: Vec<u8>,
    slow_ended: u64,
    fast_ends: Vec<String>,
}

impl Crowd {
    fn new(fast: &[Member], slow: &[Member]) -> Self {
        let head = |pair: &[Member]| (pair[0].id, numbers::head(&pair[1].jid));
        Self {
            talk: Talk::new(fast, 2, Rhythm::Every(PACE_NS), 300),
            flooders: slow.chunks_exact(2).map(head).collect(),
            readers: slow.chunks_exact(2).map(|pair| pair[1].id).collect(),
            is_flooding: false,
            flooded: 0,
            frame: Vec::new(),
            slow_ended: 0,
            fast_ends: Vec::new(),
        }
    }

    fn begin_flood(&mut self, swarm: &mut Swarm) {
        self.is_flooding = true;
        self.readers.iter().for_each(|id| swarm.pause(*id));
    }

    fn end_flood(&mut self) {
        self.is_flooding = false;
    }

    fn has_sent_all(&self) -> bool {
        self.flooded >= SLOW_BYTES_EACH * self.flooders.len()
    }

    fn flood(&mut self, swarm: &mut Swarm) {
        for (sender, head) in &self.flooders {
            // A server that takes nothing more from the sender, because of its reader, is not sent more.
            if swarm.has_room(*sender) {
                let mark = Mark { stream: 0, number: 0, sent_ns: 0 };
                numbers::write(&mut self.frame, head, mark, SLOW_BYTES);
                (0..PORTION).for_each(|_| swarm.send(*sender, &self.frame));
                self.flooded += PORTION * self.frame.len();
            }
        }
    }
}

impl Driver for Crowd {
    fn event(&mut self, swarm: &mut Swarm, _id: usize, tag: u32, event: Event<'_>) {
        let is_fast = tag < 2 * FAST_PAIRS;
        match event {
            Event::Frame(frame) if is_fast => self.talk.frame(swarm, frame),
            Event::Ended(end) if is_fast => self.fast_ends.push(format!("{end:?}")),
            Event::Ended(_) => self.slow_ended += 1,
            // What comes back to the flooding senders is the server's way to say that it keeps no more.
            Event::Frame(_) | Event::Ready { .. } => {}
        }
    }

    fn tick(&mut self, swarm: &mut Swarm) {
        self.talk.tick(swarm);
        if self.is_flooding && !self.has_sent_all() {
            self.flood(swarm);
        }
    }

    fn is_done(&self) -> bool {
        let is_flooded = self.is_flooding && (self.has_sent_all() || self.slow_ended >= u64::from(SLOW_PAIRS));
        !self.fast_ends.is_empty() || is_flooded || self.talk.is_drained()
    }

    fn due_ns(&self) -> u64 {
        self.talk.due_ns()
    }

    fn progress(&self) -> (&'static str, u64, Option<u64>) {
        ("messages", self.talk.latencies.total(), None)
    }
}
