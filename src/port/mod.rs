//! Moving accounts between servers: what an account is apart from any of them, and the forms it travels in.
//!
//! ```text
//! XEP-0227 file ───▶ pie::Reader ──────▶ ┐          ┌ ──▶ pie::Writer ──▶ XEP-0227 file
//! Prosody folder ──▶ prosody::Folder ──▶ ├─ Person ─┤
//! Prosody SQLite ──▶ prosody::Database ▶ ┘          └ ◀──▶ rows ◀──▶ Store
//! ```
//!
//! A person at a time: memory is bounded by the largest account, not by the file. What is read comes from the
//! operator's own files, which are nevertheless read strictly: nothing in them is executed, every size has a bound, and
//! what cannot be taken over is a [`Problem`], named and counted, while the rest goes on.

pub mod element;
mod markup;
mod person;
pub mod pie;
pub mod prosody;
pub mod pull;
pub mod rows;
pub mod stamp;

pub use person::{Contact, DELAY, Offline, Person, Secret, Waiting};

use std::fmt;
use std::path::{Path, PathBuf};

/// Something that was not taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file that it stands in.
    pub file: PathBuf,
    /// Whose it is, if it is known.
    pub user: Option<String>,
    /// What is wrong with it.
    pub what: String,
}

impl Problem {
    /// A problem of the whole file, or a place in it.
    pub fn of_file(file: &Path, what: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), user: None, what: what.to_string() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        if let Some(user) = &self.user {
            // It came from a file: no control character reaches a terminal.
            write!(f, "{}: ", user.escape_debug())?;
        }
        f.write_str(&self.what)
    }
}

/// Where persons come from, one after the other.
pub trait Source {
    /// The next person; none at the end. What could not be taken over is added to `problems`.
    ///
    /// # Errors
    ///
    /// Why nothing more can be read.
    fn next(&mut self, problems: &mut Vec<Problem>) -> Result<Option<Person>, Problem>;
}
