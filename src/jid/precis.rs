//! Localparts, resourceparts and passwords: the PRECIS profiles UsernameCaseMapped and OpaqueString.
//!
//! ASCII is judged by tables here, everything else by the crate `precis-profiles`. RFC 8264 §7 has the
//! rules applied again until nothing changes; so what comes out of here is always a fixed point.
//!
//! One liberty is taken. The crate's string classes know the Unicode of the IANA registry (6.3), to which
//! every emoji of the last decade is unassigned. Which code points are assigned depends on the version of
//! Unicode that an application uses (RFC 8264 §9.7), so OpaqueString, which allows nearly everything that
//! is assigned, asks newer tables. Identifiers stay with the registry.
//!
//! RFC 7622 §3.3 and §3.4; RFC 8265 §3.3 and §4.2; RFC 8264 §7 and §9.

use super::{JID_PART_BYTES_MAX, JID_PART_INPUT_BYTES_MAX, JidError, PartFault, keep};
use precis_profiles::precis_core::profile::{Profile as _, Rules as _};
use precis_profiles::precis_core::{DerivedPropertyValue, FreeformClass, StringClass as _};
use precis_profiles::{OpaqueString, UsernameCaseMapped};
use std::borrow::Cow;
use unicode_normalization::char::is_public_assigned;
use zeroize::Zeroizing;

pub use crate::limits::PASSWORD_BYTES_MAX;
use crate::limits::{CONTEXTUAL_MAX, REAPPLIED_MAX};

/// Prepares a localpart: UsernameCaseMapped without the characters of RFC 7622 §3.3.1.
///
/// # Errors
///
/// [`JidError::Localpart`].
pub fn prepare_localpart(input: &str) -> Result<Cow<'_, str>, JidError> {
    if is_canonical_localpart(input) {
        return Ok(Cow::Borrowed(input));
    }
    slow_localpart(input).map_err(JidError::Localpart)
}

/// Prepares a resourcepart: OpaqueString, case and all kept.
///
/// # Errors
///
/// [`JidError::Resourcepart`].
pub fn prepare_resourcepart(input: &str) -> Result<Cow<'_, str>, JidError> {
    if is_canonical_resourcepart(input) {
        return Ok(Cow::Borrowed(input));
    }
    slow_resourcepart(input).map_err(JidError::Resourcepart)
}

/// Prepares a password: OpaqueString (RFC 8265 §4.2). Every copy made on the way is wiped.
///
/// # Errors
///
/// [`JidError::Password`]: empty, longer than [`PASSWORD_BYTES_MAX`], or with a forbidden code point.
pub fn prepare_password(input: &str) -> Result<Zeroizing<String>, JidError> {
    if input.len() > PASSWORD_BYTES_MAX {
        return Err(JidError::Password(PartFault::TooLong));
    }
    settle(input, enforce_opaque).map_err(JidError::Password)
}

/// Whether the fast path may keep a localpart as it is.
pub(super) fn is_canonical_localpart(input: &str) -> bool {
    let bytes = input.as_bytes();
    (1..=JID_PART_BYTES_MAX).contains(&bytes.len())
        && bytes.iter().all(|byte| matches!(byte, 0x21..=0x7E if !byte.is_ascii_uppercase() && !is_excluded(*byte)))
}

/// Whether the fast path may keep a resourcepart as it is.
pub(super) fn is_canonical_resourcepart(input: &str) -> bool {
    let bytes = input.as_bytes();
    (1..=JID_PART_BYTES_MAX).contains(&bytes.len())
        && bytes.first() != Some(&b' ')
        && bytes.iter().all(|byte| matches!(byte, 0x20..=0x7E))
}

/// RFC 7622 §3.3.1.
const fn is_excluded(byte: u8) -> bool {
    matches!(byte, b'"' | b'&' | b'\'' | b'/' | b':' | b'<' | b'>' | b'@')
}

/// Whether judging `input` could be made slow: each of these code points looks at its neighbours, and
/// the crate walks the whole string for it. RFC 5892 appendix A.
pub(super) fn has_too_many_contextual(input: &str) -> bool {
    let contextual = |c: &char| {
        matches!(c, '\u{B7}' | '\u{375}' | '\u{5F3}' | '\u{5F4}' | '\u{30FB}' | '\u{200C}' | '\u{200D}')
            || matches!(c, '\u{660}'..='\u{669}' | '\u{6F0}'..='\u{6F9}')
    };
    input.chars().filter(contextual).count() > CONTEXTUAL_MAX
}

fn check_input(input: &str) -> Result<(), PartFault> {
    match input.len() {
        0 => Err(PartFault::Empty),
        // ASCII never shrinks.
        length if length > JID_PART_BYTES_MAX && input.is_ascii() => Err(PartFault::TooLong),
        length if length > JID_PART_INPUT_BYTES_MAX => Err(PartFault::TooLong),
        _ if has_too_many_contextual(input) => Err(PartFault::Disallowed),
        _ => Ok(()),
    }
}

fn check_output(prepared: &str) -> Result<(), PartFault> {
    if prepared.len() > JID_PART_BYTES_MAX { Err(PartFault::TooLong) } else { Ok(()) }
}

pub(super) fn slow_localpart(input: &str) -> Result<Cow<'_, str>, PartFault> {
    let mut prepared = settle(input, enforce_localpart)?;
    // After the mappings: a full-width "@" has become one by now.
    if prepared.bytes().any(is_excluded) {
        return Err(PartFault::Disallowed);
    }
    check_output(&prepared)?;
    Ok(keep(input, std::mem::take(&mut *prepared)))
}

pub(super) fn slow_resourcepart(input: &str) -> Result<Cow<'_, str>, PartFault> {
    let mut prepared = settle(input, enforce_opaque)?;
    // RFC 7622 §3.5, example 18, calls a leading space a violation, though OpaqueString does not.
    if prepared.starts_with(' ') {
        return Err(PartFault::Disallowed);
    }
    check_output(&prepared)?;
    Ok(keep(input, std::mem::take(&mut *prepared)))
}

type Prepared = Result<Zeroizing<String>, PartFault>;

/// Applies a profile's rules until they change nothing. Needed: the Greek ano teleia is allowed, and NFC
/// makes a middle dot of it, which is not (but between two "l").
fn settle(input: &str, enforce: fn(&str) -> Prepared) -> Prepared {
    check_input(input)?;
    let mut prepared = enforce(input)?;
    for _ in 0..=REAPPLIED_MAX {
        let again = enforce(&prepared)?;
        if again == prepared {
            return Ok(prepared);
        }
        prepared = again;
    }
    Err(PartFault::Disallowed)
}

fn enforce_localpart(input: &str) -> Prepared {
    let prepared = UsernameCaseMapped::new().enforce(input).map_err(|_| PartFault::Disallowed)?;
    Ok(Zeroizing::new(prepared.into_owned()))
}

/// OpaqueString, in its steps: every intermediate text could be a password.
fn enforce_opaque(input: &str) -> Prepared {
    if input.bytes().all(|byte| matches!(byte, 0x20..=0x7E)) {
        return Ok(Zeroizing::new(input.to_owned()));
    }
    let profile = OpaqueString::new();
    let known = Zeroizing::new(input.chars().map(stand_in).collect::<String>());
    FreeformClass::default().allows(known.as_str()).map_err(|_| PartFault::Disallowed)?;
    let mapped = profile.additional_mapping_rule(input).map_err(|_| PartFault::Disallowed)?;
    let mapped = Zeroizing::new(mapped.into_owned());
    let normal = profile.normalization_rule(mapped.as_str()).map_err(|_| PartFault::Disallowed)?;
    Ok(Zeroizing::new(normal.into_owned()))
}

/// Puts a symbol that the registry's tables know in the place of a code point that is newer than they.
fn stand_in(c: char) -> char {
    let unassigned = FreeformClass::default().get_value_from_char(c) == DerivedPropertyValue::Unassigned;
    if unassigned && is_public_assigned(c) && !is_newer_format(c) { '\u{2605}' } else { c }
}

/// Format and default-ignorable characters assigned since Unicode 6.3, which no class allows
/// (RFC 8264 §9.13, and its last "else"). From the Unicode 17 character database.
fn is_newer_format(c: char) -> bool {
    matches!(
        c,
        '\u{180F}'
            | '\u{890}'..='\u{891}'
            | '\u{8E2}'
            | '\u{110CD}'
            | '\u{13430}'..='\u{1343F}'
            | '\u{1BCA0}'..='\u{1BCA3}'
    )
}
