//! Privileges: root opens the ports and makes the data folder, a user does the rest.
//!
//! ```text
//! root ──folder made and given away, ports open──▶ groups, group, user ──▶ store, keys, clients
//! ```
//!
//! Everything from the store on is opened as the user, so that what works at the start works at a reload too,
//! and nothing in the data folder belongs to root. There is no way back.

use super::{BootError, make_folder};
use crate::config::Config;
use crate::server::{self, Bound};
use nix::unistd::{self, Uid, User};
use std::ffi::CString;
use std::io;
use std::os::unix::fs::chown;
use std::path::Path;

/// Whether this process has to become another user before it does anything: it is root, and the configuration names
/// one.
///
/// # Errors
///
/// [`BootError::User`]: it is somebody else already, and cannot.
pub fn must_drop(config: &Config) -> Result<bool, BootError> {
    let Some(name) = &config.user else { return Ok(false) };
    if Uid::effective().is_root() {
        return Ok(true);
    }
    match find(name)?.uid == Uid::effective() {
        true => Ok(false),
        false => Err(refuse(name, "only root can; start it as root, or as that user")),
    }
}

/// Becomes the user that the configuration names, if this process is root. Call it before the first thread.
///
/// # Errors
///
/// [`BootError::User`]: nothing may be served as root then.
pub fn drop_to_user(config: &Config) -> Result<(), BootError> {
    if !must_drop(config)? {
        return Ok(());
    }
    let Some(name) = &config.user else { return Ok(()) };
    let user = find(name)?;
    if user.uid.is_root() {
        return Err(refuse(name, "it is root itself"));
    }
    let system = |error: nix::Error| refuse(name, &io::Error::from(error).to_string());
    let in_groups = CString::new(name.as_str()).map_err(|_| refuse(name, "it is not a name"))?;
    unistd::initgroups(&in_groups, user.gid).map_err(system)?;
    unistd::setresgid(user.gid, user.gid, user.gid).map_err(system)?;
    unistd::setresuid(user.uid, user.uid, user.uid).map_err(system)?;
    if unistd::setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
        return Err(refuse(name, "the system lets it become root again"));
    }
    log::info!("running as {name}");
    Ok(())
}

/// What has to happen before anything else is opened: the ports, and the data folder, where a user could not; then
/// this process becomes that user. Also says whether the folder is new.
pub(super) fn give_up(config: &Config, data_dir: &Path) -> Result<(Option<Bound>, bool), BootError> {
    let drops = must_drop(config)?;
    if !drops && Uid::effective().is_root() {
        log::warn!("running as root: name a user in the configuration, such as user = \"stonechat\"");
    }
    if !drops && !config.sandbox {
        return Ok((None, false));
    }
    let bound = server::bind(config).map_err(BootError::Bind)?;
    let is_new = drops && make_folder_for_user(config, data_dir)?;
    drop_to_user(config)?;
    Ok((Some(bound), is_new))
}

/// Makes the data folder, if it is not there, and gives it to the user: root may write where the user may not.
fn make_folder_for_user(config: &Config, data_dir: &Path) -> Result<bool, BootError> {
    let Some(name) = &config.user else { return Ok(false) };
    let user = find(name)?;
    if !make_folder(data_dir)? {
        return Ok(false);
    }
    chown(data_dir, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
        .map_err(|error| BootError::Folder { path: data_dir.to_owned(), why: error.to_string() })?;
    Ok(true)
}

fn find(name: &str) -> Result<User, BootError> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(refuse(name, "there is no such user")),
        Err(error) => Err(refuse(name, &io::Error::from(error).to_string())),
    }
}

fn refuse(name: &str, why: &str) -> BootError {
    BootError::User { name: name.to_owned(), why: why.to_owned() }
}
