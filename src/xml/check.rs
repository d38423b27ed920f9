//! The check of one open tag: names, attributes, values, namespaces.
//!
//! ```text
//! <  ElementName  AfterElementName  (BetweenAttributes  AttributeName  Equals  Quote  Value)*  [EmptyTag]  >
//! ```
//!
//! Every phase remembers where it stands, so a tag cut anywhere is never read twice. What needs the whole tag
//! (bound prefixes, expanded names) is `scope`'s question at its `>`.
//!
//! XML 1.0 productions [39] to [44]; Namespaces in XML 1.0 §4.

use super::chars;
use super::error::XmlError;
use super::framer::{Cx, Expect, Flow, Open, Phase, Scan, Step, at};
use super::head::{Attr, Name, Span};
use super::names::{self, NAME, START, class};
use super::ns::{self, Binding, NsRef};

impl Scan {
    /// A `<` at the cursor that begins an open tag.
    pub(super) fn begin_tag(&mut self, cx: Cx<'_>) -> Result<(), XmlError> {
        let offset = at(self.pos + 1);
        if self.open.len() >= usize::from(cx.limits.depth_max) {
            return Err(XmlError::TooDeep { offset });
        }
        if self.elements >= cx.limits.elements_max {
            return Err(XmlError::TooManyElements { offset });
        }
        self.elements += 1;
        self.tag = self.pos;
        self.pos += 1;
        self.attrs.clear();
        self.prefixed_attrs = 0;
        self.begin_name();
        self.phase = Phase::ElementName;
        Ok(())
    }

    /// Goes on with the open tag from the phase it stopped in.
    pub(super) fn tag(&mut self, cx: Cx<'_>) -> Result<Flow, XmlError> {
        if self.phase == Phase::ElementName {
            if !self.read_name(cx.bytes)? {
                return Ok(Flow::Starved);
            }
            self.element = self.name;
            self.phase = Phase::AfterElementName;
        }
        loop {
            if self.phase == Phase::AfterElementName {
                self.plain_attributes(cx)?;
            }
            if matches!(self.phase, Phase::AfterElementName | Phase::BetweenAttributes) {
                match self.between(cx)? {
                    Between::Attribute => {}
                    Between::End => return self.end_of_tag(cx, false),
                    Between::Empty => self.phase = Phase::EmptyTag,
                    Between::Starved => return Ok(Flow::Starved),
                }
            }
            if self.phase == Phase::EmptyTag {
                return self.end_of_empty_tag(cx);
            }
            if !self.attribute(cx)? {
                return Ok(Flow::Starved);
            }
        }
    }

    /// The short way for attributes that are there as a whole and hold nothing unusual: ` name='value'` in ASCII,
    /// the value without references. Leaves everything else, faults included, where it is.
    fn plain_attributes(&mut self, cx: Cx<'_>) -> Result<(), XmlError> {
        while self.attrs.len() < usize::from(cx.limits.attributes_max) {
            let rest = cx.bytes.get(self.pos..).unwrap_or_default();
            let [b' ', rest @ ..] = rest else { break };
            let Some((name, rest)) = plain_name(rest) else { break };
            let [b'=', quote @ (b'\'' | b'"'), rest @ ..] = rest else { break };
            let len = chars::plain_value(rest, *quote);
            if rest.get(len) != Some(quote) {
                break;
            }
            self.name = Name { start: at(self.pos + 1), ..name };
            self.refuse_repeated_name(cx.bytes)?;
            self.value = self.pos + 1 + usize::from(name.len) + 2;
            self.pos = self.value + len + 1;
            self.keep_attribute(cx)?;
        }
        Ok(())
    }

    /// Behind the element's name or a value: white space, then a name or the end.
    fn between(&mut self, cx: Cx<'_>) -> Result<Between, XmlError> {
        let before = self.pos;
        self.skip_spaces(cx.bytes);
        let was_spaced = self.pos > before || self.phase == Phase::BetweenAttributes;
        let Some(&byte) = cx.bytes.get(self.pos) else {
            if was_spaced {
                self.phase = Phase::BetweenAttributes;
            }
            return Ok(Between::Starved);
        };
        match byte {
            b'>' => Ok(Between::End),
            b'/' if cx.expect == Expect::Frames => {
                self.pos += 1;
                Ok(Between::Empty)
            }
            // A stream header that is closed at once, or no white space before a name.
            b'/' => Err(XmlError::NotWellFormed { offset: at(self.pos) }),
            _ if !was_spaced => Err(XmlError::NotWellFormed { offset: at(self.pos) }),
            _ if self.attrs.len() >= usize::from(cx.limits.attributes_max) => {
                Err(XmlError::TooManyAttributes { offset: at(self.pos) })
            }
            _ => {
                self.begin_name();
                self.phase = Phase::AttributeName;
                Ok(Between::Attribute)
            }
        }
    }

    /// One attribute, from the phase it stopped in; false if it is cut off so far.
    fn attribute(&mut self, cx: Cx<'_>) -> Result<bool, XmlError> {
        if self.phase == Phase::AttributeName {
            if !self.read_name(cx.bytes)? {
                return Ok(false);
            }
            self.refuse_repeated_name(cx.bytes)?;
            self.phase = Phase::Equals;
        }
        if self.phase == Phase::Equals {
            if !self.read_one_of(cx.bytes, |byte| byte == b'=')? {
                return Ok(false);
            }
            self.phase = Phase::Quote;
        }
        if self.phase == Phase::Quote {
            if !self.read_one_of(cx.bytes, |byte| matches!(byte, b'\'' | b'"'))? {
                return Ok(false);
            }
            self.value = self.pos;
            self.quote = cx.bytes.get(self.pos - 1).copied().unwrap_or_default();
            self.phase = Phase::Value;
        }
        if !self.read_value(cx.bytes)? {
            return Ok(false);
        }
        self.keep_attribute(cx)?;
        self.phase = Phase::AfterElementName;
        Ok(true)
    }

    fn begin_name(&mut self) {
        self.name = Name { start: at(self.pos), len: 0, prefix_len: 0 };
    }

    /// Reads a name up to the first byte that is not part of it; false if that byte is not there yet.
    fn read_name(&mut self, bytes: &[u8]) -> Result<bool, XmlError> {
        let start = self.name.start as usize;
        if self.pos == start
            && let Some((name, _)) = plain_name(bytes.get(start..).unwrap_or_default())
        {
            self.name = Name { start: self.name.start, ..name };
            self.pos += usize::from(name.len);
            return Ok(true);
        }
        loop {
            let prefix_end = start + usize::from(self.name.prefix_len);
            // The first character of the name, or of its local part.
            let is_first = self.pos == start || self.name.prefix_len != 0 && self.pos == prefix_end + 1;
            let wanted = if is_first { START } else { NAME };
            let Some(&byte) = bytes.get(self.pos) else { return Ok(false) };
            if class(byte) & wanted != 0 {
                self.pos += 1;
                let rest = bytes.get(self.pos..).unwrap_or_default();
                self.pos += rest.iter().take_while(|&&byte| class(byte) & NAME != 0).count();
            } else if byte >= 0x80 {
                match chars::decode(bytes, self.pos)? {
                    None => return Ok(false),
                    Some((c, len)) if is_first && names::is_start_char(c) => self.pos += len,
                    Some((c, len)) if !is_first && names::is_name_char(c) => self.pos += len,
                    Some(_) => return Err(XmlError::BadName { offset: at(self.pos) }),
                }
            } else if is_first || byte == b':' && self.name.prefix_len != 0 {
                return Err(XmlError::BadName { offset: at(self.pos) });
            } else if byte == b':' {
                self.name.prefix_len = (self.pos - start) as u16;
                self.pos += 1;
            } else {
                self.name.len = (self.pos - start) as u16;
                return Ok(true);
            }
        }
    }

    /// The same written name twice on one tag.
    fn refuse_repeated_name(&self, bytes: &[u8]) -> Result<(), XmlError> {
        let is_repeated =
            |attr: &Attr| attr.name.len == self.name.len && attr.name.whole(bytes) == self.name.whole(bytes);
        if self.attrs.iter().any(is_repeated) {
            return Err(XmlError::DuplicateAttribute { offset: self.name.start + u32::from(self.name.len) });
        }
        Ok(())
    }

    /// Skips white space and the byte wanted behind it; false if it is not there yet.
    fn read_one_of(&mut self, bytes: &[u8], is_wanted: impl Fn(u8) -> bool) -> Result<bool, XmlError> {
        self.skip_spaces(bytes);
        match bytes.get(self.pos) {
            None => Ok(false),
            Some(&byte) if is_wanted(byte) => {
                self.pos += 1;
                Ok(true)
            }
            Some(_) => Err(XmlError::NotWellFormed { offset: at(self.pos) }),
        }
    }

    /// Reads a value and its closing quote; false if it is cut off so far.
    fn read_value(&mut self, bytes: &[u8]) -> Result<bool, XmlError> {
        loop {
            self.pos += chars::plain_value(bytes.get(self.pos..).unwrap_or_default(), self.quote);
            let Some(&byte) = bytes.get(self.pos) else { return Ok(false) };
            let is_read = match byte {
                _ if byte == self.quote => {
                    self.pos += 1;
                    return Ok(true);
                }
                b'<' => return Err(XmlError::NotWellFormed { offset: at(self.pos) }),
                b'&' => self.reference(bytes)?,
                b'\t' | b'\n' => {
                    self.head.needs_normalising = true;
                    self.character(bytes, byte)?
                }
                _ => self.character(bytes, byte)?,
            };
            if !is_read {
                return Ok(false);
            }
        }
    }

    /// The attribute that ends at the cursor: a declaration takes effect, everything is kept.
    fn keep_attribute(&mut self, cx: Cx<'_>) -> Result<(), XmlError> {
        let len = self.pos - 1 - self.value;
        let value = Span { start: at(self.value), len: at(len) };
        let attr = Attr { name: self.name, value, ns_id: 0 };
        if let Some(prefix) = ns::declared_prefix(attr.name, cx.bytes) {
            self.declare(cx, Binding { prefix, uri: value, id: 0 })?;
        } else if attr.name.prefix_len != 0 {
            self.prefixed_attrs += 1;
        }
        self.attrs.push(attr);
        Ok(())
    }

    fn end_of_empty_tag(&mut self, cx: Cx<'_>) -> Result<Flow, XmlError> {
        match cx.bytes.get(self.pos) {
            None => Ok(Flow::Starved),
            Some(b'>') => self.end_of_tag(cx, true),
            Some(_) => Err(XmlError::NotWellFormed { offset: at(self.pos) }),
        }
    }

    /// The `>` of an open tag is at the cursor: resolves its names and enters the element.
    fn end_of_tag(&mut self, cx: Cx<'_>, is_empty: bool) -> Result<Flow, XmlError> {
        let ns = self.resolve(cx, self.element)?;
        if self.prefixed_attrs != 0 {
            self.resolve_attributes(cx)?;
        }
        self.pos += 1;
        match self.open.len() {
            0 => self.keep_head(ns, is_empty),
            1 => self.record_child(self.element, ns, self.tag),
            _ => {}
        }
        if cx.expect == Expect::Header || (!is_empty && self.is_header_again(cx)) {
            self.head.len = at(self.pos);
            return Ok(Flow::Done(Step::Header { len: self.pos }));
        }
        let scope = self.scope_outside();
        if is_empty {
            return Ok(self.close(scope));
        }
        self.open.push(Open { name: self.element, scope });
        self.phase = Phase::Text;
        Ok(Flow::Go)
    }

    /// Whether the tag that has just been read opens a stream inside the stream. That is no frame: its end would be the
    /// end of the connection, and whoever sends it waits for an answer now.
    fn is_header_again(&self, cx: Cx<'_>) -> bool {
        self.open.is_empty()
            && self.element.local(cx.bytes) == b"stream"
            && self.head.is(cx.bytes, cx.ns, ns::STREAMS, "stream")
    }

    fn keep_head(&mut self, ns: NsRef, is_empty: bool) {
        self.head.name = self.element;
        self.head.ns = ns;
        self.head.tag_end = at(self.pos);
        self.head.is_empty = is_empty;
        std::mem::swap(&mut self.head.attrs, &mut self.attrs);
    }
}

/// The name of ASCII at the start of `rest`, with at most a prefix, and what follows it; `None` if it is cut off, or
/// anything else.
#[inline]
fn plain_name(rest: &[u8]) -> Option<(Name, &[u8])> {
    let run = |rest: &[u8]| {
        let letters = chars::letters(rest);
        let others = rest.get(letters..).unwrap_or_default();
        let len = letters + others.iter().take_while(|&&byte| class(byte) & NAME != 0).count();
        rest.first().filter(|&&byte| class(byte) & START != 0).map(|_| len)
    };
    let (mut len, mut prefix_len) = (run(rest)?, 0);
    if rest.get(len) == Some(&b':') {
        prefix_len = len as u16;
        len += 1 + run(rest.get(len + 1..)?)?;
    }
    let (name, after) = rest.split_at_checked(len)?;
    let ends_well = after.first().is_some_and(|&byte| byte < 0x80 && byte != b':');
    ends_well.then_some((Name { start: 0, len: name.len() as u16, prefix_len }, after))
}

/// What stands between two attributes.
enum Between {
    Attribute,
    End,
    Empty,
    Starved,
}
