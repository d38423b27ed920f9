//! Numbered, timestamped messages: nothing may be lost, doubled or reordered, and every one tells how long it took.
//!
//! ```text
//! <message to='…' type='chat'><body>STREAM NUMBER NANOSECONDS xxxx…</body></message>
//! ```
//!
//! A stream is one sender's way to one receiver. Both ends are in the generator, so one clock sees both.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::LazyLock;

use memchr::memmem;

use crate::report::{Report, Row};

const BODY: &[u8] = b"<body>";
/// Made once: each message is looked through.
static ERROR: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new("error"));
const TAIL: &[u8] = b"</body></message>";

/// Everything of a message to `to` up to its numbers.
pub(crate) fn head(to: &str) -> Vec<u8> {
    format!("<message to='{to}' type='chat'><body>").into_bytes()
}

/// Puts a message of `size` bytes into `frame`, or a longer one where its numbers need it.
pub(crate) fn write(frame: &mut Vec<u8>, head: &[u8], mark: Mark, size: usize) {
    frame.clear();
    frame.extend_from_slice(head);
    // Writing to memory cannot fail.
    let _ = write!(frame, "{} {} {} ", mark.stream, mark.number, mark.sent_ns);
    let padded = size.saturating_sub(TAIL.len()).max(frame.len());
    frame.resize(padded, b'x');
    frame.extend_from_slice(TAIL);
}

/// What a message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) stream: u64,
    pub(crate) number: u64,
    pub(crate) sent_ns: u64,
}

/// Reads a message; `None` when it is no message of ours, as an error that brings one back.
pub(crate) fn read(frame: &[u8]) -> Option<Mark> {
    let (tag, inside) = frame.split_at(memchr::memchr(b'>', frame)? + 1);
    let has = |what: &[u8]| memmem::find(tag, what).is_some();
    // Nearly always the word is not there at all, and the body comes first.
    let is_error = ERROR.find(tag).is_some() && (has(b"type='error'") || has(b"type=\"error\""));
    let mut rest = match inside.strip_prefix(BODY) {
        Some(rest) => rest,
        None => &inside[memmem::find(inside, BODY)? + BODY.len()..],
    };
    let mut number = || -> Option<u64> {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (text, others) = rest.split_at(digits);
        rest = others.get(1..)?;
        let value = text.iter().fold(0u64, |sum, digit| sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
        (digits > 0).then_some(value)
    };
    let mark = Mark { stream: number()?, number: number()?, sent_ns: number()? };
    (!is_error).then_some(mark)
}

/// One stream's numbers at both ends.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Messages sent; the next one's number.
    sent: u64,
    /// The number that should arrive next.
    expected: u64,
    /// Numbers that were passed over: reordered when they come after all, else lost.
    missing: BTreeSet<u64>,
}

impl Stream {
    /// The number of the next message.
    pub(crate) fn next(&mut self) -> u64 {
        self.sent += 1;
        self.sent - 1
    }

    /// Counts an arrived message.
    pub(crate) fn arrived(&mut self, number: u64, tally: &mut Tally) {
        if number >= self.expected {
            self.missing.extend(self.expected..number.min(self.sent));
            self.expected = number + 1;
            tally.arrived += 1;
        } else if self.missing.remove(&number) {
            tally.reordered += 1;
            tally.arrived += 1;
        } else {
            tally.doubled += 1;
        }
    }

    /// Sent and not arrived: under way while the run goes on, lost when it is over.
    pub(crate) fn outstanding(&self) -> u64 {
        self.sent.saturating_sub(self.expected) + self.missing.len() as u64
    }
}

/// What became of a run's messages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) arrived: u64,
    /// Filled in at the end, from what is outstanding.
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) reordered: u64,
    /// Came back as errors.
    pub(crate) refused: u64,
}

impl Tally {
    /// Appends the counts that must be zero.
    pub(crate) fn add_to(&self, row: Row) -> Row {
        let row = row.whole("lost", self.lost).whole("doubled", self.doubled);
        row.whole("reordered", self.reordered).whole("refused", self.refused)
    }

    /// Fails the run when one of them is not.
    pub(crate) fn judge(&self, report: &mut Report, what: &str) {
        let Self { arrived, lost, doubled, reordered, refused } = self;
        if lost + doubled + reordered + refused > 0 {
            let counts = format!("{lost} lost, {doubled} doubled, {reordered} reordered, {refused} refused");
            report.fail(format!("{what}: {counts}; {arrived} arrived"));
        }
    }
}

/// Known answers; run before every load test.
pub(crate) fn self_check() -> Result<(), String> {
    let mark = Mark { stream: 7, number: 12, sent_ns: 345 };
    let mut frame = Vec::new();
    write(&mut frame, &head("b@c/d"), mark, 300);
    if frame.len() != 300 || read(&frame) != Some(mark) || read(&frame[..44]).is_some() {
        return Err(format!("numbers: {}", String::from_utf8_lossy(&frame)));
    }
    let with = |old: &str, new: &str| read(String::from_utf8_lossy(&frame).replace(old, new).as_bytes());
    if with("type='chat'", "type='error'").is_some() || with("b@c", "error@c") != Some(mark) {
        return Err("numbers: an error is no message of ours".to_owned());
    }
    if with("<body>", "<thread>t</thread><body>") != Some(mark) {
        return Err("numbers: the body need not come first".to_owned());
    }
    let (mut stream, mut tally) = (Stream::default(), Tally::default());
    (0..6).for_each(|_| {
        stream.next();
    });
    [0, 1, 3, 2, 3, 5].into_iter().for_each(|number| stream.arrived(number, &mut tally));
    if (tally.arrived, tally.doubled, tally.reordered, stream.outstanding()) != (5, 1, 1, 1) {
        return Err(format!("numbers: {tally:?} {stream:?}"));
    }
    Ok(())
}
