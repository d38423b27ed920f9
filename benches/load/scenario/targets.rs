//! The targets: each figure that is aimed at, over several rounds, beside its limit of the same round.
//!
//! A round runs the scenarios that the figures come from, once each. A figure is the median of its rounds, with the
//! least and the most; its ratio to the limit is the median of the rounds' ratios, so that a machine that changes from
//! one round to the next does not blur it. What is not reached is told and fails nothing; what is lost does.

use std::io::IsTerminal;

use super::chat::{self, Shape};
use super::{Outcome, perform, storm};
use crate::args::Scenario;
use crate::bench::Bench;
use crate::plan::{Dialect, Mechanism};
use crate::report::{Report, Row};

/// When a figure is good enough.
#[derive(Clone, Copy, Debug)]
enum Aim {
    /// At most this.
    AtMost(f64),
    /// At most so many times the limit.
    OfLimit(f64),
    /// It is told beside the others.
    Told,
}

/// Where a figure is found, and what it should be.
#[derive(Debug)]
struct Figure {
    what: &'static str,
    aim: Aim,
    from: Scenario,
    /// Name of the rows, and what the row says.
    scenario: &'static str,
    wanted: &'static [(&'static str, &'static str)],
    key: &'static str,
    limit_key: Option<&'static str>,
}

/// A figure that has no limit.
const fn alone(
    what: &'static str,
    aim: Aim,
    (from, scenario): (Scenario, &'static str),
    wanted: &'static [(&'static str, &'static str)],
    key: &'static str,
) -> Figure {
    Figure { what, aim, from, scenario, wanted, key, limit_key: None }
}

/// A figure beside its limit.
const fn beside(figure: Figure, limit_key: &'static str) -> Figure {
    Figure { limit_key: Some(limit_key), ..figure }
}

const IDLE: (Scenario, &str) = (Scenario::Idle, "idle");
const STORM: (Scenario, &str) = (Scenario::Storm, "storm");
const HANDSHAKE: (Scenario, &str) = (Scenario::Handshake, "handshake");
const CHAT: (Scenario, &str) = (Scenario::Chat, "chat");
const PRESENCE: (Scenario, &str) = (Scenario::Presence, "presence");
const RECONNECT: (Scenario, &str) = (Scenario::Reconnect, "reconnect");
const GROWTH: (Scenario, &str) = (Scenario::Growth, "growth");
const MIXED: (Scenario, &str) = (Scenario::Mixed, "mixed");
const TLS: &[(&str, &str)] = &[("dialect", "rfc6120")];
const CLEAR: &[(&str, &str)] = &[("dialect", "plain")];
const MANY: &[(&str, &str)] = &[("dialect", "rfc6120"), ("pairs", "100"), ("window", "10")];
const MANY_SINGLY: &[(&str, &str)] = &[("dialect", "rfc6120"), ("pairs", "100"), ("window", "1")];
const ONE: &[(&str, &str)] = &[("dialect", "rfc6120"), ("pairs", "1"), ("window", "1")];
const PLAIN: &[(&str, &str)] = &[("mechanism", "PLAIN"), ("handshake", "full")];
const SHA1: &[(&str, &str)] = &[("mechanism", "SCRAM-SHA-1"), ("handshake", "full")];
const SHA256: &[(&str, &str)] = &[("mechanism", "SCRAM-SHA-256"), ("handshake", "full")];
const FULL: &[(&str, &str)] = &[("dialect", "rfc6120"), ("handshake", "full")];
const FEW_CONTACTS: &[(&str, &str)] = &[("contacts", "20")];
const MANY_CONTACTS: &[(&str, &str)] = &[("contacts", "200")];

/// All of them, in the order in which they are measured and told.
const FIGURES: &[Figure] = &[
    alone("empty server, RSS MiB", Aim::AtMost(4.0), IDLE, TLS, "rss_empty_mib"),
    beside(alone("idle TLS session, RSS KiB", Aim::AtMost(4.5), IDLE, TLS, "rss_per_session_kib"), "limit_kib"),
    alone("idle TLS session, PSS KiB", Aim::Told, IDLE, TLS, "pss_per_session_kib"),
    alone("its socket in the kernel, KiB", Aim::Told, IDLE, TLS, "kernel_per_session_kib"),
    beside(alone("idle plain session, RSS KiB", Aim::AtMost(1.0), IDLE, CLEAR, "rss_per_session_kib"), "limit_kib"),
    alone("kept when all have left, TLS, %", Aim::AtMost(10.0), IDLE, TLS, "kept_percent"),
    alone("kept when all have left, plain, %", Aim::AtMost(10.0), IDLE, CLEAR, "kept_percent"),
    alone("all idle, CPU ms a second", Aim::AtMost(0.1), IDLE, TLS, "idle_cpu_ms_per_s"),
    beside(
        alone("login + logout, SCRAM-SHA-256, CPU ms", Aim::AtMost(0.25), STORM, SHA256, "cpu_ms_each"),
        "limit_cpu_ms",
    ),
    beside(alone("login + logout, SCRAM-SHA-1, CPU ms", Aim::AtMost(0.25), STORM, SHA1, "cpu_ms_each"), "limit_cpu_ms"),
    beside(alone("login + logout, PLAIN, CPU ms", Aim::AtMost(0.25), STORM, PLAIN, "cpu_ms_each"), "limit_cpu_ms"),
    beside(alone("the same, cold, CPU ms", Aim::Told, STORM, PLAIN, "cold_cpu_ms_each"), "limit_cold_cpu_ms"),
    beside(alone("full handshake, CPU ms", Aim::AtMost(0.13), HANDSHAKE, FULL, "cpu_ms_each"), "limit_cpu_ms"),
    beside(alone("chat 100×10, CPU µs", Aim::OfLimit(1.4), CHAT, MANY, "cpu_us_per_message"), "limit_cpu_us"),
    beside(alone("chat 100×10, CPU µs, beside a relay", Aim::Told, CHAT, MANY, "cpu_us_per_message"), "relay_cpu_us"),
    beside(alone("chat 100×1, CPU µs", Aim::Told, CHAT, MANY_SINGLY, "cpu_us_per_message"), "limit_cpu_us"),
    beside(alone("chat 1×1, p50 µs", Aim::OfLimit(1.5), CHAT, ONE, "p50_us"), "limit_p50_us"),
    beside(alone("chat 1×1, p99 µs", Aim::OfLimit(1.5), CHAT, ONE, "p99_us"), "limit_p99_us"),
    beside(
        alone("presence to 20, CPU µs", Aim::OfLimit(1.3), PRESENCE, FEW_CONTACTS, "cpu_us_per_delivered"),
        "limit_cpu_us",
    ),
    beside(
        alone("presence to 200, CPU µs", Aim::OfLimit(1.3), PRESENCE, MANY_CONTACTS, "cpu_us_per_delivered"),
        "limit_cpu_us",
    ),
    beside(alone("reconnect, CPU ms", Aim::OfLimit(1.2), RECONNECT, TLS, "cpu_ms_each"), "first_login_cpu_ms"),
    alone("reconnect, p99 of the untouched, ms", Aim::AtMost(20.0), RECONNECT, TLS, "storm_p99_ms"),
    alone("reconnect, seconds until all are back", Aim::Told, RECONNECT, TLS, "seconds"),
    beside(
        alone("growth, session KiB", Aim::OfLimit(1.1), GROWTH, &[("what", "memory of a session, KiB")], "at_many"),
        "at_few",
    ),
    beside(
        alone("growth, message CPU µs", Aim::OfLimit(1.2), GROWTH, &[("what", "a message, CPU µs")], "at_many"),
        "at_few",
    ),
    beside(
        alone(
            "growth, presence CPU µs",
            Aim::OfLimit(1.2),
            GROWTH,
            &[("what", "a presence delivered, CPU µs")],
            "at_many",
        ),
        "at_few",
    ),
    beside(alone("mixed, longest round of the loop, ms", Aim::AtMost(5.0), MIXED, TLS, "tick_longest_ms"), "pause_ms"),
];

/// What the rounds showed of one figure.
#[derive(Clone, Debug, Default)]
struct Samples {
    measured: Vec<f64>,
    limits: Vec<f64>,
    ratios: Vec<f64>,
}

/// What is talked.
const SHAPES: [Shape; 3] = [
    Shape { pairs: 1, window: 1, size: 300 },
    Shape { pairs: 100, window: 1, size: 300 },
    Shape { pairs: 100, window: 10, size: 300 },
];

/// The scenarios that targets are measured by.
pub(crate) const SCENARIOS: [Scenario; 8] = [
    Scenario::Idle,
    Scenario::Storm,
    Scenario::Handshake,
    Scenario::Chat,
    Scenario::Presence,
    Scenario::Reconnect,
    Scenario::Growth,
    Scenario::Mixed,
];

/// All rounds, then the table; also when a round could not be finished.
pub(super) fn run(bench: &mut Bench) -> Outcome<()> {
    let mut samples = vec![Samples::default(); FIGURES.len()];
    let outcome = rounds(bench, &mut samples);
    for (figure, samples) in FIGURES.iter().zip(&samples) {
        if bench.options.scenarios.contains(&figure.from) {
            bench.report.add(figure.row(samples));
        }
    }
    bench.report.table("target");
    outcome
}

fn rounds(bench: &mut Bench, samples: &mut [Samples]) -> Outcome<()> {
    let rounds = bench.options.rounds;
    for round in 1..=rounds {
        // The limits belong to the round too.
        bench.measure_limits()?;
        for scenario in SCENARIOS {
            if !bench.options.scenarios.contains(&scenario) {
                continue;
            }
            if std::io::stderr().is_terminal() {
                eprintln!("round {round} of {rounds}: {scenario:?}");
            }
            let before = bench.report.log.len();
            measure(bench, scenario)?;
            for (figure, samples) in
                FIGURES.iter().zip(samples.iter_mut()).filter(|(figure, _)| figure.from == scenario)
            {
                figure.take(&bench.report, before, samples);
            }
        }
    }
    Ok(())
}

/// One scenario as the targets mean it.
fn measure(bench: &mut Bench, scenario: Scenario) -> Outcome<()> {
    let options = bench.options.clone();
    bench.options.dialects = match scenario {
        Scenario::Idle => vec![Dialect::Rfc6120, Dialect::Plain],
        _ => vec![Dialect::Rfc6120],
    };
    bench.options.sessions.drain(..options.sessions.len() - 1);
    bench.options.mechanisms = vec![Mechanism::Plain, Mechanism::ScramSha1, Mechanism::ScramSha256];
    let outcome = match scenario {
        Scenario::Storm => storm::full_storms(bench),
        Scenario::Chat => chat::run_shapes(bench, &SHAPES),
        _ => perform(bench, scenario),
    };
    bench.options = options;
    outcome
}

impl Figure {
    /// Takes what the rows since `before` say.
    fn take(&self, report: &Report, before: usize, samples: &mut Samples) {
        let Some(row) = report.log[before..].iter().find(|row| row.is(self.scenario, self.wanted)) else { return };
        let Some(measured) = row.measured(self.key) else { return };
        samples.measured.push(measured);
        if let Some(limit) = self.limit_key.and_then(|key| row.measured(key)) {
            samples.limits.push(limit);
            samples.ratios.push(measured / limit);
        }
    }

    fn row(&self, samples: &Samples) -> Row {
        let (measured, ratio) = (median(&samples.measured), median(&samples.ratios));
        let (aim, reached) = match self.aim {
            Aim::AtMost(most) => (format!("≤ {most}"), measured.map(|measured| measured <= most)),
            Aim::OfLimit(times) => (format!("≤ {times} × limit"), ratio.map(|ratio| ratio <= times)),
            Aim::Told => ("–".to_owned(), None),
        };
        let reached = match (self.aim, reached) {
            (Aim::Told, _) => "–",
            (_, Some(true)) => "yes",
            (_, Some(false)) => "no",
            (_, None) => "not measured",
        };
        let (least, most) = spread(&samples.measured);
        let (ratio_least, ratio_most) = spread(&samples.ratios);
        Row::new("target")
            .text("what", self.what)
            .text("target", &aim)
            .number_if("median", measured, 3)
            .number_if("least", least, 3)
            .number_if("most", most, 3)
            .number_if("limit", median(&samples.limits), 3)
            .number_if("ratio", ratio, 2)
            .number_if("ratio_least", ratio_least, 2)
            .number_if("ratio_most", ratio_most, 2)
            .whole("rounds", samples.measured.len() as u64)
            .text("reached", reached)
    }
}

fn median(numbers: &[f64]) -> Option<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
    Some((sorted[low] + sorted[high]) / 2.0)
}

fn spread(numbers: &[f64]) -> (Option<f64>, Option<f64>) {
    (numbers.iter().copied().reduce(f64::min), numbers.iter().copied().reduce(f64::max))
}
