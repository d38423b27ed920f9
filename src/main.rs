//! The binary: arguments, standard streams and the logger; everything else is the library's.

use std::error::Error;
use std::io;
use std::process::ExitCode;
use stonechat::boot::{Boot, LogRule};
use stonechat::cli::{self, Listening, StandardInput, Surroundings};
use stonechat::config::Config;
use stonechat::server::{self, Parts};

fn main() -> ExitCode {
    let log_rule = start_logger();
    let exit = cli::run(&mut Surroundings {
        args: std::env::args_os().collect(),
        out: &mut io::stdout(),
        err: &mut io::stderr(),
        passwords: &mut StandardInput,
        log_rule,
        serve,
    });
    exit.into()
}

/// Logs to standard error: what `RUST_LOG` says, else what the configuration says once it is read.
fn start_logger() -> LogRule {
    let mut builder = env_logger::Builder::new();
    if let Ok(filters) = std::env::var("RUST_LOG") {
        builder.parse_filters(&filters).init();
        return LogRule::Environment;
    }
    // The level in force is `log`'s own, which can change while running.
    builder.filter_level(log::LevelFilter::Warn).filter_module("stonechat", log::LevelFilter::Trace).init();
    log::set_max_level(log::LevelFilter::Warn);
    LogRule::Config
}

/// Serves until a signal, or a verb over the control socket, ends it.
fn serve(config: Config, mut boot: Boot, on_listening: &mut dyn FnMut(&[Listening])) -> Result<(), Box<dyn Error>> {
    server::settle_process();
    let parts = Parts {
        reload: Box::new(boot.reloader(&config)),
        tls: boot.tls.take(),
        control: Some(boot.socket_path()),
        engine: Box::new(boot.store),
        signals: true,
    };
    let mut server = server::start(&config, parts)?;
    let listening = server.listeners().map(|(address, kind)| Listening { kind, address });
    on_listening(&listening.collect::<Vec<_>>());
    server::forget_start();
    Ok(server.run()?)
}
