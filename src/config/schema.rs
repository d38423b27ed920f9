//! The top of the file: what its keys mean, section by section.
//!
//! `domains` and `listeners` judge theirs.

use super::keys::{CACHE_BYTES, RESERVE_BYTES};
use super::keys::{
    CONTACTS, DATA_DIR, IN_COMPONENT, IN_DOMAIN, IN_LISTENER, IN_STORAGE, LEGACY, LIMITS, LOG_LEVEL, LimitTexts,
    SANDBOX, SCRAM_ITERATIONS, STORAGE, Sections, TOP, USER,
};
use super::read::{Given, Key, Reader, Section, clip, tables};
use super::{Config, ConfigSource, Fault, Limits, StorageConfig, defaults, limits};
use std::path::{Path, PathBuf};

/// Judges a whole file. All its faults, in its order, or a consistent configuration.
pub(super) fn parse(text: &str, path: &Path) -> Result<Config, Vec<Fault>> {
    let tables = tables(text).map_err(|fault| vec![fault])?;
    let mut reader = Reader::new(text);
    let config = Schema { reader: &mut reader, folder: path.parent().unwrap_or(Path::new("")) }
        .config(Section::top(tables.get_ref()), path);
    if reader.faults.is_empty() {
        return Ok(config);
    }
    reader.faults.sort_by_key(|fault| fault.line);
    Err(reader.faults)
}

/// One judgement: the faults it gathers, and what paths are relative to.
pub(super) struct Schema<'r, 't> {
    pub(super) reader: &'r mut Reader<'t>,
    /// The folder of the file.
    pub(super) folder: &'r Path,
}

impl Schema<'_, '_> {
    fn config(&mut self, top: Section<'_>, path: &Path) -> Config {
        let limit_texts = LimitTexts::new();
        let limit_keys = limit_texts.keys();
        let all: [(&'static str, &[Key<'_>]); 7] = [
            ("", TOP),
            ("[[domain]]", IN_DOMAIN),
            ("[[listener]]", IN_LISTENER),
            ("[limits]", &limit_keys),
            ("[storage]", IN_STORAGE),
            ("[contact]", CONTACTS),
            ("[[component]]", IN_COMPONENT),
        ];
        top.refuse_unknown(self.reader, &all);
        let domains = self.domains(top, &all);
        let components = self.components(top, &domains, &all);
        let (listeners, component_sockets) = self.listeners(top, &domains, !components.is_empty(), &all);
        let base = Config::default();
        Config {
            source: ConfigSource::File(path.to_owned()),
            data_dir: self.path(top, DATA_DIR).unwrap_or(base.data_dir),
            user: top.text(self.reader, USER).map(|given| given.value.to_owned()),
            sandbox: top.boolean(self.reader, SANDBOX).map_or(base.sandbox, |given| given.value),
            legacy: top.boolean(self.reader, LEGACY).map_or(base.legacy, |given| given.value),
            scram_iterations: self.scram_iterations(top),
            log_level: self.log_level(top).unwrap_or(base.log_level),
            admins: self.admins(top, &domains),
            registration: self.registration(top).unwrap_or(base.registration),
            contacts: self.contacts(top, &all),
            components,
            component_sockets,
            storage: self.storage(top, &all),
            limits: self.limits(top, &limit_keys, &all),
            domains,
            listeners,
        }
    }

    fn scram_iterations(&mut self, top: Section<'_>) -> u32 {
        let (least, most) = (defaults::SCRAM_ITERATIONS_MIN, defaults::SCRAM_ITERATIONS_MAX);
        let given = top.number(self.reader, SCRAM_ITERATIONS, least.into(), most.into());
        given.and_then(|number| u32::try_from(number).ok()).unwrap_or(defaults::SCRAM_ITERATIONS)
    }

    fn log_level(&mut self, top: Section<'_>) -> Option<log::LevelFilter> {
        let given = top.text(self.reader, LOG_LEVEL)?;
        let level = given.value.parse().ok();
        if level.is_none() {
            self.refuse(given, LOG_LEVEL);
        }
        level
    }

    fn storage(&mut self, top: Section<'_>, all: Sections<'_>) -> StorageConfig {
        let mut storage = StorageConfig::default();
        let Some(section) = top.table(self.reader, STORAGE, "[storage]") else { return storage };
        section.refuse_unknown(self.reader, all);
        if let Some(bytes) = section.number(self.reader, CACHE_BYTES, 65_536, 1_073_741_824) {
            storage.cache_bytes = bytes;
        }
        if let Some(bytes) = section.number(self.reader, RESERVE_BYTES, 0, 1_099_511_627_776) {
            storage.reserve_bytes = bytes;
        }
        storage
    }

    fn limits(&mut self, top: Section<'_>, keys: &[Key<'_>], all: Sections<'_>) -> Limits {
        let mut limits = Limits::default();
        let Some(section) = top.table(self.reader, LIMITS, "[limits]") else { return limits };
        section.refuse_unknown(self.reader, all);
        for (row, key) in limits::KEYS.iter().zip(keys) {
            if let Some(number) = section.number(self.reader, *key, row.least, row.most) {
                (row.set)(&mut limits, number);
            }
        }
        if limits.stanza_bytes_before_login > limits.stanza_bytes {
            let found = format!(
                "`stanza_bytes_before_login` ({}) is more than `stanza_bytes` ({})",
                limits.stanza_bytes_before_login, limits.stanza_bytes
            );
            let write = format!("stanza_bytes_before_login = {}", limits.stanza_bytes);
            self.reader.fault(section.at, found, "at most `stanza_bytes`", write);
        }
        limits
    }

    /// A path, relative to the folder of the file.
    pub(super) fn path(&mut self, section: Section<'_>, key: Key<'_>) -> Option<PathBuf> {
        Some(self.folder.join(section.text(self.reader, key)?.value))
    }

    /// Notes a text that its key does not accept.
    pub(super) fn refuse(&mut self, given: Given<&str>, key: Key<'_>) {
        let found = format!("`{}` is {:?}", key.name, clip(given.value));
        self.reader.fault(given.at, found, key.expected, key.write);
    }
}
