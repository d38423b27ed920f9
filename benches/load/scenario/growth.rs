//! Growth: whether a session, a message and a presence cost the same among many sessions as among few.
//!
//! Sessions with presence come up to a first number and then to a second. At each, memory is read while all are idle,
//! some pairs talk among them, and some of them broadcast presence.

use std::sync::Arc;

use super::chat::{self, Shape};
use super::{Outcome, idle, presence};
use crate::bench::Bench;
use crate::crowd::Member;
use crate::plan::{Dialect, Goal, Plan};
use crate::population::Circle;
use crate::report::Row;
use crate::server::Setup;

/// Who talks among the idle.
const SHAPE: Shape = Shape { pairs: 50, window: 10, size: 300 };

/// Until those who talked are forgotten.
const CUT_MS: u64 = 250;

/// What things cost among so many sessions.
#[derive(Clone, Copy, Debug)]
struct Point {
    sessions: u32,
    session_kib: Option<f64>,
    message_us: Option<f64>,
    presence_us: Option<f64>,
}

/// Each dialect, on a server started anew.
pub(super) fn run(bench: &mut Bench) -> Outcome<()> {
    for dialect in bench.options.dialects.clone() {
        let friends = bench.friends_plan(dialect).map(Arc::new);
        let users = bench.plan(dialect, bench.usual_mechanism(dialect), Goal::Bound).map(Arc::new);
        let (Some(friends), Some(users)) = (friends, users) else {
            bench.report.skip("growth", dialect.name(), "no port was given for it");
            continue;
        };
        bench.server.restart(&Setup::default())?;
        if let Some(points) = measure(bench, &friends, &users)? {
            report(bench, dialect, points);
        }
        bench.swarm.cut_all();
    }
    bench.report.table("growth");
    Ok(())
}

/// Few, then many; `None` when they did not come, which the report says.
fn measure(bench: &mut Bench, friends: &Arc<Plan>, users: &Arc<Plan>) -> Outcome<Option<[Point; 2]>> {
    let Some(first) = bench.raise("growth", friends, 0..1)? else { return Ok(None) };
    bench.dismiss("growth", &first)?;
    bench.rest(idle::settle_ms(bench))?;
    let empty_kib = bench.memory()?.map(|memory| memory.rss_kib);
    let circle = bench.population.friends.clone();
    let [few, many] = bench.options.growth;
    let mut members = Vec::new();
    let Some(at_few) = reach(bench, (friends, users), &mut members, few, (&circle, empty_kib))? else {
        return Ok(None);
    };
    let at_many = reach(bench, (friends, users), &mut members, many, (&circle, empty_kib))?;
    if at_many.is_some() {
        bench.dismiss("growth", &members)?;
    }
    Ok(at_many.map(|at_many| [at_few, at_many]))
}

/// Lets the crowd grow to `count` and looks at it.
fn reach(
    bench: &mut Bench,
    (friends, users): (&Arc<Plan>, &Arc<Plan>),
    members: &mut Vec<Member>,
    count: u32,
    (circle, empty_kib): (&Circle, Option<u64>),
) -> Outcome<Option<Point>> {
    let Some(more) = bench.raise("growth", friends, members.len() as u32..count)? else { return Ok(None) };
    members.extend(more);
    bench.rest(idle::settle_ms(bench))?;
    let full_kib = bench.memory()?.map(|memory| memory.rss_kib);
    let session_kib = full_kib.zip(empty_kib).map(|(full, empty)| (full as f64 - empty as f64) / f64::from(count));
    let Some(pairs) = bench.raise("growth", users, count..count + 2 * SHAPE.pairs)? else { return Ok(None) };
    let message_us = chat::cpu_us(bench, &pairs, SHAPE)?;
    pairs.iter().for_each(|member| bench.swarm.cut(member.id));
    bench.rest(CUT_MS)?;
    let presence_us = presence::cpu_us(bench, members, circle, count)?;
    Ok(Some(Point { sessions: count, session_kib, message_us, presence_us }))
}

fn report(bench: &mut Bench, dialect: Dialect, [few, many]: [Point; 2]) {
    let figures = [
        ("memory of a session, KiB", few.session_kib, many.session_kib),
        ("a message, CPU µs", few.message_us, many.message_us),
        ("a presence delivered, CPU µs", few.presence_us, many.presence_us),
    ];
    for (what, at_few, at_many) in figures {
        let row = Row::new("growth")
            .text("dialect", dialect.name())
            .text("what", what)
            .whole("few", few.sessions.into())
            .whole("many", many.sessions.into())
            .beside(["at_many", "at_few", "growth"], at_many, at_few, 3);
        bench.report.add(row);
    }
}
