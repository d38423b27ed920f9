//! The bundled load test: what a server costs, measured from outside.
//!
//! ```text
//! args ─▶ Bench ─▶ scenario/* ─▶ crowd ─▶ swarm (mio loop) ─▶ client (socket, TLS) ─▶ server, another process
//!                      │                     └─ negotiation, scram, frames: XMPP without a socket
//!                      └─▶ report ◀─ process (/proc of the server)
//! ```
//!
//! It shares no code with the server beyond the crypto provider, so that a fault of the one does not hide in
//! the other, and it runs against any XMPP server. See `benches/README.md`.

mod args;
mod bench;
mod certs;
mod client;
mod clock;
mod crowd;
mod echo;
mod frames;
mod histogram;
mod html;
mod launch;
mod limits;
mod negotiation;
mod numbers;
mod plan;
mod plot;
mod population;
mod process;
mod progress;
mod random;
mod report;
mod scenario;
mod scram;
mod server;
mod sources;
mod status;
mod swarm;
mod talk;
mod tls;

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use args::{Command, Options};
use bench::Bench;
use population::Population;

fn main() -> ExitCode {
    match args::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => {
            print!("{}", args::HELP);
            ExitCode::SUCCESS
        }
        Ok(Command::Echo(kind)) => finish(echo::serve(kind).map(|()| true)),
        Ok(Command::Become(wish)) => finish(Err(wish.fulfil())),
        Ok(Command::Picture(file)) => finish(draw(&file)),
        Ok(Command::Run(options)) => finish(run(*options)),
        Ok(Command::WriteAccounts(options, file)) => finish(write_accounts(&options, &file)),
        Err(error) => {
            eprintln!("{error}\n\n{}", args::HELP);
            ExitCode::from(2)
        }
    }
}

fn finish(result: Result<bool, Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything; `false` when something was lost, failed or over its budget.
fn run(options: Options) -> Result<bool, Box<dyn Error>> {
    frames::self_check()?;
    histogram::self_check()?;
    numbers::self_check()?;
    population::self_check()?;
    scram::self_check()?;
    process::raise_descriptor_limit(bench::descriptors_wanted(&options));
    process::take_a_processor();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let mut bench = Bench::new(options, stop)?;
    let outcome = scenario::run_all(&mut bench);
    bench.report.table("limit");
    outcome?;
    if let Some(path) = &bench.options.report {
        html::write(&bench.report, path)?;
        println!("report: {}", path.display());
    }
    Ok(bench.report.conclude())
}

fn draw(file: &Path) -> Result<bool, Box<dyn Error>> {
    std::fs::write(file, plot::comparison(&std::io::read_to_string(std::io::stdin())?)?)?;
    Ok(true)
}

fn write_accounts(options: &Options, file: &Path) -> Result<bool, Box<dyn Error>> {
    let mut out = BufWriter::new(File::create(file)?);
    Population::of(options).write(options, &mut out)?;
    out.flush()?;
    Ok(true)
}
