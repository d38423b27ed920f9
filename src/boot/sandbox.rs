//! The sandbox: from here on this process sees the data folder and the folders of its certificates, runs no other
//! program, opens no port and calls nobody (Landlock, Linux 5.13; the network from 6.7).
//!
//! Sockets that are open already, accepted ones among them, are not touched. What the kernel cannot do is left out,
//! and said. There is no way out, so a reload finds only what lies in the folders that were named at the start.

use super::BootError;
use crate::config::{Config, ConfigSource};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The newest rules that this asks for; what the kernel does not know is left out.
const RULES: ABI = ABI::V5;

/// Enters the sandbox. Call it before the first thread: later ones inherit it, earlier ones would stay outside.
///
/// # Errors
///
/// [`BootError::Sandbox`]: the kernel has the rules and refuses them.
pub fn enter(config: &Config, data_dir: &Path) -> Result<(), BootError> {
    let status = restrict(config, data_dir).map_err(|error| BootError::Sandbox { why: error.to_string() })?;
    match status {
        RulesetStatus::FullyEnforced => log::info!("in the sandbox"),
        RulesetStatus::PartiallyEnforced => log::warn!("in a part of the sandbox: this kernel does not know all of it"),
        RulesetStatus::NotEnforced => log::warn!("not in the sandbox: this kernel has no Landlock"),
    }
    Ok(())
}

fn restrict(config: &Config, data_dir: &Path) -> Result<RulesetStatus, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(RULES))?
        .handle_access(AccessNet::from_all(RULES))?
        .create()?;
    let write = AccessFs::from_all(RULES) & !AccessFs::Execute;
    let folders = folders(config).into_iter().map(|folder| (folder, read));
    for (path, access) in folders.chain([(data_dir.to_owned(), write)]) {
        // A folder that is not there cannot be read, with or without a rule.
        if let Some(rule) = beneath(&path, access) {
            rules = rules.add_rule(rule)?;
        }
    }
    Ok(rules.restrict_self()?.ruleset)
}

fn beneath(path: &Path, access: BitFlags<AccessFs>) -> Option<PathBeneath<PathFd>> {
    match PathFd::new(path) {
        Ok(fd) => Some(PathBeneath::new(fd, access)),
        Err(error) => {
            log::warn!("{}: not in the sandbox: {error}", path.display());
            None
        }
    }
}

/// What is read while the server runs: its configuration and certificates again, where their names and where links
/// lead to; and what the system says of this process.
fn folders(config: &Config) -> BTreeSet<PathBuf> {
    let source = match &config.source {
        ConfigSource::File(path) => Some(path),
        ConfigSource::Defaults => None,
    };
    let domains = config.domains.iter().flat_map(|domain| {
        let files = [&domain.certificate, &domain.key, &domain.client_roots];
        files.into_iter().flatten().chain(&domain.crls)
    });
    let files = source.into_iter().chain(domains).map(|path| super::absolute(path));
    let mut folders: BTreeSet<PathBuf> = files
        .flat_map(|path| [path.canonicalize().ok(), Some(path)])
        .flatten()
        .filter_map(|path| Some(path.parent()?.to_owned()))
        .collect();
    folders.insert("/proc/self".into());
    folders
}
