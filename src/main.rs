//! The binary: arguments, standard streams and the logger; everything else is the library's.

use log::{Log, Metadata, Record};
use std::error::Error;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use stonechat::boot::{Boot, LogRule, sandbox};
use stonechat::cli::{self, Listening, StandardInput, Surroundings};
use stonechat::config::{Config, ListenerKind};
use stonechat::server::{self, Parts};
use stonechat::sys::WipingAllocator;

/// Passwords pass through here.
#[global_allocator]
static ALLOCATOR: WipingAllocator = WipingAllocator;

fn main() -> ExitCode {
    let log_rule = start_logger();
    explain_damage();
    let exit = cli::run(&mut Surroundings {
        args: std::env::args_os().collect(),
        out: &mut io::stdout(),
        err: &mut io::stderr(),
        err_is_terminal: io::stderr().is_terminal(),
        passwords: &mut StandardInput,
        log_rule,
        serve,
    });
    exit.into()
}

/// Logs to standard error: what `RUST_LOG` says, else what the configuration says once it is read.
fn start_logger() -> LogRule {
    let mut builder = env_logger::Builder::new();
    let rule = match std::env::var("RUST_LOG") {
        Ok(filters) => {
            builder.parse_filters(&filters);
            LogRule::Environment
        }
        // The level in force is `log`'s own, which can change while running.
        Err(_) => {
            builder.filter_level(log::LevelFilter::Trace);
            LogRule::Config
        }
    };
    let own = OwnWords(builder.build());
    let level = if rule == LogRule::Config { log::LevelFilter::Warn } else { own.0.filter() };
    // Nobody else has set a logger: this is the program's first step.
    if log::set_boxed_logger(Box::new(own)).is_ok() {
        log::set_max_level(level);
    }
    rule
}

/// A damaged file that the database trusted can end in a panic of the database's. Whoever reads it should know what to do.
fn explain_damage() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        if panic.location().is_some_and(|location| location.file().contains("/redb-")) {
            eprintln!("the store is damaged; restore a backup, or save what can be read: stonechat salvage FILE");
        }
    }));
}

/// Lets only this program's own words through, whatever the filters say: a library may log what it is
/// given, and what the XML parser is given holds passwords.
struct OwnWords(env_logger::Logger);

impl Log for OwnWords {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        (target == "stonechat" || target.starts_with("stonechat::")) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Serves until a signal, or a verb over the control socket, ends it.
fn serve(config: Config, mut boot: Boot, on_listening: &mut dyn FnMut(&[Listening])) -> Result<(), Box<dyn Error>> {
    server::settle_process();
    let data_dir = boot.data_dir.clone();
    let parts = Parts {
        reload: Box::new(boot.reloader(&config)),
        tls: boot.tls.take(),
        components: std::mem::take(&mut boot.components),
        control: Some(boot.socket_path()),
        engine: Box::new(boot.store),
        signals: true,
    };
    let bound = boot.bound.take().map_or_else(|| server::bind(&config), Ok)?;
    if config.sandbox {
        // Before the first thread: it would stay outside.
        sandbox::enter(&config, &data_dir)?;
    }
    let mut server = server::start_on(bound, &config, parts)?;
    let addresses = server.listeners().map(|(address, kind)| Listening { kind, place: address.to_string() });
    let sockets = server.component_sockets().map(|path| path.display().to_string());
    let sockets = sockets.map(|place| Listening { kind: ListenerKind::Component, place });
    on_listening(&addresses.chain(sockets).collect::<Vec<_>>());
    server::forget_start();
    server.watch_memory();
    Ok(server.run()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the XML parser would say at `debug` holds passwords and message bodies.
    #[test]
    fn only_own_words_are_logged_whatever_the_filters_say() {
        let mut builder = env_logger::Builder::new();
        builder.parse_filters("trace,xml5ever=trace,xml5ever::tokenizer=trace");
        let own = OwnWords(builder.build());
        let is_logged = |target| own.enabled(&Metadata::builder().level(log::Level::Error).target(target).build());
        assert!(is_logged("stonechat") && is_logged("stonechat::core::ending"));
        for target in ["xml5ever::tokenizer", "xml5ever", "mio::poll", "rustls", "stonechatter"] {
            assert!(!is_logged(target), "{target}");
        }
    }
}
