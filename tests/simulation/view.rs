//! What a client makes of the server's bytes: whole items of a stream that must be one.
//!
//! Header, frames, end, in this order and nothing else: an answer that overtook another, half a stanza,
//! or a word after the end show here, whatever they say.

use stonechat::xml::{Expect, Scan, Step, StreamNs, XmlLimits};

/// One item.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// The stream header: its bytes.
    Header(String),
    /// A first-level element: its name and its bytes.
    Frame(String, String),
    /// `</stream:stream>`.
    End,
}

/// Where a client is in the server's stream.
pub(crate) struct View {
    bytes: Vec<u8>,
    scan: Scan,
    ns: StreamNs,
    expects_header: bool,
    pub(crate) has_ended: bool,
}

impl View {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), scan: Scan::default(), ns: StreamNs::new(), expects_header: true, has_ended: false }
    }

    /// A new stream comes next.
    pub(crate) fn expect_header(&mut self) {
        self.expects_header = true;
        self.has_ended = false;
    }

    pub(crate) fn take_in(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole item.
    pub(crate) fn next(&mut self) -> Result<Option<Item>, String> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let fault = |what: &str, bytes: &[u8]| Err(format!("{what}: {}", String::from_utf8_lossy(bytes)));
        if self.has_ended {
            return fault("bytes behind the end of the stream", &self.bytes);
        }
        let expect = if self.expects_header { Expect::Header } else { Expect::Frames };
        let limits = XmlLimits::with_frame_bytes(256 * 1024);
        let (len, item) = match self.scan.step(&self.bytes, expect, &self.ns, &limits) {
            Err(error) => return fault(&error.to_string(), &self.bytes),
            Ok(Step::Incomplete) => return Ok(None),
            Ok(Step::Whitespace { len }) => return fault("white space", &self.bytes[..len]),
            Ok(Step::Header { len }) => {
                self.ns = StreamNs::from_header(self.scan.head(), &self.bytes[..len]);
                self.expects_header = false;
                (len, Item::Header(String::from_utf8_lossy(&self.bytes[..len]).into_owned()))
            }
            Ok(Step::Frame { len }) => {
                let bytes = &self.bytes[..len];
                let name = self.scan.head().local(bytes).to_owned();
                (len, Item::Frame(name, String::from_utf8_lossy(bytes).into_owned()))
            }
            Ok(Step::StreamEnd { len }) => {
                self.has_ended = true;
                (len, Item::End)
            }
        };
        self.bytes.drain(..len);
        self.scan.restart();
        Ok(Some(item))
    }
}
