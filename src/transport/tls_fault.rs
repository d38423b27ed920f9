//! Faults of a TLS connection: from the library's names to ours, and the alerts that it has none for.
//!
//! RFC 8446 §6.2, RFC 6066 §3.

use super::TlsError;
use rustls::{CertificateError, Error, InvalidMessage, PeerMisbehaved};

/// A fatal alert before any key is agreed, for faults that the library has no alert for.
pub(super) fn clear_alert(error: &TlsError) -> [u8; 7] {
    const UNEXPECTED_MESSAGE: u8 = 10;
    const RECORD_OVERFLOW: u8 = 22;
    const HANDSHAKE_FAILURE: u8 = 40;
    const UNRECOGNIZED_NAME: u8 = 112;
    let description = match error {
        TlsError::UnknownName | TlsError::NoName => UNRECOGNIZED_NAME,
        TlsError::TooLong => RECORD_OVERFLOW,
        TlsError::Incompatible(_) => HANDSHAKE_FAILURE,
        _ => UNEXPECTED_MESSAGE,
    };
    [21, 3, 3, 0, 2, 2, description]
}

/// Names an error of the library. The texts are its names for faults, never the peer's bytes.
pub(super) fn name(error: Error) -> TlsError {
    use PeerMisbehaved::*;
    match error {
        Error::AlertReceived(alert) => TlsError::Alert(u8::from(alert)),
        Error::PeerIncompatible(what) => TlsError::Incompatible(format!("{what:?}")),
        Error::PeerMisbehaved(
            TooManyEmptyFragments
            | TooManyKeyUpdateRequests
            | TooManyRenegotiationRequests
            | TooManyWarningAlertsReceived,
        ) => TlsError::TooManyMessages,
        Error::PeerMisbehaved(what) => TlsError::Misbehaved(format!("{what:?}")),
        Error::InvalidMessage(InvalidMessage::MessageTooLarge | InvalidMessage::HandshakePayloadTooLarge)
        | Error::PeerSentOversizedRecord => TlsError::TooLong,
        Error::InvalidMessage(what) => TlsError::Malformed(format!("{what:?}")),
        Error::InappropriateMessage { got_type, .. } => TlsError::Misbehaved(format!("unexpected {got_type:?}")),
        Error::InappropriateHandshakeMessage { got_type, .. } => {
            TlsError::Misbehaved(format!("unexpected {got_type:?}"))
        }
        Error::DecryptError | Error::InvalidCertificate(CertificateError::BadSignature) => TlsError::Forged,
        Error::InvalidCertificate(_) => TlsError::BadClientCertificate,
        Error::NoApplicationProtocol => TlsError::NoApplicationProtocol,
        // No signature scheme in common, in TLS 1.2; the library has no better name for it.
        Error::General(what) if what == "incompatible signing key" => TlsError::Incompatible(what),
        other => TlsError::Internal(format!("{other:?}")),
    }
}
