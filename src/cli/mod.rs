//! The command line: what was asked, on which data folder, and how it ended.
//!
//! ```text
//! args ──parse──▶ Invocation ──▶ serve · check · user · compact · backup · export · import · invite · announce · motd · status · reload · stop
//!                                  │        verbs: socket of a running server, else the store itself
//!                                  ▼
//!                                boot, then the server
//! ```
//!
//! What a verb is asked for goes to standard output, everything else (the data folder used, errors) to standard error,
//! so that `stonechat user list | wc -l` counts users. Passwords come from a terminal or standard input, never from
//! arguments, which every user of the machine can read.

mod args;
mod backup;
mod greeting;
mod help;
mod offline;
mod password;
mod port;
mod verbs;
mod whole_file;

#[cfg(test)]
mod tests;

pub use greeting::Listening;
pub use password::{Passwords, StandardInput};

use crate::boot::{self, Boot, LogRule};
use crate::config::{Config, ConfigSource};
use args::{Command, Invocation};
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// How a run ended, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It is done.
    Done = 0,
    /// It was tried and failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The configuration is wrong, or what it names cannot be used.
    Config = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Runs the server until it is told to stop. It calls its last argument once, with the addresses it listens on.
pub type Serve = fn(Config, Boot, &mut dyn FnMut(&[Listening])) -> Result<(), Box<dyn Error>>;

/// What a run of the program has around it.
pub struct Surroundings<'a> {
    /// The arguments, the program's own name first.
    pub args: Vec<OsString>,
    /// For answers.
    pub out: &'a mut dyn Write,
    /// For everything else.
    pub err: &'a mut dyn Write,
    /// Whether somebody looks at that while it is written.
    pub err_is_terminal: bool,
    /// Where passwords come from.
    pub passwords: &'a mut dyn Passwords,
    /// Who decides how much is logged.
    pub log_rule: LogRule,
    /// The server.
    pub serve: Serve,
}

/// Does what the arguments say. Blocks; for `serve` until the server stops.
pub fn run(around: &mut Surroundings<'_>) -> Exit {
    let invocation = match args::parse(&around.args) {
        Ok(invocation) => invocation,
        Err(why) => {
            let program = around.program();
            say(around.err, &format!("{why}\nTry: {program} --help"));
            return Exit::Usage;
        }
    };
    match &invocation.command {
        Command::Help(topic) => {
            say(around.out, &help::text(*topic));
            return Exit::Done;
        }
        Command::Version => {
            say(around.out, VERSION_LINE);
            return Exit::Done;
        }
        _ => {}
    }
    let config = match Config::find(invocation.config.as_deref()) {
        Ok(config) => config,
        Err(error) => {
            say(around.err, &error.to_string());
            return Exit::Config;
        }
    };
    around.log_rule.apply(config.log_level);
    if invocation.command.opens_store()
        && let Err(error) = boot::drop_to_user(&config)
    {
        say(around.err, &error.to_string());
        return Exit::Config;
    }
    match invocation.command {
        Command::Serve => serve(around, &invocation, config),
        Command::Check => verbs::check(around, &config),
        Command::User(user) => verbs::user(around, &config, user),
        Command::Compact => verbs::compact(around, &config),
        Command::Backup(path, replaces) => backup::backup(around, &config, &path, replaces),
        Command::Salvage(path) => backup::salvage(around, &config, &path),
        Command::Export(path) => port::export(around, &config, &path),
        Command::Import(import) => port::import(around, &config, &import),
        Command::Invite(invite) => verbs::invite(around, &config, invite),
        Command::Announce(text, domain) => verbs::announce(around, &config, text, domain.as_deref()),
        Command::Motd(text, domain) => verbs::motd(around, &config, text, domain.as_deref()),
        Command::Status => verbs::status(around, &config),
        Command::Reload => verbs::reload(around, &config),
        Command::Stop => verbs::stop(around, &config),
        // Answered above, before any file was read.
        Command::Help(_) | Command::Version => Exit::Done,
    }
}

/// The name and version of this program.
pub const VERSION_LINE: &str = concat!("stonechat ", env!("CARGO_PKG_VERSION"));

fn serve(around: &mut Surroundings<'_>, invocation: &Invocation, config: Config) -> Exit {
    say(around.out, &greeting::configuration(&config.source));
    let boot = match Boot::prepare(&config, around.log_rule) {
        Ok(boot) => boot,
        Err(error) => {
            say(around.err, &error.to_string());
            return if error.is_of_configuration() { Exit::Config } else { Exit::Failed };
        }
    };
    say(around.out, &greeting::loaded(&boot));
    let next = greeting::next_steps(&config, &boot, &around.program(), invocation.config.as_deref());
    let out = &mut *around.out;
    let mut on_listening = |listening: &[Listening]| {
        say(out, &greeting::listening(listening));
        say(out, &next);
    };
    match (around.serve)(config, boot, &mut on_listening) {
        Ok(()) => Exit::Done,
        Err(error) => {
            say(around.err, &error.to_string());
            Exit::Failed
        }
    }
}

impl Surroundings<'_> {
    /// How this program was called, to be called so again.
    fn program(&self) -> String {
        self.args.first().map_or_else(|| "stonechat".to_owned(), |name| quoted(&name.to_string_lossy()))
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./@:+,=%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Says something; nobody is there to be told when that fails.
fn say(to: &mut dyn Write, text: &str) {
    let _ = print(to, text);
}

/// Prints what was asked for.
fn print(to: &mut dyn Write, text: &str) -> io::Result<()> {
    writeln!(to, "{text}")?;
    to.flush()
}

/// Where the settings came from, in words.
fn source(source: &ConfigSource) -> String {
    match source {
        ConfigSource::Defaults => "none found, so the defaults".to_owned(),
        ConfigSource::File(path) => crate::boot::absolute(path).display().to_string(),
    }
}
