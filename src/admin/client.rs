//! The command line's side of the control socket. It blocks, with a timeout; the server never uses it.

use super::{Answer, CONTROL_LINE_BYTES_MAX, Request};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

pub use crate::limits::{BACKUP_SILENCE_S, CALL_TIMEOUT_S};

/// Why a call brought no answer.
#[derive(Debug)]
pub enum CallError {
    /// Nobody listens there: the server does not run, or not on this data folder.
    NotRunning,
    /// Somebody may listen there, but not to this user.
    Denied(io::Error),
    /// The server was reached, and did not answer as it should.
    Broken(String),
}

/// Asks the server behind the socket at `path`.
///
/// # Errors
///
/// [`CallError`]. After [`CallError::Broken`] it is unknown whether the request was carried out.
pub fn call(path: &Path, request: &Request) -> Result<Answer, CallError> {
    let mut stream = connect(path)?;
    let exchange = || {
        set_timeout(&stream, CALL_TIMEOUT_S)?;
        stream.write_all(&request.to_line())?;
        answer(&mut BufReader::new(stream))
    };
    exchange().map_err(|error| broken(&error, CALL_TIMEOUT_S))
}

/// Has the server behind the socket at `path` copy its store into `file`, which is empty and open for reading and writing.
/// `on_progress` is told the rows copied and about how many there are.
///
/// # Errors
///
/// As for [`call`].
pub fn back_up(path: &Path, file: &File, on_progress: &mut dyn FnMut(u64, u64)) -> Result<Answer, CallError> {
    let stream = connect(path)?;
    let mut exchange = || {
        set_timeout(&stream, BACKUP_SILENCE_S)?;
        send_with(&stream, &Request::Backup.to_line(), file)?;
        let mut reader = BufReader::new(&stream);
        loop {
            match answer(&mut reader)? {
                Answer::Progress { rows, total } => on_progress(rows, total),
                last => return Ok(last),
            }
        }
    };
    exchange().map_err(|error| broken(&error, BACKUP_SILENCE_S))
}

/// Sends a line, and a file with its first byte.
fn send_with(stream: &UnixStream, line: &[u8], file: &File) -> io::Result<()> {
    let files = [file.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    beside.push(SendAncillaryMessage::ScmRights(&files));
    let sent = sendmsg(stream, &[IoSlice::new(line)], &mut beside, SendFlags::empty())?;
    let mut stream = stream;
    stream.write_all(line.get(sent..).unwrap_or_default())
}

fn connect(path: &Path) -> Result<UnixStream, CallError> {
    UnixStream::connect(path).map_err(|error| match error.kind() {
        // A socket that is left over refuses; one never made is not found.
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => CallError::NotRunning,
        io::ErrorKind::PermissionDenied => CallError::Denied(error),
        _ => CallError::Broken(error.to_string()),
    })
}

fn broken(error: &io::Error, timeout_s: u64) -> CallError {
    CallError::Broken(match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("the server did not answer within {timeout_s} seconds")
        }
        io::ErrorKind::InvalidData => error.to_string(),
        _ => format!("the server broke off: {error}"),
    })
}

fn set_timeout(stream: &UnixStream, seconds: u64) -> io::Result<()> {
    let timeout = Some(Duration::from_secs(seconds));
    stream.set_read_timeout(timeout)?;
    stream.set_write_timeout(timeout)
}

fn answer(reader: &mut impl io::BufRead) -> io::Result<Answer> {
    let mut line = Vec::new();
    let limit = CONTROL_LINE_BYTES_MAX as u64;
    reader.take(limit).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Answer::parse(&line).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
}
