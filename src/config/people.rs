//! Who administers the server, who may make an account, whom to write to, and which programs plug in.

use super::keys::{ADMINS, COMPONENT, COMPONENT_NAME, CONTACT, CONTACTS, REGISTRATION, SECRET, Sections};
use super::read::Section;
use super::schema::Schema;
use super::{ComponentConfig, DomainConfig, Registration};
use crate::jid::{self, Jid};

impl Schema<'_, '_> {
    /// Accounts of hosted domains that may use the commands of XEP-0133.
    pub(super) fn admins(&mut self, top: Section<'_>, domains: &[DomainConfig]) -> Vec<Jid> {
        let Some(given) = top.texts(self.reader, ADMINS) else { return Vec::new() };
        let mut admins = Vec::with_capacity(given.value.len());
        for text in given.value {
            let is_account = |jid: &Jid| jid.is_bare() && jid.localpart().is_some();
            match Jid::parse(text.value).ok().filter(is_account) {
                Some(admin) if domains.iter().any(|domain| domain.name == admin.domainpart()) => admins.push(admin),
                Some(admin) => {
                    let found = format!("the admin {admin} is of a domain that is not hosted here");
                    self.reader.fault(text.at, found, "an account of a hosted domain", ADMINS.write);
                }
                None => self.refuse(text, ADMINS),
            }
        }
        admins
    }

    /// Who may make an account.
    pub(super) fn registration(&mut self, top: Section<'_>) -> Option<Registration> {
        let given = top.text(self.reader, REGISTRATION)?;
        let registration = match given.value {
            "closed" => Some(Registration::Closed),
            "invite" => Some(Registration::Invite),
            "open" => Some(Registration::Open),
            _ => None,
        };
        if registration.is_none() {
            self.refuse(given, REGISTRATION);
        }
        registration
    }

    /// Contact addresses by the field of their form (XEP-0157), in its order.
    pub(super) fn contacts(&mut self, top: Section<'_>, all: Sections<'_>) -> Vec<(String, Vec<String>)> {
        let Some(section) = top.table(self.reader, CONTACT, "[contact]") else { return Vec::new() };
        section.refuse_unknown(self.reader, all);
        let mut contacts = Vec::new();
        for key in CONTACTS {
            let Some(given) = section.texts(self.reader, *key) else { continue };
            for text in &given.value {
                if !text.value.contains(':') {
                    self.refuse(*text, *key);
                }
            }
            let values: Vec<String> = given.value.iter().map(|text| text.value.to_owned()).collect();
            if !values.is_empty() {
                contacts.push((format!("{}-addresses", key.name), values));
            }
        }
        contacts
    }

    /// The external components (XEP-0114).
    pub(super) fn components(
        &mut self,
        top: Section<'_>,
        domains: &[DomainConfig],
        all: Sections<'_>,
    ) -> Vec<ComponentConfig> {
        let mut components: Vec<ComponentConfig> = Vec::new();
        for section in top.list(self.reader, COMPONENT, "[[component]]") {
            section.refuse_unknown(self.reader, all);
            for key in [COMPONENT_NAME, SECRET] {
                if !section.has(key) {
                    let found = format!("a [[component]] without `{}`", key.name);
                    self.reader.fault(section.at, found, key.expected, key.write);
                }
            }
            let Some(given) = section.text(self.reader, COMPONENT_NAME) else { continue };
            let Some(secret) = section.text(self.reader, SECRET) else { continue };
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
            components.push(ComponentConfig { name: name.into_owned(), secret: secret.value.to_owned() });
        }
        components
    }
}
