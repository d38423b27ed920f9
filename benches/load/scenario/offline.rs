//! Messages for those who are away: kept, and replayed in order when they come.
//!
//! Each sender sends its messages and then asks something; with the answer all of them have been taken. Each
//! receiver then sends presence and must get all of them, once, in order.

use std::sync::Arc;

use super::chat::Shape;
use super::{Outcome, floor};
use crate::bench::{Bench, Reading};
use crate::crowd::Member;
use crate::numbers::{self, Mark, Stream, Tally};
use crate::plan::{Dialect, Goal};
use crate::report::Row;
use crate::server::Setup;
use crate::swarm::{Driver, Event, Swarm};

/// Senders, each with a receiver of its own, and the messages for each: fewer than any server keeps.
const PAIRS: u32 = 50;
const MESSAGES_EACH: u64 = 50;
const MESSAGE_BYTES: usize = 300;
/// Longest wait for all to be kept, and for all to come back.
const PHASE_S: u64 = 60;

/// Each dialect, on a server started anew.
pub(super) fn run(bench: &mut Bench) -> Outcome<()> {
    for dialect in bench.options.dialects.clone() {
        bench.server.restart(&Setup::default())?;
        measure(bench, dialect)?;
        bench.swarm.cut_all();
    }
    bench.report.table("offline");
    Ok(())
}

fn measure(bench: &mut Bench, dialect: Dialect) -> Outcome<()> {
    let name = dialect.name();
    let Some(plan) = bench.plan(dialect, bench.usual_mechanism(dialect), Goal::Bound).map(Arc::new) else {
        bench.report.skip("offline", name, "no port was given for it");
        return Ok(());
    };
    let Some(senders) = bench.raise("offline", &plan, 0..PAIRS)? else { return Ok(()) };
    let away: Vec<String> =
        (PAIRS..2 * PAIRS).map(|account| format!("{}@{}", plan.localpart(account), plan.domain)).collect();
    let pids = bench.server.pids().to_vec();
    let mut post = Post::new(&senders, &away);
    let deadline_ns = bench.deadline_ns(PHASE_S);
    let meter = bench.meter(&pids);
    bench.swarm.run(&mut post, deadline_ns)?;
    let keeping = bench.read(&meter, &pids);
    if post.tally.refused == u64::from(PAIRS) * MESSAGES_EACH {
        bench.report.skip("offline", name, "the server keeps no messages");
        return Ok(());
    }
    let Some(receivers) = bench.raise("offline", &plan, PAIRS..2 * PAIRS)? else { return Ok(()) };
    post.readers = receivers.iter().map(|member| member.id).collect();
    let deadline_ns = bench.deadline_ns(PHASE_S);
    let meter = bench.meter(&pids);
    bench.swarm.run(&mut post, deadline_ns)?;
    let replay = bench.read(&meter, &pids);
    bench.dismiss("offline", &senders)?;
    report(bench, dialect, &mut post, &keeping, &replay)
}

/// Keeping stands beside an echo of the same messages, which writes them to a socket and not to a disk; the replay beside
/// the writing of what was replayed.
fn report(bench: &mut Bench, dialect: Dialect, post: &mut Post, keeping: &Reading, replay: &Reading) -> Outcome<()> {
    let (name, count) = (dialect.name(), u64::from(PAIRS) * MESSAGES_EACH);
    let shape = Shape { pairs: PAIRS, window: MESSAGES_EACH as u32, size: MESSAGE_BYTES };
    let echo = floor::message(bench, dialect.is_secure(), shape)?;
    let size = post.bytes / post.tally.arrived.max(1);
    let write_us = floor::write_us(bench, dialect.is_secure(), size as usize)?;
    let (kept_us, replayed_us) = (keeping.server_us_per(count), replay.server_us_per(post.tally.arrived));
    let (kept_per_s, replayed_per_s) = (count as f64 / keeping.seconds, post.tally.arrived as f64 / replay.seconds);
    post.tally.lost = post.streams.iter().map(Stream::outstanding).sum();
    let row = Row::new("offline")
        .text("dialect", name)
        .whole("messages", count)
        .beside(["kept_per_s", "limit_per_s", "kept_per_s_to_limit"], Some(kept_per_s), echo.map(|echo| echo.per_s), 0)
        .beside(["cpu_us_per_kept", "limit_kept_us", "kept_to_limit"], kept_us, echo.map(|echo| echo.cpu_us), 2)
        .number("replayed_per_s", replayed_per_s, 0)
        .beside(["cpu_us_per_replayed", "limit_replayed_us", "replayed_to_limit"], replayed_us, Some(write_us), 2);
    bench.report.cost(&format!("offline {name}, kept"), kept_us, echo.map(|echo| echo.cpu_us));
    bench.report.cost(&format!("offline {name}, replayed"), replayed_us, Some(write_us));
    bench.report.add(replay.add_to(post.tally.add_to(row)));
    post.tally.judge(&mut bench.report, &format!("offline {name}"));
    if post.ended > 0 {
        bench.report.fail(format!("offline {name}: {} sessions ended", post.ended));
    }
    Ok(())
}

/// All senders and receivers, one pair a stream.
struct Post {
    senders: Vec<usize>,
    heads: Vec<Vec<u8>>,
    streams: Vec<Stream>,
    /// Receivers who have come; empty while messages are kept.
    readers: Vec<usize>,
    /// Answers that say that a sender's messages were taken.
    taken: usize,
    tally: Tally,
    /// Of all that arrived.
    bytes: u64,
    ended: u32,
    has_sent: bool,
    has_asked: bool,
}

impl Post {
    fn new(senders: &[Member], away: &[String]) -> Self {
        Self {
            senders: senders.iter().map(|member| member.id).collect(),
            heads: away.iter().map(|jid| numbers::head(jid)).collect(),
            streams: away.iter().map(|_| Stream::default()).collect(),
            readers: Vec::new(),
            taken: 0,
            tally: Tally::default(),
            bytes: 0,
            ended: 0,
            has_sent: false,
            has_asked: false,
        }
    }

    fn send_all(&mut self, swarm: &mut Swarm) {
        let mut frame = Vec::new();
        for (stream, (sender, head)) in self.senders.iter().zip(&self.heads).enumerate() {
            for _ in 0..MESSAGES_EACH {
                let number = self.streams[stream].next();
                let mark = Mark { stream: stream as u64, number, sent_ns: swarm.now_ns() };
                numbers::write(&mut frame, head, mark, MESSAGE_BYTES);
                swarm.send(*sender, &frame);
            }
            // Whatever the answer is: it comes behind what was sent before.
            swarm.send(*sender, b"<iq type='get' id='taken'><ping xmlns='urn:xmpp:ping'/></iq>");
        }
    }

    fn arrived(&mut self, frame: &[u8]) {
        self.bytes += frame.len() as u64;
        let mark = numbers::read(frame);
        match mark.and_then(|mark| Some((self.streams.get_mut(mark.stream as usize)?, mark.number))) {
            Some((stream, number)) => stream.arrived(number, &mut self.tally),
            None => self.tally.refused += 1,
        }
    }
}

impl Driver for Post {
    fn event(&mut self, _swarm: &mut Swarm, _id: usize, _tag: u32, event: Event<'_>) {
        match event {
            Event::Frame(frame) if frame.starts_with(b"<message") => self.arrived(frame),
            Event::Frame(frame) if frame.starts_with(b"<iq") => self.taken += 1,
            Event::Ended(_) => self.ended += 1,
            Event::Frame(_) | Event::Ready { .. } => {}
        }
    }

    fn tick(&mut self, swarm: &mut Swarm) {
        if !self.has_sent {
            self.has_sent = true;
            self.send_all(swarm);
        }
        if !self.readers.is_empty() && !self.has_asked {
            self.has_asked = true;
            self.readers.iter().for_each(|id| swarm.send(*id, b"<presence/>"));
        }
    }

    fn is_done(&self) -> bool {
        let is_kept = self.readers.is_empty() && self.taken >= self.senders.len();
        let all = self.senders.len() as u64 * MESSAGES_EACH;
        let is_replayed = !self.readers.is_empty() && self.tally.arrived + self.tally.refused >= all;
        self.ended > 0 || is_kept || is_replayed
    }

    fn progress(&self) -> (&'static str, u64, Option<u64>) {
        ("messages of those who were away", self.tally.arrived, None)
    }
}
