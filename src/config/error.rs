//! What is wrong with a configuration, said so that the next edit is right.

use std::fmt;
use std::path::PathBuf;

/// Faults shown at once: more would scroll the first one away.
pub(super) const FAULTS_SHOWN_MAX: usize = 12;

/// Why there is no [`super::Config`].
#[derive(Debug)]
pub enum ConfigError {
    /// The file could not be read.
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        why: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// The file was read, and says something that cannot be followed.
    Faults {
        /// The file.
        file: PathBuf,
        /// What is wrong, in the order of the file; at least one.
        faults: Vec<Fault>,
    },
}

/// One thing wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Counted from 1.
    pub line: usize,
    /// What is there.
    pub found: String,
    /// What was expected in its place.
    pub expected: String,
    /// What to write.
    pub write: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, why, advice } => write!(f, "{}: {why}\n  {advice}", file.display()),
            Self::Faults { file, faults } => {
                for (nth, fault) in faults.iter().take(FAULTS_SHOWN_MAX).enumerate() {
                    let gap = if nth == 0 { "" } else { "\n" };
                    write!(f, "{gap}{}:{}", file.display(), fault)?;
                }
                match faults.len().saturating_sub(FAULTS_SHOWN_MAX) {
                    0 => Ok(()),
                    more => write!(f, "\n… and {more} more"),
                }
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n  expected: {}", self.line, self.found, self.expected)?;
        // What to write may be several lines; they stay under each other.
        for (nth, line) in self.write.lines().enumerate() {
            let label = if nth == 0 { "write:   " } else { "         " };
            write!(f, "\n  {label} {line}")?;
        }
        Ok(())
    }
}
