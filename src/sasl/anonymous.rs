//! ANONYMOUS: a name that nobody has had, for as long as the session lasts.
//!
//! Offered only where the configuration says so; what such a user may do is not decided here.
//!
//! RFC 4505; XEP-0175.

use super::{Authenticated, Mechanism, SaslCondition, SaslContext, SaslStep};

use crate::limits::TRACE_CHARS_MAX;
/// Octets of randomness in the name: nobody can guess one, or meet one by chance.
const NAME_BYTES: usize = 16;

/// Takes ANONYMOUS's only message: trace information, which is checked and dropped, or nothing.
pub(super) fn login(data: &[u8], cx: &mut SaslContext<'_>) -> SaslStep {
    let valid = std::str::from_utf8(data).is_ok_and(|trace| trace.chars().count() <= TRACE_CHARS_MAX);
    if !valid {
        return SaslStep::Failure(SaslCondition::MalformedRequest);
    }
    let mut bytes = [0; NAME_BYTES];
    cx.random.fill(&mut bytes);
    // Lower-case hexadecimal is prepared already; a token in base64 would not be.
    let localpart = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    SaslStep::Success(Authenticated {
        localpart,
        data: None,
        mechanism: Mechanism::Anonymous,
        fill_in: Vec::new(),
        proven_by: Vec::new(),
        anonymous: true,
    })
}
