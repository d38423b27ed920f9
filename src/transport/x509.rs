//! X.509: the few fields of a certificate that the TLS and path libraries do not hand out.
//!
//! Reading only; nothing here decides whether a certificate is good. RFC 5280 §4.

use x509_cert::certificate::{CertificateInner, Profile};
use x509_cert::der::asn1::{Ia5StringRef, ObjectIdentifier, UintRef, Utf8StringRef};
use x509_cert::der::{Decode, Error, Reader as _, SliceReader};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{GeneralName, OtherName};
use x509_cert::serial_number::SerialNumber;

/// A certificate as it is: odd serial numbers and times are not ours to refuse.
pub(super) type Certificate = CertificateInner<AsIs>;

/// The reading rules of [`Certificate`]: none beyond the encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AsIs;

impl Profile for AsIs {
    fn check_serial_number(_serial: &SerialNumber<Self>) -> x509_cert::der::Result<()> {
        Ok(())
    }
}

/// id-on-xmppAddr (RFC 6120 §13.7.1.4).
const XMPP_ADDR: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.8.5");
/// id-on-dnsSRV (RFC 4985 §2).
const SRV_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.8.7");

/// The names of a certificate that XMPP knows (RFC 6120 §13.7.1.2).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// dNSName.
    pub(super) dns: Vec<String>,
    /// SRVName, such as `_xmpp-client.example.org`.
    pub(super) srv: Vec<String>,
    /// xmppAddr: a domain for servers, a bare JID for clients.
    pub(super) xmpp: Vec<String>,
}

/// Reads a certificate; none if it is not one.
pub(super) fn parse(der: &[u8]) -> Option<Certificate> {
    Certificate::from_der(der).ok()
}

/// The names in the subject alternative name extension; none if that cannot be read.
///
/// At most `names_max` are taken: what a peer sends is bounded.
pub(super) fn names(certificate: &Certificate, names_max: usize) -> Option<Names> {
    let mut names = Names::default();
    let extension = certificate.tbs_certificate().get_extension::<SubjectAltName>().ok()?;
    let general_names = extension.map(|(_, value)| value.0).unwrap_or_default();
    for name in general_names.iter().take(names_max) {
        match name {
            GeneralName::DnsName(name) => names.dns.push(name.as_str().to_owned()),
            GeneralName::OtherName(other) => other_name(other, &mut names),
            _ => {}
        }
    }
    Some(names)
}

/// A value of the wrong string type is skipped, not fatal: it names nobody.
fn other_name(other: &OtherName, names: &mut Names) {
    match other.type_id {
        XMPP_ADDR => {
            if let Ok(value) = other.value.decode_as::<Utf8StringRef<'_>>() {
                names.xmpp.push(value.as_str().to_owned());
            }
        }
        SRV_NAME => {
            if let Ok(value) = other.value.decode_as::<Ia5StringRef<'_>>() {
                names.srv.push(value.as_str().to_owned());
            }
        }
        _ => {}
    }
}

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// md5WithRSAEncryption, sha1WithRSAEncryption, ecdsa-with-SHA1.
const BROKEN_SIGNATURES: [ObjectIdentifier; 3] = [
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4"),
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"),
    ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"),
];

/// How long an RSA key is, in bits; none for other keys.
pub(super) fn rsa_bits(certificate: &Certificate) -> Option<usize> {
    let key = certificate.tbs_certificate().subject_public_key_info();
    if key.algorithm.oid != RSA_ENCRYPTION {
        return None;
    }
    // RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER } (RFC 8017 §A.1.1).
    let mut reader = SliceReader::new(key.subject_public_key.raw_bytes()).ok()?;
    reader
        .sequence(|fields| {
            let modulus = UintRef::decode(fields)?;
            UintRef::decode(fields)?;
            let bytes = modulus.as_bytes();
            let leading_zeros = bytes.first().map_or(0, |byte| byte.leading_zeros() as usize);
            Ok::<usize, Error>((bytes.len() * 8).saturating_sub(leading_zeros))
        })
        .ok()
}

/// Whether the signature is by a hash that no client should take.
pub(super) fn has_broken_signature(certificate: &Certificate) -> bool {
    BROKEN_SIGNATURES.contains(&certificate.signature_algorithm().oid)
}
