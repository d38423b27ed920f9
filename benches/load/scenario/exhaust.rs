//! More connections than the server has descriptors: it must neither spin nor fall over, keep serving those
//! who are in, and let others in again once there is room.

use std::sync::Arc;

use super::Outcome;
use crate::bench::Bench;
use crate::crowd;
use crate::plan::{Dialect, Goal, Plan};
use crate::report::Row;
use crate::server::Setup;
use crate::swarm::{Driver, Event, Swarm};

/// Descriptors that the server gets.
const DESCRIPTORS: u64 = 128;
/// Connections above that: some wait in the kernel for the whole time.
const CONNECTIONS: u32 = 200;
/// Longest wait for a login and for an answer.
const ANSWER_S: u64 = 20;
/// The server's processor time above which it is said to spin, in cores. A retry now and then is no spin.
const SPIN_CORES: f64 = 0.05;
/// How long it is watched, full and then empty again.
const WATCH_MS: u64 = 3_000;

/// Whether the server stood it; `None` when it could not be tried.
pub(super) fn run(bench: &mut Bench) -> Outcome<Option<bool>> {
    if !bench.server.is_own() {
        bench.report.skip("exhaust", "all", "the server was not started here, so its limit is not ours to set");
        return Ok(None);
    }
    let dialect = Dialect::Rfc6120;
    let Some(plan) = bench.plan(dialect, bench.usual_mechanism(dialect), Goal::Bound).map(Arc::new) else {
        return Ok(None);
    };
    bench.server.restart(&Setup { descriptors: Some(DESCRIPTORS), ..Setup::default() })?;
    let pids = bench.server.pids().to_vec();
    let deadline_ns = bench.deadline_ns(ANSWER_S);
    let witness = match crowd::raise(&mut bench.swarm, &plan, 0..1, 1, deadline_ns)? {
        Ok(witness) => witness,
        Err(shortfall) => {
            bench.report.fail(format!("exhaust: not even one login: {shortfall:?}"));
            return Ok(Some(false));
        }
    };
    let mut flood = Flood::begin(bench, &plan)?;
    let watch_ms = if bench.options.quick { WATCH_MS / 6 } else { WATCH_MS };
    let deadline_ns = bench.deadline_ms(watch_ms);
    bench.swarm.run(&mut flood, deadline_ns)?;
    let meter = bench.meter(&pids);
    let deadline_ns = bench.deadline_ms(watch_ms);
    bench.swarm.run(&mut flood, deadline_ns)?;
    let full_cores = bench.read(&meter, &pids).server_cores().unwrap_or(0.0);
    let descriptors = pids.iter().map(|pid| crate::process::descriptors_open(*pid)).sum();

    flood.asked = Some(witness[0].id);
    let deadline_ns = bench.deadline_ns(ANSWER_S);
    bench.swarm.run(&mut flood, deadline_ns)?;
    let witness_served = flood.answered;
    flood.ids.iter().for_each(|id| bench.swarm.cut(*id));
    let alive = bench.server.is_alive();
    let (begun_ns, deadline_ns) = (bench.swarm.now_ns(), bench.deadline_ns(ANSWER_S));
    let recovered = crowd::raise(&mut bench.swarm, &plan, 0..20, 5, deadline_ns)?.is_ok();
    let recovery_ms = (bench.swarm.now_ns() - begun_ns) as f64 / 1e6;
    bench.swarm.cut_all();

    let stood = alive && full_cores <= SPIN_CORES && witness_served && recovered;
    let row = Row::new("exhaust")
        .whole("limit", DESCRIPTORS)
        .whole("connections", CONNECTIONS.into())
        .whole("descriptors_open", descriptors)
        .number("full_cores", full_cores, 4)
        .flag("alive", alive)
        .flag("witness_served", witness_served)
        .flag("recovered", recovered)
        .number("recovery_ms", recovery_ms, 0);
    bench.report.add(row);
    bench.report.table("exhaust");
    if !stood {
        bench.report.fail("exhaust: the server did not stand it; see its line".to_owned());
    }
    Ok(Some(stood))
}

/// Connections that hold a descriptor each and go no further than TLS.
struct Flood {
    ids: Vec<usize>,
    /// The session that is asked whether it is still served.
    asked: Option<usize>,
    was_asked: bool,
    answered: bool,
}

impl Flood {
    fn begin(bench: &mut Bench, plan: &Plan) -> Outcome<Self> {
        let plan = Arc::new(Plan { goal: Goal::Secured, ..plan.clone() });
        let mut ids = Vec::new();
        for account in 0..CONNECTIONS {
            ids.push(bench.swarm.spawn(&plan, account, account)?);
        }
        Ok(Self { ids, asked: None, was_asked: false, answered: false })
    }
}

impl Driver for Flood {
    fn event(&mut self, _swarm: &mut Swarm, id: usize, _tag: u32, event: Event<'_>) {
        if let Event::Frame(_) = event {
            self.answered |= self.asked == Some(id);
        }
    }

    fn tick(&mut self, swarm: &mut Swarm) {
        if let Some(id) = self.asked
            && !self.was_asked
        {
            self.was_asked = true;
            swarm.send(id, b"<iq type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>");
        }
    }

    fn is_done(&self) -> bool {
        self.answered
    }

    fn progress(&self) -> (&'static str, u64, Option<u64>) {
        ("connections, too many", self.ids.len() as u64, None)
    }
}
