//! The hosted domains: what each allows, and what TLS it can have.

use crate::ids::ConnId;
use crate::im::columns::Hosts;
use crate::stream::{DomainPolicy, Policy};
use crate::transport::TlsDomains;
use std::sync::Arc;

/// All hosted domains.
#[derive(Debug)]
pub struct Domains {
    list: Vec<DomainPolicy>,
    tls: Option<Arc<TlsDomains>>,
}

impl Domains {
    /// The domains in the order of the configuration (the first is the default one), and their TLS.
    pub fn new(list: Vec<DomainPolicy>, tls: Option<Arc<TlsDomains>>) -> Self {
        Self { list, tls }
    }

    /// Puts a newly loaded set of certificates in place; existing connections keep theirs.
    pub fn reload_tls(&mut self, tls: Arc<TlsDomains>) {
        for domain in &mut self.list {
            domain.tls_available = tls.has(&domain.name);
        }
        self.tls = Some(tls);
    }

    /// The names of all domains.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|domain| domain.name.as_str())
    }
}

impl Hosts for Domains {
    fn is_hosted(&self, domain: &str) -> bool {
        self.list.iter().any(|hosted| hosted.name == domain)
    }

    fn component(&self, _domain: &str) -> Option<ConnId> {
        None
    }

    fn is_component(&self, _domain: &str) -> bool {
        false
    }

    fn components(&self) -> Vec<&str> {
        Vec::new()
    }
}

impl Policy for Domains {
    fn domain(&self, name: &str) -> Option<&DomainPolicy> {
        self.list.iter().find(|domain| domain.name == name)
    }

    fn default_domain(&self) -> &str {
        self.list.first().map_or("localhost", |domain| domain.name.as_str())
    }

    fn sole_domain(&self) -> Option<&DomainPolicy> {
        match self.list.as_slice() {
            [sole] => Some(sole),
            _ => None,
        }
    }

    fn judge(&self, domain: &str, chain: &[Vec<u8>], unix_s: u64) -> Result<Vec<String>, ()> {
        let trust = self.tls.as_ref().and_then(|tls| tls.client_trust(domain)).ok_or(())?;
        trust.judge(chain, unix_s).map_err(|fault| log::debug!("client certificate for {domain}: {fault}"))
    }
}
