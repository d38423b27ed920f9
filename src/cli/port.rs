//! `export` and `import`: accounts out of the store and into it, while no server runs on it.

use super::args::ImportCommand;
use super::verbs::{Outcome, end};
use super::whole_file::WholeFile;
use super::{Exit, Surroundings, offline, say};
use crate::boot::{self, BootError};
use crate::config::Config;
use crate::im::accounts;
use crate::port::rows::{Counts, Export, Import};
use crate::port::{Person, Problem, Source, pie, prosody};
use crate::random::Random;
use crate::sasl::{self, ScramHash};
use crate::storage::{Disk, StoreError, offline as engine};
use std::collections::BTreeSet;
use std::io::BufWriter;
use std::path::Path;

/// The name of Prosody's database in its data folder.
const PROSODY_DATABASE: &str = "prosody.sqlite";

/// `export FILE`.
pub(super) fn export(around: &mut Surroundings<'_>, config: &Config, path: &Path) -> Exit {
    let outcome = export_to(around, config, path);
    end(around, outcome)
}

fn export_to(around: &mut Surroundings<'_>, config: &Config, path: &Path) -> Outcome {
    let mut store = open(around, config, "export")?;
    let whole = WholeFile::begin(path)?;
    let count = write_new(around, &mut store, &whole)?;
    whole.publish()?;
    say(around.out, &format!("{count} accounts written to {}", path.display()));
    Ok(())
}

/// Writes the whole file.
fn write_new(around: &mut Surroundings<'_>, store: &mut Disk, whole: &WholeFile) -> Result<u64, String> {
    let of_file = |error: std::io::Error| format!("{}: {error}", whole.new_path().display());
    let mut writer = pie::Writer::new(BufWriter::new(whole.file())).map_err(of_file)?;
    let mut export = Export::new(store).map_err(|error| error.to_string())?;
    let mut count = 0;
    let err = &mut *around.err;
    let mut tell = |user: &str, what: String| say(err, &format!("{user}: {what}"));
    while let Some(person) = export.next(&mut tell).map_err(|error| error.to_string())? {
        writer.add(&person).map_err(of_file)?;
        count += 1;
    }
    let ended = writer.end().and_then(|buffer| buffer.into_inner().map_err(|error| error.into_error()));
    ended.map_err(of_file)?;
    Ok(count)
}

/// Opens the store for `verb`, if no server has it.
fn open(around: &mut Surroundings<'_>, config: &Config, verb: &str) -> Result<Disk, String> {
    let data_dir = offline::data_dir(config, around.err)?;
    boot::open_store(&data_dir, &config.storage, false).map_err(|error| match error {
        BootError::Store { error: error @ StoreError::Locked { .. }, .. } => format!(
            "{error}: `{verb}` works only while no server runs. Run `stonechat stop`, then `stonechat {verb}`, then start \
             the server again; `stonechat backup` copies the store while it runs"
        ),
        error => error.to_string(),
    })
}

/// `import FILE`, `import --from prosody FOLDER`.
pub(super) fn import(around: &mut Surroundings<'_>, config: &Config, command: &ImportCommand) -> Exit {
    let outcome = import_from(around, config, command);
    end(around, outcome)
}

fn import_from(around: &mut Surroundings<'_>, config: &Config, command: &ImportCommand) -> Outcome {
    let mut source = source(command).map_err(|problem| problem.to_string())?;
    let mut store = open(around, config, "import")?;
    let mut run =
        Run { config, domains: BTreeSet::new(), strangers: BTreeSet::new(), problems: 0, random: Random::system() };
    let mut import = Import::new(&mut store, command.replaces, Random::system());
    let read = run.persons(around, &mut *source, &mut import);
    // Who was read is kept, however reading ended.
    let finished = import.finish(&mut |bare| said_skipped(around, &bare)).map_err(|error| error.to_string());
    let counts = finished?;
    say(around.out, &counted(&counts, run.problems));
    for domain in &run.domains {
        if let Some(note) = mechanisms(&mut store, domain)? {
            say(around.out, &note);
        }
    }
    read
}

fn source(command: &ImportCommand) -> Result<Box<dyn Source>, Problem> {
    let path = &command.path;
    if !command.is_prosody {
        return Ok(Box::new(pie::Reader::open(path)?));
    }
    let database = if path.is_dir() { path.join(PROSODY_DATABASE) } else { path.clone() };
    if !database.is_file() {
        return Ok(Box::new(prosody::Folder::open(path)?));
    }
    if path.is_dir() && prosody::Folder::open(path).is_ok() {
        let what =
            format!("there are both folders and {PROSODY_DATABASE}: name that file to import it, or move it away");
        return Err(Problem::of_file(path, what));
    }
    Ok(Box::new(prosody::Database::open(&database)?))
}

fn said_skipped(around: &mut Surroundings<'_>, bare: &str) {
    say(around.err, &format!("{bare}: there already, left as it is (--replace would replace it)"));
}

/// One import.
struct Run<'a> {
    config: &'a Config,
    /// Those of the accounts taken over.
    domains: BTreeSet<String>,
    /// Those that are not hosted and have been named.
    strangers: BTreeSet<String>,
    problems: u64,
    random: Random,
}

impl Run<'_> {
    fn persons(&mut self, around: &mut Surroundings<'_>, source: &mut dyn Source, import: &mut Import<'_>) -> Outcome {
        let mut problems = Vec::new();
        loop {
            let person = source.next(&mut problems);
            for problem in problems.drain(..) {
                self.problems += 1;
                say(around.err, &problem.to_string());
            }
            let Some(person) = person.map_err(|problem| problem.to_string())? else { return Ok(()) };
            if let Some(person) = self.ready(around, person)? {
                import.add(person, &mut |bare| said_skipped(around, &bare)).map_err(|error| error.to_string())?;
            }
        }
    }

    /// Sees to it that a person is of a hosted domain and has keys.
    fn ready(&mut self, around: &mut Surroundings<'_>, mut person: Person) -> Result<Option<Person>, String> {
        if self.config.domain(&person.domain).is_none() {
            self.problems += 1;
            if self.strangers.insert(person.domain.clone()) {
                say(around.err, &format!("{}: not hosted here, its accounts are not taken over", person.domain));
            }
            return Ok(None);
        }
        self.domains.insert(person.domain.clone());
        match person.password.take() {
            Some(password) => person.keys = offline::credentials(password.reveal(), self.config)?.keys,
            // An account without keys would take SCRAM from the whole domain: it gets those of a password nobody knows.
            None if person.keys.is_empty() => {
                self.problems += 1;
                let text = "no password to take over: set one with `stonechat user passwd`";
                say(around.err, &format!("{}: {text}", person.bare()));
                let secret = self.random.token();
                let job = sasl::derive(&secret, &ScramHash::ALL, self.config.scram_iterations, &mut self.random);
                person.keys = job.run().derived;
            }
            None => {}
        }
        Ok(Some(person))
    }
}

fn counted(counts: &Counts, problems: u64) -> String {
    let Counts { accounts, replaced, skipped, contacts, requests, offline, vcards, private, blocks } = *counts;
    let rows = [
        ("accounts", accounts),
        ("replaced", replaced),
        ("skipped", skipped),
        ("contacts", contacts),
        ("requests", requests),
        ("messages", offline),
        ("vcards", vcards),
        ("private", private),
        ("blocked", blocks),
        ("problems", problems),
    ];
    rows.map(|(name, count)| format!("{name:8}  {count}")).join("\n")
}

/// What the accounts of a domain cannot log in with yet, in words.
fn mechanisms(store: &mut Disk, domain: &str) -> Result<Option<String>, String> {
    let counters = engine::run(store, |store| accounts::offered(store, domain)).map_err(|error| error.to_string())?;
    let without = counters.accounts.saturating_sub(counters.with_sha256);
    Ok((without > 0).then(|| {
        format!(
            "{domain}: {without} accounts have no keys for SCRAM-SHA-256; it is offered when each of them has logged in once \
             with PLAIN or been given a new password"
        )
    }))
}
