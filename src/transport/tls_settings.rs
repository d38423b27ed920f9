//! The settings of TLS that hold for every connection, and the crypto provider behind them.
//!
//! TLS 1.2 and 1.3, forward secrecy and AEADs only, extended master secret required, no 0-RTT, one
//! stateless ticket a handshake, nothing stored on our side. The provider is chosen by cargo feature.
//! The library reads the system's clock by itself, for the age and rotation of ticket keys only;
//! whatever we decide by time is given `now` (`client`, `certs`).
//!
//! RFC 9325 §3 and §4, RFC 7627, RFC 8446 §2.3.

use super::certs::CertError;
use super::tls_client_auth::ProvesPossession;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ServerConfig};
use std::sync::Arc;

#[cfg(feature = "ring")]
use rustls::crypto::ring as provided;

#[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
use rustls::crypto::aws_lc_rs as provided;

/// Tickets sent after a full or resumed TLS 1.3 handshake. A client uses one per connection.
const TICKETS_PER_HANDSHAKE: usize = 1;

/// Ticket keys that rotate by themselves and are good for twelve hours at most (RFC 9325 §3.4).
pub(super) fn new_ticketer() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    provided::Ticketer::new()
}

/// The provider of the chosen feature, its suites in our order.
pub(super) fn provider() -> CryptoProvider {
    let mut provider = provided::default_provider();
    let order = suite_order(has_aes());
    let place = |suite: CipherSuite| order.iter().position(|wanted| *wanted == suite);
    provider.cipher_suites.retain(|suite| place(suite.suite()).is_some());
    provider.cipher_suites.sort_by_key(|suite| place(suite.suite()));
    provider
}

/// Best first, for both versions. All have forward secrecy and an AEAD (RFC 9325 §4.2). SHA-384 suites
/// come last: they cost a fifth of a handshake and protect nothing that the rest does not.
fn suite_order(has_aes: bool) -> [CipherSuite; 9] {
    use CipherSuite::*;
    let [first, second] = if has_aes {
        [
            [TLS13_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256],
            CHACHA20_SUITES,
        ]
    } else {
        [
            CHACHA20_SUITES,
            [TLS13_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256],
        ]
    };
    let last =
        [TLS13_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384];
    let [a, b, c] = first;
    let [d, e, f] = second;
    let [g, h, i] = last;
    [a, b, c, d, e, f, g, h, i]
}

const CHACHA20_SUITES: [CipherSuite; 3] = [
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// Whether the CPU has instructions for AES-GCM; without them ChaCha20 is several times faster.
fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    return std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
    return false;
}

/// The settings shared by all connections; `TlsDomains::session` fills in the rest in a copy.
pub(super) fn settings(provider: Arc<CryptoProvider>, ask_client: bool) -> Result<ServerConfig, CertError> {
    let algorithms = provider.signature_verification_algorithms;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| CertError::Provider { what: error.to_string() })?;
    let builder = if ask_client {
        builder.with_client_cert_verifier(Arc::new(ProvesPossession { algorithms }))
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_cert_resolver(Arc::new(Nobody));
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = TICKETS_PER_HANDSHAKE;
    config.max_early_data_size = 0;
    config.require_ems = true;
    config.cert_compression_cache = Arc::new(rustls::compress::CompressionCache::Disabled);
    Ok(config)
}

/// Stands in the shared settings until a connection puts its own resolver there.
#[derive(Debug)]
struct Nobody;

impl ResolvesServerCert for Nobody {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_has_forward_secrecy_and_none_is_lost() {
        let all = provided::default_provider().cipher_suites;
        let ours = provider().cipher_suites;
        assert_eq!(ours.len(), all.len(), "a suite that the order does not name");
        for suite in ours {
            let name = format!("{:?}", suite.suite());
            assert!(suite.tls13().is_some() || name.starts_with("TLS_ECDHE_"), "{name}");
        }
    }

    #[test]
    fn the_cpu_decides_which_cipher_is_first() {
        use CipherSuite::*;
        assert_eq!(suite_order(true)[0], TLS13_AES_128_GCM_SHA256);
        assert_eq!(suite_order(false)[0], TLS13_CHACHA20_POLY1305_SHA256);
        for has_aes in [true, false] {
            let order = suite_order(has_aes);
            assert!(order.iter().enumerate().all(|(index, suite)| !order[..index].contains(suite)));
            assert_eq!(order[6], TLS13_AES_256_GCM_SHA384);
        }
        let first = provider().cipher_suites[0].suite();
        assert_eq!(first, suite_order(has_aes())[0]);
    }

    #[test]
    fn settings_are_strict() {
        for asks in [false, true] {
            let config = settings(Arc::new(provider()), asks).expect("settings");
            assert!(config.require_ems && config.ignore_client_order);
            assert_eq!((config.max_early_data_size, config.send_tls13_tickets, config.max_tls13_tickets), (0, 1, 0));
            assert!(!config.session_storage.can_cache() && !config.send_half_rtt_data);
            assert!(!config.enable_secret_extraction && config.alpn_protocols.is_empty());
        }
    }
}
