//! The states of the library's unbuffered connection, and what each one asks of us.
//!
//! RFC 8446 §5.2, §6.1.

use super::TlsError;
use rustls::Error;
use rustls::server::ServerConnectionData;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, WriteTraffic};

/// What one state of the library amounted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Plaintext was appended.
    Data,
    /// Something of the library's own was appended to the output.
    Encoded,
    /// Go on.
    Again,
    /// The peer closed its direction.
    PeerClosed,
    /// It wants more input.
    Wait,
}

/// Handles one state, whichever it is.
pub(super) fn advance(
    state: Result<ConnectionState<'_, '_, ServerConnectionData>, Error>,
    plain: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<Step, Error> {
    match state? {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                plain.extend_from_slice(record?.payload);
            }
            Ok(Step::Data)
        }
        ConnectionState::EncodeTlsData(data) => encode(data, out).map(|()| Step::Encoded),
        ConnectionState::TransmitTlsData(data) => {
            // It is in the out buffer, and the caller's to send.
            data.done();
            Ok(Step::Again)
        }
        ConnectionState::PeerClosed => Ok(Step::PeerClosed),
        ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) | ConnectionState::Closed => {
            Ok(Step::Wait)
        }
        // Early data cannot come: tickets do not allow it. States of a later library are not known.
        _ => Err(Error::General("a state of the TLS library that is not handled".to_owned())),
    }
}

fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, out: &mut Vec<u8>) -> Result<(), Error> {
    let start = out.len();
    let size = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(short)) => short.required_size,
        Ok(_) | Err(EncodeError::AlreadyEncoded) => 0,
    };
    make_room(out, size);
    let written = data.encode(out.get_mut(start..).unwrap_or_default());
    written.map(|_| ()).map_err(|error| Error::General(error.to_string()))
}

/// Appends `size` zeros, which the library writes over.
fn make_room(out: &mut Vec<u8>, size: usize) {
    // Copied, not counted out: built for size, `resize` writes byte by byte.
    const ZEROS: [u8; 512] = [0; 512];
    out.reserve(size);
    let mut left = size;
    while left > 0 {
        let zeros = ZEROS.get(..left).unwrap_or(&ZEROS);
        out.extend_from_slice(zeros);
        left -= zeros.len();
    }
}

/// Lets `put` write into space at the end of `out`. False, with `size` corrected, if it was too small.
pub(super) fn append(
    traffic: &mut WriteTraffic<'_, ServerConnectionData>,
    size: &mut usize,
    out: &mut Vec<u8>,
    put: &mut impl FnMut(&mut WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
) -> Result<bool, TlsError> {
    let start = out.len();
    make_room(out, *size);
    let result = put(traffic, out.get_mut(start..).unwrap_or_default());
    out.truncate(start + result.as_ref().copied().unwrap_or(0));
    match result {
        Ok(_) => Ok(true),
        Err(EncryptError::InsufficientSize(short)) if short.required_size > *size => {
            *size = short.required_size;
            Ok(false)
        }
        Err(EncryptError::InsufficientSize(short)) => Err(TlsError::Internal(format!("{short:?}"))),
        Err(EncryptError::EncryptExhausted) => Err(TlsError::Exhausted),
    }
}
