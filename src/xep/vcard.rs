//! XEP-0054: vCard-temp. Anybody may read, only the own account writes.

use super::{Extension, IqEntry, IqKind, IqRequest, Outcome, Target};
use crate::crypto::digest;
use crate::im::columns::Columns;
use crate::im::session::SessionFlags;
use crate::im::stop::{Refusal, Stop};
use crate::im::vcard;
use crate::sasl::base64;
use crate::stanza::StanzaCondition;
use crate::xml::{Element, Writer};

const NS: &str = "vcard-temp";

/// A vCard that is too long to be kept.
const TOO_LONG: Refusal = Refusal {
    condition: StanzaCondition::NotAcceptable,
    error_type: None,
    text: Some("this vCard is longer than the server keeps; a smaller photo may help"),
    application: None,
};

/// The table.
pub const EXTENSION: Extension = Extension {
    server_features: &[NS],
    account_features: &[NS],
    iq: &[IqEntry { ns: NS, name: "vCard", handler: vcard }],
};

fn vcard(request: &IqRequest<'_>, columns: &mut Columns<'_>, out: &mut Vec<u8>) -> Result<Outcome, Stop> {
    match (request.kind, request.target) {
        (_, Target::Server) => return Ok(Outcome::Pass),
        (IqKind::Get, _) => get(request, columns, out)?,
        (IqKind::Set, Target::OwnAccount) => set(request, columns)?,
        (IqKind::Set, Target::Stranger) => return Err(StanzaCondition::Forbidden.into()),
    }
    Ok(Outcome::Handled)
}

/// An own one that is not there yet is an empty one; somebody else's is the same error as that of nobody (§3.1).
fn get(request: &IqRequest<'_>, columns: &mut Columns<'_>, out: &mut Vec<u8>) -> Result<(), Stop> {
    match vcard::get(columns.store, request.to)? {
        Some(kept) => out.extend_from_slice(&kept),
        None if request.target == Target::OwnAccount => {
            Writer::new(out).empty("vCard", NS);
        }
        None => return Err(StanzaCondition::ServiceUnavailable.into()),
    }
    Ok(())
}

fn set(request: &IqRequest<'_>, columns: &mut Columns<'_>) -> Result<(), Stop> {
    let sender = columns.directory.session(request.sender).ok_or(StanzaCondition::NotAllowed)?;
    if sender.flags.has(SessionFlags::ANONYMOUS) {
        return Err(StanzaCondition::NotAllowed.into());
    }
    let card = request.payload().ok_or(StanzaCondition::BadRequest)?;
    let mut kept = Vec::new();
    card.write(columns.bounds.vcard_bytes_max, &mut kept).map_err(|_| TOO_LONG)?;
    let photo = photo_hash(card)?;
    vcard::set(columns.store, request.to, &kept, photo)?;
    if let Some(mut online) = columns.directory.online_mut(request.to.bare()) {
        // Presence that is sent from now on carries it (XEP-0153 §3.1: the client sends one).
        online.avatar = photo.map(Box::new);
    }
    Ok(())
}

/// SHA-1 of the photo's bytes (XEP-0153 §2.1), if there is one.
///
/// # Errors
///
/// `bad-request`: the photo is not in base64.
pub fn photo_hash(card: Element<'_>) -> Result<Option<[u8; 20]>, StanzaCondition> {
    let photo = card.child(NS, "PHOTO").and_then(|photo| photo.child(NS, "BINVAL"));
    let Some(text) = photo.map(Element::text).filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    let bytes = base64::decode_2045(text.as_bytes()).ok_or(StanzaCondition::BadRequest)?;
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &bytes);
    Ok(hash.as_ref().try_into().ok())
}
