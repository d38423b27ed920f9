//! The command line's side of the control socket. It blocks, with a timeout; the server never uses it.

use super::{Answer, CONTROL_LINE_BYTES_MAX, Request};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

pub use crate::limits::CALL_TIMEOUT_S;

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
    let stream = UnixStream::connect(path).map_err(|error| match error.kind() {
        // A socket that is left over refuses; one never made is not found.
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => CallError::NotRunning,
        io::ErrorKind::PermissionDenied => CallError::Denied(error),
        _ => CallError::Broken(error.to_string()),
    })?;
    exchange(stream, request).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            CallError::Broken(format!("the server did not answer within {CALL_TIMEOUT_S} seconds"))
        }
        io::ErrorKind::InvalidData => CallError::Broken(error.to_string()),
        _ => CallError::Broken(format!("the server broke off: {error}")),
    })
}

fn exchange(mut stream: UnixStream, request: &Request) -> io::Result<Answer> {
    let timeout = Some(Duration::from_secs(CALL_TIMEOUT_S));
    stream.set_read_timeout(timeout)?;
    stream.set_write_timeout(timeout)?;
    stream.write_all(&request.to_line())?;
    let mut line = Vec::new();
    let limit = CONTROL_LINE_BYTES_MAX as u64;
    BufReader::new(stream.take(limit)).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Answer::parse(&line).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
}
