//! `backup`: a copy of the store, by the server that has it or, while none runs, by this process. `salvage`: what can be
//! read of one that is damaged.

use super::verbs::{Outcome, end};
use super::whole_file::WholeFile;
use super::{Exit, Surroundings, offline, say};
use crate::admin::client::{CallError, back_up};
use crate::admin::{self, Answer};
use crate::boot;
use crate::clock::Clock;
use crate::config::Config;
use crate::storage::{self, Salvaged};
use std::fs;
use std::path::Path;

use crate::limits::{PROGRESS_AFTER_MS, PROGRESS_EVERY_MS};

/// `backup FILE`.
pub(super) fn backup(around: &mut Surroundings<'_>, config: &Config, path: &Path, replaces: bool) -> Exit {
    let outcome = back_up_to(around, config, path, replaces);
    end(around, outcome)
}

fn back_up_to(around: &mut Surroundings<'_>, config: &Config, path: &Path, replaces: bool) -> Outcome {
    let data_dir = offline::data_dir(config, around.err)?;
    check_name(path, &data_dir, replaces)?;
    let whole = WholeFile::begin(path)?;
    let mut progress = Progress::new(around);
    let copied = copy(&whole, config, &data_dir, &mut |rows, total| progress.tell(rows, total));
    progress.end();
    let rows = copied?;
    // Somebody may have been quicker.
    check_name(path, &data_dir, replaces)?;
    let bytes = whole.file().metadata().map_or(0, |data| data.len());
    whole.publish()?;
    say(around.out, &format!("{rows} rows, {bytes} bytes written to {}", path.display()));
    Ok(())
}

/// `salvage FILE`.
pub(super) fn salvage(around: &mut Surroundings<'_>, config: &Config, path: &Path) -> Exit {
    let outcome = salvage_to(around, config, path);
    end(around, outcome)
}

fn salvage_to(around: &mut Surroundings<'_>, config: &Config, path: &Path) -> Outcome {
    let data_dir = offline::data_dir(config, around.err)?;
    check_name(path, &data_dir, false)?;
    let whole = WholeFile::begin(path)?;
    let file = whole.file().try_clone().map_err(|error| error.to_string())?;
    let store = boot::store_path(&data_dir);
    let Salvaged { rows, stray_rows, pages_lost } =
        storage::salvage(&store, file, config.backup_spare_bytes()).map_err(|error| error.to_string())?;
    whole.publish()?;
    say(around.out, &format!("{rows} rows written to {}", path.display()));
    match pages_lost {
        0 => say(around.out, "every page could be read"),
        _ => say(
            around.out,
            &format!(
                "{pages_lost} pages could not be read; {stray_rows} of the rows were found in pages that the store had \
                 given up, and may be older than their last change"
            ),
        ),
    }
    Ok(())
}

/// Nothing that is there is lost by oversight, and the store itself never.
fn check_name(path: &Path, data_dir: &Path, replaces: bool) -> Outcome {
    let Ok(data) = fs::symlink_metadata(path) else { return Ok(()) };
    let store = boot::store_path(data_dir);
    if fs::canonicalize(path).is_ok_and(|path| fs::canonicalize(&store).is_ok_and(|store| store == path)) {
        return Err(format!("{} is the store itself; name another file", path.display()));
    }
    if !replaces {
        return Err(format!("{} is there already; name another file, or add --replace", path.display()));
    }
    if data.is_file() { Ok(()) } else { Err(format!("{} is no file; name another", path.display())) }
}

/// Has the copy made by whoever has the store. Returns its rows.
fn copy(
    whole: &WholeFile,
    config: &Config,
    data_dir: &Path,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<u64, String> {
    let socket = admin::socket_path(data_dir);
    match back_up(&socket, whole.file(), on_progress) {
        Ok(Answer::BackedUp { rows }) => Ok(rows),
        Ok(Answer::Refused(refusal)) => Err(refusal.to_string()),
        Ok(_) => Err("the server answered something else".to_owned()),
        Err(CallError::Denied(error)) => {
            Err(format!("{}: {error}; run stonechat as the user that runs the server", socket.display()))
        }
        Err(CallError::Broken(why)) => Err(why),
        Err(CallError::NotRunning) => {
            let mut store = boot::open_store(data_dir, &config.storage, false).map_err(|error| error.to_string())?;
            let file = whole.file().try_clone().map_err(|error| error.to_string())?;
            storage::copy_to(&mut store, file, config.backup_spare_bytes(), on_progress)
                .map_err(|error| error.to_string())
        }
    }
}

/// How far it is, on a terminal, once it takes its time: one line, written over again.
struct Progress<'a, 'b> {
    around: &'a mut Surroundings<'b>,
    clock: Clock,
    next_at_ms: u64,
    has_told: bool,
}

impl<'a, 'b> Progress<'a, 'b> {
    fn new(around: &'a mut Surroundings<'b>) -> Self {
        let clock = Clock::new();
        let next_at_ms = clock.now().mono_ms + PROGRESS_AFTER_MS;
        Self { around, clock, next_at_ms, has_told: false }
    }

    fn tell(&mut self, rows: u64, total: u64) {
        let now_ms = self.clock.now().mono_ms;
        if !self.around.err_is_terminal || now_ms < self.next_at_ms {
            return;
        }
        self.next_at_ms = now_ms + PROGRESS_EVERY_MS;
        self.has_told = true;
        // Rows come and go meanwhile: never more of them than there are.
        let total = total.max(rows);
        let _ = write!(self.around.err, "\r{rows} of {total} rows").and_then(|()| self.around.err.flush());
    }

    fn end(&mut self) {
        if self.has_told {
            let _ = writeln!(self.around.err);
        }
    }
}
