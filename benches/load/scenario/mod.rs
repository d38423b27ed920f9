//! The scenarios, and the order in which they run.

mod budgets;
mod chat;
mod exhaust;
pub(crate) mod floor;
mod growth;
mod idle;
mod mixed;
mod offline;
mod presence;
mod reconnect;
mod roster;
mod slow;
mod storm;
pub(crate) mod targets;

use std::error::Error;

use crate::args::Scenario;
use crate::bench::Bench;

/// The result of a scenario: measured figures and failures are in the report; an error ends the run.
type Outcome<T> = Result<T, Box<dyn Error>>;

/// Runs what the options name.
pub(crate) fn run_all(bench: &mut Bench) -> Outcome<()> {
    if bench.options.budgets {
        return budgets::run(bench);
    }
    if bench.options.targets {
        return targets::run(bench);
    }
    for scenario in bench.options.scenarios.clone() {
        perform(bench, scenario)?;
        if !bench.server.is_alive() {
            let text = format!("the server is gone after {scenario:?}:\n{}", bench.server.last_words());
            bench.report.fail(text);
            return Ok(());
        }
    }
    Ok(())
}

/// One scenario; no connection outlives it.
fn perform(bench: &mut Bench, scenario: Scenario) -> Outcome<()> {
    match scenario {
        Scenario::Idle => idle::run(bench)?,
        Scenario::Login => storm::logins(bench)?,
        Scenario::Storm => storm::storms(bench)?,
        Scenario::Handshake => storm::handshakes(bench)?,
        Scenario::Chat => chat::run(bench)?,
        Scenario::Presence => presence::run(bench)?,
        Scenario::Roster => roster::run(bench)?,
        Scenario::Offline => offline::run(bench)?,
        Scenario::Mixed => mixed::run(bench)?,
        Scenario::Slow => slow::run(bench)?,
        Scenario::Reconnect => reconnect::run(bench)?,
        Scenario::Growth => growth::run(bench)?,
        Scenario::Exhaust => drop(exhaust::run(bench)?),
    }
    bench.swarm.cut_all();
    Ok(())
}
