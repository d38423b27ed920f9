//! Rosters, fetched over and over: whole, and with the version of the one that the client has (RFC 6121 §2.6).
//!
//! The limit is a rustls echo of the answer's size among as many connections.

use std::sync::Arc;

use super::chat::{DRAIN_S, Shape};
use super::{Outcome, floor};
use crate::bench::{Bench, Reading};
use crate::frames::{between, has};
use crate::histogram::Histogram;
use crate::plan::{Dialect, Plan};
use crate::population::Circle;
use crate::report::Row;
use crate::server::Setup;
use crate::swarm::{Driver, Event, Swarm};

/// Sessions that fetch, each again when it has its answer.
const SESSIONS: u32 = 20;

/// Each circle, in each dialect: whole rosters, then versions.
pub(super) fn run(bench: &mut Bench) -> Outcome<()> {
    let circles = bench.circles();
    for circle in circles.into_iter().take(if bench.options.quick { 1 } else { 2 }) {
        for dialect in bench.options.dialects.clone() {
            let Some(plan) = bench.circle_plan(dialect, &circle) else {
                bench.report.skip("roster", dialect.name(), "no port was given for it");
                continue;
            };
            bench.server.restart(&Setup::default())?;
            // Presence would only add what others broadcast.
            measure(bench, dialect, Arc::new(Plan { presence: false, ..plan }), &circle)?;
            bench.swarm.cut_all();
        }
    }
    bench.report.table("roster");
    Ok(())
}

fn measure(bench: &mut Bench, dialect: Dialect, plan: Arc<Plan>, circle: &Circle) -> Outcome<()> {
    let Some(members) = bench.raise("roster", &plan, 0..SESSIONS.min(circle.count))? else { return Ok(()) };
    let ids: Vec<usize> = members.iter().map(|member| member.id).collect();
    let mut versions = vec![None; ids.len()];
    let mut seen = Vec::new();
    for versioned in [false, true] {
        if versioned && versions.iter().any(Option::is_none) {
            bench.report.skip("roster", dialect.name(), "the server gives its rosters no version");
            continue;
        }
        let mut fetch = Fetch::new(ids.clone(), if versioned { versions.clone() } else { vec![None; ids.len()] });
        let deadline_ns = bench.deadline_ms(bench.options.measure_ms / 5);
        bench.swarm.run(&mut fetch, deadline_ns)?;
        fetch.times.clear();
        let pids = bench.server.pids().to_vec();
        let deadline_ns = bench.deadline_ms(bench.options.measure_ms);
        let meter = bench.meter(&pids);
        bench.swarm.run(&mut fetch, deadline_ns)?;
        let reading = bench.read(&meter, &pids);
        fetch.is_draining = true;
        let (count, deadline_ns) = (fetch.times.total(), bench.deadline_ns(DRAIN_S));
        bench.swarm.run(&mut fetch, deadline_ns)?;
        versions = fetch.seen.clone();
        seen.push(Seen { versioned, fetch, count, reading });
    }
    bench.dismiss("roster", &members)?;
    seen.iter().try_for_each(|seen| report(bench, dialect, circle, seen))
}

/// What a run left behind: how many were fetched in the measured time.
struct Seen {
    versioned: bool,
    fetch: Fetch,
    count: u64,
    reading: Reading,
}

fn report(bench: &mut Bench, dialect: Dialect, circle: &Circle, seen: &Seen) -> Outcome<()> {
    let Seen { versioned, fetch, count, reading } = seen;
    let shape = Shape { pairs: fetch.ids.len() as u32, window: 1, size: fetch.bytes };
    let echo = floor::message(bench, dialect.is_secure(), shape)?;
    let cpu_us = reading.server_us_per(*count);
    let (per_s, time) = (Some(*count as f64 / reading.seconds), |share| Some(fetch.times.percentile_us(share)));
    let row = Row::new("roster")
        .text("dialect", dialect.name())
        .whole("contacts", circle.contacts.into())
        .flag("versioned", *versioned)
        .whole("bytes", fetch.bytes as u64)
        .beside(["fetches_per_s", "limit_per_s", "per_s_to_limit"], per_s, echo.map(|echo| echo.per_s), 0)
        .beside(["p50_us", "limit_p50_us", "p50_to_limit"], time(0.5), echo.map(|echo| echo.p50_us), 1)
        .beside(["p99_us", "limit_p99_us", "p99_to_limit"], time(0.99), echo.map(|echo| echo.p99_us), 1)
        .beside(["cpu_us_per_fetch", "limit_cpu_us", "cpu_to_limit"], cpu_us, echo.map(|echo| echo.cpu_us), 2)
        .whole("wrong", fetch.wrong);
    let kind = if *versioned { "unchanged" } else { "whole" };
    let label = format!("roster {}, {} contacts, {kind}", dialect.name(), circle.contacts);
    bench.report.latencies(&label, &fetch.times);
    bench.report.cost(&label, cpu_us, echo.map(|echo| echo.cpu_us));
    bench.report.add(reading.add_to(row));
    if fetch.wrong + u64::from(fetch.ended) + fetch.under_way as u64 > 0 {
        let (wrong, ended, open) = (fetch.wrong, fetch.ended, fetch.under_way);
        bench.report.fail(format!("{label}: {wrong} wrong, {ended} sessions ended, {open} without an answer"));
    }
    Ok(())
}

struct Fetch {
    ids: Vec<usize>,
    /// The versions that the clients have.
    known: Vec<Option<String>>,
    /// Those that came with whole rosters.
    seen: Vec<Option<String>>,
    sent_ns: Vec<u64>,
    times: Histogram,
    /// Of the latest answer.
    bytes: usize,
    under_way: usize,
    wrong: u64,
    ended: u32,
    has_begun: bool,
    is_draining: bool,
}

impl Fetch {
    fn new(ids: Vec<usize>, known: Vec<Option<String>>) -> Self {
        let (seen, sent_ns) = (vec![None; ids.len()], vec![0; ids.len()]);
        let (times, bytes, under_way, wrong, ended) = (Histogram::default(), 0, 0, 0, 0);
        Self { ids, known, seen, sent_ns, times, bytes, under_way, wrong, ended, has_begun: false, is_draining: false }
    }

    fn ask(&mut self, swarm: &mut Swarm, tag: usize) {
        let version = match &self.known[tag] {
            Some(version) => format!(" ver='{version}'"),
            None => " ver=''".to_owned(),
        };
        self.sent_ns[tag] = swarm.now_ns();
        self.under_way += 1;
        let question = format!("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'{version}/></iq>");
        swarm.send(self.ids[tag], question.as_bytes());
    }

    fn answered(&mut self, swarm: &mut Swarm, tag: usize, frame: &[u8]) {
        self.under_way -= 1;
        self.times.record(swarm.now_ns().saturating_sub(self.sent_ns[tag]));
        self.bytes = frame.len();
        // Whole to who has none, empty to who has the latest.
        let is_whole = has(frame, "<item");
        self.wrong += u64::from(is_whole == self.known[tag].is_some());
        let quoted = |mark: &str, end: &str| between(frame, mark.as_bytes(), end.as_bytes());
        let version = quoted(" ver='", "'").or_else(|| quoted(" ver=\"", "\""));
        self.seen[tag] = version.map(|version| String::from_utf8_lossy(version).into_owned());
        if !self.is_draining {
            self.ask(swarm, tag);
        }
    }
}

impl Driver for Fetch {
    fn event(&mut self, swarm: &mut Swarm, _id: usize, tag: u32, event: Event<'_>) {
        match event {
            Event::Frame(frame) if frame.starts_with(b"<iq") => self.answered(swarm, tag as usize, frame),
            Event::Ended(_) => self.ended += 1,
            Event::Frame(_) | Event::Ready { .. } => {}
        }
    }

    fn tick(&mut self, swarm: &mut Swarm) {
        if !self.has_begun {
            self.has_begun = true;
            (0..self.ids.len()).for_each(|tag| self.ask(swarm, tag));
        }
    }

    fn is_done(&self) -> bool {
        self.ended > 0 || (self.is_draining && self.under_way == 0)
    }

    fn progress(&self) -> (&'static str, u64, Option<u64>) {
        ("rosters", self.times.total(), None)
    }
}
