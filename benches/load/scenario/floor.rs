//! The least that things cost: what an echo, a slab of sockets or one write takes for the same, measured in the run whose
//! figures stand beside it, and once a run.
//!
//! No other connection may be there meanwhile: what is measured is then alone with the generator.
//!
//! A connection's memory, its coming and going, a message of some size between so many, and the writing of a stanza.
//! What is arithmetic alone is in `limits.rs`.

use std::sync::Arc;

use super::Outcome;
use super::chat::{self, Shape};
use super::storm;
use crate::bench::Bench;
use crate::clock::MS_NS;
use crate::echo::{Echo, Kind};
use crate::limits;
use crate::plan::{Dialect, Goal};
use crate::process;
use crate::swarm::{Driver, Event, Swarm};

/// Connections that a kind of echo is filled with: more say nothing new.
const HELD_MAX: u32 = 2_000;
/// Until their memory is read: an echo gives nothing back.
const HELD_MS: u64 = 100;

/// How many times as long as a measurement the machine's pauses are looked for.
const WATCHED: u64 = 5;
/// Until Ctrl-C is looked for again.
const WATCH_NS: u64 = 50 * MS_NS;

/// Processor microseconds, latencies and rate of an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) cpu_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) per_s: f64,
}

impl Cost {
    /// Half way between two.
    pub(super) fn middle(&self, other: &Self) -> Self {
        let middle = |of: fn(&Self) -> f64| (of(self) + of(other)) / 2.0;
        Self {
            cpu_us: middle(|cost| cost.cpu_us),
            p50_us: middle(|cost| cost.p50_us),
            p99_us: middle(|cost| cost.p99_us),
            p999_us: middle(|cost| cost.p999_us),
            per_s: middle(|cost| cost.per_s),
        }
    }
}

/// Memory of a process that holds connections, and of each of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) empty_mib: f64,
    pub(crate) rss_kib: f64,
    pub(crate) pss_kib: f64,
    pub(crate) kernel_kib: Option<f64>,
}

/// What was measured so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Floors {
    held: Vec<(Kind, Held)>,
    connections: Vec<((bool, u32), Cost)>,
    messages: Vec<((bool, Shape), Cost)>,
    writes: Vec<((bool, usize), f64)>,
    pause_ms: Option<f64>,
}

fn known<K: PartialEq, V: Copy>(list: &[(K, V)], key: &K) -> Option<V> {
    list.iter().find(|(known, _)| known == key).map(|(_, value)| *value)
}

/// Memory that a kind of echo takes for a connection; `None` when they did not come, which the report says.
pub(super) fn held(bench: &mut Bench, kind: Kind) -> Outcome<Option<Held>> {
    if let Some(held) = known(&bench.floors.held, &kind) {
        return Ok(Some(held));
    }
    let dialect = if kind == Kind::Slab { Dialect::TcpEcho } else { Dialect::TlsEcho };
    let echo = Echo::start(kind)?;
    let plan = bench.plan_for(echo.address, dialect, bench.usual_mechanism(dialect), Goal::Bound);
    let Some(plan) = plan.map(Arc::new) else { return Ok(None) };
    let count = bench.options.sessions.last().copied().unwrap_or(1).min(HELD_MAX);
    let (empty, slab) = (process::memory(&[echo.pid()])?, process::slab_kib());
    if bench.raise("idle limit", &plan, 0..count)?.is_none() {
        return Ok(None);
    }
    bench.rest(HELD_MS)?;
    let (full, slab_full) = (process::memory(&[echo.pid()])?, process::slab_kib());
    bench.swarm.cut_all();
    let each = |full: u64, empty: u64| (full as f64 - empty as f64) / f64::from(count);
    let held = Held {
        empty_mib: empty.rss_kib as f64 / 1024.0,
        rss_kib: each(full.rss_kib, empty.rss_kib),
        pss_kib: each(full.pss_kib, empty.pss_kib),
        // Half of it is the generator's.
        kernel_kib: slab.zip(slab_full).map(|(empty, full)| each(full, empty) / 2.0),
    };
    let what = if kind == Kind::Slab { "a slab's socket" } else { "a rustls echo's connection" };
    bench.report.limit(what, held.rss_kib, "KiB");
    bench.floors.held.push((kind, held));
    Ok(Some(held))
}

/// A connection that comes, does its TLS handshake where there is TLS, and is cut, with so many under way.
pub(super) fn connection(bench: &mut Bench, secure: bool, concurrency: u32) -> Outcome<Option<Cost>> {
    let key = (secure, concurrency);
    if let Some(cost) = known(&bench.floors.connections, &key) {
        return Ok(Some(cost));
    }
    let (kind, dialect) = echo_of(secure);
    let echo = Echo::start(kind)?;
    let Some(plan) = bench.plan_for(echo.address, dialect, bench.usual_mechanism(dialect), Goal::Secured) else {
        return Ok(None);
    };
    let cost = storm::connections(bench, plan, &[echo.pid()], concurrency)?;
    if let Some(cost) = cost {
        bench.report.limit(
            &format!("a connection to a {}, {concurrency} under way", dialect.name()),
            cost.cpu_us,
            "µs",
        );
        bench.floors.connections.push((key, cost));
    }
    Ok(cost)
}

/// A message of a shape through the echo.
pub(super) fn message(bench: &mut Bench, secure: bool, shape: Shape) -> Outcome<Option<Cost>> {
    let key = (secure, shape);
    if let Some(cost) = known(&bench.floors.messages, &key) {
        return Ok(Some(cost));
    }
    let (kind, dialect) = echo_of(secure);
    let cost = chat::through(bench, dialect, kind, shape)?;
    if let Some(cost) = cost {
        let Shape { pairs, window, size } = shape;
        let what = format!("{size} bytes through a {}, {pairs} connections, {window} under way", dialect.name());
        bench.report.limit(&what, cost.cpu_us, "µs");
        bench.floors.messages.push((key, cost));
    }
    Ok(cost)
}

/// Processor microseconds of one write of `size` bytes, inside TLS or not.
pub(super) fn write_us(bench: &mut Bench, secure: bool, size: usize) -> Outcome<f64> {
    let key = (secure, size.max(1));
    if let Some(us) = known(&bench.floors.writes, &key) {
        return Ok(us);
    }
    let us = limits::write_us(secure, size.max(1))?;
    bench.report.limit(&format!("a {}write of {size} bytes", if secure { "TLS " } else { "" }), us, "µs");
    bench.floors.writes.push((key, us));
    Ok(us)
}

/// Longest time, in milliseconds, for which the machine stops a program that only reads the clock, watched for as long as the
/// longest measurement is.
pub(super) fn pause_ms(bench: &mut Bench) -> Outcome<f64> {
    if let Some(ms) = bench.floors.pause_ms {
        return Ok(ms);
    }
    let deadline_ns = bench.deadline_ms(bench.options.measure_ms * WATCHED);
    let mut watch = Watch::default();
    bench.swarm.run(&mut watch, deadline_ns)?;
    let ms = watch.longest_ns as f64 / MS_NS as f64;
    bench.report.limit("the machine stops whoever reads the clock", ms, "ms");
    bench.floors.pause_ms = Some(ms);
    Ok(ms)
}

/// Reads the clock, over and over.
#[derive(Default)]
struct Watch {
    longest_ns: u64,
}

impl Driver for Watch {
    fn event(&mut self, _swarm: &mut Swarm, _id: usize, _tag: u32, _event: Event<'_>) {}

    fn tick(&mut self, swarm: &mut Swarm) {
        let begun_ns = swarm.now_ns();
        let mut before_ns = begun_ns;
        while before_ns < begun_ns + WATCH_NS {
            let now_ns = swarm.now_ns();
            self.longest_ns = self.longest_ns.max(now_ns - before_ns);
            before_ns = now_ns;
        }
    }

    fn is_done(&self) -> bool {
        false
    }

    fn due_ns(&self) -> u64 {
        0
    }

    fn progress(&self) -> (&'static str, u64, Option<u64>) {
        ("machine's pauses", 0, None)
    }
}

fn echo_of(secure: bool) -> (Kind, Dialect) {
    if secure { (Kind::Tls, Dialect::TlsEcho) } else { (Kind::Tcp, Dialect::TcpEcho) }
}
