//! A day of a chat service in a minute: people come and go with the hour, talk to their contacts, turn away and
//! come back, lose their connection and are there again.
//!
//! Messages go to contacts who are online and stay until they have had them, so each one must arrive: also a mixed
//! load loses nothing. The seed is fixed; what happens differs from run to run only by what the server takes.

use std::collections::HashMap;
use std::f64::consts::PI;
use std::sync::Arc;

use super::Outcome;
use super::chat::{DRAIN_S, Shape};
use super::floor::{self, Cost};
use crate::bench::{Bench, Reading};
use crate::clock::{MS_NS, SECOND_NS};
use crate::echo::Kind;
use crate::histogram::Histogram;
use crate::numbers::{self, Mark, Stream, Tally};
use crate::plan::Plan;
use crate::population::Circle;
use crate::process::Memory;
use crate::random::Random;
use crate::report::Row;
use crate::server::Setup;
use crate::status;
use crate::swarm::{Driver, End, Event, Swarm};

/// People at most.
const PEOPLE_MAX: u32 = 2_000;
/// The day is so many times as long as another measurement; a quick one is shorter.
const DAY: u64 = 12;
const QUICK_DAY: u64 = 4;
/// Between two looks at who does what.
const STEP_NS: u64 = 10 * MS_NS;
/// What each who is online does in a second: messages sent, presence changed, connection lost.
const MESSAGES_PER_S: f64 = 0.5;
const PRESENCE_PER_S: f64 = 0.05;
const LOSSES_PER_S: f64 = 0.01;
/// Share of the people who are online at night, and at noon.
const NIGHT: f64 = 0.2;
const NOON: f64 = 0.9;
/// Logins under way at the same time.
const COMING_MAX: u32 = 100;
/// Tries to find somebody fit for something; who is not found now is found in the next step.
const TRIES: u32 = 20;
const MESSAGE_BYTES: usize = 300;
/// The echo's load that latency stands beside: hardly any, as each of them has.
const QUIET: Shape = Shape { pairs: 1, window: 1, size: MESSAGE_BYTES };

/// Each dialect, on a server started anew.
pub(super) fn run(bench: &mut Bench) -> Outcome<()> {
    let mut circle = bench.population.friends.clone();
    circle.count = circle.count.min(PEOPLE_MAX);
    for dialect in bench.options.dialects.clone() {
        let Some(plan) = bench.friends_plan(dialect).map(Arc::new) else {
            bench.report.skip("mixed", dialect.name(), "no port was given for it");
            continue;
        };
        bench.server.restart(&Setup::default())?;
        measure(bench, plan, &circle)?;
        bench.swarm.cut_all();
    }
    bench.report.table("mixed");
    Ok(())
}

fn measure(bench: &mut Bench, plan: Arc<Plan>, circle: &Circle) -> Outcome<()> {
    let name = plan.dialect.name();
    let day_ns = bench.options.measure_ms * MS_NS * if bench.options.quick { QUICK_DAY } else { DAY };
    let begun_ns = bench.swarm.now_ns();
    let mut town = Town::new(plan, circle, begun_ns, day_ns, bench.population.friends.count);
    let pids = bench.server.pids().to_vec();
    let meter = bench.meter(&pids);
    bench.swarm.run(&mut town, begun_ns + day_ns / 2)?;
    let noon = (bench.memory()?, town.online);
    bench.swarm.run(&mut town, begun_ns + day_ns)?;
    let reading = bench.read(&meter, &pids);
    town.is_over = true;
    let deadline_ns = bench.deadline_ns(DRAIN_S);
    bench.swarm.run(&mut town, deadline_ns)?;
    if let Some(lacks) = &town.lacks {
        bench.report.skip("mixed", name, lacks);
        return Ok(());
    }
    bench.swarm.cut_all();
    report(bench, &mut town, noon, &reading)
}

/// Latency stands beside that of an echo which has nothing else to do; processor time beside the arithmetic of the
/// handshakes and the writing of what was delivered; memory beside that of an echo with as many connections; the longest
/// round of the loop beside the longest time for which the machine stops a program.
fn report(
    bench: &mut Bench,
    town: &mut Town,
    (memory, online): (Option<Memory>, u32),
    reading: &Reading,
) -> Outcome<()> {
    let name = town.plan.dialect.name();
    town.tally.lost = town.streams.values().map(Stream::outstanding).sum();
    let longest_us = bench.server.control().and_then(|control| status::counter(&control, "tick_longest_us"));
    let longest_ms = longest_us.map(|us| us as f64 / 1000.0);
    let limits = Least::of(bench, town, online)?;
    let (echo, cpu_s) = (limits.echo, reading.server_ns.map(|ns| ns / SECOND_NS as f64));
    let noon_mib = memory.map(|memory| memory.rss_kib as f64 / 1024.0);
    let time = |share| Some(town.messages.percentile_us(share));
    let row = Row::new("mixed")
        .text("dialect", name)
        .whole("people", town.people.len() as u64)
        .whole("online_at_noon", online.into())
        .beside(["rss_at_noon_mib", "limit_mib", "rss_to_limit"], noon_mib, limits.noon_mib, 1)
        .whole("logins", town.logins.total())
        .whole("lost_connections", town.losses)
        .whole("messages", town.messages.total())
        .whole("broadcasts", town.broadcasts)
        .whole("presences", town.presences)
        .beside(["cpu_s", "limit_cpu_s", "cpu_to_limit"], cpu_s, Some(limits.cpu_s), 3)
        .beside(["p50_us", "limit_p50_us", "p50_to_limit"], time(0.5), echo.map(|echo| echo.p50_us), 1)
        .beside(["p99_us", "limit_p99_us", "p99_to_limit"], time(0.99), echo.map(|echo| echo.p99_us), 1)
        .beside(["p999_us", "limit_p999_us", "p999_to_limit"], time(0.999), echo.map(|echo| echo.p999_us), 1)
        .number("login_p99_ms", town.logins.percentile_us(0.99) / 1000.0, 2)
        .beside(["tick_longest_ms", "pause_ms", "tick_to_pause"], longest_ms, Some(limits.pause_ms), 2)
        .whole("failed", town.failures.len() as u64);
    bench.report.latencies(&format!("mixed {name}"), &town.messages);
    bench.report.add(reading.add_to(town.tally.add_to(row)));
    town.tally.judge(&mut bench.report, &format!("mixed {name}"));
    if let Some(first) = town.failures.first() {
        bench.report.fail(format!("mixed {name}: {} failures: {first}", town.failures.len()));
    }
    Ok(())
}

/// What the day would cost at the least.
struct Least {
    echo: Option<Cost>,
    cpu_s: f64,
    noon_mib: Option<f64>,
    pause_ms: f64,
}

impl Least {
    fn of(bench: &mut Bench, town: &Town, online: u32) -> Outcome<Self> {
        let secure = town.plan.dialect.is_secure();
        let echo = floor::message(bench, secure, QUIET)?;
        let held = floor::held(bench, if secure { Kind::Tls } else { Kind::Slab })?;
        let handshake_us = if secure { bench.arithmetic.handshake_us(false, false) } else { 0.0 };
        let presence_bytes = town.presence_bytes / town.presences.max(1);
        let presence_us = floor::write_us(bench, secure, presence_bytes as usize)?;
        let message_us = floor::write_us(bench, secure, MESSAGE_BYTES)?;
        let of_each = |count: u64, us: f64| count as f64 * us / 1e6;
        let cpu_s = of_each(town.logins.total(), handshake_us)
            + of_each(town.presences, presence_us)
            + of_each(town.messages.total(), message_us);
        let noon_mib = held.map(|held| held.empty_mib + held.rss_kib * f64::from(online) / 1024.0);
        let pause_ms = floor::pause_ms(bench)?;
        Ok(Self { echo, cpu_s, noon_mib, pause_ms })
    }
}

/// Where somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Away,
    Coming,
    Online,
    Leaving,
}

/// One of the people.
#[derive(Debug)]
struct Person {
    place: Place,
    id: usize,
    /// What every message to this session begins with.
    head: Vec<u8>,
    /// Messages to and from, which have not arrived.
    awaited: u32,
    is_away: bool,
}

struct Town {
    plan: Arc<Plan>,
    circle: Circle,
    circle_count: u32,
    begun_ns: u64,
    day_ns: u64,
    stepped_ns: u64,
    random: Random,
    people: Vec<Person>,
    online: u32,
    coming: u32,
    /// What is owed of each kind of deed, in parts of one.
    owed: [f64; 3],
    /// By sender and receiver.
    streams: HashMap<(u32, u32), Stream>,
    messages: Histogram,
    logins: Histogram,
    broadcasts: u64,
    /// Presence that somebody was sent.
    presences: u64,
    presence_bytes: u64,
    losses: u64,
    tally: Tally,
    failures: Vec<String>,
    lacks: Option<String>,
    is_over: bool,
    frame: Vec<u8>,
}

impl Town {
    fn new(plan: Arc<Plan>, circle: &Circle, begun_ns: u64, day_ns: u64, circle_count: u32) -> Self {
        let person = |_| Person { place: Place::Away, id: 0, head: Vec::new(), awaited: 0, is_away: false };
        Self {
            plan,
            people: (0..circle.count).map(person).collect(),
            circle: circle.clone(),
            circle_count,
            begun_ns,
            day_ns,
            stepped_ns: begun_ns,
            random: Random::new(0x5222),
            online: 0,
            coming: 0,
            owed: [0.0; 3],
            streams: HashMap::new(),
            messages: Histogram::default(),
            logins: Histogram::default(),
            broadcasts: 0,
            presences: 0,
            presence_bytes: 0,
            losses: 0,
            tally: Tally::default(),
            failures: Vec::new(),
            lacks: None,
            is_over: false,
            frame: Vec::new(),
        }
    }

    /// How many should be online at this hour.
    fn wanted(&self, now_ns: u64) -> u32 {
        let hour = (now_ns - self.begun_ns) as f64 / self.day_ns as f64;
        let share = NIGHT + (NOON - NIGHT) * (PI * hour).sin().powi(2);
        (share * self.people.len() as f64) as u32
    }

    /// Does what the time since the last step asks for.
    fn step(&mut self, swarm: &mut Swarm, now_ns: u64) {
        let seconds = (now_ns - self.stepped_ns) as f64 / SECOND_NS as f64;
        self.stepped_ns = now_ns;
        let wanted = self.wanted(now_ns);
        while self.online + self.coming < wanted && self.coming < COMING_MAX {
            let Some(account) = self.find(|person| person.place == Place::Away) else { break };
            self.come(swarm, account);
        }
        // Not all at once: who goes home does so over a while.
        for _ in wanted..self.online.min(wanted + COMING_MAX) {
            let Some(account) = self.find(|person| person.place == Place::Online && person.awaited == 0) else { break };
            self.go(swarm, account);
        }
        let rates = [MESSAGES_PER_S, PRESENCE_PER_S, LOSSES_PER_S];
        for (owed, rate) in self.owed.iter_mut().zip(rates) {
            *owed += rate * seconds * f64::from(self.online);
        }
        let deeds: [fn(&mut Self, &mut Swarm); 3] = [Self::chat, Self::turn, Self::lose];
        for (kind, deed) in deeds.into_iter().enumerate() {
            while self.owed[kind] >= 1.0 {
                self.owed[kind] -= 1.0;
                deed(self, swarm);
            }
        }
    }

    /// Somebody who fits, by chance.
    fn find(&mut self, fits: impl Fn(&Person) -> bool) -> Option<u32> {
        let count = self.people.len() as u64;
        (0..TRIES).map(|_| self.random.below(count) as u32).find(|account| fits(&self.people[*account as usize]))
    }

    fn come(&mut self, swarm: &mut Swarm, account: u32) {
        match swarm.spawn(&self.plan, account, account) {
            Ok(id) => {
                let person = &mut self.people[account as usize];
                (person.place, person.id) = (Place::Coming, id);
                self.coming += 1;
            }
            Err(error) => self.failures.push(format!("no socket: {error}")),
        }
    }

    fn go(&mut self, swarm: &mut Swarm, account: u32) {
        let person = &mut self.people[account as usize];
        person.place = Place::Leaving;
        self.online -= 1;
        if !swarm.logout(person.id) {
            self.failures.push("a session was gone when it was to leave".to_owned());
        }
    }

    fn chat(&mut self, swarm: &mut Swarm) {
        let Some(from) = self.find(|person| person.place == Place::Online) else { return };
        let contacts: Vec<u32> = self.contacts(from);
        if contacts.is_empty() {
            return;
        }
        let to = contacts[self.random.below(contacts.len() as u64) as usize];
        let stream = self.streams.entry((from, to)).or_default();
        let number = stream.next();
        let mark = Mark { stream: u64::from(from) << 32 | u64::from(to), number, sent_ns: swarm.now_ns() };
        numbers::write(&mut self.frame, &self.people[to as usize].head, mark, MESSAGE_BYTES);
        swarm.send(self.people[from as usize].id, &self.frame);
        self.people[from as usize].awaited += 1;
        self.people[to as usize].awaited += 1;
    }

    /// Contacts who are online.
    fn contacts(&self, account: u32) -> Vec<u32> {
        let all = Circle { count: self.circle_count, ..self.circle.clone() };
        let is_there = |other: &u32| self.people.get(*other as usize).is_some_and(|who| who.place == Place::Online);
        all.contacts_of(account).filter(is_there).collect()
    }

    fn turn(&mut self, swarm: &mut Swarm) {
        let Some(account) = self.find(|person| person.place == Place::Online) else { return };
        let person = &mut self.people[account as usize];
        person.is_away = !person.is_away;
        let away: &[u8] = b"<presence><show>away</show></presence>";
        swarm.send(person.id, if person.is_away { away } else { b"<presence/>" });
        self.broadcasts += 1;
    }

    /// A connection that breaks, and is there again.
    fn lose(&mut self, swarm: &mut Swarm) {
        let Some(account) = self.find(|person| person.place == Place::Online && person.awaited == 0) else { return };
        swarm.cut(self.people[account as usize].id);
        self.online -= 1;
        self.losses += 1;
        self.come(swarm, account);
    }

    fn message(&mut self, swarm: &Swarm, frame: &[u8]) {
        let Some(mark) = numbers::read(frame) else {
            self.tally.refused += 1;
            return;
        };
        let (from, to) = ((mark.stream >> 32) as u32, mark.stream as u32);
        let Some(stream) = self.streams.get_mut(&(from, to)) else {
            self.tally.refused += 1;
            return;
        };
        stream.arrived(mark.number, &mut self.tally);
        self.messages.record(swarm.now_ns().saturating_sub(mark.sent_ns));
        for account in [from, to] {
            let awaited = &mut self.people[account as usize].awaited;
            *awaited = awaited.saturating_sub(1);
        }
    }

    fn ended(&mut self, account: u32, end: End) {
        let person = &mut self.people[account as usize];
        match person.place {
            Place::Coming => self.coming -= 1,
            Place::Online => self.online -= 1,
            Place::Away | Place::Leaving => {}
        }
        let is_in_order = person.place == Place::Leaving && matches!(end, End::Closed);
        person.place = Place::Away;
        match end {
            End::Unsupported(lacks) => self.lacks = Some(lacks),
            _ if is_in_order => {}
            End::Closed => self.failures.push("the server closed a session".to_owned()),
            End::Failed(text) => self.failures.push(text),
        }
    }
}

impl Driver for Town {
    fn event(&mut self, swarm: &mut Swarm, id: usize, tag: u32, event: Event<'_>) {
        match event {
            Event::Ready { took_ns, jid, .. } => {
                let person = &mut self.people[tag as usize];
                person.place = Place::Online;
                person.head = numbers::head(jid);
                person.is_away = false;
                self.coming -= 1;
                self.online += 1;
                self.logins.record(took_ns);
                swarm.send(id, b"<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>");
            }
            Event::Frame(frame) if frame.starts_with(b"<message") => self.message(swarm, frame),
            Event::Frame(frame) if frame.starts_with(b"<presence") => {
                self.presences += 1;
                self.presence_bytes += frame.len() as u64;
            }
            Event::Frame(_) => {}
            Event::Ended(end) => self.ended(tag, end),
        }
    }

    fn tick(&mut self, swarm: &mut Swarm) {
        let now_ns = swarm.now_ns();
        if !self.is_over && now_ns >= self.stepped_ns + STEP_NS {
            self.step(swarm, now_ns);
        }
    }

    fn is_done(&self) -> bool {
        let is_quiet = self.coming == 0 && self.people.iter().all(|person| person.awaited == 0);
        self.lacks.is_some() || self.failures.len() > 20 || (self.is_over && is_quiet)
    }

    fn due_ns(&self) -> u64 {
        if self.is_over { u64::MAX } else { self.stepped_ns + STEP_NS }
    }

    fn progress(&self) -> (&'static str, u64, Option<u64>) {
        ("messages of the day", self.messages.total(), None)
    }
}
