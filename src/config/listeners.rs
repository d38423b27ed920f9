//! The `[[listener]]` sections, and which addresses are open when there are none.
//!
//! A server for `localhost` is for this machine; one that names a domain is for everybody.

use super::keys::{ADDRESSES, IN_THE_CLEAR, KIND, LISTENER, SOCKET, SOCKET_MODE, Sections};
use super::read::{Given, Section, clip};
use super::schema::Schema;
use super::{DOMAIN_DEFAULT, DomainConfig, ListenerConfig, ListenerKind, SocketConfig, defaults};
use std::net::{IpAddr, SocketAddr};

impl Schema<'_, '_> {
    /// Every listener, else the usual two.
    pub(super) fn listeners(
        &mut self,
        top: Section<'_>,
        domains: &[DomainConfig],
        has_components: bool,
        all: Sections<'_>,
    ) -> (Vec<ListenerConfig>, Vec<SocketConfig>) {
        let tls = domains.iter().any(DomainConfig::has_tls);
        let mut usual = defaults::listeners(reach(domains));
        let sections = top.list(self.reader, LISTENER, "[[listener]]");
        if sections.is_empty() {
            usual.retain(|listener| tls || listener.kind == ListenerKind::StartTls);
            usual.extend(has_components.then(defaults::component_listener));
            return (usual, Vec::new());
        }
        let mut sockets = Vec::new();
        let mut listeners: Vec<ListenerConfig> = Vec::with_capacity(sections.len());
        for section in sections {
            section.refuse_unknown(self.reader, all);
            let Some(kind) = self.kind(section) else { continue };
            if kind == ListenerKind::Direct && !tls {
                let found = "a direct TLS listener, but no domain has a certificate";
                let expected = "a certificate for a domain, or no direct listener";
                self.reader.fault(section.at, found, expected, "self_signed = true");
            }
            let socket = match kind {
                ListenerKind::Component => self.component_socket(section, &sockets),
                ListenerKind::StartTls | ListenerKind::Direct => {
                    self.refuse_component_keys(section);
                    None
                }
            };
            let listener = match self.addresses(section, kind, &listeners) {
                Some(addresses) => ListenerConfig { kind, addresses, all_must_open: true },
                None if kind == ListenerKind::Component && section.has(SOCKET) => {
                    sockets.extend(socket);
                    continue;
                }
                None if kind == ListenerKind::Component => defaults::component_listener(),
                None => match usual.iter().find(|listener| listener.kind == kind) {
                    Some(listener) => listener.clone(),
                    None => continue,
                },
            };
            sockets.extend(socket);
            listeners.push(listener);
        }
        let is_awaited = !sockets.is_empty() || listeners.iter().any(|one| one.kind == ListenerKind::Component);
        if has_components && !is_awaited {
            listeners.push(defaults::component_listener());
        }
        (listeners, sockets)
    }

    /// Clients have neither a Unix socket nor a way in the clear that TLS does not follow.
    fn refuse_component_keys(&mut self, section: Section<'_>) {
        for key in [SOCKET, SOCKET_MODE, IN_THE_CLEAR] {
            if section.has(key) {
                let found = format!("`{}` in a [[listener]] that is not for components", key.name);
                self.reader.fault(section.at, found, "it in one that is", r#"kind = "component""#);
            }
        }
    }

    fn kind(&mut self, section: Section<'_>) -> Option<ListenerKind> {
        if !section.has(KIND) {
            self.reader.fault(section.at, "a [[listener]] without `kind`", KIND.expected, KIND.write);
            return None;
        }
        let given = section.text(self.reader, KIND)?;
        let kind = [ListenerKind::StartTls, ListenerKind::Direct, ListenerKind::Component]
            .into_iter()
            .find(|kind| kind.name() == given.value);
        if kind.is_none() {
            self.refuse(given, KIND);
        }
        kind
    }

    /// The addresses given; none of them may be taken by a listener before.
    fn addresses(
        &mut self,
        section: Section<'_>,
        kind: ListenerKind,
        before: &[ListenerConfig],
    ) -> Option<Vec<SocketAddr>> {
        let given = section.texts(self.reader, ADDRESSES)?;
        if given.value.is_empty() {
            self.reader.fault(given.at, "`addresses` is empty", ADDRESSES.expected, ADDRESSES.write);
        }
        let mut addresses = Vec::with_capacity(given.value.len());
        for text in given.value {
            let Some(address) = self.address(text, kind) else { continue };
            let mut taken = before.iter().flat_map(|listener| &listener.addresses).chain(&addresses);
            if kind == ListenerKind::Component && !self.is_for_components(section, address, text.at) {
                continue;
            }
            // Port 0 is another port each time.
            if address.port() != 0 && taken.any(|other| *other == address) {
                let found = format!("the address {address} is there twice");
                self.reader.fault(text.at, found, "each address once", "nothing here: remove it from the list");
                continue;
            }
            addresses.push(address);
        }
        Some(addresses)
    }

    fn address(&mut self, given: Given<&str>, kind: ListenerKind) -> Option<SocketAddr> {
        let text = given.value;
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let host = bare.parse::<IpAddr>().ok().map(|host| SocketAddr::new(host, kind.port()));
        let address = text.parse().ok().or(host);
        if address.is_none() {
            let found = format!("`addresses` holds {:?}", clip(text));
            self.reader.fault(given.at, found, ADDRESSES.expected, ADDRESSES.write);
        }
        address
    }
}

/// For whom these domains are.
fn reach(domains: &[DomainConfig]) -> defaults::Reach {
    if domains.iter().all(|domain| domain.name == DOMAIN_DEFAULT) {
        defaults::Reach::Loopback
    } else {
        defaults::Reach::Everybody
    }
}
