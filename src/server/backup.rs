//! A backup that somebody on the control socket has asked for: begun, told how far it is, told its end.
//!
//! The caller brings the file, open: it is made as the caller, where the caller may write, whatever the server itself may.
//! A caller that hangs up takes the wish back.

use super::Server;
use crate::admin::{Answer, Refusal};
use crate::storage::Backup;
use std::fs::File;
use std::os::fd::OwnedFd;

/// The one that is being made.
#[derive(Debug)]
pub(super) struct Running {
    caller: u64,
    backup: Backup,
    /// Rows at the last word about it.
    told_rows: u64,
}

use crate::limits::BACKUP_ROWS_PER_WORD;

impl Running {
    /// Bytes of memory behind it.
    pub(super) fn heap_bytes(&self) -> usize {
        self.backup.heap_bytes()
    }
}

impl Server {
    pub(super) fn begin_backup(&mut self, caller: u64, file: Option<OwnedFd>) {
        let begun = self.start_backup(file);
        match begun {
            Ok(backup) => self.backup = Some(Running { caller, backup, told_rows: 0 }),
            Err(refusal) => self.control_answer(caller, &Answer::Refused(refusal)),
        }
    }

    fn start_backup(&mut self, file: Option<OwnedFd>) -> Result<Backup, Refusal> {
        let Some(file) = file else {
            return Err(Refusal::BadRequest { why: "the file to write must come with the line".to_owned() });
        };
        if self.backup.is_some() {
            return Err(Refusal::Failed { why: "another backup is being made; try again when it is done".to_owned() });
        }
        let Some(storage) = &self.storage else { return Err(Refusal::Busy) };
        let begun = storage.back_up(File::from(file), self.backup_room);
        begun.map_err(|error| Refusal::Failed { why: error.to_string() })
    }

    /// Tells what there is to tell; called in every tick.
    pub(super) fn go_on_with_backup(&mut self) {
        let Some(running) = &mut self.backup else { return };
        let caller = running.caller;
        if let Some(outcome) = running.backup.outcome() {
            self.backup = None;
            let answer = match outcome {
                Ok(rows) => Answer::BackedUp { rows },
                Err(error) => {
                    log::warn!("a backup was given up: {error}");
                    Answer::Refused(Refusal::Failed { why: error.to_string() })
                }
            };
            return self.control_answer(caller, &answer);
        }
        let (rows, total) = running.backup.progress();
        if rows < running.told_rows.saturating_add(BACKUP_ROWS_PER_WORD) {
            return;
        }
        running.told_rows = rows;
        self.control_word(caller, &Answer::Progress { rows, total });
    }

    /// A caller has gone.
    pub(super) fn caller_gone(&mut self, caller: u64) {
        self.backup.take_if(|running| running.caller == caller);
    }
}
