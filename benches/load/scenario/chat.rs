//! Messages between pairs of sessions: how long they take, what they cost, and that all arrive once, in order.
//!
//! Each pair has a window of messages under way; one that arrives lets the next go. A message carries its
//! number and its time of sending, so that one clock, the generator's, sees both ends. Beside each figure
//! stands its limit from the same run: the same frames, sizes and windows through a plain TCP echo and a
//! rustls echo, where each connection is its own partner.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use memchr::memmem;

use super::Outcome;
use crate::bench::{Bench, Reading};
use crate::crowd::{self, Member, Shortfall};
use crate::echo::Echo;
use crate::histogram::Histogram;
use crate::plan::{Dialect, Goal, Plan};
use crate::progress::Progress;
use crate::report::Row;
use crate::swarm::{Driver, Event, Swarm};

/// Longest ramp, longest departure and longest wait for what is under way at the end.
const PHASE_S: u64 = 60;
const DRAIN_S: u64 = 10;
/// The unmeasured start of a run is this part of it: buffers reach their steady state.
const WARM_UP_SHARE: u64 = 5;

/// One combination of pairs, window and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    pairs: u32,
    window: u32,
    size: usize,
}

/// What the echoes cost in one shape: processor microseconds a message and median latency.
#[derive(Clone, Copy, Debug)]
struct Limit {
    cpu_us: f64,
    p50_us: f64,
}

/// Each shape: the limits first, then each dialect.
pub(super) fn run(bench: &mut Bench) -> Outcome<()> {
    bench.server.restart(None)?;
    for shape in shapes(bench) {
        let tcp = limit(bench, Dialect::TcpEcho, shape)?;
        let tls = limit(bench, Dialect::TlsEcho, shape)?;
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
fn limit(bench: &mut Bench, dialect: Dialect, shape: Shape) -> Outcome<Option<Limit>> {
    let echo = Echo::start(dialect.is_secure())?;
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
    let name = plan.dialect.name();
    let sides = if plan.dialect.is_echo() { 1 } else { 2 };
    let (concurrency, deadline_ns) = (bench.options.concurrency, bench.deadline_ns(PHASE_S));
    let members = match crowd::raise(&mut bench.swarm, plan, 0..shape.pairs * sides, concurrency, deadline_ns)? {
        Ok(members) => members,
        Err(Shortfall::Unsupported(why)) => {
            bench.report.skip("chat", name, &why);
            return Ok(None);
        }
        Err(Shortfall::Failed(why)) => {
            bench.report.fail(format!("chat {name}: {why}"));
            return Ok(None);
        }
    };
    let mut chat = Chat::new(&members, sides, shape, bench.swarm.now_ns());
    let deadline_ns = bench.deadline_ms(bench.options.measure_ms / WARM_UP_SHARE);
    bench.swarm.run(&mut chat, deadline_ns)?;
    chat.latencies.clear();
    let deadline_ns = bench.deadline_ms(bench.options.measure_ms);
    let meter = bench.meter(pids);
    bench.swarm.run(&mut chat, deadline_ns)?;
    let reading = bench.read(&meter, pids);

    chat.is_draining = true;
    let deadline_ns = bench.deadline_ns(DRAIN_S);
    bench.swarm.run(&mut chat, deadline_ns)?;
    let measured = report(bench, name, &chat, &reading, limit);
    if plan.dialect.is_echo() {
        bench.swarm.cut_all();
        return Ok(measured);
    }
    let deadline_ns = bench.deadline_ns(PHASE_S);
    if let Some(failure) = crowd::dismiss(&mut bench.swarm, &members, concurrency, deadline_ns)?.first() {
        bench.report.fail(format!("chat {name}: {failure}"));
    }
    Ok(measured)
}

fn report(bench: &mut Bench, name: &str, chat: &Chat, reading: &Reading, limit: Option<Limit>) -> Option<Limit> {
    let count = chat.latencies.total();
    let (cpu_us, p50_us) = (reading.server_us_per(count), chat.latencies.percentile_us(0.5));
    let row = Row::new("chat")
        .text("dialect", name)
        .whole("pairs", chat.shape.pairs.into())
        .whole("window", chat.shape.window.into())
        .whole("size", chat.shape.size as u64)
        .number("messages_per_s", count as f64 / reading.seconds, 0)
        .number("p50_us", p50_us, 1)
        .number("p99_us", chat.latencies.percentile_us(0.99), 1)
        .number("p999_us", chat.latencies.percentile_us(0.999), 1)
        .number_if("cpu_us_per_message", cpu_us, 2)
        .number_if("limit_cpu_us", limit.map(|limit| limit.cpu_us), 2)
        .number_if("cpu_to_limit", limit.and_then(|limit| Some(cpu_us? / limit.cpu_us)), 2)
        .number_if("p50_to_limit", limit.map(|limit| p50_us / limit.p50_us), 2);
    let row = row.whole("lost", chat.lost()).whole("doubled", chat.doubled);
    let row = row.whole("reordered", chat.reordered).whole("refused", chat.refused);
    bench.report.add(reading.add_to(row));
    check(bench, name, chat);
    Some(Limit { cpu_us: cpu_us?, p50_us })
}

/// Fails the run when a message was lost, doubled, reordered or refused, or a session ended.
fn check(bench: &mut Bench, name: &str, chat: &Chat) {
    let (lost, doubled, reordered, refused) = (chat.lost(), chat.doubled, chat.reordered, chat.refused);
    if lost + doubled + reordered + refused > 0 {
        let sent: u64 = chat.pairs.iter().map(|pair| pair.sent).sum();
        let counts = format!("{lost} lost, {doubled} doubled, {reordered} reordered, {refused} refused of {sent}");
        bench.report.fail(format!("chat {name} {:?}: {counts}", chat.shape));
    }
    if let Some(end) = chat.ends.first() {
        bench.report.fail(format!("chat {name}: {} sessions ended: {end}", chat.ends.len()));
    }
}

/// One sender and its receiver.
struct Pair {
    sender: usize,
    /// Everything of a message up to its number.
    head: Vec<u8>,
    /// Messages sent; the next one's number.
    sent: u64,
    /// The number that should arrive next.
    expected: u64,
    /// Numbers that were passed over: reordered when they come after all, else lost.
    missing: BTreeSet<u64>,
}

impl Pair {
    /// Sent and not arrived: under way while the chat goes on, lost when it is over.
    fn outstanding(&self) -> u64 {
        self.sent.saturating_sub(self.expected) + self.missing.len() as u64
    }
}

struct Chat {
    shape: Shape,
    sides: u32,
    pairs: Vec<Pair>,
    latencies: Histogram,
    doubled: u64,
    reordered: u64,
    refused: u64,
    ends: Vec<String>,
    has_begun: bool,
    /// Sends nothing more.
    is_draining: bool,
    frame: Vec<u8>,
    progress: Progress,
}

impl Chat {
    fn new(members: &[Member], sides: u32, shape: Shape, now_ns: u64) -> Self {
        let pair = |sides: &[Member]| {
            let to = sides.last().map(|member| member.jid.as_str()).unwrap_or_default();
            let head = format!("<message to='{to}' type='chat'><body>").into_bytes();
            Pair { sender: sides[0].id, head, sent: 0, expected: 0, missing: BTreeSet::new() }
        };
        Self {
            shape,
            sides,
            pairs: members.chunks_exact(sides as usize).map(pair).collect(),
            latencies: Histogram::default(),
            doubled: 0,
            reordered: 0,
            refused: 0,
            ends: Vec::new(),
            has_begun: false,
            is_draining: false,
            frame: Vec::new(),
            progress: Progress::new(now_ns),
        }
    }

    /// Sends the next message of a pair: number, time, and letters up to the size.
    fn send(&mut self, swarm: &mut Swarm, pair: usize, now_ns: u64) {
        const TAIL: &[u8] = b"</body></message>";
        let pair = &mut self.pairs[pair];
        self.frame.clear();
        self.frame.extend_from_slice(&pair.head);
        // Writing to memory cannot fail.
        let _ = write!(self.frame, "{} {now_ns} ", pair.sent);
        let padded = self.shape.size.saturating_sub(TAIL.len()).max(self.frame.len());
        self.frame.resize(padded, b'x');
        self.frame.extend_from_slice(TAIL);
        pair.sent += 1;
        swarm.send(pair.sender, &self.frame);
    }

    /// What has not arrived; for good, once it is drained.
    fn lost(&self) -> u64 {
        self.pairs.iter().map(Pair::outstanding).sum()
    }

    /// Counts an arrived message by its number.
    fn arrived(&mut self, pair: usize, number: u64) {
        let pair = &mut self.pairs[pair];
        if number >= pair.expected {
            pair.missing.extend(pair.expected..number.min(pair.sent));
            pair.expected = number + 1;
        } else if pair.missing.remove(&number) {
            self.reordered += 1;
        } else {
            self.doubled += 1;
        }
    }
}

/// Number and time of sending.
fn read_body(frame: &[u8]) -> Option<(u64, u64)> {
    let body = &frame[memmem::find(frame, b"<body>")? + 6..];
    let number = |bytes: &[u8]| -> Option<(u64, usize)> {
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let value = bytes[..digits].iter().fold(0u64, |sum, digit| sum.wrapping_mul(10) + u64::from(digit - b'0'));
        (digits > 0).then_some((value, digits + 1))
    };
    let (value, length) = number(body)?;
    let (time, _) = number(body.get(length..)?)?;
    Some((value, time))
}

impl Driver for Chat {
    fn event(&mut self, swarm: &mut Swarm, _id: usize, tag: u32, event: Event<'_>) {
        let pair = (tag / self.sides) as usize;
        match event {
            Event::Frame(frame) if frame.starts_with(b"<message") => {
                let is_error = memmem::find(frame, b"type='error'").or(memmem::find(frame, b"type=\"error\""));
                let Some((number, sent_ns)) = read_body(frame).filter(|_| is_error.is_none()) else {
                    self.refused += 1;
                    return;
                };
                let now_ns = swarm.now_ns();
                self.arrived(pair, number);
                // What comes after the measurement only has to come.
                if !self.is_draining {
                    self.latencies.record(now_ns.saturating_sub(sent_ns));
                    self.send(swarm, pair, now_ns);
                }
            }
            Event::Ended(end) => self.ends.push(format!("{end:?}")),
            Event::Frame(_) | Event::Ready { .. } => {}
        }
    }

    fn tick(&mut self, swarm: &mut Swarm) {
        let now_ns = swarm.now_ns();
        if !self.has_begun {
            self.has_begun = true;
            for pair in 0..self.pairs.len() {
                (0..self.shape.window).for_each(|_| self.send(swarm, pair, now_ns));
            }
        }
        self.progress.show(now_ns, "messages", self.latencies.total(), 0);
    }

    fn is_done(&self) -> bool {
        !self.ends.is_empty() || (self.is_draining && self.lost() == 0)
    }
}
