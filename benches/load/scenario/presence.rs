//! Presence: sessions whose contacts are online broadcast it, and every contact must hear of it.
//!
//! A session broadcasts again when all its contacts have had the last one. CPU is told for each stanza that the
//! server delivered, beside the writing of one TLS record of that size in the same run (or of the bare bytes, where there is
//! no TLS): the least that a delivery can cost.

use std::io::Write;
use std::sync::Arc;

use super::chat::DRAIN_S;
use super::{Outcome, floor};
use crate::bench::{Bench, Reading};
use crate::crowd::Member;
use crate::frames::between;
use crate::histogram::Histogram;
use crate::plan::Plan;
use crate::population::Circle;
use crate::report::Row;
use crate::server::Setup;
use crate::swarm::{Driver, Event, Swarm};

/// After login everybody hears of everybody; only then is anything counted.
const SETTLE_MS: u64 = 500;
/// Sessions of a circle that are online; the circle may be larger.
const SESSIONS_MAX: u32 = 400;
/// Broadcasts under way at the same time: with a pause the server could not batch, with all it would drown.
const SENDERS_MAX: usize = 50;

/// Each circle, in each dialect.
pub(super) fn run(bench: &mut Bench) -> Outcome<()> {
    for circle in bench.circles() {
        for dialect in bench.options.dialects.clone() {
            let Some(plan) = bench.circle_plan(dialect, &circle).map(Arc::new) else {
                bench.report.skip("presence", dialect.name(), "no port was given for it");
                continue;
            };
            bench.server.restart(&Setup::default())?;
            measure(bench, &plan, &circle)?;
            bench.swarm.cut_all();
        }
    }
    bench.report.table("presence");
    Ok(())
}

fn measure(bench: &mut Bench, plan: &Arc<Plan>, circle: &Circle) -> Outcome<()> {
    let count = circle.count.min(SESSIONS_MAX);
    let Some(members) = bench.raise("presence", plan, 0..count)? else { return Ok(()) };
    bench.rest(SETTLE_MS)?;
    let seen = broadcast(bench, &members, circle, count)?;
    report(bench, plan, circle, &seen)?;
    bench.dismiss("presence", &members)?;
    Ok(())
}

/// Processor microseconds of a delivered stanza, where `online` of a circle are there: `members` are the first of them,
/// and at most so many broadcast.
pub(super) fn cpu_us(bench: &mut Bench, members: &[Member], circle: &Circle, online: u32) -> Outcome<Option<f64>> {
    let members = &members[..members.len().min(SESSIONS_MAX as usize)];
    let seen = broadcast(bench, members, circle, online)?;
    seen.judge(bench, &format!("presence among {online}"));
    Ok(seen.reading.server_us_per(seen.delivered))
}

/// Lets `members`, the first of a circle of whom `online` are there, broadcast: at first to warm up, then as long as a
/// measurement takes, then until everybody has heard.
fn broadcast(bench: &mut Bench, members: &[Member], circle: &Circle, online: u32) -> Outcome<Seen> {
    let accounts = 0..members.len() as u32;
    let contacts = accounts.map(|account| circle.contacts_of(account).filter(|other| *other < online).count());
    let mut crowd = Crowd {
        senders: members.iter().map(|member| member.id).zip(contacts).map(Sender::new).collect(),
        idle: (0..members.len()).rev().collect(),
        ..Crowd::default()
    };
    let deadline_ns = bench.deadline_ms(bench.options.measure_ms / 5);
    bench.swarm.run(&mut crowd, deadline_ns)?;
    crowd.begin_again();
    let pids = bench.server.pids().to_vec();
    let deadline_ns = bench.deadline_ms(bench.options.measure_ms);
    let meter = bench.meter(&pids);
    bench.swarm.run(&mut crowd, deadline_ns)?;
    let reading = bench.read(&meter, &pids);
    let (broadcasts, delivered, bytes) = (crowd.broadcasts, crowd.delivered, crowd.bytes);
    crowd.is_draining = true;
    let deadline_ns = bench.deadline_ns(DRAIN_S);
    bench.swarm.run(&mut crowd, deadline_ns)?;
    Ok(Seen { crowd, broadcasts, delivered, bytes, reading })
}

/// What a run left behind: the counts are those of the measured time.
struct Seen {
    crowd: Crowd,
    broadcasts: u64,
    delivered: u64,
    bytes: u64,
    reading: Reading,
}

impl Seen {
    fn lost(&self) -> u64 {
        self.crowd.senders.iter().map(|sender| sender.awaited as u64).sum()
    }

    /// Fails the run when somebody has not heard of something, or heard it twice, or left.
    fn judge(&self, bench: &mut Bench, label: &str) {
        let (lost, crowd) = (self.lost(), &self.crowd);
        if lost + crowd.unexpected > 0 {
            bench.report.fail(format!("{label}: {lost} lost, {} doubled or late", crowd.unexpected));
        }
        if let Some(end) = crowd.ends.first() {
            bench.report.fail(format!("{label}: {} sessions ended: {end}", crowd.ends.len()));
        }
    }
}

fn report(bench: &mut Bench, plan: &Plan, circle: &Circle, seen: &Seen) -> Outcome<()> {
    let name = plan.dialect.name();
    let Seen { crowd, broadcasts, delivered, bytes, reading } = seen;
    let size = (bytes / delivered.max(&1)) as usize;
    let limit_us = Some(floor::write_us(bench, plan.dialect.is_secure(), size)?);
    let cpu_us = reading.server_us_per(*delivered);
    let row = Row::new("presence")
        .text("dialect", name)
        .whole("contacts", circle.contacts.into())
        .whole("sessions", crowd.senders.len() as u64)
        .number("broadcasts_per_s", *broadcasts as f64 / reading.seconds, 0)
        .number("delivered_per_s", *delivered as f64 / reading.seconds, 0)
        .whole("size", size as u64)
        .number("p50_us", crowd.times.percentile_us(0.5), 1)
        .number("p99_us", crowd.times.percentile_us(0.99), 1)
        .beside(["cpu_us_per_delivered", "limit_cpu_us", "cpu_to_limit"], cpu_us, limit_us, 2)
        .whole("lost", seen.lost())
        .whole("doubled", crowd.unexpected);
    let label = format!("presence {name}, {} contacts", circle.contacts);
    bench.report.latencies(&label, &crowd.times);
    bench.report.cost(&label, cpu_us, limit_us);
    bench.report.add(reading.add_to(row));
    seen.judge(bench, &label);
    Ok(())
}

/// One session and its broadcast that is under way.
struct Sender {
    id: usize,
    contacts: usize,
    /// Contacts that have not had it yet.
    awaited: usize,
    number: u64,
    sent_ns: u64,
}

impl Sender {
    fn new((id, contacts): (usize, usize)) -> Self {
        Self { id, contacts, awaited: 0, number: 0, sent_ns: 0 }
    }
}

#[derive(Default)]
struct Crowd {
    /// By tag.
    senders: Vec<Sender>,
    /// Tags of those whose broadcast has arrived everywhere; taken from the end.
    idle: Vec<usize>,
    under_way: usize,
    /// Finished in this tick: they go behind those who wait.
    finished: Vec<usize>,
    times: Histogram,
    broadcasts: u64,
    /// Stanzas that the server delivered, the senders' own copies among them.
    delivered: u64,
    bytes: u64,
    unexpected: u64,
    is_draining: bool,
    ends: Vec<String>,
}

impl Crowd {
    fn begin_again(&mut self) {
        (self.broadcasts, self.delivered, self.bytes) = (0, 0, 0);
        self.times.clear();
    }

    fn broadcast(&mut self, swarm: &mut Swarm, tag: usize) {
        let sender = &mut self.senders[tag];
        if sender.contacts == 0 {
            return;
        }
        (sender.number, sender.sent_ns, sender.awaited) = (sender.number + 1, swarm.now_ns(), sender.contacts);
        let mut stanza = Vec::with_capacity(160);
        // Writing to memory cannot fail.
        let _ = write!(
            stanza,
            "<presence><show>away</show><status>#{tag} {} gone fishing</status></presence>",
            sender.number
        );
        swarm.send(sender.id, &stanza);
        self.under_way += 1;
        self.broadcasts += 1;
    }

    /// A presence that `reader` was sent.
    fn arrived(&mut self, swarm: &Swarm, reader: usize, frame: &[u8]) {
        // Those of before, without a number, come from logins.
        let Some((tag, number)) = between(frame, b"#", b" gone").and_then(numbers) else { return };
        self.delivered += 1;
        self.bytes += frame.len() as u64;
        // Its own copy comes back to each sender (RFC 6121 §4.4.2), or not: servers differ.
        if tag == reader {
            return;
        }
        let Some(sender) = self.senders.get_mut(tag).filter(|sender| sender.number == number && sender.awaited > 0)
        else {
            self.unexpected += 1;
            return;
        };
        sender.awaited -= 1;
        self.times.record(swarm.now_ns().saturating_sub(sender.sent_ns));
        if sender.awaited == 0 {
            self.under_way -= 1;
            self.finished.push(tag);
        }
    }
}

fn numbers(text: &[u8]) -> Option<(usize, u64)> {
    let (tag, number) = std::str::from_utf8(text).ok()?.split_once(' ')?;
    Some((tag.parse().ok()?, number.parse().ok()?))
}

impl Driver for Crowd {
    fn event(&mut self, swarm: &mut Swarm, _id: usize, tag: u32, event: Event<'_>) {
        match event {
            Event::Frame(frame) if frame.starts_with(b"<presence") => self.arrived(swarm, tag as usize, frame),
            Event::Ended(end) => self.ends.push(format!("{end:?}")),
            Event::Frame(_) | Event::Ready { .. } => {}
        }
    }

    fn tick(&mut self, swarm: &mut Swarm) {
        self.idle.splice(0..0, self.finished.drain(..));
        while !self.is_draining && self.under_way < SENDERS_MAX {
            let Some(tag) = self.idle.pop() else { break };
            self.broadcast(swarm, tag);
        }
    }

    fn is_done(&self) -> bool {
        !self.ends.is_empty() || (self.is_draining && self.under_way == 0)
    }

    fn progress(&self) -> (&'static str, u64, Option<u64>) {
        ("presence delivered", self.delivered, None)
    }
}
