//! The `[[domain]]` sections: names, certificates, mechanisms, and the rules between them.
//!
//! A domain without a certificate is given one made by the server only when it is alone in that, or asks for it:
//! nobody is to find a stranger's certificate, or an unexpected self-signed one, behind a typing mistake.

use super::keys::{
    ANONYMOUS, CERTIFICATE, CLIENT_ROOTS, CLIENT_SERVER_AUTH, CRLS, DOMAIN, DOMAIN_MECHANISMS, DOMAIN_TLS_REQUIRED,
    KEY, MECHANISMS, NAME, SELF_SIGNED, Sections, TLS_REQUIRED,
};
use super::read::{Given, Key, Section, clip};
use super::schema::Schema;
use super::{DOMAIN_DEFAULT, DomainConfig, SaslMechanism, defaults};
use crate::jid;
use std::path::PathBuf;

/// What the top of the file says for every domain.
struct Common {
    tls_required: bool,
    mechanisms: Option<Vec<SaslMechanism>>,
    /// Some domain names a certificate, so that the others must say what they want.
    any_certificate: bool,
}

impl Schema<'_, '_> {
    /// Every domain, else the default one.
    pub(super) fn domains(&mut self, top: Section<'_>, all: Sections<'_>) -> Vec<DomainConfig> {
        let sections = top.list(self.reader, DOMAIN, "[[domain]]");
        let common = Common {
            tls_required: top.boolean(self.reader, TLS_REQUIRED).is_none_or(|given| given.value),
            mechanisms: self.mechanisms(top, MECHANISMS),
            any_certificate: sections.iter().any(|section| section.has(CERTIFICATE)),
        };
        let mut domains: Vec<DomainConfig> = Vec::with_capacity(sections.len().max(1));
        for section in sections {
            section.refuse_unknown(self.reader, all);
            let Some(name) = self.domain_name(section, &domains) else { continue };
            let domain = self.domain(section, name, &common);
            domains.push(domain);
        }
        if domains.is_empty() {
            // Only a file without any [[domain]] comes here without a fault. `client_roots` has no place at the top,
            // so EXTERNAL there has nothing to go by.
            let mut domain = defaults::domain(DOMAIN_DEFAULT);
            domain.tls_required = common.tls_required;
            domain.mechanisms = common.mechanisms.unwrap_or(domain.mechanisms);
            self.judge_external(top, &domain);
            domains.push(domain);
        }
        domains
    }

    /// The prepared name, if it is there, valid and new.
    fn domain_name(&mut self, section: Section<'_>, others: &[DomainConfig]) -> Option<String> {
        if !section.has(NAME) {
            self.reader.fault(section.at, "a [[domain]] without `name`", NAME.expected, NAME.write);
            return None;
        }
        let given = section.text(self.reader, NAME)?;
        let Ok(name) = jid::prepare_domainpart(given.value) else {
            let found = format!("`name` is {:?}, which no domain can be called", clip(given.value));
            self.reader.fault(given.at, found, NAME.expected, NAME.write);
            return None;
        };
        if others.iter().any(|other| other.name == *name) {
            let found = format!("the domain {name} is there twice");
            self.reader.fault(given.at, found, "each domain once", "nothing here: remove this [[domain]] section");
            return None;
        }
        Some(name.into_owned())
    }

    fn domain(&mut self, section: Section<'_>, name: String, common: &Common) -> DomainConfig {
        let own = self.mechanisms(section, DOMAIN_MECHANISMS);
        let tls_required = section.boolean(self.reader, DOMAIN_TLS_REQUIRED).map(|given| given.value);
        let flag = |given: Option<Given<bool>>| given.is_some_and(|given| given.value);
        let mut domain = DomainConfig {
            name,
            certificate: self.path(section, CERTIFICATE),
            key: self.path(section, KEY),
            self_signed: false,
            client_roots: self.path(section, CLIENT_ROOTS),
            crls: self.paths(section, CRLS),
            client_server_auth: flag(section.boolean(self.reader, CLIENT_SERVER_AUTH)),
            tls_required: tls_required.unwrap_or(common.tls_required),
            mechanisms: Vec::new(),
            anonymous: flag(section.boolean(self.reader, ANONYMOUS)),
        };
        domain.mechanisms = own.or_else(|| common.mechanisms.clone()).unwrap_or_else(|| usual_mechanisms(&domain));
        self.judge_certificate(section, &mut domain, common.any_certificate);
        self.judge_external(section, &domain);
        if domain.anonymous {
            domain.mechanisms.push(SaslMechanism::Anonymous);
        }
        domain
    }

    /// Which certificate the domain has: its own pair, one made by the server, or none.
    fn judge_certificate(&mut self, section: Section<'_>, domain: &mut DomainConfig, others_have: bool) {
        let asked = section.boolean(self.reader, SELF_SIGNED);
        let mut fault = |found: String, expected, write: &str| self.reader.fault(section.at, found, expected, write);
        let name = domain.name.clone();
        match (section.has(CERTIFICATE), section.has(KEY), asked.map(|given| given.value)) {
            (true, false, _) => fault(
                format!("the domain {name} has a `certificate` without its `key`"),
                "the certificate chain and its private key",
                KEY.write,
            ),
            (false, true, _) => fault(
                format!("the domain {name} has a `key` without its `certificate`"),
                "the certificate chain and its private key",
                CERTIFICATE.write,
            ),
            (true, true, Some(true)) => fault(
                format!("the domain {name} has a `certificate` and asks for `self_signed`"),
                "one of the two",
                "self_signed = false",
            ),
            (true, true, _) => {}
            (false, false, Some(true)) => domain.self_signed = true,
            (false, false, Some(false)) if domain.tls_required => fault(
                format!("the domain {name} has no certificate, but requires TLS"),
                "a certificate, or no TLS",
                "self_signed = true",
            ),
            (false, false, Some(false)) => {}
            // The section is unreadable there, which was already said.
            (false, false, None) if section.has(SELF_SIGNED) => {}
            (false, false, None) if others_have => fault(
                format!("the domain {name} has no certificate, but others have one"),
                "`certificate` and `key`, or `self_signed = true`: another domain's certificate is never used",
                &format!("certificate = \"{}.pem\"\nkey = \"{}.key\"", clip(&name), clip(&name)),
            ),
            (false, false, None) => domain.self_signed = true,
        }
    }

    /// EXTERNAL needs roots, the roots need EXTERNAL, and both need TLS.
    fn judge_external(&mut self, section: Section<'_>, domain: &DomainConfig) {
        let external = domain.mechanisms.contains(&SaslMechanism::External);
        let roots = domain.client_roots.is_some();
        let mut fault = |found: &str, expected, write: &str| {
            self.reader.fault(section.at, format!("the domain {} {found}", domain.name), expected, write);
        };
        if external && !roots {
            fault("offers EXTERNAL without `client_roots`", CLIENT_ROOTS.expected, CLIENT_ROOTS.write);
        }
        if roots && !external {
            let expected = "EXTERNAL among its `mechanisms`, which is what the roots are for";
            let names: Vec<String> = usual_mechanisms(domain).iter().map(|m| format!("{:?}", m.name())).collect();
            fault(
                "has `client_roots` but does not offer EXTERNAL",
                expected,
                &format!("mechanisms = [{}]", names.join(", ")),
            );
        }
        if roots && !section.has(CERTIFICATE) && !domain.self_signed {
            fault("has `client_roots` but no TLS", "a certificate of its own", SELF_SIGNED.write);
        }
        if !roots && !domain.crls.is_empty() {
            fault("has `crls` without `client_roots`", CLIENT_ROOTS.expected, CLIENT_ROOTS.write);
        }
        if !roots && domain.client_server_auth {
            fault("has `client_server_auth` without `client_roots`", CLIENT_ROOTS.expected, CLIENT_ROOTS.write);
        }
    }

    /// The list under `key`, if every name in it is known and none is there twice.
    fn mechanisms(&mut self, section: Section<'_>, key: Key<'_>) -> Option<Vec<SaslMechanism>> {
        let given = section.texts(self.reader, key)?;
        let mut mechanisms = Vec::with_capacity(given.value.len());
        for name in &given.value {
            let found = match SaslMechanism::parse(name.value) {
                Some(SaslMechanism::Anonymous) => {
                    let found = "`mechanisms` holds \"ANONYMOUS\"";
                    self.reader.fault(name.at, found, "a key of its own in [[domain]]", "anonymous = true");
                    continue;
                }
                Some(mechanism) if !mechanisms.contains(&mechanism) => {
                    mechanisms.push(mechanism);
                    continue;
                }
                Some(mechanism) => format!("`mechanisms` holds {:?} twice", mechanism.name()),
                None => format!("`mechanisms` holds {:?}", clip(name.value)),
            };
            self.reader.fault(name.at, found, key.expected, key.write);
        }
        if given.value.is_empty() {
            self.reader.fault(given.at, "`mechanisms` is empty: nobody could log in", key.expected, key.write);
        }
        Some(mechanisms)
    }

    fn paths(&mut self, section: Section<'_>, key: Key<'_>) -> Vec<PathBuf> {
        let given = section.texts(self.reader, key);
        given.map_or_else(Vec::new, |given| given.value.iter().map(|path| self.folder.join(path.value)).collect())
    }
}

/// What is offered when nothing is said: with roots, a certificate before all.
fn usual_mechanisms(domain: &DomainConfig) -> Vec<SaslMechanism> {
    let external = domain.client_roots.is_some().then_some(SaslMechanism::External);
    external.into_iter().chain(defaults::MECHANISMS).collect()
}
