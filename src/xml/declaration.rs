//! The XML declaration in front of a stream header, if there is one.
//!
//! It is short, so an unfinished one is read again from its start. A server must take it and may ignore it; a
//! standalone declaration is refused (RFC 6120 §11.5), and so is every encoding but UTF-8 (§11.6).
//!
//! XML 1.0 productions [23] to [26], [32], [80], [81].

use super::error::XmlError;
use super::names::is_space;

pub(super) use crate::limits::DECLARATION_BYTES_MAX;

const OPENING: &[u8] = b"<?xml";

/// The length of the declaration at the start of `bytes`, which begin with `<?`; `None` if it is cut off so far.
///
/// # Errors
///
/// `Restricted` for another processing instruction or a standalone declaration, `UnsupportedEncoding`,
/// `TagTooLong` and `NotWellFormed`, each at the earliest byte.
pub(super) fn declaration(bytes: &[u8]) -> Result<Option<usize>, XmlError> {
    let capped = bytes.get(..DECLARATION_BYTES_MAX).unwrap_or(bytes);
    match (Reader { bytes: capped, at: 0 }).whole() {
        Ok(len) => Ok(Some(len)),
        Err(Stop::Fault(error)) => Err(error),
        Err(Stop::Starved) if capped.len() == DECLARATION_BYTES_MAX => {
            Err(XmlError::TagTooLong { offset: DECLARATION_BYTES_MAX as u32 })
        }
        Err(Stop::Starved) => Ok(None),
    }
}

/// Why reading stopped before the end of the declaration.
enum Stop {
    Starved,
    Fault(XmlError),
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn whole(mut self) -> Result<usize, Stop> {
        for &expected in OPENING {
            self.need(|byte| byte == expected, |offset| XmlError::Restricted { offset })?;
        }
        // `<?xml-stylesheet` and the like are other processing instructions.
        self.need(is_space, |offset| XmlError::Restricted { offset })?;
        self.spaces()?;
        self.literal(b"version")?;
        self.version()?;
        let mut was_spaced = self.spaces()?;
        if was_spaced && self.peek()? == b'e' {
            self.literal(b"encoding")?;
            self.encoding()?;
            was_spaced = self.spaces()?;
        }
        if was_spaced && self.peek()? == b's' {
            self.literal(b"standalon")?;
            self.need(|byte| byte != b'e', |offset| XmlError::Restricted { offset })?;
            return Err(Stop::Fault(XmlError::NotWellFormed { offset: self.at as u32 - 1 }));
        }
        self.literal(b"?>")?;
        Ok(self.at)
    }

    /// VersionNum: `1.` and digits.
    fn version(&mut self) -> Result<(), Stop> {
        let quote = self.open_value()?;
        self.literal(b"1.")?;
        self.need(|byte| byte.is_ascii_digit(), |offset| XmlError::NotWellFormed { offset })?;
        while self.peek()? != quote {
            self.need(|byte| byte.is_ascii_digit(), |offset| XmlError::NotWellFormed { offset })?;
        }
        self.at += 1;
        Ok(())
    }

    /// EncName: a letter, then letters, digits, `.`, `_` and `-`. Names are compared without case.
    fn encoding(&mut self) -> Result<(), Stop> {
        let quote = self.open_value()?;
        let start = self.at;
        self.need(|byte| byte.is_ascii_alphabetic(), |offset| XmlError::NotWellFormed { offset })?;
        while self.peek()? != quote {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            self.need(is_allowed, |offset| XmlError::NotWellFormed { offset })?;
        }
        if !self.bytes.get(start..self.at).is_some_and(|name| name.eq_ignore_ascii_case(b"UTF-8")) {
            return Err(Stop::Fault(XmlError::UnsupportedEncoding { offset: self.at as u32 }));
        }
        self.at += 1;
        Ok(())
    }

    /// `=` with white space around it and the opening quote.
    fn open_value(&mut self) -> Result<u8, Stop> {
        self.spaces()?;
        self.literal(b"=")?;
        self.spaces()?;
        let quote = self.peek()?;
        self.need(|byte| matches!(byte, b'\'' | b'"'), |offset| XmlError::NotWellFormed { offset })?;
        Ok(quote)
    }

    /// Skips white space; whether there was any.
    fn spaces(&mut self) -> Result<bool, Stop> {
        let start = self.at;
        while is_space(self.peek()?) {
            self.at += 1;
        }
        Ok(self.at > start)
    }

    fn literal(&mut self, expected: &[u8]) -> Result<(), Stop> {
        expected
            .iter()
            .try_for_each(|&wanted| self.need(|byte| byte == wanted, |offset| XmlError::NotWellFormed { offset }))
    }

    fn peek(&self) -> Result<u8, Stop> {
        self.bytes.get(self.at).copied().ok_or(Stop::Starved)
    }

    fn need(&mut self, is_right: impl Fn(u8) -> bool, fault: impl Fn(u32) -> XmlError) -> Result<(), Stop> {
        if !is_right(self.peek()?) {
            return Err(Stop::Fault(fault(self.at as u32)));
        }
        self.at += 1;
        Ok(())
    }
}
