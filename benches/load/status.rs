//! What Stonechat counts itself, over its control socket; other servers are not asked.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest wait for the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// One of the server's counters; `None` where it has no such counter or does not answer.
pub(crate) fn counter(control: &Path, name: &str) -> Option<u64> {
    let mut socket = UnixStream::connect(control).ok()?;
    socket.set_read_timeout(Some(TIMEOUT)).ok()?;
    socket.write_all(b"{\"version\":1,\"verb\":\"status\"}\n").ok()?;
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line).ok()?;
    let answer: serde_json::Value = serde_json::from_str(&line).ok()?;
    answer.get("status")?.get("counters")?.get(name)?.as_u64()
}
