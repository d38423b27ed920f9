//! EXTERNAL with a client certificate: the addresses in it that belong to the stream's domain.
//!
//! The caller has judged the chain. What remains is whose account it opens: the one `xmppAddr` of this
//! domain, or the one of several that the client names. The server maps nothing else in a certificate to
//! an account, and an address without an account logs nobody in.
//!
//! RFC 4422 appendix A; XEP-0178 §2; RFC 6120 §6.3.8.

use super::{Authenticated, Lookup, Mechanism, SaslCondition, SaslContext, SaslStep};
use crate::jid::Jid;

use crate::limits::ADDRESSES_MAX;

/// Takes EXTERNAL's only message: an authorization identity, or nothing.
pub(super) fn login(data: &[u8], cx: &mut SaslContext<'_>) -> SaslStep {
    let localpart = match choose(data, cx.certificate_addresses, cx.domain) {
        Ok(localpart) => localpart,
        Err(condition) => return SaslStep::Failure(condition),
    };
    match cx.accounts.credentials(cx.domain, &localpart) {
        Lookup::Miss => SaslStep::Miss,
        Lookup::Absent => SaslStep::Failure(SaslCondition::NotAuthorized),
        Lookup::Found(account) if account.disabled => SaslStep::Failure(SaslCondition::AccountDisabled),
        Lookup::Found(_) => SaslStep::Success(Authenticated {
            localpart,
            data: None,
            mechanism: Mechanism::External,
            fill_in: Vec::new(),
            proven_by: Vec::new(),
            anonymous: false,
        }),
    }
}

/// The localpart of the account meant.
fn choose(data: &[u8], addresses: &[String], domain: &str) -> Result<String, SaslCondition> {
    let own = own_accounts(addresses, domain);
    let authzid = std::str::from_utf8(data).map_err(|_| SaslCondition::MalformedRequest)?;
    if authzid.contains('\0') {
        return Err(SaslCondition::MalformedRequest);
    }
    match (own.as_slice(), authzid) {
        // Nothing in the certificate is an account's, so no identity could be chosen either.
        ([], _) => Err(SaslCondition::NotAuthorized),
        ([only], "") => Ok(only.localpart().unwrap_or_default().to_owned()),
        (_, "") => Err(SaslCondition::InvalidAuthzid),
        (own, authzid) => {
            let wanted = Jid::parse(authzid).map_err(|_| SaslCondition::InvalidAuthzid)?;
            let found = own.iter().find(|jid| **jid == wanted).and_then(|jid| jid.localpart());
            found.map(str::to_owned).ok_or(SaslCondition::InvalidAuthzid)
        }
    }
}

/// The addresses that could be accounts of `domain`, each once.
fn own_accounts(addresses: &[String], domain: &str) -> Vec<Jid> {
    let mut own: Vec<_> = addresses
        .iter()
        .take(ADDRESSES_MAX)
        .filter_map(|address| Jid::parse(address).ok())
        .filter(|jid| jid.is_bare() && jid.localpart().is_some() && jid.domainpart() == domain)
        .collect();
    own.sort_unstable();
    own.dedup();
    own
}
