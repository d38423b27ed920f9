//! Addresses: splitting, preparing and holding JIDs.
//!
//! ```text
//! text of a peer ──prepare──▶ JidRef (borrowed) ──to_owned──▶ Jid (kept)
//! ```
//!
//! Everything that acts on an address gets it prepared, because only prepared addresses may be compared
//! (octet for octet). Nearly all are canonical ASCII already: those are borrowed as they came, without
//! an allocation. The slow path, PRECIS for localpart and resourcepart (`precis.rs`) and IDNA for the
//! domainpart (`domain.rs`), is the only other judge; a property test holds the two equal.
//!
//! RFC 7622; RFC 8264 and 8265 (which replace its RFC 7564 and 7613).

mod domain;
mod precis;
#[cfg(test)]
mod tests;

use memchr::memchr;
use std::borrow::{Borrow, Cow};
use std::fmt;

pub use domain::{domain_to_ascii, prepare_domainpart};
pub use precis::{PASSWORD_BYTES_MAX, prepare_localpart, prepare_password, prepare_resourcepart};

pub use crate::limits::{JID_BYTES_MAX, JID_PART_BYTES_MAX, JID_PART_INPUT_BYTES_MAX};

const _: () = assert!(JID_BYTES_MAX <= u16::MAX as usize);

/// What is wrong with one part of an address, or with a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartFault {
    /// Nothing is left of it, though its separator is there.
    Empty,
    /// More octets than [`JID_PART_BYTES_MAX`], or a label that DNS cannot carry.
    TooLong,
    /// A code point, or a sequence of them, that its profile does not allow.
    Disallowed,
}

/// Why a text is no address. The answer is `jid-malformed` (RFC 6120 §8.3.3.8), or what the slot asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JidError {
    /// The part before the first `@`.
    Localpart(PartFault),
    /// The part that every address has.
    Domainpart(PartFault),
    /// The part behind the first `/`.
    Resourcepart(PartFault),
    /// Not an address at all: a password that OpaqueString refuses (RFC 8265 §4.2).
    Password(PartFault),
}

impl fmt::Display for JidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (part, fault) = match self {
            Self::Localpart(fault) => ("localpart", fault),
            Self::Domainpart(fault) => ("domainpart", fault),
            Self::Resourcepart(fault) => ("resourcepart", fault),
            Self::Password(fault) => ("password", fault),
        };
        let fault = match fault {
            PartFault::Empty => "is empty",
            PartFault::TooLong => "is too long",
            PartFault::Disallowed => "has a character that is not allowed there",
        };
        write!(f, "the {part} {fault}")
    }
}

impl std::error::Error for JidError {}

/// A prepared address, borrowed. Two are equal when their texts are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JidRef<'a> {
    text: &'a str,
    /// Where the localpart ends; 0 if there is none, since none is empty.
    local_end: u16,
    /// Where the domainpart, and with it the bare JID, ends.
    bare_end: u16,
}

impl<'a> JidRef<'a> {
    /// An address that was prepared before, such as one read back from the store: only its parts are found.
    pub fn of_prepared(text: &'a str) -> Self {
        let bare_end = memchr(b'/', text.as_bytes()).unwrap_or(text.len());
        let local_end = text.as_bytes().get(..bare_end).and_then(|bare| memchr(b'@', bare)).unwrap_or(0);
        // Prepared parts are at most 1,023 bytes each.
        Self { text, local_end: local_end as u16, bare_end: bare_end as u16 }
    }

    /// The whole address.
    pub fn as_str(self) -> &'a str {
        self.text
    }

    /// The address without its resourcepart.
    pub fn bare(self) -> &'a str {
        self.text.get(..usize::from(self.bare_end)).unwrap_or(self.text)
    }

    /// The address without its resourcepart, still in parts.
    pub fn to_bare(self) -> JidRef<'a> {
        JidRef { text: self.bare(), ..self }
    }

    /// The part before the `@`.
    pub fn localpart(self) -> Option<&'a str> {
        match self.local_end {
            0 => None,
            end => self.text.get(..usize::from(end)),
        }
    }

    /// The domain, the only part that every address has.
    pub fn domainpart(self) -> &'a str {
        let start = match self.local_end {
            0 => 0,
            end => usize::from(end) + 1,
        };
        self.text.get(start..usize::from(self.bare_end)).unwrap_or_default()
    }

    /// The part behind the `/`.
    pub fn resourcepart(self) -> Option<&'a str> {
        self.text.get(usize::from(self.bare_end) + 1..)
    }

    /// Whether there is no resourcepart.
    pub fn is_bare(self) -> bool {
        self.text.len() == usize::from(self.bare_end)
    }

    /// A copy to keep.
    pub fn to_owned(self) -> Jid {
        Jid { text: self.text.into(), local_end: self.local_end, bare_end: self.bare_end }
    }
}

impl fmt::Debug for JidRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text, f)
    }
}

impl fmt::Display for JidRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// A prepared address, owned: one allocation.
///
/// Equality, order and hash are those of its text, so that a map keyed by `Jid` can be asked with a `&str`.
#[derive(Clone)]
pub struct Jid {
    text: Box<str>,
    local_end: u16,
    bare_end: u16,
}

impl Jid {
    /// Prepares and copies `input`.
    ///
    /// # Errors
    ///
    /// As [`prepare`].
    pub fn parse(input: &str) -> Result<Self, JidError> {
        let mut scratch = String::new();
        prepare(input, &mut scratch).map(JidRef::to_owned)
    }

    /// Puts an address together from parts, each prepared here.
    ///
    /// # Errors
    ///
    /// As [`prepare`].
    pub fn from_parts(localpart: Option<&str>, domainpart: &str, resource: Option<&str>) -> Result<Self, JidError> {
        let mut text = String::new();
        join(localpart, domainpart, resource, &mut text).map(JidRef::to_owned)
    }

    /// The same address, borrowed.
    pub fn as_ref(&self) -> JidRef<'_> {
        JidRef { text: &self.text, local_end: self.local_end, bare_end: self.bare_end }
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address without its resourcepart.
    pub fn bare(&self) -> &str {
        self.as_ref().bare()
    }

    /// The address without its resourcepart, to keep.
    pub fn to_bare(&self) -> Jid {
        self.as_ref().to_bare().to_owned()
    }

    /// The part before the `@`.
    pub fn localpart(&self) -> Option<&str> {
        self.as_ref().localpart()
    }

    /// The domain.
    pub fn domainpart(&self) -> &str {
        self.as_ref().domainpart()
    }

    /// The part behind the `/`.
    pub fn resourcepart(&self) -> Option<&str> {
        self.as_ref().resourcepart()
    }

    /// Whether there is no resourcepart.
    pub fn is_bare(&self) -> bool {
        self.as_ref().is_bare()
    }

    /// The same bare address with another resourcepart, which is prepared here.
    ///
    /// # Errors
    ///
    /// [`JidError::Resourcepart`] if `resource` cannot be one.
    pub fn with_resource(&self, resource: &str) -> Result<Self, JidError> {
        let resource = prepare_resourcepart(resource)?;
        let mut text = String::with_capacity(self.bare().len() + 1 + resource.len());
        text.push_str(self.bare());
        text.push('/');
        text.push_str(&resource);
        Ok(Self { text: text.into(), local_end: self.local_end, bare_end: self.bare_end })
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.text.len()
    }
}

impl PartialEq for Jid {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Jid {}

impl std::hash::Hash for Jid {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for Jid {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Jid {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl Borrow<str> for Jid {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl std::str::FromStr for Jid {
    type Err = JidError;

    fn from_str(text: &str) -> Result<Self, JidError> {
        Self::parse(text)
    }
}

impl fmt::Debug for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Splits `input` and prepares its parts.
///
/// The result borrows from `input` where that is canonical ASCII, else from `scratch`, which is
/// overwritten. Work is bounded by [`JID_PART_INPUT_BYTES_MAX`] a part.
///
/// # Errors
///
/// The first part, from the left, that cannot be one (RFC 7622 §3).
pub fn prepare<'a>(input: &'a str, scratch: &'a mut String) -> Result<JidRef<'a>, JidError> {
    let (localpart, domainpart, resourcepart) = split(input);
    let canonical = localpart.is_none_or(precis::is_canonical_localpart)
        && domain::is_canonical(domainpart)
        && resourcepart.is_none_or(precis::is_canonical_resourcepart);
    if canonical {
        return Ok(assemble(input, localpart.map_or(0, str::len), domainpart.len()));
    }
    join(localpart, domainpart, resourcepart, scratch)
}

/// Cuts at the first `/`, then at the first `@` before it (RFC 7622 §3.1, §3.2), before anything is mapped.
fn split(input: &str) -> (Option<&str>, &str, Option<&str>) {
    let (bare, resourcepart) = match input.split_once('/') {
        Some((bare, resourcepart)) => (bare, Some(resourcepart)),
        None => (input, None),
    };
    match bare.split_once('@') {
        Some((localpart, domainpart)) => (Some(localpart), domainpart, resourcepart),
        None => (None, bare, resourcepart),
    }
}

fn join<'a>(
    localpart: Option<&str>,
    domainpart: &str,
    resourcepart: Option<&str>,
    out: &'a mut String,
) -> Result<JidRef<'a>, JidError> {
    out.clear();
    let mut local_len = 0;
    if let Some(localpart) = localpart {
        out.push_str(&prepare_localpart(localpart)?);
        local_len = out.len();
        out.push('@');
    }
    let domainpart = prepare_domainpart(domainpart)?;
    out.push_str(&domainpart);
    if let Some(resourcepart) = resourcepart {
        out.push('/');
        out.push_str(&prepare_resourcepart(resourcepart)?);
    }
    Ok(assemble(out, local_len, domainpart.len()))
}

/// The parts are prepared, so each length is at most [`JID_PART_BYTES_MAX`] and no sum overflows.
#[allow(clippy::cast_possible_truncation)]
fn assemble(text: &str, local_len: usize, domain_len: usize) -> JidRef<'_> {
    let separator = usize::from(local_len > 0);
    JidRef { text, local_end: local_len as u16, bare_end: (local_len + separator + domain_len) as u16 }
}

/// What to borrow and what to replace, for a part that was checked but not changed.
fn keep<'a>(input: &'a str, prepared: String) -> Cow<'a, str> {
    if prepared == input { Cow::Borrowed(input) } else { Cow::Owned(prepared) }
}
