//! Framing: where a header, a frame or the stream's end tag ends in a stream of bytes.
//!
//! ```text
//! transport ──bytes──▶ Scan::step ──Step──▶ stream, dispatch
//!                        │  ▲
//!                  check, text: judge every byte on the way
//! ```
//!
//! One pass with a cursor that never moves back further than an unfinished reference: what is before it is
//! judged, and bytes that trickle in one at a time cost no more than bytes that come whole. A fault is reported
//! at the earliest byte, so that `<a><b></a` fails without waiting for more.
//!
//! RFC 6120 §4.2 to §4.4, §4.6.1 (white space between frames), §11.7.

use super::XmlLimits;
use super::declaration::declaration;
use super::error::XmlError;
use super::head::{Attr, Child, Head, Name, Span};
use super::names::is_space;
use super::ns::{Binding, NsRef, StreamNs};

/// What the stream is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// A stream header: an optional XML declaration and an open tag.
    Header,
    /// Frames, white space between them, and the end of the stream.
    Frames,
}

/// What one look at the bytes found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing complete yet: call again with the same bytes and more behind them.
    Incomplete,
    /// White space in front of the next item: keepalive, or the end of a line before a header.
    Whitespace {
        /// Bytes of white space.
        len: usize,
    },
    /// A stream header, expected or not.
    Header {
        /// Bytes from the start of the XML declaration or tag.
        len: usize,
    },
    /// A complete first-level element.
    Frame {
        /// Bytes from its first `<` to its last `>`.
        len: usize,
    },
    /// The end tag that closes the stream.
    StreamEnd {
        /// Bytes of the tag.
        len: usize,
    },
}

/// What the byte under the cursor belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first byte of an item.
    #[default]
    Start,
    /// Between the XML declaration and the root tag.
    Prolog,
    /// A `<`.
    Markup,
    /// Inside an open tag.
    ElementName,
    AfterElementName,
    BetweenAttributes,
    AttributeName,
    Equals,
    Quote,
    Value,
    EmptyTag,
    /// Inside an end tag.
    EndName,
    EndSpace,
    /// Between tags, inside the frame.
    Text,
    Cdata,
    /// Inside the stream's end tag.
    StreamEndName,
    StreamEndSpace,
}

/// An element that is not closed yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) name: Name,
    /// Declarations in scope outside it.
    pub(super) scope: u16,
}

/// What a step may look at.
#[derive(Clone, Copy)]
pub(super) struct Cx<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) expect: Expect,
    pub(super) ns: &'a StreamNs,
    pub(super) limits: &'a XmlLimits,
}

/// How a phase ended.
pub(super) enum Flow {
    Go,
    Starved,
    Done(Step),
}

/// Strict, resumable scanner of one stream's items.
///
/// Its vectors keep their capacity from item to item, so that a warm scan allocates nothing. Their size is
/// bounded by [`XmlLimits`]; [`heap_bytes`](Self::heap_bytes) reports it.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Every byte before it is judged.
    pub(super) pos: usize,
    pub(super) phase: Phase,
    state: State,
    /// Where the tag under the cursor began.
    pub(super) tag: usize,
    /// The name under the cursor, or the last one read.
    pub(super) name: Name,
    /// The name of the tag under the cursor.
    pub(super) element: Name,
    /// Where the attribute value under the cursor began, and its quote.
    pub(super) value: usize,
    pub(super) quote: u8,
    /// How many attributes of the tag under the cursor have a prefix other than `xmlns`.
    pub(super) prefixed_attrs: u16,
    pub(super) elements: u32,
    pub(super) head: Head,
    /// Attributes of the tag under the cursor.
    pub(super) attrs: Vec<Attr>,
    pub(super) open: Vec<Open>,
    pub(super) bindings: Vec<Binding>,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Running,
    /// The last step was complete: the next one begins a new item.
    Complete,
    Failed(XmlError),
}

impl Scan {
    /// Forgets everything: a new item starts at the first byte of the next step. Not needed after a complete
    /// step, which ends its item by itself.
    pub fn restart(&mut self) {
        self.head.clear();
        self.attrs.clear();
        self.open.clear();
        self.bindings.clear();
        self.pos = 0;
        self.phase = Phase::Start;
        self.state = State::Running;
        self.elements = 0;
    }

    /// Judges `bytes` and says whether an item is complete.
    ///
    /// `bytes` are all bytes since the start of the item, those of earlier steps included. Only new bytes are
    /// looked at. After a complete step the caller drops `len` bytes, and the next step begins a new item.
    /// Work is bounded by the number of new bytes. `ns` counts for frames only.
    ///
    /// # Errors
    ///
    /// The first fault, at the earliest byte. The scan is then spent: it repeats the fault until
    /// [`restart`](Self::restart); close the stream.
    pub fn step(&mut self, bytes: &[u8], expect: Expect, ns: &StreamNs, limits: &XmlLimits) -> Result<Step, XmlError> {
        match self.state {
            State::Running => {}
            State::Complete => self.restart(),
            State::Failed(error) => return Err(error),
        }
        let result = self.run(bytes, expect, ns, limits);
        match result {
            Ok(Step::Incomplete) => {}
            Ok(_) => self.state = State::Complete,
            Err(error) => self.state = State::Failed(error),
        }
        result
    }

    /// What is known of the item after [`Step::Header`] or [`Step::Frame`].
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Bytes held on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.head.heap_bytes()
            + self.attrs.capacity() * size_of::<Attr>()
            + self.open.capacity() * size_of::<Open>()
            + self.bindings.capacity() * size_of::<Binding>()
    }

    fn run(&mut self, bytes: &[u8], expect: Expect, ns: &StreamNs, limits: &XmlLimits) -> Result<Step, XmlError> {
        if self.phase == Phase::Start {
            let len = bytes.iter().take_while(|&&byte| is_space(byte)).count();
            if len > 0 {
                return Ok(Step::Whitespace { len });
            }
        }
        // UTF-16 and UTF-32 give themselves away with their first byte: of a byte order mark, or of a wide `<`.
        let is_wide = matches!(bytes.first(), Some(0xFE | 0xFF | 0x00));
        if expect == Expect::Header && is_wide && matches!(self.phase, Phase::Start) {
            return Err(XmlError::UnsupportedEncoding { offset: 0 });
        }
        let cap = limits.frame_bytes_max as usize;
        let cx = Cx { bytes: bytes.get(..cap).unwrap_or(bytes), expect, ns, limits };
        loop {
            match self.phase(cx)? {
                Flow::Go => {}
                Flow::Done(step) => return Ok(step),
                // Not complete within the bound: no later byte can mend that.
                Flow::Starved if bytes.len() >= cap => return Err(XmlError::TooLong { offset: at(cap) }),
                Flow::Starved => return Ok(Step::Incomplete),
            }
        }
    }

    fn phase(&mut self, cx: Cx<'_>) -> Result<Flow, XmlError> {
        match self.phase {
            Phase::Text => self.text(cx),
            Phase::Markup => self.markup(cx),
            Phase::EndName | Phase::EndSpace => self.capped(cx, Self::end_tag),
            Phase::Cdata => self.cdata(cx),
            Phase::Start => self.start(cx),
            Phase::Prolog => self.prolog(cx),
            Phase::StreamEndName | Phase::StreamEndSpace => self.capped(cx, Self::stream_end),
            _ => self.capped(cx, Self::tag),
        }
    }

    /// Runs a phase of one tag under the tag's own bound.
    fn capped(
        &mut self,
        cx: Cx<'_>,
        run: impl Fn(&mut Self, Cx<'_>) -> Result<Flow, XmlError>,
    ) -> Result<Flow, XmlError> {
        let end = self.tag + cx.limits.tag_bytes_max.min(super::TAG_BYTES_CEILING) as usize;
        let bytes = cx.bytes.get(..end).unwrap_or(cx.bytes);
        match run(self, Cx { bytes, ..cx })? {
            Flow::Starved if bytes.len() == end => Err(XmlError::TagTooLong { offset: at(end) }),
            flow => Ok(flow),
        }
    }

    fn start(&mut self, cx: Cx<'_>) -> Result<Flow, XmlError> {
        match (cx.bytes, cx.expect) {
            ([], _) | ([b'<'], Expect::Header) => return Ok(Flow::Starved),
            ([b'<', b'?', ..], Expect::Header) => match declaration(cx.bytes)? {
                Some(len) => (self.pos, self.phase) = (len, Phase::Prolog),
                None => return Ok(Flow::Starved),
            },
            ([b'<', ..], _) => self.phase = Phase::Markup,
            _ => return Err(XmlError::NotWellFormed { offset: 0 }),
        }
        Ok(Flow::Go)
    }

    fn prolog(&mut self, cx: Cx<'_>) -> Result<Flow, XmlError> {
        self.skip_spaces(cx.bytes);
        match cx.bytes.get(self.pos) {
            None => Ok(Flow::Starved),
            Some(b'<') => {
                self.phase = Phase::Markup;
                Ok(Flow::Go)
            }
            Some(_) => Err(XmlError::NotWellFormed { offset: at(self.pos) }),
        }
    }

    /// A `<`: what follows it decides.
    fn markup(&mut self, cx: Cx<'_>) -> Result<Flow, XmlError> {
        let next = self.pos + 1;
        match cx.bytes.get(next) {
            None => return Ok(Flow::Starved),
            Some(b'/') => self.begin_end_tag(cx)?,
            Some(b'!') => return self.declaration_or_cdata(cx),
            Some(b'?') => return Err(XmlError::Restricted { offset: at(next) }),
            Some(_) => self.begin_tag(cx)?,
        }
        Ok(Flow::Go)
    }

    fn begin_end_tag(&mut self, cx: Cx<'_>) -> Result<(), XmlError> {
        self.phase = match (self.open.is_empty(), cx.expect) {
            (false, _) => Phase::EndName,
            (true, Expect::Frames) => Phase::StreamEndName,
            (true, Expect::Header) => return Err(XmlError::NotWellFormed { offset: at(self.pos + 1) }),
        };
        self.tag = self.pos;
        self.pos += 2;
        Ok(())
    }

    /// `<!`: a comment or DTD, which XMPP forbids, or CDATA, which it does not.
    fn declaration_or_cdata(&mut self, cx: Cx<'_>) -> Result<Flow, XmlError> {
        const CDATA: &[u8] = b"<![CDATA[";
        let rest = cx.bytes.get(self.pos..).unwrap_or_default();
        match (rest.get(2), rest.get(3)) {
            (None, _) | (Some(b'-'), None) => Ok(Flow::Starved),
            (Some(b'-'), Some(b'-')) => Err(XmlError::Restricted { offset: at(self.pos + 3) }),
            (Some(b'-'), _) => Err(XmlError::NotWellFormed { offset: at(self.pos + 3) }),
            (Some(b'A'..=b'Z'), _) => Err(XmlError::Restricted { offset: at(self.pos + 2) }),
            _ if self.open.is_empty() => Err(XmlError::NotWellFormed { offset: at(self.pos + 2) }),
            _ => match CDATA.iter().zip(rest).position(|(wanted, byte)| wanted != byte) {
                Some(place) => Err(XmlError::NotWellFormed { offset: at(self.pos + place) }),
                None if rest.len() < CDATA.len() => Ok(Flow::Starved),
                None => {
                    self.pos += CDATA.len();
                    self.phase = Phase::Cdata;
                    self.head.has_text |= self.open.len() == 1;
                    Ok(Flow::Go)
                }
            },
        }
    }

    /// An end tag must repeat the name of the innermost open element.
    fn end_tag(&mut self, cx: Cx<'_>) -> Result<Flow, XmlError> {
        let Some(&open) = self.open.last() else { return Err(XmlError::MismatchedTag { offset: at(self.pos) }) };
        if self.phase == Phase::EndName {
            if !self.repeat(cx.bytes, open.name.whole(cx.bytes))? {
                return Ok(Flow::Starved);
            }
            self.phase = Phase::EndSpace;
        }
        if !self.end_of_end_tag(cx.bytes, usize::from(open.name.len))? {
            return Ok(Flow::Starved);
        }
        self.open.pop();
        Ok(self.close(open.scope))
    }

    /// The stream's end tag must repeat the name of the header's root element.
    fn stream_end(&mut self, cx: Cx<'_>) -> Result<Flow, XmlError> {
        let prefix = cx.ns.stream_prefix().as_bytes();
        let colon: &[u8] = if prefix.is_empty() { b"" } else { b":" };
        let parts = [prefix, colon, b"stream"];
        if self.phase == Phase::StreamEndName {
            let begin = self.tag + 2;
            let mut end = begin;
            for part in parts {
                // A part that an earlier step has read is behind the cursor.
                let done = self.pos.saturating_sub(end);
                end += part.len();
                if !self.repeat_rest(cx.bytes, part, done)? {
                    return Ok(Flow::Starved);
                }
            }
            self.phase = Phase::StreamEndSpace;
        }
        let name_len = parts.iter().map(|part| part.len()).sum();
        if !self.end_of_end_tag(cx.bytes, name_len)? {
            return Ok(Flow::Starved);
        }
        Ok(Flow::Done(Step::StreamEnd { len: self.pos }))
    }

    /// Reads an end tag's name, which must be `wanted`; false if it is cut off so far.
    fn repeat(&mut self, bytes: &[u8], wanted: &[u8]) -> Result<bool, XmlError> {
        let done = self.pos - (self.tag + 2);
        self.repeat_rest(bytes, wanted, done)
    }

    /// Reads `wanted` without its first `done` bytes; false if it is cut off so far.
    fn repeat_rest(&mut self, bytes: &[u8], wanted: &[u8], done: usize) -> Result<bool, XmlError> {
        let wanted = wanted.get(done..).unwrap_or_default();
        let rest = bytes.get(self.pos..).unwrap_or_default();
        if rest.starts_with(wanted) {
            self.pos += wanted.len();
            return Ok(true);
        }
        let same = wanted.iter().zip(rest).take_while(|(wanted, byte)| wanted == byte).count();
        self.pos += same;
        if same < rest.len() { Err(XmlError::MismatchedTag { offset: at(self.pos) }) } else { Ok(false) }
    }

    /// What may follow the name in an end tag; false if the tag is cut off so far.
    fn end_of_end_tag(&mut self, bytes: &[u8], name_len: usize) -> Result<bool, XmlError> {
        let name_end = self.tag + 2 + name_len;
        self.skip_spaces(bytes);
        match bytes.get(self.pos) {
            None => Ok(false),
            Some(b'>') => {
                self.pos += 1;
                Ok(true)
            }
            Some(_) if self.pos == name_end => Err(XmlError::MismatchedTag { offset: at(self.pos) }),
            Some(_) => Err(XmlError::NotWellFormed { offset: at(self.pos) }),
        }
    }

    /// An element has ended at the cursor: leaves its scope, and the frame if it was the top element.
    pub(super) fn close(&mut self, scope: u16) -> Flow {
        self.bindings.truncate(usize::from(scope));
        match self.open.len() {
            0 => {
                self.head.len = at(self.pos);
                return Flow::Done(Step::Frame { len: self.pos });
            }
            1 if self.head.child_count as usize == self.head.children.len() => {
                if let Some(child) = self.head.children.last_mut() {
                    child.span.len = at(self.pos) - child.span.start;
                }
            }
            _ => {}
        }
        self.phase = Phase::Text;
        Flow::Go
    }

    /// Records a direct child of the top element, whose tag began at `start`.
    pub(super) fn record_child(&mut self, name: Name, ns: NsRef, start: usize) {
        self.head.child_count += 1;
        if self.head.children.len() < super::CHILDREN_KEPT_MAX {
            self.head.children.push(Child { name, ns, span: Span { start: at(start), len: 0 } });
        }
    }

    pub(super) fn skip_spaces(&mut self, bytes: &[u8]) {
        let rest = bytes.get(self.pos..).unwrap_or_default();
        self.pos += rest.iter().take_while(|&&byte| is_space(byte)).count();
    }
}

/// A position as an offset: frames are shorter than 4 GiB, because `frame_bytes_max` is a `u32`.
pub(super) fn at(pos: usize) -> u32 {
    pos as u32
}

#[cfg(test)]
mod tests;
