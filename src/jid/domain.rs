//! The domainpart: names, IPv4 addresses and bracketed IPv6 addresses in their one prepared form.
//!
//! Names come out in lower case with U-labels (A-labels are decoded), as RFC 7622 §3.2 wants. The
//! mapping is UTS #46's, non-transitional, by the crate `idna`; what it lets through beyond IDNA2008
//! (symbols, above all) is refused afterwards by the PRECIS IdentifierClass, whose derived property is
//! that of RFC 5892 but for the blocks named below. DNS limits hold: a name that no resolver could be
//! asked for is no domain.
//!
//! RFC 7622 §3.2; RFC 5890–5893; RFC 3986 §3.2.2 and RFC 6874 for addresses in brackets.

use super::{JID_PART_BYTES_MAX, JID_PART_INPUT_BYTES_MAX, JidError, PartFault, keep, precis};
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use precis_profiles::precis_core::{IdentifierClass, StringClass as _};
use std::borrow::Cow;
use std::net::Ipv6Addr;

use crate::limits::{LABEL_BYTES_MAX, LABEL_INPUT_BYTES_MAX, NAME_BYTES_MAX};

/// Prepares a domainpart. Canonical ASCII is borrowed.
///
/// # Errors
///
/// [`JidError::Domainpart`].
pub fn prepare_domainpart(input: &str) -> Result<Cow<'_, str>, JidError> {
    if is_canonical(input) { Ok(Cow::Borrowed(input)) } else { slow(input).map_err(JidError::Domainpart) }
}

/// The same domain with A-labels, as DNS, SNI and certificates carry it. `None` for what is no DNS name.
pub fn domain_to_ascii(prepared: &str) -> Option<Cow<'_, str>> {
    if is_canonical(prepared) {
        return Some(Cow::Borrowed(prepared));
    }
    Uts46::new().to_ascii(prepared.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Verify).ok()
}

/// Whether `input` is a prepared name of ASCII letters, digits and hyphens: the fast path. Says no to
/// some that the slow path leaves as they are, never yes to one that it changes or refuses.
pub(super) fn is_canonical(input: &str) -> bool {
    input.len() <= NAME_BYTES_MAX && input.as_bytes().split(|byte| *byte == b'.').all(is_canonical_label)
}

/// Letters, digits and hyphens, none at either end; not "xn--" nor its like (R-LDH, RFC 5890 §2.3.1).
fn is_canonical_label(label: &[u8]) -> bool {
    let (Some(first), Some(last)) = (label.first(), label.last()) else { return false };
    label.len() <= LABEL_BYTES_MAX
        && *first != b'-'
        && *last != b'-'
        && label.get(2..4) != Some(b"--".as_slice())
        && label.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

pub(super) fn slow(input: &str) -> Result<Cow<'_, str>, PartFault> {
    if input.len() > JID_PART_INPUT_BYTES_MAX {
        return Err(PartFault::TooLong);
    }
    // Before any other step (RFC 7622 §3.2). One dot: what is left of two has an empty label.
    let name = input.strip_suffix('.').unwrap_or(input);
    if name.is_empty() {
        return Err(PartFault::Empty);
    }
    if let Some(inner) = name.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or(PartFault::Disallowed)?;
        return Ok(keep(input, prepare_ip_literal(inner).ok_or(PartFault::Disallowed)?));
    }
    prepare_name(name).map(|prepared| keep(input, prepared))
}

fn prepare_name(name: &str) -> Result<String, PartFault> {
    if name.split('.').any(|label| label.len() > LABEL_INPUT_BYTES_MAX) {
        return Err(PartFault::TooLong);
    }
    if precis::has_too_many_contextual(name) {
        return Err(PartFault::Disallowed);
    }
    let idna = Uts46::new();
    let (unicode, valid) = idna.to_unicode(name.as_bytes(), AsciiDenyList::STD3, Hyphens::Check);
    valid.map_err(|_| PartFault::Disallowed)?;
    if unicode.split('.').any(str::is_empty) || !unicode.split('.').all(is_idna2008_label) {
        return Err(PartFault::Disallowed);
    }
    // The labels are valid, so this can only fail over a length.
    idna.to_ascii(unicode.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Verify)
        .map_err(|_| PartFault::TooLong)?;
    if unicode.len() > JID_PART_BYTES_MAX {
        return Err(PartFault::TooLong);
    }
    Ok(unicode.into_owned())
}

/// Judges a label that UTS #46 has mapped and found valid by the stricter rules of RFC 5892.
fn is_idna2008_label(label: &str) -> bool {
    label.is_ascii() || (IdentifierClass::default().allows(label).is_ok() && !label.contains(is_ignorable_block))
}

/// RFC 5892 §2.4: marks for symbols and musical notation. PRECIS has no such category.
fn is_ignorable_block(c: char) -> bool {
    matches!(c, '\u{20D0}'..='\u{20FF}' | '\u{1D100}'..='\u{1D1FF}' | '\u{1D200}'..='\u{1D24F}')
}

/// The inside of the brackets: an IPv6 address, spelt as RFC 5952 does, and perhaps a zone (RFC 6874).
fn prepare_ip_literal(inner: &str) -> Option<String> {
    let (address, zone) = match inner.split_once("%25") {
        Some((address, zone)) => (address, Some(zone)),
        None => (inner, None),
    };
    let address: Ipv6Addr = address.parse().ok()?;
    match zone {
        None => Some(format!("[{address}]")),
        Some(zone) if is_zone(zone) => Some(format!("[{address}%25{zone}]")),
        Some(_) => None,
    }
}

/// The name of an interface, unreserved characters only: longer ones do not exist, and none needs escapes.
fn is_zone(zone: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&zone.len())
        && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}
