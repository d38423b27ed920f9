//! The hosted domains: what each allows, and what TLS it can have; and the domains of components.

use crate::ids::ConnId;
use crate::im::columns::Hosts;
use crate::stream::component::{Components, KnownComponent, Secret};
use crate::stream::{DomainPolicy, Policy};
use crate::transport::TlsDomains;
use std::sync::Arc;

/// All hosted domains, and those that components answer for.
#[derive(Debug)]
pub struct Domains {
    list: Vec<DomainPolicy>,
    tls: Option<Arc<TlsDomains>>,
    components: Vec<Component>,
}

/// An external component that may connect (XEP-0114).
#[derive(Debug)]
struct Component {
    name: String,
    secret: Secret,
    /// The connection, while there is one.
    conn: Option<ConnId>,
}

impl Domains {
    /// The domains in the order of the configuration (the first is the default one), and their TLS.
    pub fn new(list: Vec<DomainPolicy>, tls: Option<Arc<TlsDomains>>) -> Self {
        Self { list, tls, components: Vec::new() }
    }

    /// The same, with components that may connect: the domain of each (prepared, and not hosted here), and its secret.
    #[must_use]
    pub fn with_components(mut self, components: impl IntoIterator<Item = (String, Secret)>) -> Self {
        self.components.extend(components.into_iter().map(|(name, secret)| Component { name, secret, conn: None }));
        self
    }

    /// A component has come.
    pub(super) fn connect(&mut self, name: &str, conn: ConnId) {
        if let Some(component) = self.components.iter_mut().find(|component| component.name == name) {
            component.conn = Some(conn);
        }
    }

    /// The component of a connection has gone; its domain.
    pub(super) fn disconnect(&mut self, conn: ConnId) -> Option<String> {
        let component = self.components.iter_mut().find(|component| component.conn == Some(conn))?;
        component.conn = None;
        Some(component.name.clone())
    }

    /// The domains and connections of the components that are there.
    pub(super) fn connected(&self) -> impl Iterator<Item = (&str, ConnId)> {
        self.components.iter().filter_map(|component| Some((component.name.as_str(), component.conn?)))
    }

    fn component_of(&self, name: &str) -> Option<&Component> {
        self.components.iter().find(|component| component.name == name)
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

    fn component(&self, domain: &str) -> Option<ConnId> {
        self.component_of(domain)?.conn
    }

    fn is_component(&self, domain: &str) -> bool {
        self.component_of(domain).is_some()
    }

    fn components(&self) -> Vec<&str> {
        self.connected().map(|(name, _)| name).collect()
    }
}

impl Components for Domains {
    fn known(&self, name: &str) -> Option<KnownComponent<'_>> {
        let Component { secret, conn, .. } = self.component_of(name)?;
        Some(KnownComponent { secret, is_connected: conn.is_some() })
    }

    fn speaker(&self) -> &str {
        self.default_domain()
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
