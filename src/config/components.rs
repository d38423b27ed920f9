//! The `[[component]]` sections: which programs plug in, and the sockets that they find (XEP-0114).
//!
//! What a component says goes in the clear, its secret's hash and everybody's messages: there is no TLS for it. So it is
//! awaited on this machine, unless the operator says in so many words that the way is safe.

use super::keys::{COMPONENT, COMPONENT_NAME, IN_THE_CLEAR, SECRET, SECRET_FILE, SOCKET, SOCKET_MODE, Sections};
use super::read::{Given, Section};
use super::schema::Schema;
use super::{ComponentConfig, DomainConfig, SecretConfig, SocketConfig};
use crate::jid;
use crate::limits::SOCKET_PATH_BYTES_MAX;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;

/// For the owner alone, unless the section says otherwise.
const SOCKET_MODE_DEFAULT: u32 = 0o600;

impl Schema<'_, '_> {
    /// The external components.
    pub(super) fn components(
        &mut self,
        top: Section<'_>,
        domains: &[DomainConfig],
        all: Sections<'_>,
    ) -> Vec<ComponentConfig> {
        let mut components: Vec<ComponentConfig> = Vec::new();
        for section in top.list(self.reader, COMPONENT, "[[component]]") {
            section.refuse_unknown(self.reader, all);
            if !section.has(COMPONENT_NAME) {
                let found = "a [[component]] without `name`";
                self.reader.fault(section.at, found, COMPONENT_NAME.expected, COMPONENT_NAME.write);
            }
            let secret = self.secret(section);
            let Some(given) = section.text(self.reader, COMPONENT_NAME) else { continue };
            let Ok(name) = jid::prepare_domainpart(given.value) else {
                self.refuse(given, COMPONENT_NAME);
                continue;
            };
            let is_hosted = domains.iter().any(|domain| domain.name == *name);
            if is_hosted || components.iter().any(|other| other.name == *name) {
                let found = format!("the name {name} is taken by another section");
                self.reader.fault(given.at, found, "a domain of its own for each component", COMPONENT_NAME.write);
                continue;
            }
            let Some(secret) = secret else { continue };
            components.push(ComponentConfig { name: name.into_owned(), secret });
        }
        components
    }

    /// Exactly one of `secret` and `secret_file`.
    fn secret(&mut self, section: Section<'_>) -> Option<SecretConfig> {
        match (section.has(SECRET), section.has(SECRET_FILE)) {
            (true, false) => {
                let given = section.text(self.reader, SECRET)?;
                Some(SecretConfig::Words(given.value.to_owned()))
            }
            (false, true) => self.path(section, SECRET_FILE).map(SecretConfig::File),
            (true, true) => {
                let found = "a [[component]] with both `secret` and `secret_file`";
                self.reader.fault(section.at, found, "one of the two", SECRET_FILE.write);
                None
            }
            (false, false) => {
                let found = "a [[component]] without `secret` and without `secret_file`";
                self.reader.fault(section.at, found, "one of the two", SECRET.write);
                None
            }
        }
    }

    /// The Unix socket of a component listener, if it has one.
    pub(super) fn component_socket(&mut self, section: Section<'_>, before: &[SocketConfig]) -> Option<SocketConfig> {
        if section.has(SOCKET_MODE) && !section.has(SOCKET) {
            let found = "`socket_mode` without `socket`";
            self.reader.fault(section.at, found, "both, or neither", SOCKET.write);
        }
        let mode = section.text(self.reader, SOCKET_MODE).map_or(Some(SOCKET_MODE_DEFAULT), |given| self.mode(given));
        let given = section.text(self.reader, SOCKET)?;
        let path = self.folder.join(given.value);
        let bytes = path.as_os_str().as_bytes().len();
        if bytes > SOCKET_PATH_BYTES_MAX {
            let found = format!("the path of `socket` is {} bytes too long", bytes - SOCKET_PATH_BYTES_MAX);
            self.reader.fault(given.at, found, "a shorter path", r#"socket = "/run/stonechat/components.sock""#);
        }
        if before.iter().any(|other| other.path == path) {
            let found = format!("the socket {} is there twice", path.display());
            self.reader.fault(given.at, found, "each socket once", "nothing here: remove the line");
        }
        Some(SocketConfig { path, mode: mode? })
    }

    fn mode(&mut self, given: Given<&str>) -> Option<u32> {
        match given.value {
            "0600" => Some(0o600),
            "0660" => Some(0o660),
            _ => {
                self.refuse(given, SOCKET_MODE);
                None
            }
        }
    }

    /// Whether a component listener may have this address: others must not hear what is said there.
    pub(super) fn is_for_components(&mut self, section: Section<'_>, address: SocketAddr, at: usize) -> bool {
        let is_allowed = section.boolean(self.reader, IN_THE_CLEAR).is_some_and(|given| given.value);
        if address.ip().is_loopback() || is_allowed {
            return true;
        }
        let found = format!("components are awaited on {address}, which others can reach, and speak in the clear");
        let expected =
            "loopback addresses or a `socket`; elsewhere, if nobody listens on the way, `in_the_clear = true`";
        self.reader.fault(at, found, expected, r#"addresses = ["127.0.0.1:5347"]"#);
        false
    }
}
