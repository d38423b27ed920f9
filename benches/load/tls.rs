//! TLS of the generator: a client that believes every certificate, and the echo server's side.
//!
//! What is measured is the server, so its certificate is not judged; signatures are verified all the same,
//! since a client that skipped them would wait less for the handshake than a real one. Where many handshakes are under
//! way and their rate is asked for, they are not: a verification takes longer than the server's signature, and the
//! generator would set the pace.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{CipherSuite, ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};

/// Servers whose tickets are kept; there is one.
const TICKETS: usize = 8;

/// The provider that the server is built with too, AES-128-GCM first as the server has it.
pub(crate) fn provider() -> CryptoProvider {
    #[cfg(feature = "ring")]
    let mut provider = rustls::crypto::ring::default_provider();
    #[cfg(not(feature = "ring"))]
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}

/// How a client does TLS; by default every handshake is a full one and it has no certificate.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// Asks for XMPP by ALPN (XEP-0368).
    pub(crate) direct: bool,
    /// Keeps tickets and redeems them.
    pub(crate) resumes: bool,
    /// Verifies nothing.
    pub(crate) hurries: bool,
    /// Its own certificate and key.
    pub(crate) identity: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
}

impl Client {
    /// Its settings. Tickets belong to the settings: who shares them shares those.
    pub(crate) fn config(self) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(provider());
        let verifier =
            Arc::new(Believing { algorithms: provider.signature_verification_algorithms, hurries: self.hurries });
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match self.identity {
            Some((cert, key)) => builder.with_client_auth_cert(vec![cert], key)?,
            None => builder.with_no_client_auth(),
        };
        config.resumption = if self.resumes { Resumption::in_memory_sessions(TICKETS) } else { Resumption::disabled() };
        if self.direct {
            config.alpn_protocols = vec![b"xmpp-client".to_vec()];
        }
        Ok(config)
    }
}

/// A key made on the spot, P-256 like the server's own, and the same for TLS.
pub(crate) fn key_pair() -> Result<(KeyPair, PrivateKeyDer<'static>), rcgen::Error> {
    let pair = KeyPair::generate()?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    Ok((pair, key))
}

/// A certificate made on the spot and its key.
fn identity() -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
    let (pair, key) = key_pair()?;
    let params = CertificateParams::new(vec!["echo.local".to_owned()])?;
    Ok((params.self_signed(&pair)?.der().clone(), key))
}

/// The echo server's settings.
pub(crate) fn server_config() -> Result<Arc<ServerConfig>, Box<dyn std::error::Error>> {
    let (cert, key) = identity()?;
    let builder = ServerConfig::builder_with_provider(Arc::new(provider())).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_single_cert(vec![cert], key)?;
    config.ignore_client_order = true;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// Believes every certificate.
#[derive(Debug)]
struct Believing {
    algorithms: WebPkiSupportedAlgorithms,
    /// And every signature.
    hurries: bool,
}

impl ServerCertVerifier for Believing {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.hurries {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.hurries {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
