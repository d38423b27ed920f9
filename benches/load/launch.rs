//! How children are started: none outlives the load test, however that ends.
//!
//! A child is at first this program again (`--become`): it asks the kernel to be killed when its parent is gone, sets its
//! descriptor limit, and becomes the program that was wanted, which stays the same process. Who is killed without a
//! chance to clean up behind itself then leaves a folder, and nothing that runs.

use std::error::Error;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};

/// Stays what it is even where the file of this program has been replaced.
const THIS_PROGRAM: &str = "/proc/self/exe";
/// Where no descriptor limit is given.
const INHERITED: &str = "-";

/// What the child is to become.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) parent: u32,
    pub(crate) descriptors: Option<u64>,
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
}

/// A command that starts `program`; the caller adds its arguments.
pub(crate) fn command(program: &Path, descriptors: Option<u64>) -> Command {
    let mut command = Command::new(THIS_PROGRAM);
    let descriptors = descriptors.map_or(INHERITED.to_owned(), |limit| limit.to_string());
    command.arg("--become").arg(std::process::id().to_string()).arg(descriptors).arg(program);
    command
}

/// A command that starts this program.
pub(crate) fn this_program() -> Command {
    Command::new(THIS_PROGRAM)
}

impl Wish {
    /// Reads what [`command`] wrote behind `--become`.
    pub(crate) fn read(mut words: impl Iterator<Item = OsString>) -> Option<Self> {
        let parent = words.next()?.to_str()?.parse().ok()?;
        let descriptors = words.next()?;
        let descriptors = if descriptors == INHERITED { None } else { Some(descriptors.to_str()?.parse().ok()?) };
        Some(Self { parent, descriptors, program: words.next()?, arguments: words.collect() })
    }

    /// Becomes it; returns only what went wrong.
    pub(crate) fn fulfil(self) -> Box<dyn Error> {
        if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
            return error.into();
        }
        // Who asks after the parent's end is told nothing.
        if getppid().is_none_or(|pid| pid.as_raw_nonzero().get().unsigned_abs() != self.parent) {
            return "the load test is gone".into();
        }
        if let Some(limit) = self.descriptors
            && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum: Some(limit) })
        {
            return error.into();
        }
        Command::new(self.program).args(self.arguments).exec().into()
    }
}
