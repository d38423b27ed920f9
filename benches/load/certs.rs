//! Certificates of clients, for SASL EXTERNAL: an authority, and a certificate for each account with its JID.
//!
//! RFC 6120 §13.7.1.4; XEP-0178.

use std::error::Error;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    OtherNameValue, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The object identifier `id-on-xmppAddr`.
const XMPP_ADDR: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 8, 5];

/// An authority that a server can be told to trust.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, for the server.
    pub(crate) pem: String,
    /// The key of all clients: making one for each would only take time.
    key: KeyPair,
}

impl Authority {
    /// A new one.
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "load test authority");
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem, key: KeyPair::generate()? })
    }

    /// A client certificate for a bare JID, and its key.
    pub(crate) fn client(
        &self,
        jid: &str,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), Box<dyn Error>> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, jid);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let name = OtherNameValue::Utf8String(jid.to_owned());
        params.subject_alt_names = vec![SanType::OtherName((XMPP_ADDR.to_vec(), name))];
        let cert = params.signed_by(&self.key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        Ok((cert.der().clone(), key))
    }
}
