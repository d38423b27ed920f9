//! Channel bindings: what ties a login to this TLS connection and to no other.
//!
//! ```text
//! exporter secret (from the handshake) ──▶ tls-exporter, 32 bytes
//! certificate (as sent)                ──▶ tls-server-end-point, its hash
//! ```
//!
//! The exporter is derived here, because the unbuffered connection of the TLS library does not offer
//! it; it is the formula of RFC 8446 §7.5 and is held equal to what a client derives by a test.
//!
//! RFC 9266 (tls-exporter), RFC 5929 §4 (tls-server-end-point), RFC 8446 §7.1, §7.5.

use super::x509;
use crate::crypto::{digest, hkdf};
use x509_cert::der::asn1::{ContextSpecific, ObjectIdentifier};
use x509_cert::der::{SliceReader, TagNumber};
use x509_cert::spki::AlgorithmIdentifierOwned;

/// The label of RFC 9266 §2.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// Derives the 32 bytes of `tls-exporter` from the TLS 1.3 exporter secret.
///
/// The length of the secret tells the hash of the suite: 32 bytes SHA-256, 48 bytes SHA-384. None
/// for any other length.
pub fn tls_exporter(secret: &[u8]) -> Option<[u8; 32]> {
    let (hkdf_algorithm, digest_algorithm) = match secret.len() {
        32 => (hkdf::HKDF_SHA256, &digest::SHA256),
        48 => (hkdf::HKDF_SHA384, &digest::SHA384),
        _ => return None,
    };
    // No context value is the same as an empty one (RFC 8446 §7.5), so both hashes are of nothing.
    let of_nothing = digest::digest(digest_algorithm, b"");
    let mut derived = zeroize::Zeroizing::new([0; 48]);
    let derived = derived.get_mut(..secret.len())?;
    expand_label(hkdf_algorithm, secret, EXPORTER_LABEL, of_nothing.as_ref(), derived)?;
    let mut out = [0; 32];
    expand_label(hkdf_algorithm, derived, b"exporter", of_nothing.as_ref(), &mut out)?;
    Some(out)
}

/// HKDF-Expand-Label of RFC 8446 §7.1.
fn expand_label(algorithm: hkdf::Algorithm, secret: &[u8], label: &[u8], context: &[u8], out: &mut [u8]) -> Option<()> {
    const PREFIX: &[u8] = b"tls13 ";
    let length = u16::try_from(out.len()).ok()?.to_be_bytes();
    let label_length = [u8::try_from(PREFIX.len() + label.len()).ok()?];
    let context_length = [u8::try_from(context.len()).ok()?];
    let info = [&length[..], &label_length, PREFIX, label, &context_length, context];
    let prk = hkdf::Prk::new_less_safe(algorithm, secret);
    prk.expand(&info, Length(out.len())).ok()?.fill(out).ok()
}

/// How many bytes to expand to, in the form the provider asks for.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Hashes a certificate for `tls-server-end-point`.
///
/// The hash is the one of the certificate's own signature; MD5 and SHA-1 are replaced by SHA-256
/// (RFC 5929 §4.1). None if the signature has no hash of its own (Ed25519) or one that the provider
/// lacks: the binding is undefined then and must not be offered.
pub fn server_end_point(certificate_der: &[u8]) -> Option<Vec<u8>> {
    let certificate = x509::parse(certificate_der)?;
    let algorithm = signature_hash(certificate.signature_algorithm())?;
    Some(digest::digest(algorithm, certificate_der).as_ref().to_vec())
}

const MD5_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4");
const SHA1_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const SHA384_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const SHA512_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const ECDSA_WITH_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.1");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

fn signature_hash(algorithm: &AlgorithmIdentifierOwned) -> Option<&'static digest::Algorithm> {
    match algorithm.oid {
        MD5_WITH_RSA | SHA1_WITH_RSA | ECDSA_WITH_SHA1 => Some(&digest::SHA256),
        SHA256_WITH_RSA | ECDSA_WITH_SHA256 => Some(&digest::SHA256),
        SHA384_WITH_RSA | ECDSA_WITH_SHA384 => Some(&digest::SHA384),
        SHA512_WITH_RSA | ECDSA_WITH_SHA512 => Some(&digest::SHA512),
        RSASSA_PSS => pss_hash(algorithm),
        _ => None,
    }
}

/// The hash inside RSASSA-PSS-params (RFC 4055 §3.1): field `[0]`, SHA-1 if absent.
fn pss_hash(algorithm: &AlgorithmIdentifierOwned) -> Option<&'static digest::Algorithm> {
    let parameters = algorithm.parameters.as_ref()?;
    let mut reader = SliceReader::new(parameters.value()).ok()?;
    let hash = ContextSpecific::<AlgorithmIdentifierOwned>::decode_explicit(&mut reader, TagNumber(0)).ok()?;
    match hash.map(|field| field.value.oid) {
        None | Some(SHA1) | Some(SHA256) => Some(&digest::SHA256),
        Some(SHA384) => Some(&digest::SHA384),
        Some(SHA512) => Some(&digest::SHA512),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    /// AlgorithmIdentifier of ecdsa-with-SHA256, as in every certificate made below.
    const ECDSA_SHA256: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

    fn certificate(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        // A long name, so that all outer lengths take two bytes.
        let params = CertificateParams::new(["a".repeat(60) + "." + &"b".repeat(60)]).expect("a name");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    /// A certificate whose outer signature algorithm is replaced; its signature is not looked at.
    fn signed_by(algorithm: &[u8]) -> Vec<u8> {
        let der = certificate(&PKCS_ECDSA_P256_SHA256);
        let at = der.windows(ECDSA_SHA256.len()).rposition(|window| window == ECDSA_SHA256).expect("the algorithm");
        let body = [&der[4..at], algorithm, &der[at + ECDSA_SHA256.len()..]].concat();
        let length = u16::try_from(body.len()).expect("a short certificate").to_be_bytes();
        [&[0x30, 0x82][..], &length, &body].concat()
    }

    /// RSASSA-PSS with these hash bytes, or without parameters for the hash.
    fn pss(hash: Option<u8>) -> Vec<u8> {
        let field = hash.map(|hash| [0xa0, 13, 0x30, 11, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, hash].to_vec());
        let field = field.unwrap_or_default();
        let salt = [0xa2, 3, 2, 1, 32];
        let parameters = [&[0x30, (field.len() + salt.len()) as u8][..], &field, &salt].concat();
        let oid = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 10];
        [&[0x30, (oid.len() + parameters.len()) as u8][..], &oid, &parameters].concat()
    }

    fn rsa(last: u8) -> Vec<u8> {
        vec![0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, last, 5, 0]
    }

    fn ecdsa_sha2(last: u8) -> Vec<u8> {
        vec![0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, last]
    }

    /// RFC 5929 §4.1.
    #[test]
    fn the_hash_is_that_of_the_signature() {
        let ecdsa_sha1 = vec![0x30, 9, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];
        let rows = [
            ("md5WithRSA", rsa(4), Some(&digest::SHA256)),
            ("sha1WithRSA", rsa(5), Some(&digest::SHA256)),
            ("ecdsa-with-SHA1", ecdsa_sha1, Some(&digest::SHA256)),
            ("sha256WithRSA", rsa(11), Some(&digest::SHA256)),
            ("sha384WithRSA", rsa(12), Some(&digest::SHA384)),
            ("sha512WithRSA", rsa(13), Some(&digest::SHA512)),
            ("sha224WithRSA", rsa(14), None),
            ("ecdsa-with-SHA256", ecdsa_sha2(2), Some(&digest::SHA256)),
            ("ecdsa-with-SHA384", ecdsa_sha2(3), Some(&digest::SHA384)),
            ("ecdsa-with-SHA512", ecdsa_sha2(4), Some(&digest::SHA512)),
            ("RSASSA-PSS, SHA-1 by default", pss(None), Some(&digest::SHA256)),
            ("RSASSA-PSS with SHA-256", pss(Some(1)), Some(&digest::SHA256)),
            ("RSASSA-PSS with SHA-384", pss(Some(2)), Some(&digest::SHA384)),
            ("RSASSA-PSS with SHA-512", pss(Some(3)), Some(&digest::SHA512)),
            ("RSASSA-PSS with SHA-224", pss(Some(4)), None),
            ("something unknown", vec![0x30, 4, 6, 2, 0x2a, 3], None),
        ];
        for (name, algorithm, hash) in rows {
            let der = signed_by(&algorithm);
            let expected = hash.map(|hash| digest::digest(hash, &der).as_ref().to_vec());
            assert_eq!(server_end_point(&der), expected, "{name}");
        }
    }

    #[test]
    fn real_certificates() {
        let p384 = certificate(&PKCS_ECDSA_P384_SHA384);
        assert_eq!(server_end_point(&p384), Some(digest::digest(&digest::SHA384, &p384).as_ref().to_vec()));
        // Ed25519 names no hash: the binding is undefined.
        assert_eq!(server_end_point(&certificate(&PKCS_ED25519)), None);
        assert_eq!(server_end_point(b"not a certificate"), None);
    }

    #[test]
    fn secrets_of_no_known_suite_have_no_exporter() {
        assert!(tls_exporter(&[7; 32]).is_some() && tls_exporter(&[7; 48]).is_some());
        assert_ne!(tls_exporter(&[7; 32]), tls_exporter(&[8; 32]));
        for length in [0, 16, 31, 33, 47, 49, 64] {
            assert_eq!(tls_exporter(&vec![7; length]), None, "{length}");
        }
    }
}
