//! Client certificates in the handshake: proof that the client has the key, and nothing more.
//!
//! Whether the chain is good depends on the domain of the stream inside TLS, which is not known yet,
//! and on the time of use; so a chain never fails a handshake here. `client.rs` judges it when SASL
//! asks, for full and resumed handshakes alike (the TLS library restores a chain from a ticket
//! without verifying it again). Only what may not be kept in memory is refused: chains over the bounds.
//!
//! XEP-0178 §2; RFC 8446 §4.4.2, §4.4.3.

use super::client::{CHAIN_BYTES_MAX, CHAIN_DEPTH_MAX};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// Asks for a certificate, accepts none, and checks the signature of the one it gets.
#[derive(Debug)]
pub(super) struct ProvesPossession {
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for ProvesPossession {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// Empty: "any certificate". A client with several picks by account, not by what we name here.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let bytes: usize = end_entity.len() + intermediates.iter().map(|der| der.len()).sum::<usize>();
        if intermediates.len() >= CHAIN_DEPTH_MAX || bytes > CHAIN_BYTES_MAX {
            return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
