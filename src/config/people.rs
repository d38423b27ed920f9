//! Who administers the server, who may make an account, and whom to write to.

use super::keys::{ADMINS, CONTACT, CONTACTS, REGISTRATION, Sections};
use super::read::Section;
use super::schema::Schema;
use super::{DomainConfig, Registration};
use crate::jid::Jid;

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
}
