//! Text between tags, CDATA sections and references: the part of the check outside tags.
//!
//! XML 1.0 productions [14] CharData, [18] to [21] CDSect, [66] to [68] references.

use super::chars;
use super::error::XmlError;
use super::framer::{Cx, Flow, Phase, Scan, at};
use super::names::{NAME, START, class, is_xml_char};

pub(super) use crate::limits::REFERENCE_BYTES_MAX;

const ENTITIES: [&[u8]; 5] = [b"amp;", b"lt;", b"gt;", b"apos;", b"quot;"];

impl Scan {
    pub(super) fn text(&mut self, cx: Cx<'_>) -> Result<Flow, XmlError> {
        if self.open.len() == 1 && !self.head.has_text {
            let before = self.pos;
            self.skip_spaces(cx.bytes);
            self.head.needs_normalising |= cx.bytes.get(before..self.pos).is_some_and(|blank| blank.contains(&b'\r'));
            self.head.has_text = cx.bytes.get(self.pos).is_some_and(|&byte| byte != b'<');
        }
        loop {
            self.pos += chars::plain_text(cx.bytes.get(self.pos..).unwrap_or_default());
            match cx.bytes.get(self.pos) {
                None => return Ok(Flow::Starved),
                Some(b'<') => {
                    self.phase = Phase::Markup;
                    return Ok(Flow::Go);
                }
                Some(b'>') if self.is_after_brackets(cx.bytes) => {
                    return Err(XmlError::NotWellFormed { offset: at(self.pos) });
                }
                Some(b'&') => {
                    if !self.reference(cx.bytes)? {
                        return Ok(Flow::Starved);
                    }
                }
                Some(&byte) => {
                    if !self.character(cx.bytes, byte)? {
                        return Ok(Flow::Starved);
                    }
                }
            }
        }
    }

    pub(super) fn cdata(&mut self, cx: Cx<'_>) -> Result<Flow, XmlError> {
        loop {
            self.pos += chars::plain_text(cx.bytes.get(self.pos..).unwrap_or_default());
            match cx.bytes.get(self.pos) {
                None => return Ok(Flow::Starved),
                Some(b'>') if self.is_after_brackets(cx.bytes) => {
                    self.pos += 1;
                    self.phase = Phase::Text;
                    return Ok(Flow::Go);
                }
                Some(&byte) => {
                    if !self.character(cx.bytes, byte)? {
                        return Ok(Flow::Starved);
                    }
                }
            }
        }
    }

    /// Whether `]]` stands before the cursor. Neither a tag nor `<![CDATA[` can end that way, so it is text.
    fn is_after_brackets(&self, bytes: &[u8]) -> bool {
        bytes.get(..self.pos).is_some_and(|before| before.ends_with(b"]]"))
    }

    /// Steps over one character that is not plain, or a run beyond ASCII; false if it is cut off so far.
    pub(super) fn character(&mut self, bytes: &[u8], byte: u8) -> Result<bool, XmlError> {
        match byte {
            b'\r' => {
                self.head.needs_normalising = true;
                self.pos += 1;
            }
            0x20..=0x7F | b'\t' | b'\n' => self.pos += 1,
            0..=0x1F => return Err(XmlError::BadCharacter { offset: at(self.pos) }),
            0x80.. => {
                self.pos = chars::skip_wide(bytes, self.pos)?;
                return Ok(bytes.get(self.pos).is_some_and(|&byte| byte < 0x80));
            }
        }
        Ok(true)
    }

    /// Steps over the reference at the cursor; false if it is cut off so far.
    pub(super) fn reference(&mut self, bytes: &[u8]) -> Result<bool, XmlError> {
        let rest = bytes.get(self.pos..).unwrap_or_default();
        let raw = rest.get(..REFERENCE_BYTES_MAX).unwrap_or(rest);
        let found = match raw.get(1) {
            None => None,
            Some(b'#') => self.number(raw)?,
            Some(_) => entity(raw, self.pos)?,
        };
        match found {
            Some(len) => self.pos += len,
            None if raw.len() == REFERENCE_BYTES_MAX => {
                return Err(XmlError::TagTooLong { offset: at(self.pos + REFERENCE_BYTES_MAX) });
            }
            None => return Ok(false),
        }
        Ok(true)
    }

    /// The length of the character reference `raw`; `None` if it is cut off so far.
    fn number(&mut self, raw: &[u8]) -> Result<Option<usize>, XmlError> {
        let (radix, first) = if raw.get(2) == Some(&b'x') { (16, 3) } else { (10, 2) };
        let mut c = 0;
        for (index, &byte) in raw.iter().enumerate().skip(first) {
            let offset = at(self.pos + index);
            match char::from(byte).to_digit(radix) {
                Some(digit) => c = c * radix + digit,
                None if byte == b';' && index > first => {
                    if !is_xml_char(c) {
                        return Err(XmlError::BadCharacter { offset });
                    }
                    self.head.needs_normalising |= (0x80..=0x9F).contains(&c);
                    return Ok(Some(index + 1));
                }
                None => return Err(XmlError::NotWellFormed { offset }),
            }
            if c > 0x10_FFFF {
                return Err(XmlError::BadCharacter { offset });
            }
        }
        Ok(None)
    }
}

/// The length of the entity reference `raw`, found at `pos`; `None` if it is cut off so far.
fn entity(raw: &[u8], pos: usize) -> Result<Option<usize>, XmlError> {
    let name = raw.get(1..).unwrap_or_default();
    if let Some(known) = ENTITIES.iter().find(|known| name.starts_with(known)) {
        return Ok(Some(1 + known.len()));
    }
    // Not one of the five: a reference to another entity is restricted, anything else a bare `&`.
    for (index, &byte) in name.iter().enumerate() {
        let is_right = class(byte) & if index == 0 { START } else { NAME } != 0 || byte >= 0x80;
        if byte == b';' && index > 0 {
            return Err(XmlError::Restricted { offset: at(pos + 1 + index) });
        }
        if !is_right {
            return Err(XmlError::NotWellFormed { offset: at(pos + 1 + index) });
        }
    }
    if raw.len() == REFERENCE_BYTES_MAX {
        return Err(XmlError::Restricted { offset: at(pos + REFERENCE_BYTES_MAX) });
    }
    Ok(None)
}
