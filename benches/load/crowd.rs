//! Many sessions brought up and taken down again, so many at a time.

use std::ops::Range;
use std::sync::Arc;

use crate::plan::Plan;
use crate::swarm::{Driver, End, Event, Stop, Swarm};

/// Failures after which a crowd is given up: what one says is told, hundreds more would say the same.
const FAILURES_MAX: usize = 20;

/// A connection that reached its plan's goal.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: usize,
    /// Its full JID.
    pub(crate) jid: String,
}

/// With a patient plan: failures that are tried again, for each connection of the crowd.
const RETRIES_EACH: usize = 1;

/// Why not all came up.
#[derive(Clone, Debug)]
pub(crate) enum Shortfall {
    /// The server lacks something: skip the scenario.
    Unsupported(String),
    /// The first failures, or the deadline.
    Failed(String),
}

/// Brings up a connection for each of `tags`, at most `concurrency` at a time; tags pick accounts too.
///
/// If it fails, all connections are cut.
pub(crate) fn raise(
    swarm: &mut Swarm,
    plan: &Arc<Plan>,
    tags: Range<u32>,
    concurrency: u32,
    deadline_ns: u64,
) -> Result<Result<Vec<Member>, Shortfall>, Stop> {
    let count = tags.end - tags.start;
    let mut ramp = Ramp {
        plan: plan.clone(),
        first: tags.start,
        count,
        concurrency,
        begun: 0,
        under_way: 0,
        members: Vec::with_capacity(count as usize),
        again: Vec::new(),
        refused: 0,
        lacks: None,
        failures: Vec::new(),
    };
    let done = swarm.run(&mut ramp, deadline_ns)?;
    if ramp.refused > 0 {
        println!("load/crowd came={count} tried_again={}", ramp.refused);
    }
    let shortfall = match (ramp.lacks, ramp.failures.first()) {
        (Some(lacks), _) => Shortfall::Unsupported(lacks),
        (None, Some(first)) => Shortfall::Failed(format!("{} of {count} failed: {first}", ramp.failures.len())),
        (None, None) if done => return Ok(Ok(ramp.members.into_iter().flatten().collect())),
        (None, None) => Shortfall::Failed(format!("only {} of {count} in time", ramp.begun - ramp.under_way)),
    };
    swarm.cut_all();
    Ok(Err(shortfall))
}

struct Ramp {
    plan: Arc<Plan>,
    first: u32,
    count: u32,
    concurrency: u32,
    begun: u32,
    under_way: u32,
    /// In the order of the tags, so that accounts and members have the same order.
    members: Vec<Option<Member>>,
    /// Tags whose login failed and is tried again.
    again: Vec<u32>,
    refused: usize,
    lacks: Option<String>,
    failures: Vec<String>,
}

impl Driver for Ramp {
    fn event(&mut self, _swarm: &mut Swarm, id: usize, tag: u32, event: Event<'_>) {
        // What came up in an earlier ramp ends by itself: that is no login that failed.
        let Some(place) = tag.checked_sub(self.first) else {
            if let Event::Ended(end) = event {
                self.failures.push(format!("a session that was up ended: {end:?}"));
            }
            return;
        };
        match event {
            Event::Ready { jid, .. } => {
                self.under_way -= 1;
                self.members[place as usize] = Some(Member { id, jid: jid.to_owned() });
            }
            Event::Frame(_) => {}
            Event::Ended(end) => {
                let was_up = self.members[place as usize].take().is_some();
                self.under_way -= u32::from(!was_up);
                match end {
                    End::Failed(_) if !was_up && self.may_try_again() => {
                        self.refused += 1;
                        self.again.push(tag);
                    }
                    End::Unsupported(text) => self.lacks = Some(text),
                    End::Failed(text) => self.failures.push(text),
                    End::Closed => self.failures.push("closed by the server".to_owned()),
                }
            }
        }
    }

    fn tick(&mut self, swarm: &mut Swarm) {
        while self.has_more() && self.under_way < self.concurrency && !self.is_hopeless() {
            let tag = self.again.pop().unwrap_or_else(|| {
                self.begun += 1;
                self.members.push(None);
                self.first + self.begun - 1
            });
            match swarm.spawn(&self.plan, tag, tag) {
                Ok(_) => self.under_way += 1,
                Err(error) => self.failures.push(format!("no socket: {error}")),
            }
        }
    }

    fn is_done(&self) -> bool {
        (!self.has_more() && self.under_way == 0) || self.is_hopeless()
    }

    fn progress(&self) -> (&'static str, u64, Option<u64>) {
        ("sessions", u64::from(self.begun - self.under_way), Some(self.count.into()))
    }
}

impl Ramp {
    fn has_more(&self) -> bool {
        self.begun < self.count || !self.again.is_empty()
    }

    fn may_try_again(&self) -> bool {
        self.plan.patient && self.refused < self.count as usize * RETRIES_EACH
    }

    fn is_hopeless(&self) -> bool {
        self.lacks.is_some() || self.failures.len() >= FAILURES_MAX
    }
}

/// Logs out all `members` of a crowd, at most `concurrency` at a time; says what went wrong.
pub(crate) fn dismiss(
    swarm: &mut Swarm,
    members: &[Member],
    concurrency: u32,
    deadline_ns: u64,
) -> Result<Vec<String>, Stop> {
    let mut leaving = Leaving { members, begun: 0, ended: 0, concurrency: concurrency as usize, failures: Vec::new() };
    if !swarm.run(&mut leaving, deadline_ns)? {
        leaving.failures.push(format!("{} sessions were not closed in time", members.len() - leaving.ended));
    }
    let failures = leaving.failures;
    swarm.cut_all();
    Ok(failures)
}

struct Leaving<'a> {
    members: &'a [Member],
    begun: usize,
    ended: usize,
    concurrency: usize,
    failures: Vec<String>,
}

impl Driver for Leaving<'_> {
    fn event(&mut self, _swarm: &mut Swarm, _id: usize, tag: u32, event: Event<'_>) {
        let Event::Ended(end) = event else { return };
        // One that ends before its turn is counted then.
        if (tag as usize) < self.begun {
            self.ended += 1;
        }
        match end {
            End::Closed => {}
            End::Failed(text) | End::Unsupported(text) => self.failures.push(format!("logout: {text}")),
        }
    }

    fn tick(&mut self, swarm: &mut Swarm) {
        while self.begun < self.members.len() && self.begun - self.ended < self.concurrency {
            let is_there = swarm.logout(self.members[self.begun].id);
            self.ended += usize::from(!is_there);
            self.begun += 1;
        }
    }

    fn is_done(&self) -> bool {
        self.ended >= self.members.len()
    }

    fn progress(&self) -> (&'static str, u64, Option<u64>) {
        ("sessions that left", self.ended as u64, Some(self.members.len() as u64))
    }
}
