//! XEP-0049: Private XML Storage, for the own account only.
//!
//! The protocol has no way to delete. What is kept as an empty element reads like what was never kept, so it is not:
//! its place is free again.

use super::{Extension, IqEntry, IqKind, IqRequest, Outcome, Target};
use crate::im::columns::Columns;
use crate::im::private::{self, Kept};
use crate::im::session::SessionFlags;
use crate::im::stop::{Refusal, Stop};
use crate::stanza::{ErrorType, StanzaCondition};
use crate::storage::StoreFull;
use crate::xml::{Writer, XML};

const NS: &str = "jabber:iq:private";

/// The account has as much private XML as it may have.
const TOO_MUCH: Refusal = Refusal {
    condition: StanzaCondition::ResourceConstraint,
    error_type: Some(ErrorType::Cancel),
    text: Some("there is no room for more private data"),
    application: None,
};

/// The table.
pub const EXTENSION: Extension = Extension {
    server_features: &[NS],
    account_features: &[],
    iq: &[IqEntry { ns: NS, name: "query", handler: query }],
};

fn query(request: &IqRequest<'_>, columns: &mut Columns<'_>, out: &mut Vec<u8>) -> Result<Outcome, Stop> {
    match request.target {
        Target::OwnAccount => {}
        // The same whether the account exists or not (§2.3).
        Target::Stranger => return Err(StanzaCondition::Forbidden.into()),
        Target::Server => return Ok(Outcome::Pass),
    }
    let is_anonymous = |flags: SessionFlags| flags.has(SessionFlags::ANONYMOUS);
    if columns.directory.session(request.sender).is_none_or(|sender| is_anonymous(sender.flags)) {
        return Err(StanzaCondition::NotAllowed.into());
    }
    let query = request.payload().ok_or(StanzaCondition::BadRequest)?;
    let mut children = query.children();
    let (Some(child), None) = (children.next(), children.next()) else {
        return Err(StanzaCondition::NotAcceptable.into());
    };
    let (ns, name) = (child.ns(), child.name());
    if ns.is_empty() || ns.starts_with("jabber:") || ns == "vcard-temp" || ns == XML {
        // §4: these belong to the server. `jabber:iq:private` itself is nobody's namespace, and XML's own can be nobody's
        // default.
        return Err(StanzaCondition::NotAcceptable.into());
    }
    match request.kind {
        IqKind::Get => {
            let kept = private::get(columns.store, request.to, ns, name)?;
            out.extend_from_slice(b"<query xmlns='jabber:iq:private'>");
            match kept {
                Some(element) => out.extend_from_slice(&element),
                None => {
                    Writer::new(out).empty(name, ns);
                }
            }
            out.extend_from_slice(b"</query>");
        }
        IqKind::Set => {
            let bounds = (columns.bounds.private_elements_max, columns.bounds.private_bytes_max);
            let bytes_max = usize::try_from(bounds.1).unwrap_or(usize::MAX);
            let mut element = Vec::new();
            if !child.is_empty() {
                child.write(bytes_max, &mut element).map_err(|_| TOO_MUCH)?;
            }
            match private::set(columns.store, request.to, (ns, name), &element, bounds)? {
                Kept::Yes => {}
                Kept::TooMuch => return Err(TOO_MUCH.into()),
                Kept::Busy => return Err(StoreFull.into()),
            }
        }
    }
    Ok(Outcome::Handled)
}
